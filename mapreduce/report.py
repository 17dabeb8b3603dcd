"""What a job tells of itself, while it runs and afterwards."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        map_done, map_total, reduce_done, reduce_total: Tasks; of a stream that is still being read,
            the maps known so far. attempts_failed: Attempts that did not end well. notice: Why nothing may
            be happening; empty if all is well.
    """

    map_done: int = 0
    map_total: int = 0
    reduce_done: int = 0
    reduce_total: int = 0
    attempts_failed: int = 0
    notice: str = ""


@dataclass
class Report:
    """What a job took.

    Attributes:
        seconds: From start to result. tasks_by_worker: Tasks done, by "host/pid".
        pairs, shuffle_bytes: Between map and reduce.
        distant_bytes: Input that workers read through the driver's host, not from their own disk.
        moved_blocks: How often another agent of a host took over a block file of one that was gone.
    """

    seconds: float = 0.0
    tasks_by_worker: Counter[str] = field(default_factory=Counter)
    pairs: int = 0
    shuffle_bytes: int = 0
    distant_bytes: int = 0
    moved_blocks: int = 0
