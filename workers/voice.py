"""Voice: what an agent tells whoever has started it, line by line."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

#: How often to say that the space is away.
SAY_SECONDS: Final = 5.0


class Voice:
    """One agent's; for any thread.

    Args:
        name: The agent's. announce: Gets the lines.
    """

    def __init__(self, name: str, announce: Callable[[str], None]) -> None:
        self._name, self._announce = name, announce
        self._said_away = -math.inf

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

    def away(self, error: Exception) -> None:
        """Say that the agent goes on trying, now and then."""
        now = time.monotonic()
        if now - self._said_away >= SAY_SECONDS:
            self._said_away = now
            self.say(f"{self._name}: still trying: {error}")
