"""Data that is read while the job runs: a generator, say, which may be longer than memory.

::

    iterator --read_head--> ends within HEAD_RECORDS and HEAD_BYTES: it is a list, all is as with one
                 |
                 '--> a stream --cut--> splits of about SPLIT_BYTES, R = STREAM_REDUCE_TASKS
                          '----cut, count, deal--> M splits as of a list, if the user gave M

Where it is cut follows from the records alone, by what each of them takes pickled.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final, NamedTuple

from mapreduce.errors import InvalidJobError, shorten
from mapreduce.inputs.sources import SplitSource
from mapreduce.inputs.splits import (
    FALLBACK_SECONDS,
    MIXED,
    GivenSplit,
    InMemory,
    PlannedSplit,
    RecordSplit,
    Split,
    cuts,
    default_reduce_tasks,
    plan_splits,
)
from tuplespace.pickles import dump_data, load
from workers.task import Parcel
from workers.workplace import Workplace

HEAD_RECORDS: Final = 10_000
HEAD_BYTES: Final = 1 << 20
SPLIT_BYTES: Final = 2 << 20
STREAM_REDUCE_TASKS: Final = 32

_WHOLE = (list, tuple, range, str, bytes, bytearray, memoryview, Mapping, SplitSource, Split)


class Head(NamedTuple):
    """The beginning of an iterator.

    Attributes:
        records: Them. ended: Whether these were all.
        rest: All records from the first on, each to be had once.
    """

    records: list[Any]
    ended: bool
    rest: Iterator[Any]


def read_head(iterator: Iterator[Any]) -> Head:
    """Read so many records that it is known whether this is a stream; blocks while they come."""
    records: list[Any] = []
    size = 0
    for record in iterator:
        records.append(record)
        try:
            size += len(dump_data(record))
        except Exception:  # noqa: BLE001, S110  # whoever sends it will say so
            pass
        if len(records) > HEAD_RECORDS or size > HEAD_BYTES:
            return Head(records, False, chain(records, iterator))
    return Head(records, True, iter(records))


def cut(records: Iterable[Any]) -> Iterator[RecordSplit | GivenSplit]:
    """Yield the splits of a stream, each as soon as it has been read.

    A split ends with the record that brings it to SPLIT_BYTES, however big that is. `Split` s
    of the user are one split each.

    Raises:
        InvalidJobError: A record cannot be pickled, or `Split` s are mixed with records.
    """
    run: list[Any] = []
    size = first = 0
    kinds = set()
    for number, record in enumerate(records):
        kinds.add(type(record) is Split)
        if len(kinds) > 1:
            raise InvalidJobError(MIXED)
        if type(record) is Split:
            yield GivenSplit.of(record, number)
            continue
        run.append(record)
        size += _size(record, number)
        if size >= SPLIT_BYTES:
            yield RecordSplit(run, first)
            run, size, first = [], 0, number + 1
    if run:
        yield RecordSplit(run, first)


def _size(record: Any, number: int) -> int:
    try:
        return len(dump_data(record))
    except Exception as error:
        raise InvalidJobError(
            f"record {number} of the data cannot be pickled ({shorten(record)}): {error}"
        ) from error


class Piece(NamedTuple):
    """Some of the records of a split, on their way.

    Attributes:
        parcel: A pickled split with them and others. start, end: Which of its records.
    """

    parcel: Parcel
    start: int
    end: int


@dataclass(frozen=True)
class SentSplit(InMemory):
    """A split whose records the driver has put into blocks: it keeps just where they are.

    Attributes:
        pieces: The records. first: The number of the first in the data. given: Whether it is the
            one `GivenSplit` in its one piece. affinity, wait: See `Split`.
    """

    pieces: tuple[Piece, ...]
    first: int
    given: bool = False
    affinity: str | None = None
    wait: float = FALLBACK_SECONDS

    @property
    def size(self) -> int:
        """How many records there are."""
        return sum(piece.end - piece.start for piece in self.pieces)

    @property
    def blocks(self) -> tuple[Parcel, ...]:  # type: ignore[override]
        """See `PlannedSplit.blocks`."""
        return tuple(piece.parcel for piece in self.pieces)

    def at_home(self, uri: str) -> SentSplit:
        """Return the same split, whose records this block server has."""
        if not uri:
            return self
        pieces = (piece._replace(parcel=piece.parcel.at(uri)) for piece in self.pieces)
        return replace(self, pieces=tuple(pieces))

    def read_by(self, workplace: Workplace) -> PlannedSplit:
        """Return the split with its records.

        Raises:
            BlockLostError: Nobody has them any more.
        """
        splits = [load(workplace.receive(piece.parcel)) for piece in self.pieces]
        if self.given:
            return splits[0]  # type: ignore[no-any-return]
        parts = zip(self.pieces, splits, strict=True)
        runs = [split.data[piece.start : piece.end] for piece, split in parts]
        return RecordSplit(list(chain.from_iterable(runs)), self.first)

    def records(self, open_at: Any = None) -> Any:
        """Refuse: they are not here, see `read_by`."""
        raise TypeError("the records of a SentSplit have to be fetched")

    def describe(self) -> str:
        """Say which records these are."""
        return "split" if self.given else f"records from {self.first} on of the data"

    def locate(self, position: int, open_at: Any = None) -> str:
        """Say which record of the data it is."""
        return f"record {self.first + position} of the data"


def deal(pieces: list[Piece], map_tasks: int) -> Iterator[SentSplit]:
    """Yield M splits of all records of a stream, whose lengths differ by at most one.

    They are those that `plan_splits` would make of the list.
    """
    total = sum(piece.end - piece.start for piece in pieces)
    upcoming = iter(pieces)
    piece, here = None, 0
    for low, high in cuts(total, map_tasks):
        dealt = []
        while here < high:
            piece = piece or next(upcoming)
            taken = min(high - here, piece.end - piece.start)
            dealt.append(piece._replace(end=piece.start + taken))
            left = piece._replace(start=piece.start + taken)
            piece = left if left.start < left.end else None
            here += taken
        yield SentSplit(tuple(dealt), low)


def splits_of_head(head: Head, map_tasks: int | None) -> Iterable[PlannedSplit]:
    """Return the splits of a stream for one process: one after the other, unless M is given."""
    if head.ended or map_tasks is not None:
        return plan_splits(list(head.rest), map_tasks)
    return cut(head.rest)


def reduce_tasks_of_stream(head: Head, map_tasks: int | None) -> int:
    """Return the default R: that of a list, if it is as good as one or M is given."""
    if head.ended:
        return default_reduce_tasks(len(plan_splits(head.records, map_tasks)))
    return STREAM_REDUCE_TASKS if map_tasks is None else default_reduce_tasks(map_tasks)


class UsedUp:
    """Which iterators have been read, by whatever job of this process. Thread-safe."""

    def __init__(self) -> None:
        self._known: dict[int, weakref.ref[Any]] = {}
        self._lock = threading.Lock()

    def claim(self, iterator: Any) -> bool:
        """Note that it is read from now on; False if it was noted before.

        Raises:
            TypeError: It cannot be remembered without being kept alive.
        """
        key = id(iterator)
        with self._lock:
            known = self._known.get(key)
            if known is not None and known() is iterator:
                return False
            self._known[key] = weakref.ref(iterator, lambda _: self._known.pop(key, None))
            return True


_used_up = UsedUp()


class Data:
    """What is remembered of a job's data between its runs: the iterator that one has used up."""

    def __init__(self) -> None:
        self._used: Any = None

    def open(self, data: Any) -> Iterator[Any] | None:
        """Return an iterator to be read lazily; None if all of the data is there.

        Raises:
            InvalidJobError: It is no data, or an iterator that an earlier run has used up.
        """
        if isinstance(data, _WHOLE):
            return None
        iterator: Iterator[Any]
        try:
            iterator = iter(data)
        except TypeError as error:
            msg = f"data must be a list, an iterable, a mapping or TextFiles, got {shorten(data)}"
            raise InvalidJobError(msg) from error
        if iterator is data:
            try:
                fresh = _used_up.claim(iterator)
            except TypeError:  # a map, zip or csv.reader has no weak references
                fresh, self._used = self._used is not iterator, iterator
            if not fresh:
                raise InvalidJobError(
                    f"data is an iterator that an earlier run has read: {shorten(data)}; "
                    "pass a list, or make a new one for each run"
                )
        return iterator
