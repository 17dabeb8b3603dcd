"""Finding entries by template. No I/O, no clock reads.

Entries are kept per shape (arity, or keys of a dict tuple) in one *line*, in order of their ids.
A search walks the smallest set of entries that must hold every match. One that has walked past
many in vain asks for an index of the position, and of the kind (by value, type or order), that
would have spared it most; from then on there is one.
"""

from __future__ import annotations

from collections.abc import Hashable
from itertools import islice
from typing import Any

from tuplespace.entry import Entry
from tuplespace.lines import Candidates, Entries, Line
from tuplespace.positions import PositionIndex, Span, make
from tuplespace.template import KINDS, IndexId, Template

#: A search that walked past more entries than this asks for an index.
SCAN_LIMIT = 16
#: How many entries are looked at to find the index that spares most.
_SAMPLE = 256


class _Shape:
    """The ready entries of one shape."""

    __slots__ = ("_hopeless", "indexes", "line")

    def __init__(self) -> None:
        self.line = Line()
        self.indexes: dict[IndexId, PositionIndex] = {}
        self._hopeless: dict[IndexId, int] = {}

    def candidates(self, template: Template) -> tuple[Candidates | None, IndexId | None]:
        """Return the smallest set that must hold every match, and whose it is; None: the line."""
        best, source = self.line, None
        indexes = self.indexes
        if indexes:
            for id, wanted in template.lookups:
                index = indexes.get(id)
                if index is not None:
                    found = index.candidates(wanted)
                    if found is None:
                        return None, id
                    if found.live < best.live:
                        best, source = found, id  # type: ignore[assignment]
        return best, source

    def serve_better(self, template: Template, entries: Entries) -> None:
        """Make the index that would have spared this template most, if one would."""
        choices = [
            (id, fits)
            for id, fits in template.fits()
            if id not in self.indexes and self.line.live >= 2 * self._hopeless.get(id, 0)
        ]
        if not choices:
            return
        sample = [entry.value for entry in self.line.sample(_SAMPLE, entries)]
        share, _, _, best = min(
            (sum(fits(value[id[0]]) for value in sample), KINDS.index(id[1]), number, id)
            for number, (id, fits) in enumerate(choices)
        )
        if share <= len(sample) // 2:
            self.indexes[best] = make(*best, self.line, entries)
        else:
            for useless, _ in choices:  # until the line has doubled
                self._hopeless[useless] = self.line.live


class EntryIndex:
    """All entries by id, and the ready ones by template."""

    def __init__(self) -> None:
        self.entries: Entries = {}
        self._shapes: dict[Hashable, _Shape] = {}

    def add(self, entry: Entry) -> None:
        """Store a new, ready entry, younger than all before."""
        self.entries[entry.id] = entry
        shape = self._shapes.get(entry.shape)
        if shape is None:
            shape = self._shapes[entry.shape] = _Shape()
        shape.line.append(entry.id)
        if shape.indexes:
            for index in shape.indexes.values():
                index.append(entry)

    def hide(self, entry: Entry) -> None:
        """Take an entry out of line; the caller has set its claim or removed it from `entries`."""
        shape = self._shapes[entry.shape]
        shape.line.drop(self.entries)
        if not shape.line.live:
            del self._shapes[entry.shape]
        elif shape.indexes:
            for index in shape.indexes.values():
                index.drop(entry, self.entries)

    def show(self, entry: Entry) -> None:
        """Put an entry back in line at its old place; the caller has cleared its claim."""
        shape = self._shapes.get(entry.shape)
        if shape is None:
            shape = self._shapes[entry.shape] = _Shape()
        shape.line.put_back(entry.id)
        for index in shape.indexes.values():
            index.put_back(entry)

    def first(self, template: Template) -> Entry | None:
        """Return the oldest ready entry that matches."""
        shape = self._shapes.get(template.shape)
        if shape is None:
            return None
        candidates, _ = shape.candidates(template)
        if candidates is None:
            return None
        if type(candidates) is Span:
            # They do not stand in order of age. Where they are many, one of the oldest of all is
            # likely to be the one.
            walk = islice(shape.line.walk(self.entries), min(_SAMPLE, candidates.live))
            oldest = next((entry for entry in walk if template.matches(entry.value)), None)
            if oldest is not None:
                return oldest
        entry = candidates.first(self.entries)
        if entry is None or template.matches(entry.value):
            return entry
        found = self._find(shape, template, 1)
        return found[0] if found else None

    def find(self, template: Template, limit: int | None = None) -> list[Entry]:
        """Return the ready entries that match, oldest first, at most `limit` of them."""
        shape = self._shapes.get(template.shape)
        if shape is None:
            return []
        return self._find(shape, template, limit)

    def _find(self, shape: _Shape, template: Template, limit: int | None) -> list[Entry]:
        """Return what matches; ask for an index if most of the walk was in vain."""
        candidates, _ = shape.candidates(template)
        if candidates is None:
            return []
        found, passed, matches = [], 0, template.matches
        for entry in candidates.walk(self.entries):
            if matches(entry.value):
                found.append(entry)
                if len(found) == limit:
                    break
            else:
                passed += 1
        if passed > SCAN_LIMIT and passed > len(found):
            shape.serve_better(template, self.entries)
        return found

    def count(self, template: Template) -> int:
        """Return how many ready entries match."""
        shape = self._shapes.get(template.shape)
        if shape is None:
            return 0
        if template.matches_all:
            return shape.line.live
        return len(self._find(shape, template, None))

    def oldest(self) -> Entry | None:
        """Return the oldest ready entry of all."""
        fronts = (shape.line.first(self.entries) for shape in self._shapes.values())
        return min(
            (entry for entry in fronts if entry is not None), key=lambda e: e.id, default=None
        )

    def explain(self, template: Template) -> dict[str, Any]:
        """See `interface.Space.explain`."""
        shape = self._shapes.get(template.shape)
        if shape is None:
            return {"ready": 0, "candidates": 0, "by": None, "position": None, "indexes": []}
        candidates, source = shape.candidates(template)
        position, kind = source or (None, None)
        return {
            "ready": shape.line.live,
            "candidates": 0 if candidates is None else candidates.live,
            "by": kind,
            "position": position,
            "indexes": sorted(shape.indexes, key=repr),
        }
