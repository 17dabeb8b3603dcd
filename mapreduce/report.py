"""What a job tells of itself, while it runs and afterwards."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, fields, is_dataclass
from heapq import nsmallest
from typing import Any, Final, NamedTuple

from mapreduce.skipping import SkippedRecord

#: Of partitions so many are told of as plain data.
_WORST: Final = 20
#: So many of the attempts that failed are kept.
_FAILURES: Final = 20


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        map_done, map_total, reduce_done, reduce_total: Tasks; of a stream that is still being read,
            the maps known so far. Those done become fewer when what a worker had is lost.
        attempts_failed: Attempts that did not end well.
        notice: Why nothing may be happening; empty if all is well.
        seconds: Since this driver began, until it has ended. records: That the maps done have read.
        shuffle_bytes: That they have written for reduce.
        seconds_left: How long the *phase* under way may still take, map or reduce, at its pace of
            late: of maps by how many are done, of reduces by how many bytes; 0 once both are done.
            None: too early to say, since less than a tenth of the phase is done, or the data is a
            stream that is still being read. How long reduces will take nobody knows before.
    """

    map_done: int = 0
    map_total: int = 0
    reduce_done: int = 0
    reduce_total: int = 0
    attempts_failed: int = 0
    notice: str = ""
    seconds: float = 0.0
    records: int = 0
    shuffle_bytes: int = 0
    seconds_left: float | None = None


class TimedTask(NamedTuple):
    """A task that is done.

    Attributes:
        phase, number: Which. seconds: How long the attempt took that counts. worker: Who ran it, as
            "host/pid". what: What it worked on.
    """

    phase: str
    number: int
    seconds: float
    worker: str
    what: str = ""


class Partition(NamedTuple):
    """What one reduce task was given.

    Attributes:
        number: Which. pairs, bytes: From all maps.
    """

    number: int
    pairs: int
    bytes: int


@dataclass
class PhaseReport:
    """What one phase of a job took.

    Attributes:
        tasks: Done, and not skipped; a lost map that ran again is one. attempts: That were ordered,
            those that failed and backup tasks included. failed: Attempts that did not end well.
        seconds: Of all tasks that are done, added up: of each the attempt that counts. median: Of
            them. slowest: Up to three of them, the slowest first.
        records: That maps read; pairs, for reduce. bytes: That maps wrote for reduce, and reduce read.
            Of a list a map is taken to read all, however much it goes through; an object that the
            user gave in a `Split` has as many records as it has a length, or is one.
    """

    tasks: int = 0
    attempts: int = 0
    failed: int = 0
    seconds: float = 0.0
    median: float = 0.0
    slowest: list[TimedTask] = field(default_factory=list)
    records: int = 0
    bytes: int = 0


class FailedAttempt(NamedTuple):
    """An attempt of a task that did not end well.

    Attributes:
        phase, number: The task. worker: Who ran it, as "host/pid". reason: Why, in a line.
    """

    phase: str
    number: int
    worker: str
    reason: str


class SkippedTask(NamedTuple):
    """A task that failed for good, and that the job went on without.

    Attributes:
        phase, number: Which. where: What it worked on. reason: Why it failed.
    """

    phase: str
    number: int
    where: str
    reason: str


class SlowTask(NamedTuple):
    """A task that takes, or took, more than ten times as long as others.

    Attributes:
        phase, number: Which. seconds: How long it took, or had run when that was noticed.
        median: Of its phase then. worker: Who runs it, as "host/pid"; "": nobody says.
        what: What it works on.
    """

    phase: str
    number: int
    seconds: float
    median: float
    worker: str
    what: str = ""

    def __str__(self) -> str:
        where = f" on {self.worker}" if self.worker else ""
        return (
            f"{self.phase} {self.number} ({self.what}) has run for {self.seconds:.1f} s{where}; "
            f"half of the others took {self.median:.3g} s at most"
        )


@dataclass
class Report:
    """What a job took.

    While it runs, `tasks_by_worker`, `backup_tasks`, `moved_blocks` and what is slow, skipped or failed
    are as of now; `seconds` is there once it has ended, well or not; all others are once the maps are done,
    and again at the end. A driver that has taken a job over tells of what was done before, too, but
    for `seconds`, `backup_tasks`, `moved_blocks` and what was slow or failed.

    Attributes:
        seconds: From start to result. tasks_by_worker: Tasks done, by "host/pid".
        pairs, shuffle_bytes: Between map and reduce.
        distant_bytes: Input that workers read through the driver's host, not from their own disk.
        backup_tasks: How many were run. slow_tasks: Those that took more than ten times as long as
            others, as they were noticed.
        skipped: The bad records left out, see `MapReduceJob.skip_bad_records`: maps' first, in order.
        skipped_tasks: Those that failed for good, see `MapReduceJob.on_bad_task`.
        failed: The last 20 attempts that did not end well.
        moved_blocks: How often another agent of a host took over a block file of one that was gone.
        map, reduce: What each phase took.
        partitions: What each reduce task was given, by number.
    """

    seconds: float = 0.0
    tasks_by_worker: Counter[str] = field(default_factory=Counter)
    pairs: int = 0
    shuffle_bytes: int = 0
    distant_bytes: int = 0
    backup_tasks: int = 0
    slow_tasks: list[SlowTask] = field(default_factory=list)
    skipped: list[SkippedRecord] = field(default_factory=list)
    skipped_tasks: list[SkippedTask] = field(default_factory=list)
    failed: list[FailedAttempt] = field(default_factory=list)
    moved_blocks: int = 0
    map: PhaseReport = field(default_factory=PhaseReport)
    reduce: PhaseReport = field(default_factory=PhaseReport)
    partitions: list[Partition] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data, such as JSON can hold: what is no number is None.

        Of ``partitions`` it has the ``worst``, the largest first, and what all have together.
        """
        told = {each.name: _plain(getattr(self, each.name)) for each in fields(self)}
        worst = nsmallest(_WORST, self.partitions, key=lambda each: (-each.bytes, each.number))
        told["partitions"] = {
            "count": len(self.partitions), "pairs": sum(each.pairs for each in self.partitions),
            "bytes": sum(each.bytes for each in self.partitions), "worst": _plain(worst),
        }  # fmt: skip
        return told

    def note_failure(self, failure: FailedAttempt) -> None:
        """Note an attempt that did not end well; of many, the last are kept."""
        self.failed = [*self.failed, failure][-_FAILURES:]

    def took(self, phase: str, number: int, seconds: float) -> None:
        """Note how long a task took that may have been noticed as slow."""
        self.slow_tasks = [
            each._replace(seconds=max(seconds, each.seconds))
            if (each.phase, each.number) == (phase, number) else each
            for each in self.slow_tasks
        ]  # fmt: skip


def _plain(value: Any) -> Any:
    """Return a part of a report as plain data."""
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return {name: _plain(each) for name, each in value._asdict().items()}  # type: ignore[attr-defined]
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
