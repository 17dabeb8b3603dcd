"""Dealing pairs out to R partitions, as columns, at a cost that goes with the pairs and not with R."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final

from mapreduce.columns import Columns, Dealt
from mapreduce.errors import MapReduceError
from mapreduce.pairs import Pair, failure_of
from mapreduce.partition import Partitioner, check_partition, hash_partition, stable_hash
from mapreduce.ranges import range_partition
from mapreduce.weights import size_of

_Table = defaultdict[int, Columns]

#: So many keys keep their columns at hand; after combining, each key comes once anyway.
_MEMO_LIMIT: Final = 1 << 16
#: Columns of about so many bytes are handed on, before there are more.
_BATCH_BYTES: Final = 64 << 20
_FIRST_CHUNK: Final = 2
_CHUNK: Final = 1 << 16
_BLOCK: Final = 1024
_SAMPLE: Final = 32
#: What the places in two lists take, beside the objects in them.
_PLACES: Final = 16


def deal(
    pairs: Iterable[Pair],
    partition: Partitioner,
    R: int,  # noqa: N803 - R, as in the paper
) -> Iterator[Dealt]:
    """Deal pairs out to R partitions, each with its pairs in their order of appearance.

    Yields:
        Columns; more than once if there are too many pairs to hold them all.

    Raises:
        InvalidPairsError: One of the pairs is none.
        UnstableKeyError: A key that ``hash_partition`` refuses, for every R.
        PartitionError: The partitioner returned no int, or one outside 0..R-1.
    """
    pairs = iter(pairs)
    chunk = _FIRST_CHUNK
    while True:
        columns: _Table = defaultdict(_no_pairs)
        deal_some = _dealer(partition, columns, R)
        dealt = size = 0
        while size < _BATCH_BYTES:
            before = dealt
            deal_some(islice(pairs, chunk))
            dealt = sum(len(keys) for keys, _ in columns.values())
            if dealt < before + chunk:
                yield _in_order(columns)
                return
            each = _weight_of_pair(columns)
            size += int(chunk * each)
            chunk = max(1, min(_CHUNK, 8 * chunk, int(_BATCH_BYTES / 8 / each)))
        yield _in_order(columns)


def _no_pairs() -> Columns:
    return [], []


def _in_order(columns: _Table) -> Dealt:
    return dict(sorted(columns.items()))


def _weight_of_pair(columns: _Table) -> float:
    """Estimate what a pair dealt last costs in memory, in bytes."""
    last = [(keys[-1], values[-1]) for _, (keys, values) in sorted(columns.items())[:_SAMPLE]]
    return _PLACES + sum(map(size_of, last)) / len(last)


def _dealer(
    partition: Partitioner,
    columns: _Table,
    R: int,  # noqa: N803 - R, as in the paper
) -> Callable[[Iterable[Pair]], None]:
    if partition is hash_partition:
        by_key = _ColumnsByKey(columns, R)
        return lambda pairs: _deal_by_hash(pairs, columns, R, by_key)
    if isinstance(partition, range_partition):
        return lambda pairs: _deal_together(pairs, partition, columns, R)
    return lambda pairs: _deal(pairs, partition, columns, R)


class _ColumnsByKey(dict[Any, Columns]):
    """The columns that each key belongs to; remembers a bounded number of keys."""

    def __init__(self, columns: _Table, R: int) -> None:  # noqa: N803 - R, as in the paper
        super().__init__()
        self._columns, self._R = columns, R

    def __missing__(self, key: Any) -> Columns:
        found = self._columns[stable_hash(key) % self._R]
        if len(self) < _MEMO_LIMIT:
            self[key] = found
        return found


def _deal_by_hash(
    pairs: Iterable[Pair],
    columns: _Table,
    R: int,  # noqa: N803 - R, as in the paper
    by_key: _ColumnsByKey,
) -> None:
    for pair in pairs:
        try:
            key, value = pair
            # A str is hashed sooner than looked up, unless it comes again and again. Of other
            # keys, equal ones (1, True) share their columns, as they should.
            keys, values = columns[stable_hash(key) % R] if type(key) is str else by_key[key]
        except MapReduceError:
            raise
        except (TypeError, ValueError) as error:
            raise failure_of(pair) from error
        keys.append(key)
        values.append(value)


def _deal_together(
    pairs: Iterable[Pair],
    partition: range_partition,
    columns: _Table,
    R: int,  # noqa: N803 - R, as in the paper
) -> None:
    """Deal by a partitioner that takes many keys at once, at half the cost."""
    pairs = iter(pairs)
    while block := list(islice(pairs, _BLOCK)):
        pair: Any = None
        try:
            keys = []
            for pair in block:
                key, _ = pair
                keys.append(key)
        except (TypeError, ValueError) as error:
            raise failure_of(pair) from error
        for (key, value), number in zip(block, partition.deal(keys, R), strict=True):
            its_keys, its_values = columns[number]
            its_keys.append(key)
            its_values.append(value)


def _deal(
    pairs: Iterable[Pair],
    partition: Partitioner,
    columns: _Table,
    R: int,  # noqa: N803 - R, as in the paper
) -> None:
    for pair in pairs:
        try:
            key, value = pair
        except (TypeError, ValueError) as error:
            raise failure_of(pair) from error
        keys, values = columns[check_partition(partition(key, R), key, R)]
        keys.append(key)
        values.append(value)
