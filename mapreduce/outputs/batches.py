"""Items in batches of about so many bytes: a batch of many small items or of a few large ones.

The borders follow from the items alone, so every attempt at a partition writes the same file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from mapreduce.weights import size_of

#: What a batch should come to, in bytes.
AIM: Final = 1 << 20
_FIRST: Final = 8
_GROWTH: Final = 4
# One of so many items is looked at before more of them are taken.
_PIECE: Final = 128


class Batches:
    """Items in batches: an iterator of lists, to be told after each what it came to.

    Args:
        items: The items. most: So many of them in a batch, at most. aim: Its bytes, about.
    """

    def __init__(self, items: Iterable[Any], most: int, aim: int = AIM) -> None:
        self._items = iter(items)
        self._most, self._aim = most, aim
        self._many = _FIRST

    def __iter__(self) -> Iterator[list[Any]]:
        items = self._items
        while batch := list(islice(items, min(self._many, _PIECE))):
            while (left := self._many - len(batch)) > 0:
                if _PIECE * size_of(batch[-1]) > self._aim:
                    break
                before = len(batch)
                batch += islice(items, min(left, _PIECE))
                if len(batch) == before:
                    break
            self._many = len(batch)
            yield batch

    def came_to(self, size: int) -> None:
        """Say how many bytes the batch yielded last was, so that the next is of the right size."""
        by_size = self._aim * self._many // size if size else self._most
        self._many = max(1, min(self._most, _GROWTH * self._many, by_size))
