"""Lines: ready entries in order of their ids, and what else a search can walk. No I/O, no clock.

What can be walked (`Candidates`) says how many entries it has, which is the oldest, and yields
them oldest first: a line, one entry, several lines together, a span of a sorted index.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import merge
from typing import Final, Protocol

from sortedcontainers import SortedList

from tuplespace.entry import Entry

Entries = dict[int, Entry]
_STRIDE: Final = 64


class Candidates(Protocol):
    """Entries among which every match of a search must be."""

    @property
    def live(self) -> int:
        """How many are ready."""

    def first(self, entries: Entries) -> Entry | None:
        """Return the oldest ready one."""

    def walk(self, entries: Entries) -> Iterator[Entry]:
        """Yield the ready ones, oldest first; the space must not change meanwhile."""


class Line:
    """Entry ids in order, oldest first. Taking the oldest and going back in line are cheap.

    An id is not removed when its entry goes: it is skipped, and dropped when it comes to the
    front or when the skipped outnumber the living. (Deleting from the front of a dict would make
    every later look at its front walk over the holes.) Who comes back stands in `_returned`, in
    order; an id may then be there and in `_ids`.
    """

    # Lists, because most lines of an index are short, and a deque takes ten times the memory.
    __slots__ = ("_ids", "_returned", "_start", "live")

    def __init__(self, ids: Iterable[int] = ()) -> None:
        self._ids = list(ids)
        self._start = 0  # what stands before it in `_ids` is gone
        self._returned: SortedList | None = None
        self.live = len(self._ids)

    def append(self, id: int) -> None:
        """Add an id larger than all before."""
        self._ids.append(id)
        self.live += 1

    def put_back(self, id: int) -> None:
        """Add an id that was dropped before, at its old place."""
        if self._returned is None:
            self._returned = SortedList()
        self._returned.add(id)
        self.live += 1

    def drop(self, entries: Entries) -> None:
        """Note that one id's entry is no longer ready."""
        self.live -= 1
        if len(self._ids) + len(self._returned or ()) > 2 * self.live + 64:
            self._ids = [entry.id for entry in self.walk(entries)]
            self._start, self._returned = 0, None

    def first(self, entries: Entries) -> Entry | None:
        """See `Candidates.first`."""
        oldest, ids, start = None, self._ids, self._start
        while start < len(ids):
            oldest = ready(ids[start], entries)
            if oldest is not None:
                break
            start += 1
        self._start = start
        returned = self._returned
        while returned:
            back = ready(returned[0], entries)
            if back is not None:
                return back if oldest is None or back.id < oldest.id else oldest
            del returned[0]
        return oldest

    def sample(self, size: int, entries: Entries) -> list[Entry]:
        """Return about so many of the ready entries, from all over the line."""
        step = max(self.live // size, 1)
        ids = {*self._ids[self._start :: step], *(self._returned or ())[::step]}
        return [entry for id in ids if (entry := ready(id, entries)) is not None]

    def walk(self, entries: Entries) -> Iterator[Entry]:
        """See `Candidates.walk`."""
        self.first(entries)  # what has gone from the front is not walked over again
        ids: Iterable[int] = _from(self._ids, self._start)
        if self._returned:
            ids = merge(ids, self._returned)
        last = -1
        for id in ids:
            entry = entries.get(id)
            if id != last and entry is not None and entry.claim is None:
                yield entry
            last = id


class Alone:
    """One entry, known to be ready."""

    __slots__ = ("_id",)
    live = 1

    def __init__(self, id: int) -> None:
        self._id = id

    def first(self, entries: Entries) -> Entry | None:
        """See `Candidates.first`."""
        return entries[self._id]

    def walk(self, entries: Entries) -> Iterator[Entry]:
        """See `Candidates.walk`."""
        yield entries[self._id]


class Together:
    """Several lines that share no entry."""

    __slots__ = ("_lines", "live")

    def __init__(self, lines: list[Candidates]) -> None:
        self._lines = lines
        self.live = sum(line.live for line in lines)

    def first(self, entries: Entries) -> Entry | None:
        """See `Candidates.first`."""
        found = [entry for line in self._lines if (entry := line.first(entries)) is not None]
        return min(found, key=_id_of, default=None)

    def walk(self, entries: Entries) -> Iterator[Entry]:
        """See `Candidates.walk`."""
        return merge(*(line.walk(entries) for line in self._lines), key=_id_of)


def _from(ids: list[int], start: int) -> Iterator[int]:
    """Yield a list's elements from `start` on; islice would count its way there."""
    for at in range(start, len(ids), _STRIDE):
        yield from ids[at : at + _STRIDE]


def ready(id: int, entries: Entries) -> Entry | None:
    """Return the entry, if it is there and nobody has claimed it."""
    entry = entries.get(id)
    return entry if entry is not None and entry.claim is None else None


def _id_of(entry: Entry) -> int:
    return entry.id
