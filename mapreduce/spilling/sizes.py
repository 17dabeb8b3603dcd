"""How much memory data takes, about: a few of many values are measured."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import islice
from resource import RUSAGE_SELF, getpagesize, getrusage
from sys import getsizeof
from typing import Any, Final

from mapreduce.pairs import Pair

#: A place in a dict, which doubles as it grows, and the positions and hashes by which it is spilled.
KEY_BYTES: Final = 160
#: A list of the values of one key, empty; and each place in it.
LIST_BYTES: Final = 88
PLACE_BYTES: Final = 9

_SAMPLES: Final = 3
_ELEMENTS: Final = 8
_DEPTH: Final = 4
# How often the meter asks the operating system, in blocks.
_CHECK_EVERY: Final = 16
_PAGE: Final = getpagesize()
_ATOMS: Final = frozenset({str, bytes, int, float, bool, type(None)})
# There is one of each, so they cost nothing more.
_SHARED: Final = frozenset({bool, type(None)})


def size_of(value: Any, depth: int = _DEPTH) -> int:
    """Return about how many bytes a value takes, with what is in it."""
    kind = type(value)
    if kind in _ATOMS:
        if kind in _SHARED or (kind is int and -5 <= value <= 256):
            return 0
        return getsizeof(value)
    size = getsizeof(value, 64)
    if not depth:
        return size
    if isinstance(value, dict):
        inside = [part for item in islice(value.items(), _ELEMENTS) for part in item]
        count = 2 * len(value)
    elif isinstance(value, (tuple, list, set, frozenset)):
        count = len(value)
        # Those of a sequence that are far apart: the first are often special.
        step = max(1, count // _ELEMENTS)
        inside = (
            list(value[::step]) if isinstance(value, (tuple, list))
            else list(islice(value, _ELEMENTS))
        )  # fmt: skip
    else:
        inside = [getattr(value, "__dict__", None)]
        for owner in kind.__mro__:
            slots = owner.__dict__.get("__slots__", ())
            names = (slots,) if isinstance(slots, str) else slots
            inside += [getattr(value, name, None) for name in names]
        count = len(inside)
    if inside:
        size += sum(size_of(part, depth - 1) for part in inside) * count // len(inside)
    return size


def _resident() -> int:
    """Return the bytes of memory this process has; where nobody tells, the most it ever had."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except OSError:
        return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class Meter:
    """Estimates what the pairs take that are held.

    A few huge values among many small ones escape its samples, but not the operating system: once
    the process has grown by the limit, the limit is taken as exceeded, whatever was estimated.

    Attributes:
        held: Bytes. value_bytes: What a value takes, by the last block.
    """

    def __init__(self, limit: int, *, keeps_values: bool) -> None:
        """Prepare to count.

        Args:
            limit: In bytes. keeps_values: Whether each value is held, or one partial for each key.
        """
        self.held = 0
        self.value_bytes = 0
        self._limit = limit
        self._keeps_values = keeps_values
        self._blocks = 0
        self._resident = _resident()

    def add(self, block: Sequence[Pair], new_keys: int) -> bool:
        """Count a block of pairs, with so many new keys; say whether the limit is exceeded."""
        count = len(block)
        if not count:
            return False
        self._blocks += 1
        # Where in the block changes from block to block, lest it always be the same kind of pair.
        step = count // _SAMPLES or 1
        some = block[self._blocks % step :: step]
        self.value_bytes = sum([size_of(value) for _, value in some]) // len(some)
        if self._keeps_values:
            self.held += count * (self.value_bytes + PLACE_BYTES)
        if new_keys:
            key_bytes = sum([size_of(key) for key, _ in some]) // len(some)
            a_partial = LIST_BYTES if self._keeps_values else self.value_bytes
            self.held += new_keys * (key_bytes + KEY_BYTES + a_partial)
        return self.held > self._limit or self._has_grown()

    def clear(self) -> None:
        """Nothing is held any more."""
        self.held = 0
        self._resident = _resident()

    def _has_grown(self) -> bool:
        return not self._blocks % _CHECK_EVERY and _resident() - self._resident > self._limit
