"""From a job's data to M splits, one for each map task.

The plan follows from the data and M alone, never from how many workers there are: the same job
on the same data has the same splits wherever it runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Final, Protocol

from mapreduce.errors import InvalidJobError, shorten
from mapreduce.inputs.filesplit import OpenAt
from mapreduce.inputs.sources import SplitSource
from mapreduce.inputs.textfiles import TextFiles
from workers.task import Parcel
from workers.workplace import Workplace

__all__ = [
    "FALLBACK_SECONDS",
    "MIXED",
    "GivenSplit",
    "InMemory",
    "PlannedSplit",
    "RecordSplit",
    "Split",
    "TextFiles",
    "check_map_tasks",
    "cuts",
    "default_reduce_tasks",
    "plan_splits",
]

#: How long a split waits for the worker or host it is aimed at, unless the user says.
FALLBACK_SECONDS: Final = 10.0
MIXED: Final = "data mixes Split objects with records: make all of them Split"

_DEFAULT_MAP_TASKS = 16
_DEFAULT_REDUCE_TASKS = 8
_MAPS_A_REDUCE = 4
_MOST_REDUCE_TASKS = 512


@dataclass(frozen=True)
class Split:
    """A split made by the user: an element of ``data=[Split(...), ...]``.

    Attributes:
        data: What the map function gets: a list of records, or anything that can be pickled and
            from which it finds its records, such as a path or a URL.
        affinity: The name of the host or worker that should run it, because the data lies there.
        wait: Seconds that it waits for that one; then any worker may run it. If no such worker
            has registered, it goes to any after 1.5 s already. ``math.inf``: it waits for ever,
            worker or not.

    Raises:
        InvalidJobError: The affinity is no str, or the wait no number from 0 on.
    """

    data: Any
    affinity: str | None = None
    wait: float = FALLBACK_SECONDS

    def __post_init__(self) -> None:
        affinity: Any = self.affinity  # whatever the user gave
        wait: Any = self.wait
        if not isinstance(affinity, str | None):
            raise InvalidJobError(
                f"affinity is the name of a host or worker, a str, not {shorten(affinity)}"
            )
        is_number = isinstance(wait, (int, float)) and not isinstance(wait, bool)
        if not is_number or not wait >= 0:
            raise InvalidJobError(f"wait is seconds, a number from 0 on, not {shorten(wait)}")


class PlannedSplit(Protocol):
    """What one map task reads; picklable, and cheap to make."""

    @property
    def affinity(self) -> str | None:
        """Where the task should run, if that matters."""

    @property
    def wait(self) -> float:
        """See `Split`."""

    @property
    def size(self) -> int:
        """Its bytes or records, as a measure of progress against the job's other splits."""

    @property
    def files(self) -> tuple[str, ...]:
        """The paths that it reads of the driver's host."""

    @property
    def blocks(self) -> tuple[Parcel, ...]:
        """What else the driver has sent of it."""

    def at_home(self, uri: str) -> PlannedSplit:
        """Return the same split, told which block server hands out its files."""

    def read_by(self, workplace: Workplace) -> PlannedSplit:
        """Return the same split, in the hands of the worker that maps it.

        Raises:
            BlockLostError: What the driver has sent of it is gone.
        """

    def records(self, open_at: OpenAt | None = None) -> Any:
        """Return what the map function gets: an iterable to go through once.

        Args:
            open_at: What opens a file of another host; None: only this host's are read.
        """

    def describe(self) -> str:
        """Say what is in it, in a few words."""

    def locate(self, position: int, open_at: OpenAt | None = None) -> str:
        """Say where the record with this 0-based position came from. May be slow."""


class InMemory:
    """A split that reads no files."""

    blocks: ClassVar[tuple[Parcel, ...]] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """None."""
        return ()

    def at_home(self, uri: str) -> Any:
        """Return the same split."""
        return self

    def read_by(self, workplace: Workplace) -> Any:
        """Return the same split."""
        return self


@dataclass(frozen=True)
class RecordSplit(InMemory):
    """A run of the records of the data, the first of them being number ``first``."""

    data: Sequence[Any]
    first: int
    affinity: str | None = None
    wait: float = FALLBACK_SECONDS

    @property
    def size(self) -> int:
        """How many records there are."""
        return len(self.data)

    def records(self, open_at: OpenAt | None = None) -> Sequence[Any]:
        """Return the records; a list is the same list each time."""
        return self.data

    def describe(self) -> str:
        """Say which records these are."""
        if not self.data:
            return "no records"
        return f"records {self.first}-{self.first + len(self.data) - 1} of the data"

    def locate(self, position: int, open_at: OpenAt | None = None) -> str:
        """Say which record of the data it is, so that ``data[n]`` shows it."""
        return f"record {self.first + position} of the data"


