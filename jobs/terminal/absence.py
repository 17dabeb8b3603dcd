"""What a person who waits for a job hears of a space that is away, and that it is back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from tuplespace import RemoteSpace

#: A connection that breaks and is made again is nobody's business.
_AWAY_SECONDS: Final = 1.0
#: So long it is said that the space is back: plain lines are a second apart.
_BACK_SECONDS: Final = 3.0


class Absence:
    """Of one space; asked again and again.

    Args:
        space: It. clock: As `time.monotonic`, of which the space's client tells its patience.
    """

    def __init__(self, space: RemoteSpace, clock: Callable[[], float] = time.monotonic) -> None:
        self._space, self._clock = space, clock
        self._since = self._until = self._back_until = -math.inf
        self._said = ""

    def notice(self) -> str:
        """Return what is to be said now; empty: all is well. Never blocks."""
        now, until = self._clock(), self._space.away_until
        if until is None or until <= now:
            if self._said:
                self._back_until = now + _BACK_SECONDS
            self._since, self._said = -math.inf, ""
            return "the space answers again" if now < self._back_until else ""
        if self._since == -math.inf:
            self._since = now
        if now - self._since < _AWAY_SECONDS:
            return ""
        if not self._said or self._until <= now:  # else as it was said: each call has its own end
            self._until = until
            self._said = f"the space does not answer; trying again until {_clock_time(until - now)}"
        return self._said


def _clock_time(seconds: float) -> str:
    """Return the time of day in so many seconds."""
    return f"{datetime.now().astimezone() + timedelta(seconds=seconds):%H:%M:%S}"
