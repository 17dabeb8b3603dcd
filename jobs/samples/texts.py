"""Texts: files of words, some of which are common and most of which are rare."""

from __future__ import annotations

from bisect import bisect
from functools import cache
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Final

FILES: Final = 4
_LINES: Final = 3_000
_WORDS: Final = 20_000
_SYLLABLES: Final = ("ka", "lo", "mi", "ne", "ru", "sa", "ti", "vo")
#: The r-th word comes 1/r as often as the first. Whole numbers: no machine rounds them its own way.
_OFTEN: Final = tuple(accumulate(10**9 // rank for rank in range(1, _WORDS + 1)))


def write_texts(folder: Path, size: int) -> None:
    """Write four text files of 3,000 lines times `size` each, about 0.7 MB times `size` in all."""
    draw = Random(1).random
    for number in range(FILES):
        with open(folder / f"text{number}.txt", "w", encoding="utf-8", newline="\n") as file:
            for _ in range(_LINES * size):
                file.write(" ".join(word(draw()) for _ in range(4 + int(draw() * 10))) + "\n")


def word(chance: float) -> str:
    """Return a word for a chance in 0..1: the common ones for most chances."""
    return spelt(bisect(_OFTEN, chance * _OFTEN[-1]) + 1)


@cache
def spelt(rank: int) -> str:
    """Return the word of a rank from 1: its digits in base 8, the last one first, as syllables."""
    letters = ""
    while rank:
        rank, at = divmod(rank, len(_SYLLABLES))
        letters += _SYLLABLES[at]
    return letters
