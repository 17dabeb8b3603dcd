"""Deadlines: what falls due when, without a sweep over all there is. Pure."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from heapq import heapify, heappop, heappush


class Deadlines:
    """A heap of (deadline, key) in which a key has one deadline at a time.

    Replaced and discarded deadlines stay in the heap as stale records; they are dropped when
    they come up, or all at once when they outnumber the living.
    """

    __slots__ = ("_due", "_heap")

    def __init__(self) -> None:
        self._due: dict[Hashable, float] = {}
        self._heap: list[tuple[float, Hashable]] = []

    def __len__(self) -> int:
        return len(self._due)

    def set(self, key: Hashable, deadline: float) -> None:
        """Give the key this deadline instead of any it had; infinity: none."""
        if deadline == math.inf:
            self.discard(key)
            return
        self._due[key] = deadline
        heappush(self._heap, (deadline, key))
        if len(self._heap) > 2 * len(self._due) + 64:
            self._heap = [(due, each) for each, due in self._due.items()]
            heapify(self._heap)

    def discard(self, key: Hashable) -> None:
        """Forget the key's deadline, if it has one."""
        self._due.pop(key, None)

    def next(self) -> float:
        """Return the earliest deadline, infinity if there is none."""
        heap, due = self._heap, self._due
        while heap:
            deadline, key = heap[0]
            if due.get(key) == deadline:
                return deadline
            heappop(heap)
        return math.inf

    def pop_due(self, now: float) -> Iterator[Hashable]:
        """Yield each key whose deadline is now or past, earliest first, forgetting it."""
        while self.next() <= now:
            key = heappop(self._heap)[1]
            del self._due[key]
            yield key
