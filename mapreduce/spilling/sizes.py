"""How much memory data takes, about: a few of many values are measured."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from resource import RUSAGE_SELF, getpagesize, getrusage
from typing import Final

from mapreduce.pairs import Pair
from mapreduce.weights import size_of

#: A place in a dict, which doubles as it grows, and the positions and hashes by which it is spilled.
KEY_BYTES: Final = 160
#: A list of the values of one key, empty; and each place in it.
LIST_BYTES: Final = 88
PLACE_BYTES: Final = 9

_SAMPLES: Final = 3
# How often the meter asks the operating system, in blocks.
_CHECK_EVERY: Final = 16
_PAGE: Final = getpagesize()


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
    the process has grown by the limit, the limit is taken as exceeded, whatever was estimated. That
    depends on all else that the process does, so not everyone may want to know.

    Attributes:
        held: Bytes. value_bytes: What a value takes, by the last block.
    """

    def __init__(self, limit: int, *, keeps_values: bool, watches_process: bool = True) -> None:
        """Prepare to count.

        Args:
            limit: In bytes. keeps_values: Whether each value is held, or one partial for each key.
            watches_process: Whether how much the process has grown counts, too; if not, all follows
                from the pairs.
        """
        self.held = 0
        self.value_bytes = 0
        self._limit = limit
        self._keeps_values = keeps_values
        self._blocks = 0
        self._watches_process = watches_process
        self._resident = _resident() if watches_process else 0

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
        if self._watches_process:
            self._resident = _resident()

    def _has_grown(self) -> bool:
        if not self._watches_process or self._blocks % _CHECK_EVERY:
            return False
        return _resident() - self._resident > self._limit
