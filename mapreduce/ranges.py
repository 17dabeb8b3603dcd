"""range_partition: partitions in total order, cut where a sample of the keys says.

All keys of partition 0 come before those of partition 1, and so on, so a reduce that sorts gives
results that are in order as a whole. Equal keys are always together.
"""

from __future__ import annotations

import functools
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from mapreduce.errors import InvalidJobError, PartitionError, shorten
from mapreduce.inputs.splits import PlannedSplit
from mapreduce.pairs import as_pairs

#: How many keys are kept: enough for parts of about equal size, even if R is some hundreds.
SAMPLE_KEYS: Final = 10_000
_SPLITS: Final = 20
_RECORDS: Final = 500
_KEYS_A_SPLIT: Final = 50_000


class range_partition:  # noqa: N801  # reads as hash_partition does
    """Make a partitioner whose partitions are ranges of keys, in order.

    Args:
        sample: Some of the keys, as they are distributed; compared by ``<``. None: the job takes
            a sample when it is planned: it runs map, in the driver, over the first 500 records of
            up to 20 splits spread over the data.

    Raises:
        InvalidJobError: The keys of the sample cannot be compared.

    Examples:
        >>> partition = range_partition(["apple", "cherry", "melon", "pear"])
        >>> [partition(key, 2) for key in ("banana", "lemon", "melon", "plum")]
        [0, 0, 1, 1]
    """

    def __init__(self, sample: Iterable[Any] | None = None) -> None:
        self._sample: list[Any] | None = None if sample is None else _thinned(sample)
        self._bounds: dict[int, list[Any]] = {}

    def __repr__(self) -> str:
        known = "" if self._sample is None else f"<{len(self._sample)} keys>"
        return f"range_partition({known})"

    def __getstate__(self) -> dict[str, Any]:
        return {"_sample": self._sample, "_bounds": {}}

    @property
    def needs_sample(self) -> bool:
        """Whether the job has to take the sample."""
        return self._sample is None

    def __call__(self, key: Any, R: int) -> int:  # noqa: N803 - R, as in the paper
        """Return the partition of a key.

        Raises:
            PartitionError: It cannot be compared with the keys of the sample, or there is none.
        """
        try:
            return bisect_right(self._bounds.get(R) or self.bounds(R), key)
        except TypeError as error:
            raise _incomparable(key, error) from error

    def deal(self, keys: Sequence[Any], R: int) -> list[int]:  # noqa: N803 - R, as in the paper
        """Return the partitions of many keys; see `__call__`."""
        try:
            return list(map(functools.partial(bisect_right, self.bounds(R)), keys))
        except TypeError as error:
            for key in keys:
                self(key, R)  # says which it is
            raise _incomparable(keys, error) from error

    def bounds(self, R: int) -> list[Any]:  # noqa: N803 - R, as in the paper
        """Return the first keys of partitions 1 to R-1.

        Raises:
            PartitionError: There is no sample yet.
        """
        found = self._bounds.get(R)
        if found is None:
            sample = self._sample
            if sample is None:
                raise PartitionError("range_partition() has no sample outside of a job")
            found = [sample[len(sample) * n // R] for n in range(1, R)] if sample else []
            self._bounds[R] = found
        return found

    def sampled(
        self, splits: Sequence[PlannedSplit], map_function: Callable[[Any], Any]
    ) -> range_partition:
        """Return one with a sample of what map makes of these splits; the same for the same data.

        Raises:
            InvalidJobError: Map failed, or its keys cannot be compared; says to give a sample.
        """
        if not isinstance(splits, Sequence):
            raise InvalidJobError(
                "the data can be gone through only once, so range_partition() cannot look at it "
                "before: give it a sample of the keys, range_partition(keys)"
            )
        count = min(len(splits), _SPLITS)
        chosen = [len(splits) * n // count for n in range(count)]
        keys: list[Any] = []
        for number in chosen:
            try:
                keys += _keys(splits[number], map_function)
            except Exception as error:
                raise InvalidJobError(
                    f"range_partition() could not sample {splits[number].describe()}: {error}; "
                    "give it a sample of the keys, range_partition(keys)"
                ) from error
        return range_partition(keys)


def _keys(split: PlannedSplit, map_function: Callable[[Any], Any]) -> Iterator[Any]:
    """Yield keys that map makes of the first records of a split."""
    records = split.records()
    if isinstance(records, (list, tuple)):
        records = records[:_RECORDS]
    elif isinstance(records, Iterable) and not isinstance(records, (str, bytes)):
        records = islice(records, _RECORDS)
    return (key for key, _ in islice(as_pairs(map_function(records), map_function), _KEYS_A_SPLIT))


def _thinned(sample: Iterable[Any]) -> list[Any]:
    """Return the sample sorted, and of a large one keys at equal distances."""
    try:
        keys = sorted(sample)
    except TypeError as error:
        raise InvalidJobError(f"the keys of a range_partition cannot be sorted: {error}") from error
    if len(keys) <= SAMPLE_KEYS:
        return keys
    return [keys[len(keys) * n // SAMPLE_KEYS] for n in range(SAMPLE_KEYS)]


def _incomparable(key: Any, error: TypeError) -> PartitionError:
    return PartitionError(
        f"{shorten(key)} cannot be compared with the keys that range_partition knows: {error}"
    )
