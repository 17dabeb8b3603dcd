"""Data for a job in this process: one split, read as its map goes through it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mapreduce.inputs.sources import SplitSource
from mapreduce.inputs.splits import FALLBACK_SECONDS, InMemory


class Lazily(SplitSource, InMemory):
    """All records of an iterator as one split, for `MapReduceJob.run_sequential`.

    Nothing of it is read ahead, weighed or kept, so it can be gone through once: by a job that tries
    nothing again.
    """

    affinity = None
    wait = FALLBACK_SECONDS
    size = 1

    def __init__(self, records: Iterator[Any]) -> None:
        self._records = records

    def plan(self, map_tasks: int | None = None) -> Sequence[Any]:
        """Return the one split."""
        return [self]

    def records(self, open_at: Any = None) -> Iterator[Any]:
        """Return them."""
        return self._records

    def describe(self) -> str:
        """Say that it is all there is."""
        return "the data"

    def locate(self, position: int, open_at: Any = None) -> str:
        """Say which record of the data it is."""
        return f"record {position} of the data"
