"""Finding entries by template, and finding waiters by tuple. No I/O, no clock reads.

Entries are kept per shape (arity, or keys of a dict tuple) in one *line*, in order of their ids.
A search walks the shortest line that must hold every match; one that has walked past many others
asks for an index: from then on there is also a line for each value of the position that would
have spared it most. Waiters are the same search reversed: each hangs on one literal of its
template, and a tuple looks itself up there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator
from heapq import heappop, heappush, merge
from itertools import chain, islice
from operator import attrgetter
from typing import Any, Protocol

from tuplespace.entry import Entry
from tuplespace.template import NO_KEY, Template, Tuple, index_key, shape_of

#: A search that walked past more entries than this asks for an index.
SCAN_LIMIT = 16
#: How many entries are looked at to find the position that tells most.
_SAMPLE = 256


class Line:
    """Entry ids in order, oldest first. Taking the oldest and going back in line are cheap.

    An id is not removed when its entry goes: it is skipped, and dropped when it comes to the
    front or when the skipped outnumber the living. (Deleting from the front of a dict would make
    every later look at its front walk over the holes.) Who comes back stands in `_returned`,
    a heap; an id may then be there and in `_ids`.
    """

    # Lists, because most lines of an index hold one id, and a deque takes ten times the memory.
    __slots__ = ("_ids", "_returned", "_start", "live")

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._start = 0  # what stands before it in `_ids` is gone
        self._returned: list[int] | None = None
        self.live = 0

    def append(self, id: int) -> None:
        """Add an id larger than all before."""
        self._ids.append(id)
        self.live += 1

    def put_back(self, id: int) -> None:
        """Add an id that was dropped before, at its old place."""
        if self._returned is None:
            self._returned = []
        heappush(self._returned, id)
        self.live += 1

    def drop(self, entries: dict[int, Entry]) -> None:
        """Note that one id's entry is no longer ready."""
        self.live -= 1
        if len(self._ids) + len(self._returned or ()) > 2 * self.live + 64:
            self._ids = [entry.id for entry in self.walk(entries)]
            self._start, self._returned = 0, None

    def first(self, entries: dict[int, Entry]) -> Entry | None:
        """Return the oldest ready entry."""
        oldest, ids, start = None, self._ids, self._start
        while start < len(ids):
            oldest = _ready(ids[start], entries)
            if oldest is not None:
                break
            start += 1
        self._start = start
        returned = self._returned
        while returned:
            back = _ready(returned[0], entries)
            if back is not None:
                return back if oldest is None or back.id < oldest.id else oldest
            heappop(returned)
        return oldest

    def walk(self, entries: dict[int, Entry]) -> Iterator[Entry]:
        """Yield the ready entries in order; the line must not change meanwhile."""
        ids: Iterable[int] = islice(self._ids, self._start, None) if self._start else self._ids
        if self._returned:
            ids = merge(ids, sorted(self._returned))
        last = -1
        for id in ids:
            entry = entries.get(id)
            if id != last and entry is not None and entry.claim is None:
                yield entry
            last = id


def _ready(id: int, entries: dict[int, Entry]) -> Entry | None:
    entry = entries.get(id)
    return entry if entry is not None and entry.claim is None else None


class _Shape:
    """The ready entries of one shape."""

    __slots__ = ("_hopeless", "by_position", "line")

    def __init__(self) -> None:
        self.line = Line()
        self.by_position: dict[Any, dict[Hashable, Line]] = {}
        self._hopeless: dict[Any, int] = {}

    def lines_of(self, value: Tuple) -> Iterator[Line]:
        """Yield every line this tuple stands in."""
        yield self.line
        for position, lines in self.by_position.items():
            key = index_key(value[position])
            if key is not NO_KEY:
                line = lines.get(key)
                if line is None:
                    line = lines[key] = Line()
                yield line

    def serve_better(self, template: Template, entries: dict[int, Entry]) -> None:
        """Index the position that would have spared this template most, if one would."""
        sample = [entry.value for entry in islice(self.line.walk(entries), _SAMPLE)]
        shares = [
            (sum(index_key(value[position]) == key for value in sample), number, position)
            for number, (position, key) in enumerate(template.literals)
            if position not in self.by_position
            and self.line.live >= 2 * self._hopeless.get(position, 0)
        ]
        if not shares:
            return
        share, _, position = min(shares)
        if share <= len(sample) // 2:
            self.build(position, entries)
        else:
            for _, _, useless in shares:  # until the line has doubled
                self._hopeless[useless] = self.line.live

    def build(self, position: Any, entries: dict[int, Entry]) -> None:
        """Keep a line for each value of this position from now on."""
        lines: dict[Hashable, Line] = {}
        for entry in self.line.walk(entries):
            key = index_key(entry.value[position])
            if key is not NO_KEY:
                if key not in lines:
                    lines[key] = Line()
                lines[key].append(entry.id)
        self.by_position[position] = lines


