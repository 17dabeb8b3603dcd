"""Inputs made with a fixed seed: the same bytes on every machine and in every Python."""

from __future__ import annotations

import math
import random
import string
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

SEED = 20_260_801
_FILES = 4
_VOCABULARY = 4_600_000
_WORDS_A_LINE = 12
_LETTERS_A_WORD = range(3, 13)
_LINES_A_WRITE = 10_000


def text(folder: Path, megabytes: float) -> list[str]:
    """Write files of lines of words, some common and most rare, as in a language; return the paths.

    200 MB hold about 2.3 million distinct words of 3 to 12 letters.
    """
    vocabulary = max(1000, int(_VOCABULARY * min(1.0, megabytes / 200)))
    paths = [str(folder / f"text-{number}.txt") for number in range(_FILES)]
    make = partial(_write_text, size=int(megabytes * 1e6 / _FILES), vocabulary=vocabulary)
    with ProcessPoolExecutor() as pool:
        list(pool.map(make, paths, range(_FILES)))
    return paths


def _write_text(path: str, number: int, size: int, vocabulary: int) -> None:
    words = _words(vocabulary)
    uniform = random.Random(SEED + 1 + number).random
    scale, exp = math.log(vocabulary), math.exp
    left = size
    with Path(path).open("w", encoding="ascii", newline="\n") as file:
        while left > 0:
            # Zipf's law: the r-th word comes 1/r as often as the first.
            drawn = [
                words[int(exp(scale * uniform())) - 1]
                for _ in range(_LINES_A_WRITE * _WORDS_A_LINE)
            ]
            starts = range(0, len(drawn), _WORDS_A_LINE)
            lines = "".join(f"{' '.join(drawn[s : s + _WORDS_A_LINE])}\n" for s in starts)
            if len(lines) > left:
                lines = lines[: lines.rfind("\n", 0, left) + 1] or lines
                left = 0
            left -= file.write(lines)


def _words(count: int) -> list[str]:
    chosen = random.Random(SEED)
    lengths = chosen.choices(_LETTERS_A_WORD, k=count)
    letters = _printable(chosen, sum(lengths), string.ascii_lowercase)
    words, start = [], 0
    for length in lengths:
        words.append(letters[start : start + length])
        start += length
    return words


def _printable(chosen: random.Random, count: int, letters: str) -> str:
    table = bytes(ord(letters[each % len(letters)]) for each in range(256))
    return chosen.randbytes(count).translate(table).decode("ascii")


def records(folder: Path, count: int, length: int = 100, key: int = 10) -> str:
    """Write a file of records, each a printable line with a random key in front; return its path."""
    chosen = random.Random(SEED)
    path = folder / "records.txt"
    filling = length - key - 10  # the record's number, and a newline
    letters = string.ascii_letters + string.digits
    with path.open("w", encoding="ascii", newline="\n") as file:
        for start in range(0, count, 100_000):
            some = min(100_000, count - start)
            keys = _printable(chosen, some * key, letters)
            rest = _printable(chosen, some * filling, letters)
            file.writelines(
                f"{keys[n * key : n * key + key]}{start + n:09}{rest[n * filling : n * filling + filling]}\n"
                for n in range(some)
            )
    return str(path)
