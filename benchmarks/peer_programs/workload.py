"""The data and the functions that every program uses alike."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from zlib import crc32

#: Of the pairs to be grouped.
VALUE_BYTES = 500
KEYS = 50_000
_POOL_BYTES = 1 << 20


def pairs_of_split(number: int, count: int) -> Iterator[tuple[int, bytes]]:
    """Yield the pairs of a split: the same ones each time, some 500 bytes each."""
    chosen = random.Random(number)
    pool = chosen.randbytes(_POOL_BYTES + VALUE_BYTES)
    uniform = chosen.random
    for _ in range(count):
        start = int(uniform() * _POOL_BYTES)
        yield int(uniform() * KEYS), pool[start : start + VALUE_BYTES]


def summary(values: Iterable[bytes]) -> tuple[int, int]:
    """Return what a group was: how many values, and a sum that any order of them gives."""
    count = total = 0
    for value in values:
        count += 1
        total += crc32(value)
    return count, total


def burn(number: int, count: int) -> int:
    """Compute a number that takes a while, with next to no memory."""
    total = number
    for each in range(count):
        total = (total * 1_103_515_245 + each) % 2_147_483_648
    return total