class EntryIndex:
    """All entries by id, and the ready ones by template."""

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        self._shapes: dict[Hashable, _Shape] = {}

    def add(self, entry: Entry) -> None:
        """Store a new, ready entry, younger than all before."""
        self.entries[entry.id] = entry
        shape = self._shapes.get(entry.shape)
        if shape is None:
            shape = self._shapes[entry.shape] = _Shape()
        if shape.by_position:
            for line in shape.lines_of(entry.value):
                line.append(entry.id)
        else:
            shape.line.append(entry.id)

    def hide(self, entry: Entry) -> None:
        """Take an entry out of line; the caller has set its claim or removed it from `entries`."""
        shape = self._shapes[entry.shape]
        shape.line.drop(self.entries)
        if shape.by_position:
            value = entry.value
            for position, lines in shape.by_position.items():
                key = index_key(value[position])
                line = lines.get(key)
                if line is not None:
                    line.drop(self.entries)
                    if not line.live:
                        del lines[key]
        if not shape.line.live:
            del self._shapes[entry.shape]

    def show(self, entry: Entry) -> None:
        """Put an entry back in line at its old place; the caller has cleared its claim."""
        shape = self._shapes.get(entry.shape)
        if shape is None:
            shape = self._shapes[entry.shape] = _Shape()
        for line in shape.lines_of(entry.value):
            line.put_back(entry.id)

    def first(self, template: Template) -> Entry | None:
        """Return the oldest ready entry that matches."""
        line = self._shortest_line(template)
        if line is None:
            return None
        entry = line.first(self.entries)
        if entry is None or template.matches(entry.value):
            return entry
        found = self._walk(line, template, 1)
        return found[0] if found else None

    def find(self, template: Template, limit: int | None = None) -> list[Entry]:
        """Return the ready entries that match, oldest first, at most `limit` of them."""
        line = self._shortest_line(template)
        if line is None:
            return []
        return self._walk(line, template, limit)

    def _walk(self, line: Line, template: Template, limit: int | None) -> list[Entry]:
        """Return what matches in a line; ask for an index if most of the walk was in vain."""
        entries, passed, matches = [], 0, template.matches
        for entry in line.walk(self.entries):
            if matches(entry.value):
                entries.append(entry)
                if len(entries) == limit:
                    break
            else:
                passed += 1
        if passed > SCAN_LIMIT and passed > len(entries):
            self._shapes[template.shape].serve_better(template, self.entries)
        return entries

    def count(self, template: Template) -> int:
        """Return how many ready entries match."""
        line = self._shortest_line(template)
        if line is None:
            return 0
        return line.live if template.matches_all else len(self._walk(line, template, None))

    def _shortest_line(self, template: Template) -> Line | None:
        shape = self._shapes.get(template.shape)
        if shape is None:
            return None
        best = shape.line
        for position, key in template.literals:
            lines = shape.by_position.get(position)
            if lines is None:
                continue
            line = lines.get(key)
            if line is None:
                return None
            if line.live < best.live:
                best = line
        return best


class Waiting(Protocol):
    """What a `WaiterIndex` holds: parked requests and subscriptions."""

    number: int
    template: Template


class WaiterIndex:
    """Parked templates, found by the tuples they match, in order of arrival."""

    def __init__(self) -> None:
        self._shapes: dict[Hashable, dict[Any, OrderedDict[int, Any]]] = {}

    def __bool__(self) -> bool:
        return bool(self._shapes)

    def add(self, waiter: Waiting) -> None:
        """Hang the waiter on the literal of its template that fewest others hang on."""
        lines = self._shapes.setdefault(waiter.template.shape, {})
        hook = min(
            waiter.template.literals,
            key=lambda literal: len(lines.get(literal, ())),
            default=None,
        )
        lines.setdefault(hook, OrderedDict())[waiter.number] = waiter
        waiter.hook = hook  # type: ignore[attr-defined]

    def remove(self, waiter: Any) -> None:
        """Take the waiter out; it must be in."""
        lines = self._shapes[waiter.template.shape]
        del lines[waiter.hook][waiter.number]
        if not lines[waiter.hook]:
            del lines[waiter.hook]
            if not lines:
                del self._shapes[waiter.template.shape]

    def matching(self, value: Tuple) -> Iterator[Any]:
        """Yield the waiters whose template matches, first come first; none may go meanwhile."""
        lines = self._shapes.get(shape_of(value))
        if lines is None:
            return iter(())
        return self._matching(lines, value)

    @staticmethod
    def _matching(lines: dict[Any, OrderedDict[int, Any]], value: Tuple) -> Iterator[Any]:
        fields = enumerate(value) if type(value) is tuple else value.items()  # type: ignore[union-attr]
        hooks = chain([None], ((position, index_key(field)) for position, field in fields))
        candidates = [line.values() for line in map(lines.get, hooks) if line]
        ordered = (
            (
                candidates[0]
                if len(candidates) == 1
                else merge(*candidates, key=attrgetter("number"))
            )
            if candidates
            else ()
        )
        for waiter in ordered:
            if waiter.template.matches(value):
                yield waiter
