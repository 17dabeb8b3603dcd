"""Counted: how many records a map task reads, at no cost for any single one.

Splits hand records on in batches, which are counted as they are begun; what is left of the last
one, if the map function stops early, is taken off again. Records that come one by one (from a
reader function of the user's) are counted in C.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, compress, count
from operator import length_hint
from typing import Any


class Count:
    """How many records of some batches have been handed on."""

    def __init__(self) -> None:
        self._begun = 0
        self._batch: Iterator[Any] = iter(())
        #: Yields what is true, once for each record that came one by one; and for each look at it.
        self._singly = count(1)
        self._looks = 0

    def watch(self, batches: Iterable[Iterable[Any]]) -> Iterator[Iterator[Any]]:
        """Yield the batches, to be gone through before the next is asked for."""
        for batch in batches:
            if type(batch) is list or type(batch) is tuple:
                self._begun += len(batch)
                self._batch = iter(batch)
                del batch  # it may be large, and is not needed while the next is read
                yield self._batch
            else:
                yield compress(batch, self._singly)

    @property
    def total(self) -> int:
        """So many until now."""
        self._looks += 1
        return self._begun - length_hint(self._batch) + next(self._singly) - self._looks


class Records(chain[Any]):
    """An iterator of records that come in batches: made by `of`.

    Attributes:
        count: How many have been handed on.
    """

    count: Count

    @classmethod
    def of(cls, batches: Iterable[Iterable[Any]]) -> Records:
        """Return the records of these batches."""
        counted = Count()
        made = cls.from_iterable(counted.watch(batches))
        assert isinstance(made, cls)
        made.count = counted
        return made


class Reading:
    """What one map task reads.

    A list counts whole, however much of it the map function goes through. An object that the user
    has given in a `Split` has as many records as it has a length; else it is one.
    """

    def __init__(self) -> None:
        self._count: Count | int = 0

    def of(self, records: Any) -> Any:
        """Note that the map function gets these; return them."""
        if isinstance(records, Records):
            self._count = records.count
        elif isinstance(records, (str, bytes, bytearray)):
            self._count = 1
        else:
            try:
                self._count = length_hint(records, 1)
            except Exception:  # noqa: BLE001 - whatever a user's object does when it is asked
                self._count = 1
        return records

    @property
    def records(self) -> int:
        """How many records until now."""
        return self._count if isinstance(self._count, int) else self._count.total
