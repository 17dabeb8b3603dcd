"""Selecting: a task on some of its records, or pairs: without the bad ones, or the first few only.

What `Skipping` decides is carried out here, around the user's functions, in the worker or in
`run_sequential`. Attempts without a selection do not pass through here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Any, Final

from mapreduce.columns import Columns
from mapreduce.errors import RecordFailedError, UnstableKeyError, shorten
from mapreduce.grouping import by_key, each
from mapreduce.inputs.filesplit import FileSplit, OpenAt
from mapreduce.inputs.readers import Unreadable
from mapreduce.inputs.splits import PlannedSplit
from mapreduce.pairs import as_pairs
from mapreduce.partition import stable_hash
from mapreduce.skipping import KEY, PAIR, RECORD
from mapreduce.spilling.groups import Group
from workers.errors import summary, traceback_of
from workers.tracking import BOUND, NAMED, POSITION, Page, facts_of

#: A page's numbers have a sign.
_HASH_BITS: Final = (1 << 63) - 1
#: Of a record whose function is a generator, so many pairs are held until it is known to be good.
_HELD_PAIRS: Final = 100_000
#: Of so many skipped records a task tells all, of others their positions only: it may have to read
#: its file again for each.
_TOLD: Final = 100
_ERROR_CHARACTERS: Final = 300


class Selection:
    """What one attempt of a task leaves out.

    Args:
        options: ``skip``: positions of records, or pairs; ``keys``: hashes of keys;
            ``budget``: how many that raise may be left out on the spot; ``first``: it is a probe,
            of so many records, and whatever raises on its own is left out.
        page: Where to note what is in hand.

    Attributes:
        is_probe: Whether its output is to be thrown away.
    """

    def __init__(self, options: dict[str, Any], page: Page) -> None:
        self.first: int | None = options.get("first")
        self.is_probe = self.first is not None
        self.page = page
        self._skip = frozenset(options.get("skip", ()))
        self._keys = frozenset(options.get("keys", ()))
        self._budget = options.get("budget", 0)
        self._skipped: list[tuple[str, int, str, str, str]] = []
        self._last: Exception | None = None
        self._split: tuple[PlannedSplit, OpenAt | None] | None = None

    # -- what is told

    def facts(self, number: int, *, failed: bool) -> dict[str, Any]:
        """Return what an outcome's details say of it. Args: number: Of the task."""
        told: dict[str, Any] = {**facts_of(self.page)} if failed else {}
        if not self.is_probe and self._skipped:
            told["skipped"] = tuple(self._located(number))
            if not failed and self._last is not None:
                told |= {"message": summary(self._last), "traceback": traceback_of(self._last)}
        return told

    def _located(self, number: int) -> Iterator[tuple[str, int, str, str, str]]:
        for count, (kind, position, _, record, error) in enumerate(self._skipped):
            if count >= _TOLD:
                yield kind, position, "", "", ""
            elif kind != RECORD or self._split is None:
                yield kind, position, f"partition {number}", record, error
            else:
                yield kind, position, self._place(*self._split, position), record, error

    def _place(self, split: PlannedSplit, open_at: OpenAt | None, position: int) -> str:
        try:
            return locate(split, position, open_at)
        except Exception:  # noqa: BLE001 - it is only for people
            return f"record {position} of {split.describe()}"

    def _leave_out(self, kind: str, position: int, record: object, error: Exception | None) -> bool:
        """Note that something is left out; False if it must not be, since too many have raised."""
        if error is not None and not self.is_probe:
            if self._budget <= 0:
                return False
            self._budget -= 1
            self._last = error
        what = record.content if isinstance(record, Unreadable) else record
        why = "" if error is None else summary(error)[:_ERROR_CHARACTERS]
        told = shorten(what) if len(self._skipped) < _TOLD else ""
        self._skipped.append((kind, position, "", told, why))
        return True

    # -- maps

    def records_of(self, split: PlannedSplit, open_at: OpenAt | None) -> Any:
        """Return the records of a split, those that cannot be read too."""
        self._split = split, open_at
        if isinstance(split, FileSplit):
            return split.records(open_at, lenient=True)
        return split.records(open_at)

    def of_map(
        self, function: Callable[[Any], Any], records: Any
    ) -> tuple[Callable[[Any], Any], Any]:
        """Return the map function and what it is to get of these records."""
        if isinstance(function, each):
            return each(self._guarded(function.function)), islice(self._read(records), self.first)
        if isinstance(records, (list, tuple, range)):
            return function, self._chosen(records)
        if hasattr(type(records), "__next__"):
            return function, self._handed(records)
        return function, records  # the user's own object: nobody knows what its records are

    def _guarded(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return a function of one record after the other that notes them, and leaves out some."""
        page, skip = self.page, self._skip
        position = -1

        def guarded(record: Any) -> Any:
            nonlocal position
            position += 1
            if position in skip:
                self._leave_out(RECORD, position, record, None)
                return ()
            page[BOUND] = position + 1
            page[POSITION] = position
            try:
                if type(record) is Unreadable:
                    raise record.error
                returned = function(record)
                if type(returned) is not list:
                    pairs = iter(as_pairs(returned, function))
                    returned = list(islice(pairs, _HELD_PAIRS))
                    if len(returned) == _HELD_PAIRS:
                        return _then(chain(returned, pairs), page)
            except Exception as error:
                if not self._leave_out(RECORD, position, record, error):
                    raise
                returned = ()
            page[POSITION] = -1
            return returned

        return guarded

    def _read(self, records: Iterable[Any]) -> Iterator[Any]:
        """Yield the records; what fails in reading is no record's fault."""
        try:
            yield from records
        except Exception:
            self.page[BOUND] = 0
            raise

    def _chosen(self, records: Any) -> list[Any]:
        some = records if self.first is None else records[: self.first]
        self.page[BOUND] = len(some)
        return [
            record
            for position, record in enumerate(some)
            if position not in self._skip or not self._leave_out(RECORD, position, record, None)
        ]

    def _handed(self, records: Iterable[Any]) -> Iterator[Any]:
        page, skip = self.page, self._skip
        page[NAMED] = 1
        for position, record in enumerate(islice(self._read(records), self.first)):
            if position in skip:
                self._leave_out(RECORD, position, record, None)
            elif type(record) is Unreadable:
                if not self._leave_out(RECORD, position, record, record.error):
                    page[POSITION] = position
                    raise record.error
            else:
                page[BOUND] = position + 1
                yield record

    # -- reduces

    def of_reduce(
        self, function: Callable[[Any], Any], columns: Iterable[Columns]
    ) -> tuple[Callable[[Any], Any], Iterator[Columns]]:
        """Return the reduce function and what it is to get."""
        if isinstance(function, by_key):
            function = _GuardedByKey(function, self)
        return function, self._columns(columns)

    def _columns(self, columns: Iterable[Columns]) -> Iterator[Columns]:
        start, page = 0, self.page
        iterator = iter(columns)
        while self.first is None or start < self.first:
            bound, page[BOUND] = page[BOUND], 0  # fetching them may fail, and is no pair's fault
            found = next(iterator, None)
            page[BOUND] = bound
            if found is None:
                return
            keys, values = found
            if self.first is not None and len(keys) > self.first - start:
                keys, values = keys[: self.first - start], values[: self.first - start]
            end = start + len(keys)
            page[BOUND] = end
            out = {position - start for position in self._skip if start <= position < end}
            for at in sorted(out):
                self._leave_out(PAIR, start + at, (keys[at], values[at]), None)
            if out:
                keys, values = (
                    [value for at, value in enumerate(column) if at not in out]
                    for column in (keys, values)
                )
            start = end
            yield keys, values

    def applied(
        self, function: Callable[[Any, Iterator[Any]], Any], groups: Iterable[Group]
    ) -> Iterator[tuple[int, Any, Any]]:
        """See `by_key.applied`."""
        page = self.page
        for position, key, values in groups:
            number = _number_of(key)
            if number in self._keys:
                self._leave_out(KEY, number, key, None)
                continue
            page[POSITION] = number
            try:
                result = function(key, values)
                if hasattr(type(result), "__next__"):
                    result = list(result)
            except Exception as error:
                if number < 0 or not self._leave_out(KEY, number, key, error):
                    raise RecordFailedError.on(key, position, kind="key") from error
            else:
                page[POSITION] = -1
                yield position, key, result
                continue
            page[POSITION] = -1


class _GuardedByKey(by_key):
    """The same, without the keys that are left out."""

    def __init__(self, original: by_key, selection: Selection) -> None:
        super().__init__(
            original.function, sort=original.sort, group=original.group,
            sort_values=original.sort_values,
        )  # fmt: skip
        self._selection = selection

    def applied(self, groups: Iterable[Group]) -> Iterator[tuple[int, Any, Any]]:
        """See there."""
        return self._selection.applied(self.function, groups)


def _then(pairs: Iterator[Any], page: Page) -> Iterator[Any]:
    yield from pairs
    page[POSITION] = -1


def _number_of(key: Any) -> int:
    """Return what tells a key from others, wherever it comes in the partition; -1: nothing does."""
    try:
        return stable_hash(key) & _HASH_BITS
    except UnstableKeyError:
        return -1


def locate(split: PlannedSplit, position: int, open_at: OpenAt | None = None) -> str:
    """Say where a record of a split is, with its byte if it is a line of a file."""
    if isinstance(split, FileSplit):
        return split.locate(position, open_at, with_byte=True)
    return split.locate(position, open_at)