@dataclass(frozen=True)
class GivenSplit(InMemory):
    """A split made by the user, number ``number`` of the data."""

    data: Any
    number: int
    affinity: str | None = None
    wait: float = FALLBACK_SECONDS

    @classmethod
    def of(cls, split: Split, number: int) -> GivenSplit:
        """Return what becomes of the user's split."""
        return cls(split.data, number, split.affinity, split.wait)

    @property
    def size(self) -> int:
        """How many records it has; 1 if it cannot tell, or is a name of some."""
        sized = isinstance(self.data, Sized) and not isinstance(self.data, (str, bytes))
        return len(self.data) if sized else 1

    def records(self, open_at: OpenAt | None = None) -> Any:
        """Return the user's own object."""
        return self.data

    def describe(self) -> str:
        """Say which of the user's splits it is."""
        return f"split {self.number} of the data"

    def locate(self, position: int, open_at: OpenAt | None = None) -> str:
        """Say which record of which of the user's splits it is."""
        return f"record {position} of split {self.number} of the data"


def plan_splits(data: Any, map_tasks: int | None = None) -> list[PlannedSplit]:
    """Make the splits of a job.

    Args:
        data: A sequence, a mapping (its items), any other iterable (used up at once; see
            ``stream`` for those that are read while the job runs), ``TextFiles``, or a list of
            ``Split``.
        map_tasks: M. It is kept, even if that makes empty splits. By default at most 16 splits,
            none of them empty, or what ``TextFiles.plan`` says.

    Raises:
        InvalidJobError: The data is nothing of these, or M is no int from 1 on.
        InputError: A path or pattern of ``TextFiles`` matches no file.
    """
    check_map_tasks(map_tasks)
    if isinstance(data, SplitSource):
        return [*data.plan(map_tasks)]
    if isinstance(data, Split):
        data = [data]
    records = _as_sequence(data)
    # Looking at all types is cheap; a Split among records would reach the map function as one.
    kinds = set() if isinstance(records, range) else set(map(type, records))
    if Split in kinds:
        return _given(records, kinds, map_tasks)
    return _chunks(
        records, min(len(records), _DEFAULT_MAP_TASKS) if map_tasks is None else map_tasks
    )


def check_map_tasks(map_tasks: Any) -> None:
    """Refuse what is no M: neither None nor an int from 1 on.

    Raises:
        InvalidJobError: It is not.
    """
    if map_tasks is not None and (type(map_tasks) is not int or map_tasks < 1):
        msg = f"map_tasks must be an int of at least 1, got {shorten(map_tasks)}"
        raise InvalidJobError(msg)


def default_reduce_tasks(map_tasks: int) -> int:
    """Return the default R: M, but 1 to 8; of a large M a quarter.

    So partitions stay about as large however large the data is, and there are more of them than
    workers, which evens out those that are larger than others.
    """
    few = max(1, min(_DEFAULT_REDUCE_TASKS, map_tasks))
    return max(few, min(map_tasks // _MAPS_A_REDUCE, _MOST_REDUCE_TASKS))


def _as_sequence(data: Any) -> Sequence[Any]:
    if isinstance(data, (list, tuple, range)):
        return data
    if isinstance(data, (str, bytes, bytearray, memoryview)):
        hint = f"TextFiles({shorten(data)})" if isinstance(data, str) else "a list of records"
        msg = f"data is {shorten(data)}, a {type(data).__name__}: for lines of files, give {hint}"
        raise InvalidJobError(msg)
    if isinstance(data, Mapping):
        return list(data.items())
    try:
        iterator = iter(data)
    except TypeError as error:
        msg = f"data must be a list, an iterable, a mapping or TextFiles, got {shorten(data)}"
        raise InvalidJobError(msg) from error
    return list(iterator)


def _given(records: Sequence[Any], kinds: set[type], map_tasks: int | None) -> list[PlannedSplit]:
    if len(kinds) > 1:
        raise InvalidJobError(MIXED)
    if map_tasks not in (None, len(records)):
        msg = f"data is {len(records)} Split objects, so map_tasks cannot be {map_tasks}"
        raise InvalidJobError(msg)
    return [GivenSplit.of(split, number) for number, split in enumerate(records)]


def _chunks(records: Sequence[Any], parts: int) -> list[PlannedSplit]:
    """Cut the records into runs whose lengths differ by at most one."""
    return [RecordSplit(records[low:high], low) for low, high in cuts(len(records), parts)]


def cuts(count: int, parts: int) -> Iterator[tuple[int, int]]:
    """Yield for each part the numbers of its first record and of the next part's."""
    return pairwise([count * number // parts for number in range(parts + 1)] if parts else [0])
