"""What a person who waits for a space hears of it: that it is away or silent, and that it is back."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Final

from tuplespace import RemoteSpace

#: A connection that breaks and is made again is nobody's business, nor is an answer that is a little late.
_AWAY_SECONDS: Final = 1.0
_SILENT_SECONDS: Final = 5.0
#: So long it is said that the space is back: plain lines are a second apart.
_BACK_SECONDS: Final = 3.0
_LOOK_SECONDS: Final = 0.25


class Absence:
    """Of one space; asked again and again.

    Args:
        space: It. clock: As `time.monotonic`, of which the space's client tells its patience.
    """

    def __init__(self, space: RemoteSpace, clock: Callable[[], float] = time.monotonic) -> None:
        self._space, self._clock = space, clock
        self._since = self._until = self._back_until = -math.inf
        self._away = self._silent = self._said = ""

    def notice(self) -> str:
        """Return what is to be said now; empty: all is well. Never blocks."""
        now = self._clock()
        before, self._said = self._said, self._look_away(now) or self._look_silent()
        if before and not self._said:
            self._back_until = now + _BACK_SECONDS
        return self._said or ("the space answers again" if now < self._back_until else "")

    def _look_away(self, now: float) -> str:
        """Return what is said of a space that nobody can connect to."""
        until = self._space.away_until
        if until is None or (until <= now and not self._away):
            self._since, self._away = -math.inf, ""
            return ""
        if self._since == -math.inf:
            self._since = now
        # As it was said before: each call has its own end. A call that gives up brings no space back.
        if now - self._since >= _AWAY_SECONDS and (not self._away or self._until <= now < until):
            self._until = until
            self._away = f"the space does not answer; trying again until {_clock_time(until - now)}"
        return self._away

    def _look_silent(self) -> str:
        """Return what is said of a space that is connected, and owes an answer."""
        overdue = self._space.overdue
        if overdue < _SILENT_SECONDS:
            self._silent = ""
        elif not self._silent:
            self._silent = f"the space has not answered since {_clock_time(-overdue)}"
        return self._silent


@contextmanager
def telling_of(space: RemoteSpace) -> Iterator[None]:
    """Say on stderr, in a block that waits for a space, when it is away and when it is back."""
    ended = threading.Event()

    def look() -> None:
        absence, said = Absence(space), ""
        while not ended.wait(_LOOK_SECONDS):
            line = absence.notice()
            if line and line != said:
                with suppress(OSError, ValueError):  # nobody reads it any more
                    sys.stderr.write(line + "\n")
                    sys.stderr.flush()
            said = line

    thread = threading.Thread(target=look, name="absence", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _clock_time(seconds: float) -> str:
    """Return the time of day in so many seconds."""
    return f"{datetime.now().astimezone() + timedelta(seconds=seconds):%H:%M:%S}"
