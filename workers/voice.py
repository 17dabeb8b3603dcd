"""Voice: what an agent tells whoever has started it, line by line."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from tuplespace.errors import SpaceUnreachableError

#: For so long one call asks a space that is away.
ASK_SECONDS: Final = 5.0
#: Between two lines on the same trouble: so long at first, then twice as long each time, up to this.
_FIRST_PAUSE: Final = 30.0
_LONGEST_PAUSE: Final = 960.0
#: Trouble of which nothing was heard for so long was over.
_OVER_SECONDS: Final = 60.0


class Voice:
    """One agent's; for any thread.

    Args:
        name: The agent's. announce: Gets the lines. clock: As `time.monotonic`.
    """

    def __init__(
        self,
        name: str,
        announce: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._announce, self._clock = name, announce, clock
        #: Of each kind of error: when it was last heard, when to speak of it again, and the pause then.
        self._troubles: dict[type[Exception], tuple[float, float, float]] = {}
        self._admissions: float = math.inf
        self._lock = threading.Lock()

    def say(self, line: str) -> None:
        """Say it, if anybody listens any more."""
        with suppress(OSError, ValueError):
            self._announce(line)

    def draining(self, tasks: int, seconds: float) -> None:
        """Say that the agent leaves once these tasks, which run, have ended; nothing if none does."""
        if tasks and seconds:
            self.say(
                f"worker {self._name} stops: {tasks} running task{'s' * (tasks > 1)} may take up to "
                f"{seconds:g} s to end; another Ctrl-C or SIGTERM ends {'them' if tasks > 1 else 'it'} at once"
            )

    def moved(self, space: str, uri: str) -> None:
        """Say that a space is elsewhere now."""
        self.say(f"{self._name}: the space {space!r} has moved to {uri}")

    def begin(self, line: str) -> None:
        """Say this line, which tells that the agent is at work; what was before is over."""
        self._troubles.clear()
        self.say(line)

    def away(self, error: Exception, admissions: float = math.inf) -> None:
        """Say that the agent goes on trying: at once, and then with growing pauses.

        Args:
            error: Why. admissions: How often the space had let us in by then, see `back`.
        """
        with self._lock:
            now, kind = self._clock(), type(error)
            heard, due, pause = self._troubles.get(kind, (-math.inf, now, _FIRST_PAUSE))
            if now - heard > _OVER_SECONDS:
                due, pause = now, _FIRST_PAUSE
            if is_due := now >= due:
                due, pause = now + pause, min(2 * pause, _LONGEST_PAUSE)
            self._troubles[kind] = now, due, pause
            self._admissions = admissions
        if is_due:
            self.say(f"{self._name}: still trying: {error}")

    def back(self, uri: str, admissions: int) -> None:
        """Say that the agent goes on, if it was said that it could not; for whoever has no trouble.

        Args:
            uri: The space's. admissions: How often it has let us in: only if that is more often than
                when it was away, it is back.
        """
        with self._lock:
            if SpaceUnreachableError not in self._troubles or admissions <= self._admissions:
                return
            del self._troubles[SpaceUnreachableError]
        self.say(f"{self._name}: goes on at {uri}")
