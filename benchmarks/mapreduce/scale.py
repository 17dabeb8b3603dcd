"""How much of everything: the contract's sizes, or small ones to try the benchmark out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

COMMAND: Final = "invoke bench mapreduce"


@dataclass(frozen=True)
class Scale:
    """The sizes.

    Attributes:
        megabytes, slow_megabytes: Of text, for most programs and for the slow ones.
        records: To sort. splits, pairs: To group: how many splits, of how many pairs of 500 bytes.
        memory: Bytes allowed to each worker there. steps: To compute, a task.
        repeats: Of a job that does nothing. rounds, long_rounds: Of quick rows, and of slow ones.
        limit: Seconds a program may take.
    """

    megabytes: float = 200
    slow_megabytes: float = 10
    records: int = 2_000_000
    splits: int = 64
    pairs: int = 62_500
    memory: int = 200_000_000
    steps: int = 2_000_000
    repeats: int = 100
    rounds: int = 3
    long_rounds: int = 2
    limit: float = 150


FULL: Final = Scale()
SMALL: Final = Scale(
    megabytes=4, slow_megabytes=0.5, records=50_000, splits=16, pairs=2_000, steps=100_000,
    repeats=10, rounds=2, long_rounds=1, limit=60,
)  # fmt: skip
