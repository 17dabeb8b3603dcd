"""Sequences: reads of DNA, one a JSON line, whose ends are noise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

_READS: Final = 10_000
_FRAGMENTS: Final = 1_000
_NOISE: Final = 10


def write_sequences(folder: Path, size: int) -> None:
    """Write two files of 5,000 reads times `size` each, about 1 MB times `size` together.

    They are reads of 1,000 fragments times `size`, and differ in their last 10 nucleotides only.
    """
    draw = Random(5).random
    fragments = [_nucleotides(50 + int(draw() * 50), draw) for _ in range(_FRAGMENTS * size)]
    for number in range(2):
        with open(folder / f"reads{number}.json", "w", encoding="ascii") as file:
            for read in range(number, _READS * size, 2):
                fragment = fragments[int(draw() * len(fragments))]
                record = [f"read{read}", fragment + _nucleotides(_NOISE, draw)]
                file.write(json.dumps(record) + "\n")


def _nucleotides(length: int, draw: Callable[[], float]) -> str:
    return "".join("ACGT"[int(draw() * 4)] for _ in range(length))
