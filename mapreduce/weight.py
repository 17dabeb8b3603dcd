"""Weight: about how much memory an object takes, found without looking at all of it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, islice
from sys import getsizeof
from typing import Any, Final

_SAMPLE: Final = 16
_DEPTH: Final = 4
_LEAF: Final = 64


def weight(value: Any, depth: int = _DEPTH) -> int:
    """Return about how many bytes of memory an object and what it refers to take.

    Of a container some elements are weighed and stand for all; of other objects, what their
    ``__dict__`` holds.
    """
    try:
        size = getsizeof(value, _LEAF)
    except Exception:  # noqa: BLE001  # the __sizeof__ of a user's class may do anything
        return _LEAF
    if isinstance(value, (str, bytes, bytearray, int, float)) or value is None or not depth:
        return size
    if isinstance(value, Mapping):
        some: list[Any] = list(chain.from_iterable(islice(value.items(), _SAMPLE)))
        count = 2 * len(value)
    elif isinstance(value, (tuple, list, set, frozenset)):
        some, count = list(islice(value, _SAMPLE)), len(value)
    elif held := getattr(value, "__dict__", None):
        return size + weight(held, depth - 1)
    else:
        return size
    return size + (
        sum(weight(each, depth - 1) for each in some) * count // len(some) if some else 0
    )
