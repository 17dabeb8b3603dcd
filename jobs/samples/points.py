"""Points: clouds on a plane, as lines of two numbers with a comma between them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

_POINTS: Final = 10_000
_CLOUDS: Final = ((10.0, 10.0), (60.0, 20.0), (30.0, 70.0), (80.0, 80.0))
_WIDTH: Final = 25.0


def write_points(folder: Path, size: int) -> None:
    """Write 10,000 points times `size`, about 0.1 MB times `size`: four clouds of unequal weight."""
    draw = Random(4).random
    with open(folder / "points.csv", "w", encoding="ascii", newline="\n") as file:
        for _ in range(_POINTS * size):
            x, y = _CLOUDS[int(len(_CLOUDS) * draw() * draw())]
            file.write(f"{_about(x, draw):.3f},{_about(y, draw):.3f}\n")


def _about(middle: float, draw: Callable[[], float]) -> float:
    return middle + _WIDTH * (draw() + draw() + draw() - 1.5)
