"""How long a phase may still take, as a list of what was done when."""

from __future__ import annotations

import math
from bisect import bisect
from heapq import heapreplace
from random import Random

import pytest

from mapreduce.pace import Pace
from mapreduce.plan import MAP, REDUCE


def test_what_is_left_is_told_at_the_pace_of_late_and_not_before_a_tenth_is_done() -> None:
    pace = Pace()
    assert pace.seconds_left(0) is None
    for second in range(10):  # workers start
        pace.note(MAP, second, 0, 100)
    for second in range(10, 60):
        done = second - 10
        pace.note(MAP, second, done, 100)
        left = pace.seconds_left(second)
        assert (left is None) == (done < 10)
        if done > 20:  # the second half of the time has no start in it
            assert left == pytest.approx(100 - done)
    assert pace.seconds_left(60) == pytest.approx(51, rel=0.1)
    # Nothing goes on: it takes the longer, the longer that lasts.
    waits = [pace.seconds_left(second) for second in (70, 90, 200, 1000)]
    assert None not in waits
    assert waits == sorted(waits)  # type: ignore[type-var]
    assert waits[-1] > 500  # type: ignore[operator]


def test_a_pace_begins_anew_with_a_phase_and_when_what_was_done_is_lost() -> None:
    pace = Pace()
    for second in range(1000):
        pace.note(MAP, second, second, 1000)
    assert pace.seconds_left(999) == pytest.approx(1, abs=0.1)
    pace.note(MAP, 1000, 500, 1000)
    assert pace.seconds_left(1000) is None
    pace.note(MAP, 1001, 510, 1000)
    assert pace.seconds_left(1001) == pytest.approx(49)
    pace.note(REDUCE, 1002, 0, 50)
    assert pace.seconds_left(1002) is None


@pytest.mark.parametrize("alpha", [1.1, 2.0, 50.0])
def test_uneven_tasks_make_no_pace_that_is_no_number_or_that_leaps(alpha: float) -> None:
    tasks, free, ends = Random(7), [0.0] * 8, list[float]()
    for _ in range(300):  # each to the worker that is free first
        ends.append(heapreplace(free, free[0] + tasks.paretovariate(alpha)) + 0.0)
    ends = sorted([*ends[8:], *free])
    pace, before = Pace(), None

    for tenth in range(int(10 * ends[-1])):
        now = tenth / 10
        pace.note(MAP, now, bisect(ends, now), len(ends))
        left = pace.seconds_left(now)
        if left is not None:
            assert 0 <= left < math.inf
            if before is not None and min(before, left) > 1:
                assert max(before, left) / min(before, left) < 3
        before = left
    assert before is not None
