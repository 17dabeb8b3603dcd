"""Texts: files of words, some of which are common and most of which are rare."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Final

FILES: Final = 4
_LINES: Final = 5_000
_WORDS: Final = 20_000
_SYLLABLES: Final = ("ka", "lo", "mi", "ne", "ru", "sa", "ti", "vo")


def write_texts(folder: Path, size: int) -> None:
    """Write four text files of 5,000 lines times `size` each, about 0.4 MB times `size`."""
    draw = Random(1).random
    for number in range(FILES):
        with open(folder / f"text{number}.txt", "w", encoding="utf-8") as file:
            for _ in range(_LINES * size):
                file.write(" ".join(word(draw()) for _ in range(4 + int(draw() * 10))) + "\n")


def word(chance: float) -> str:
    """Return a word for a chance in 0..1: the r-th comes about 1/r as often as the first."""
    rank = int(_WORDS**chance)
    letters = ""
    while rank:
        rank, at = divmod(rank, len(_SYLLABLES))
        letters += _SYLLABLES[at]
    return letters
