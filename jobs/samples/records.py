"""Records: lines of 100 bytes to sort, of which the first ten are the key."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Final

_FILES: Final = 2
_RECORDS: Final = 5_000
#: What can be seen in print.
_CHARACTERS: Final = "".join(map(chr, range(33, 127)))
#: A tenth of the records share a few keys, as names and dates do.
_COMMON: Final = ("AAAAAAAAAA", "Tuplemill!", "zzzzzzzzzz")


def write_records(folder: Path, size: int) -> None:
    """Write two files of 5,000 records times `size` each, 1 MB times `size`."""
    draw = Random(3).random
    for file_number in range(_FILES):
        with open(folder / f"records{file_number}.txt", "w", encoding="ascii") as file:
            for number in range(_RECORDS * size):
                record = f"{_key(draw(), draw())} file {file_number}, record {number:010} "
                file.write(record.ljust(99, ".") + "\n")


def _key(what: float, how: float) -> str:
    """Return one of the common keys, or the digits of a chance in 0..1."""
    if how < 0.1:
        return _COMMON[int(what * len(_COMMON))]
    key = ""
    for _ in range(10):
        what *= len(_CHARACTERS)
        key += _CHARACTERS[int(what)]
        what -= int(what)
    return key
