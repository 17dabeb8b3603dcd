"""Sorted runs: records in order on disk, and their merge.

A record is a tuple; its first field says where it belongs. Runs are written one after the other,
each in order, and merged so that of equal records those of earlier runs come first. What is
written is read back by this process alone: the file has no name by the time it holds data, so
it is gone with the process, however that ends.
"""

from __future__ import annotations

import tempfile
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from operator import itemgetter
from os import SEEK_END
from pathlib import Path
from typing import Any, Final

from mapreduce.spilling.allowance import Allowance
from mapreduce.spilling.sizes import PLACE_BYTES
from mapreduce.weights import size_of
from tuplespace.pickles import dump_data, load

Record = tuple[Any, ...]
_Run = list[tuple[int, int]]
"""Of each batch of a run: where it begins in the file, and its bytes."""

#: So many runs are merged at once at most; a batch of each is in memory then.
FAN_IN: Final = 64
_LARGEST_BATCH: Final = 1 << 20
_MEASURED_EVERY: Final = 8
_order: Final = itemgetter(0)


class Runs:
    """Sorted runs of records in one file.

    Args:
        folder: Returns where to make the file. memory: Bytes that merging may hold, about.
        has_list: Says of a record whether its fourth field is a list of values, such as may be
            cut where it is too long.
    """

    def __init__(
        self,
        folder: Callable[[], Path],
        memory: int,
        has_list: Callable[[Record], bool] = lambda record: False,
    ) -> None:
        self._folder = folder
        self._has_list = has_list
        # In memory, a batch takes two to five times its bytes on disk.
        self._batch_bytes = max(1, min(memory // (4 * FAN_IN), _LARGEST_BATCH))
        self._memory = memory
        self._largest = self._batch_bytes
        self._runs: list[_Run] = []
        self._file = _open(folder)

    @property
    def batch_bytes(self) -> int:
        """How many bytes of records are written and read at once, unless a record has more."""
        return self._batch_bytes

    @property
    def fan_in(self) -> int:
        """How many runs are merged at once: fewer where single records are large."""
        return max(2, min(FAN_IN, self._memory // self._largest))

    def add(self, records: Iterable[Record]) -> None:
        """Write a run: records in order, all with the same number of fields."""
        run: _Run = []
        count = 1
        iterator = iter(records)
        while batch := list(islice(iterator, count)):
            size = self.put(batch, run)
            count = max(1, min(self._batch_bytes * len(batch) // size, 8 * count))
        self._runs.append(run)

    def merged(self) -> Iterator[list[Record]]:
        """Yield all records in order, in lists; once."""
        while len(self._runs) > (fan_in := self.fan_in):
            before, old = self._runs, self._file
            self._runs, self._file = [], _open(self._folder)
            with old:
                for start in range(0, len(before), fan_in):
                    batches = _merge([_read(old, run) for run in before[start : start + fan_in]])
                    self.add(chain.from_iterable(batches))
        return _merge([_read(self._file, run) for run in self._runs])

    def _is_cuttable(self, record: Record) -> bool:
        return self._has_list(record) and len(record[3]) > 1

    def read(self, run: _Run) -> Iterator[list[Record]]:
        """Yield the records of this run."""
        return _read(self._file, run)

    def close(self) -> None:
        """Delete what was written."""
        self._file.close()

    def put(self, batch: list[Record], run: _Run) -> int:
        """Write records that belong to this run; return their bytes."""
        data = dump_data(list(zip(*batch, strict=True)))  # columns pickle in half the time
        if len(data) > 4 * self._batch_bytes:
            if len(batch) == 1 and self._is_cuttable(batch[0]):
                batch = _halves(batch[0])
            middle = len(batch) // 2
            if middle:
                del data
                return self.put(batch[:middle], run) + self.put(batch[middle:], run)
        run.append((self._file.seek(0, SEEK_END), len(data)))
        self._file.write(data)
        self._largest = max(self._largest, len(data))
        return len(data)


class Shelf:
    """Records put aside, to be had back in their order: on disk when they are many."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._held: list[Record] = []
        self._spilled: _Run = []

    def append(self, record: Record) -> None:
        """Put one aside."""
        self._held.append(record)
        # A record of many values may fill a batch alone.
        if len(self._held) >= self._runs.fan_in:
            self._runs.put(self._held, self._spilled)
            self._held = []

    def __iter__(self) -> Iterator[Record]:
        """Yield the records, once."""
        yield from chain.from_iterable(self._runs.read(self._spilled))
        yield from self._held


def in_order(records: Iterable[Record], given: Allowance) -> Iterator[Record]:
    """Yield records in order of their first field, which differs in all of them.

    While they come as 0, 1, 2 and so on, they are handed on at once. The others are kept until all
    have come; what exceeds a third of the allowance is spilled.
    """
    limit = given.memory // 3
    expected = 0
    held: list[Record] = []
    size = unmeasured = 0
    every = 1
    runs: Runs | None = None
    try:
        for record in records:
            if record[0] == expected:
                expected += 1
                yield record
                continue
            held.append(record)
            unmeasured += 1
            if unmeasured >= every:
                each = size_of(record) + PLACE_BYTES
                size += each * unmeasured
                unmeasured = 0
                every = _MEASURED_EVERY if each * _MEASURED_EVERY < limit // 8 else 1
                if size > limit:
                    runs = runs or Runs(given.folder, limit)
                    held.sort(key=_order)
                    runs.add(held)
                    held, size = [], 0
        held.sort(key=_order)
        if runs is None:
            yield from held
            return
        runs.add(held)
        held = []
        for batch in runs.merged():
            yield from batch
    finally:
        if runs is not None:
            runs.close()


def _halves(record: Record) -> list[Record]:
    """Cut a record of many values in two."""
    order, position, key, values, *others = record
    middle = len(values) // 2
    return [(order, position, key, part, *others) for part in (values[:middle], values[middle:])]


def _open(folder: Callable[[], Path]) -> Any:
    return tempfile.TemporaryFile(dir=folder())


def _read(file: Any, run: _Run) -> Iterator[list[Record]]:
    for start, size in run:
        file.seek(start)
        yield list(zip(*load(file.read(size)), strict=True))


def _merge(runs: list[Iterator[list[Record]]]) -> Iterator[list[Record]]:
    """Merge runs, given as their batches: sorting what is known to come next beats a heap.

    Of the runs that have more to come, the one whose batch ends first sets the limit. All up to
    there is at hand, and records equal to it are, too, except in later runs than that one.
    """
    heads: list[list[Record]] = [[] for _ in runs]
    more = [True] * len(runs)
    while True:
        limit_at = -1
        limit: Any = None
        for at, run in enumerate(runs):
            while more[at] and not heads[at]:
                heads[at] = next(run, [])
                more[at] = bool(heads[at])
            if more[at] and (limit_at < 0 or heads[at][-1][0] < limit):
                limit_at, limit = at, heads[at][-1][0]
        if limit_at < 0:
            return
        ready: list[Record] = []
        for at, head in enumerate(heads):
            if not head:
                continue
            cut = (bisect_right if at <= limit_at else bisect_left)(head, limit, key=_order)
            if at == limit_at and not cut:
                cut = 1  # NaNs and sets may be after themselves; it has to go on all the same
            if cut:
                ready += head[:cut]
                del head[:cut]
        ready.sort(key=_order)
        yield ready
