"""What values weigh: about how many bytes of memory they take."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from sys import getsizeof
from typing import Any, Final

#: Whoever takes pairs in blocks begins with so many.
FIRST_BLOCK_PAIRS: Final = 2
# Few enough to stay in the cache and out of the garbage collector's way.
_BLOCK_PAIRS: Final = 256
_BLOCK_BYTES: Final = 1 << 20

_ELEMENTS: Final = 8
_DEPTH: Final = 4
_NUMBERS: Final = frozenset({int, float})
# There is one of each, so they cost nothing more.
_SHARED: Final = frozenset({bool, type(None)})
_OBJECT_BYTES: Final = 64
_PLACE_BYTES: Final = 8
# What a set or a dict has for each item, with the places that are free.
_ENTRY_BYTES: Final = 40


def size_of(value: Any, depth: int = _DEPTH) -> int:
    """Return about how many bytes a value takes, with what is in it; never fails.

    It follows from what the value holds, not from how it came about: a list that grew takes more
    than its copy, and a text more once it was encoded, but they weigh the same.
    """
    kind = type(value)
    if kind is str:
        return 56 + len(value) * (1 if value.isascii() else 2)
    if kind is bytes:
        return 33 + len(value)
    if kind in _SHARED or (kind is int and -5 <= value <= 256):
        return 0
    if kind in _NUMBERS:
        return getsizeof(value)
    try:
        return _size_of_other(value, depth)
    except Exception:  # noqa: BLE001 - whatever a user's object does when it is looked at
        return _OBJECT_BYTES


def _size_of_other(value: Any, depth: int) -> int:
    inside: list[Any]
    if isinstance(value, dict):
        inside = [part for item in islice(value.items(), _ELEMENTS) for part in item]
        count = 2 * len(value)
        size = _OBJECT_BYTES + _ENTRY_BYTES * len(value)
    elif isinstance(value, (tuple, list)):
        count = len(value)
        # Those that are far apart: the first are often special.
        inside = list(value[:: max(1, count // _ELEMENTS)])
        size = _OBJECT_BYTES + _PLACE_BYTES * count
    elif isinstance(value, (set, frozenset)):
        count = len(value)
        inside = list(value)  # all: which come first differs from process to process
        size = _OBJECT_BYTES + _ENTRY_BYTES * count
    else:
        size = _size_of_object(value)
        inside = _attributes(value) if depth else []
        count = len(inside)
    if inside and depth:
        size += sum(size_of(part, depth - 1) for part in inside) * count // len(inside)
    return size


def _size_of_object(value: Any) -> int:
    try:
        with memoryview(value) as view:  # an array, say
            return _OBJECT_BYTES + view.nbytes
    except TypeError:
        pass
    try:
        return max(getsizeof(value), 16)
    except Exception:  # noqa: BLE001 - a __sizeof__ of its own
        return _OBJECT_BYTES


def _attributes(value: Any) -> list[Any]:
    names = ["__dict__"]
    for owner in type(value).__mro__:
        slots = owner.__dict__.get("__slots__", ())
        names += (slots,) if isinstance(slots, str) else slots
    return [_attribute(value, name) for name in names]


def _attribute(value: Any, name: str) -> Any:
    try:
        return getattr(value, name, None)
    except Exception:  # noqa: BLE001 - a property, say
        return None


def next_block_pairs(block: Sequence[Any]) -> int:
    """Return how many pairs to take after this block: more while they are small, but not too many."""
    last = block[-1]
    is_pair = type(last) is tuple and len(last) == 2  # sooner weighed than tuples in general
    each = size_of(last[0]) + size_of(last[1]) if is_pair else size_of(last)
    return max(1, min(_BLOCK_PAIRS, 8 * len(block), _BLOCK_BYTES // (each or 1)))
