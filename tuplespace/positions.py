"""Indexes of one position of a tuple: by value, by type, by order. No I/O, no clock.

Made on demand (see `index`); from then on each ready entry of the shape stands in them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from itertools import starmap
from math import inf
from typing import Any, Final, Protocol

from sortedcontainers import SortedList

from tuplespace.entry import Entry
from tuplespace.lines import Alone, Candidates, Entries, Line, Together
from tuplespace.template import RANGE, TYPE, VALUE
from tuplespace.values import NO_KEY, family_of, index_key

#: (family, lowest, highest) of the values in a range, None being no end.
Range = tuple[str, Any, Any]
#: Ranges with a line of their own, each of which costs every write a comparison or two.
_FEW: Final = 16
#: So few entries are put in order again each time.
_SMALL: Final = 64


class PositionIndex(Protocol):
    """The ready entries of a shape by what stands at one position."""

    def append(self, entry: Entry) -> None:
        """Add a ready entry younger than all before."""

    def put_back(self, entry: Entry) -> None:
        """Add an entry that was dropped before."""

    def drop(self, entry: Entry, entries: Entries) -> None:
        """Note that this entry is no longer ready."""

    def candidates(self, wanted: Any) -> Candidates | None:
        """Return those that a lookup wants (see `template.Lookup`); None: there are none."""


class KeyIndex:
    """A line for each key: of a value, or its type.

    Where keys are many most lines have one entry, and then its id alone stands for the line: that
    takes no memory of its own, and makes an index of a million in a fraction of the time.
    """

    def __init__(self, position: Any, kind: str) -> None:
        self._position = position
        self._key_of: Callable[[Any], Any] = index_key if kind == VALUE else type
        self._lines: dict[Hashable, int | Line] = {}

    def append(self, entry: Entry) -> None:
        """See `PositionIndex.append`."""
        self._add(entry, Line.append)

    def put_back(self, entry: Entry) -> None:
        """See `PositionIndex.put_back`."""
        self._add(entry, Line.put_back)

    def _add(self, entry: Entry, to_line: Callable[[Line, int], None]) -> None:
        key = self._key_of(entry.value[self._position])
        if key is NO_KEY:
            return
        line = self._lines.get(key)
        if line is None:
            self._lines[key] = entry.id
        elif isinstance(line, int):
            self._lines[key] = Line(sorted((line, entry.id)))
        else:
            to_line(line, entry.id)

    def drop(self, entry: Entry, entries: Entries) -> None:
        """See `PositionIndex.drop`."""
        key = self._key_of(entry.value[self._position])
        line = self._lines.get(key)  # NO_KEY is nobody's
        if type(line) is int:
            del self._lines[key]
        elif line is not None:
            line.drop(entries)  # type: ignore[union-attr]
            if not line.live:  # type: ignore[union-attr]
                del self._lines[key]

    def candidates(self, wanted: tuple[Hashable, ...]) -> Candidates | None:
        """See `PositionIndex.candidates`."""
        found: list[Candidates] = []
        for key in wanted:
            line = self._lines.get(key)
            if line is not None:
                found.append(Alone(line) if type(line) is int else line)  # type: ignore[arg-type]
        if len(found) > 1:
            return Together(found)
        return found[0] if found else None


class OrderIndex:
    """Values in order, numbers, str and bytes apart, for ranges.

    The oldest between two values is found by looking at all of them. A range that is asked for
    its oldest again therefore gets a line of its own, of which there are a few at a time.
    """

    def __init__(self, position: Any) -> None:
        self._position = position
        self._families: dict[str, SortedList] = {}
        self._lines: dict[Range, Line] = {}
        self._asked: dict[Range, None] = {}

    def load(self, entries: Iterator[Entry]) -> None:
        """Add many at once to an empty index."""
        found: dict[str, list[tuple[Any, int]]] = {}
        for entry in entries:
            value = entry.value[self._position]
            family = family_of(value)
            if family is not None:
                found.setdefault(family, []).append((value, entry.id))
        self._families = {family: SortedList(pairs) for family, pairs in found.items()}

    def append(self, entry: Entry) -> None:
        """See `PositionIndex.append`."""
        for line in self._add(entry):
            line.append(entry.id)

    def put_back(self, entry: Entry) -> None:
        """See `PositionIndex.put_back`."""
        for line in self._add(entry):
            line.put_back(entry.id)

    def _add(self, entry: Entry) -> list[Line]:
        value = entry.value[self._position]
        family = family_of(value)
        if family is None:
            return []
        self._families.setdefault(family, SortedList()).add((value, entry.id))
        return self._lines_of(family, value)

    def drop(self, entry: Entry, entries: Entries) -> None:
        """See `PositionIndex.drop`."""
        value = entry.value[self._position]
        family = family_of(value)
        if family is not None:
            self._families[family].remove((value, entry.id))
            for line in self._lines_of(family, value):
                line.drop(entries)

    def _lines_of(self, family: str, value: Any) -> list[Line]:
        return [
            line
            for (among, low, high), line in self._lines.items()
            if among == family and (low is None or low <= value) and (high is None or value <= high)
        ]

    def candidates(self, wanted: Range) -> Candidates | None:
        """See `PositionIndex.candidates`."""
        line = self._lines.get(wanted)
        if line is not None:
            return line if line.live else None
        family, low, high = wanted
        pairs = self._families.get(family)
        if pairs is None:
            return None
        start = 0 if low is None else pairs.bisect_left((low,))
        stop = len(pairs) if high is None else pairs.bisect_right((high, inf))
        return Span(self, wanted, pairs.islice(start, stop), stop - start) if start < stop else None

    def oldest_of(self, wanted: Range, ids: Iterator[int]) -> int:
        """Return the smallest of these ids; asked again for the same range, keep a line of it."""
        return self.in_order(wanted, ids)[0] if wanted in self._asked else self._note(wanted, ids)

    def _note(self, wanted: Range, ids: Iterator[int]) -> int:
        _put(self._asked, wanted, None)
        return min(ids)

    def in_order(self, wanted: Range, ids: Iterator[int]) -> list[int]:
        """Return these ids in order; asked again for the same range, keep a line of it."""
        ids_in_order = sorted(ids)
        if wanted in self._asked:
            del self._asked[wanted]
            _put(self._lines, wanted, Line(ids_in_order))
        elif len(ids_in_order) > _SMALL:
            _put(self._asked, wanted, None)
        return ids_in_order


class Span:
    """The part of an order index between two values; to be walked once."""

    __slots__ = ("_index", "_pairs", "_wanted", "live")

    def __init__(
        self, index: OrderIndex, wanted: Range, pairs: Iterator[tuple[Any, int]], live: int
    ) -> None:
        self._index, self._wanted, self._pairs, self.live = index, wanted, pairs, live

    def first(self, entries: Entries) -> Entry | None:
        """See `lines.Candidates.first`. Looks at all of them: they stand in another order."""
        return entries[self._index.oldest_of(self._wanted, starmap(_second, self._pairs))]

    def walk(self, entries: Entries) -> Iterator[Entry]:
        """See `lines.Candidates.walk`."""
        ids = starmap(_second, self._pairs)
        return map(entries.__getitem__, self._index.in_order(self._wanted, ids))


def _second(_: Any, id: int) -> int:
    return id


def _put(few: dict[Any, Any], key: Any, value: Any) -> None:
    """Add to a dict of a few, in place of its oldest if need be."""
    if len(few) >= _FEW:
        del few[next(iter(few))]
    few[key] = value


def make(position: Any, kind: str, line: Line, entries: Entries) -> PositionIndex:
    """Return an index of all the entries in a line."""
    if kind == RANGE:
        order = OrderIndex(position)
        order.load(line.walk(entries))
        return order
    assert kind in (VALUE, TYPE)
    index = KeyIndex(position, kind)
    for entry in line.walk(entries):
        index.append(entry)
    return index
