"""Pace: how long a phase may still take, from how it went of late. No I/O and no clock.

What is looked at is the last half of the phase's time so far: workers that start slowly are
forgotten, and a few short tasks in a row do not count for more than they are.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

#: Of a phase so much must be done before anything is said: by then most workers have ended a task.
_LEAST_SHARE: Final = 0.1
#: How many points are remembered; of more, every other one is forgotten.
_POINTS: Final = 64
_LEAST_SECONDS: Final = 0.05

_Points = tuple[tuple[float, float], ...]


class Pace:
    """That of one job, whichever phase it is in. One thread notes, and any may ask."""

    def __init__(self) -> None:
        #: Of what phase, how much of it there is, and when how much was done. Replaced, never
        #: changed: another thread may be looking at it.
        self._known: tuple[str, float, _Points] = ("", 0.0, ())

    def is_due(self, phase: str, now: float) -> bool:
        """Say whether it is worth while to note something."""
        of, _, points = self._known
        return of != phase or now - points[-1][0] >= _LEAST_SECONDS

    def note(self, phase: str, now: float, done: float, total: float) -> None:
        """Note how much of a phase is done, and is to be done in all, in any unit."""
        of, _, points = self._known
        if of != phase or done < points[-1][1]:  # it is another, or some was lost
            points = ()
        elif done == points[-1][1] and len(points) > 1:
            points = points[:-1]
        if len(points) >= _POINTS:
            points = points[::2]
        self._known = phase, total, (*points, (now, done))

    def seconds_left(self, now: float) -> float | None:
        """Return how long the phase noted last may still take; None: it is too early to say."""
        _, total, points = self._known
        if not points or points[-1][1] < _LEAST_SHARE * total:
            return None
        (began, _), (_, done) = points[0], points[-1]
        late = (point for point in reversed(points) if point[0] <= (began + now) / 2)
        for then, before in (*islice(late, 1), points[0]):
            if done > before and now > then:
                return (total - done) * (now - then) / (done - before)
        return None
