"""A job in this process: one split, read as its map goes through it, and one dict for all of its pairs.

::

    records --Lazily--> the one split --Together--> each key with the list of its values
        --by_key(of_lists(...))--> results
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Final

from mapreduce.errors import InvalidPairsError, RecordFailedError, UnstableKeyError
from mapreduce.inputs.sources import SplitSource
from mapreduce.inputs.splits import FALLBACK_SECONDS, InMemory, Split
from mapreduce.inputs.stream import Data
from mapreduce.pairs import ITERABLE, Pair, as_pairs
from mapreduce.partition import stable_hash
from mapreduce.styles.ordering import checked
from mapreduce.styles.running import TRY_AGAIN

#: Options with which there is more than one split, one partition and one try, or something between them.
_MORE: Final = TRY_AGAIN | {"combine", "partition", "map_tasks"}


def can_be_lazy(options: Mapping[str, Any]) -> bool:
    """Whether a job with these options, in this process, is one of `Lazily` and `Together`."""
    return not options.keys() & _MORE and options.get("reduce_tasks", 1) == 1


class Lazily(SplitSource, InMemory):
    """All records of an iterator as one split, for `MapReduceJob.run_sequential`.

    Nothing of it is read ahead, weighed or kept, so it can be gone through once: by a job that tries
    nothing again.
    """

    affinity = None
    wait = FALLBACK_SECONDS
    size = 1

    def __init__(self, records: Iterator[Any]) -> None:
        self._records = records

    def plan(self, map_tasks: int | None = None) -> Sequence[Any]:
        """Return the one split."""
        return [self]

    def records(self, open_at: Any = None) -> Iterator[Any]:
        """Return them."""
        return self._records

    def describe(self) -> str:
        """Say that it is all there is."""
        return "the data"

    def locate(self, position: int, open_at: Any = None) -> str:
        """Say which record of the data it is."""
        return f"record {position} of the data"


def lazily(data: Any) -> tuple[Lazily | None, Any]:
    """Return data whose records are its items, to be read lazily; or None, and then the data as it is still.

    None is for what a job has a better way with: a file, a source, `Split` s.

    Raises:
        InvalidJobError: It is no data, or an iterator that an earlier job has read.
    """
    if isinstance(data, (list, tuple, range)):
        return (None if Split in set(map(type, data)) else Lazily(iter(data))), data
    records = None if hasattr(data, "readline") else Data().open(data)
    if records is None:
        return None, data
    first = list(islice(records, 1))
    records = chain(first, records)
    if first and type(first[0]) is Split:
        return None, records
    return Lazily(records), data


class Together:
    """The map of `Lazily` data: its pairs are one for each key, with the list of all its values.

    In one process they are all in memory anyway, as they wait for the reduce.

    Args:
        emitted: Gets a record; returns an iterable of what comes of it. pair: Makes a pair of something
            emitted that is no tuple of two. function: The user's, for messages; None: `emitted` is.
    """

    def __init__(
        self, emitted: Callable[[Any], Iterable[Any]],
        pair: Callable[[Any], Pair] = checked,
        function: Callable[..., Any] | None = None,
    ) -> None:  # fmt: skip
        self._emitted, self._pair = emitted, pair
        self._function = function or emitted

    def __call__(self, records: Iterable[Any]) -> dict[Any, list[Any]]:
        """Return them, keys in order of first appearance.

        Raises:
            RecordFailedError: The function raised; says on which record, ``from`` its exception.
            InvalidPairsError: What should be a pair, or pairs, is none. UnstableKeyError: A bad key.
        """
        emitted_of, pair_of = self._emitted, self._pair
        groups: dict[Any, list[Any]] = {}
        get = groups.get
        for position, record in enumerate(records):
            try:
                emitted = emitted_of(record)
                if type(emitted) not in ITERABLE:
                    emitted = as_pairs(emitted, self._function)
                for pair in emitted:
                    key, value = pair if type(pair) is tuple and len(pair) == 2 else pair_of(pair)
                    try:
                        values = get(key)
                    except TypeError:
                        stable_hash(key)  # says it better
                        raise
                    if values is not None:
                        values.append(value)
                    else:
                        if type(key) is not str:
                            stable_hash(key)  # refuses here what no worker could deal
                        groups[key] = [value]
            except (InvalidPairsError, UnstableKeyError):
                raise
            except Exception as error:
                raise RecordFailedError.on(record, position) from error
        return groups


class of_lists:  # noqa: N801  # reads as by_key does
    """Make a function of a key and what is `Together` of it from one of a key and an iterator of values."""

    def __init__(self, function: Callable[[Any, Iterator[Any]], Any]) -> None:
        self._function = function

    def __call__(self, key: Any, lists: Iterator[list[Any]]) -> Any:
        """Return what the function returns."""
        return self._function(key, iter(next(lists)))
