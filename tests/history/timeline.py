"""Questions about many spans of time, each answered in O(log n). A span is (from, to)."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from itertools import accumulate


def without(span, holes):
    """Return what is left of a span when these spans are cut out of it."""
    left, (start, end) = [], span
    for lo, hi in sorted(holes):
        if lo > end:
            break
        if lo > start:
            left.append((start, lo))
        start = max(start, hi)
    if start < end:
        left.append((start, end))
    return left


class Covering:
    """Of many (span, name): one that covers, or touches, a given span.

    Every question is of the form: which began by `by` and lasted until `until` at least.
    """

    def __init__(self, named):
        self._spans = sorted(named, key=lambda each: each[0][0])
        self._starts = [span[0] for span, _ in self._spans]
        ends = [(span[1], number) for number, (span, _) in enumerate(self._spans)]
        self._longest = list(accumulate(ends, max))

    def find(self, by, until):
        """Return the name of the one that lasted longest of those that began by then, or None."""
        place = bisect_right(self._starts, by)
        if not place:
            return None
        end, number = self._longest[place - 1]
        return self._spans[number][1] if end >= until else None


class _Fenwick:
    """Sums and minima of what was added at or after a place."""

    def __init__(self, size):
        self._size = size
        self._counts, self._least = [0] * (size + 1), [math.inf] * (size + 1)

    def add(self, place, value):
        counts, least, at = self._counts, self._least, self._size - place
        while at <= self._size:
            counts[at] += 1
            if value < least[at]:
                least[at] = value
            at += at & -at

    def from_on(self, place):
        counts, least, at = self._counts, self._least, self._size - place
        total, lowest = 0, math.inf
        while at > 0:
            total += counts[at]
            if least[at] < lowest:
                lowest = least[at]
            at -= at & -at
        return total, lowest


def covering(spans, questions):
    """Say of each question, a span, how many spans cover it and the least value of theirs.

    Args:
        spans: (span, value) pairs. questions: (span, whatever) pairs.

    Yields:
        (whatever, count, least value or infinity)
    """
    ends = sorted({span[1] for span, _ in spans})
    sums, waiting = _Fenwick(len(ends)), sorted(spans, key=lambda each: each[0][0], reverse=True)
    for (start, end), whatever in sorted(questions, key=lambda each: each[0][0]):
        while waiting and waiting[-1][0][0] <= start:
            (_, until), value = waiting.pop()
            sums.add(bisect_left(ends, until), value)
        yield whatever, *sums.from_on(bisect_left(ends, end))


def touching(spans):
    """Return a function that says of a span how many of these touch it."""
    starts, ends = sorted(start for start, _ in spans), sorted(end for _, end in spans)
    return lambda span: bisect_right(starts, span[1]) - bisect_left(ends, span[0])
