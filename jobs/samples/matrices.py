"""Matrices: two sparse ones, one cell a JSON line."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Final

_ROWS: Final = 500
_CELLS_A_ROW: Final = 10


def write_matrices(folder: Path, size: int) -> None:
    """Write square matrices of 500 rows times `size`, about 10 cells a row: 0.2 MB times `size`."""
    draw = Random(6).random
    rows = _ROWS * size
    for matrix in ("a", "b"):
        with open(folder / f"{matrix}.json", "w", encoding="ascii") as file:
            for row in range(rows):
                column = _gap(rows, draw())
                while column < rows:
                    value = int(draw() * 19) - 9
                    if value:
                        file.write(json.dumps([matrix, row, column, value]) + "\n")
                    column += 1 + _gap(rows, draw())


def _gap(rows: int, chance: float) -> int:
    return int(chance * 2 * rows / _CELLS_A_ROW)
