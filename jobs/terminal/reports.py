"""What people see when a job has ended: what each phase took, and where the time and the bytes went.

It goes to stderr, as progress does: stdout is for results.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any, Final, NamedTuple

from rich.console import Console
from rich.text import Text

from jobs.terminal.amounts import bytes_text, seconds_text
from jobs.terminal.failures import print_skipped
from jobs.terminal.overview import short
from jobs.terminal.tables import print_table
from mapreduce import JobRun
from mapreduce.report import Partition, PhaseReport, Report, TimedTask

#: The worst partitions are shown if one has so many times the bytes of the median one,
_SKEWED: Final = 2.0
#: so many of them,
_WORST: Final = 3
#: so many attempts that failed, the last ones,
_FAILURES: Final = 3
#: and so many workers, those that did most first.
_WORKERS: Final = 20


class Step(NamedTuple):
    """A job that has ended: its label, id, report, counters and attempts that failed."""

    label: str
    id: str
    report: Report
    counters: Counter[str]
    attempts_failed: int


def step_of(run: JobRun) -> Step:
    """Return what there is to tell of a run."""
    return Step(run.label, run.id, run.report, run.counters, run.progress().attempts_failed)


def print_report(steps: Sequence[Step], rows: int, console: Console | None = None) -> None:
    """Print what a job, or the steps of one, took.

    Args:
        steps: At least one. rows: How many the result has. console: Where, by default on stderr.
    """
    console = console or Console(stderr=True)
    if len(steps) > 1:
        _print_steps(steps, console)
    else:
        _print_phases(steps[0].report, console)
    _print_slowest(steps, console)
    _print_failures(steps, console)
    if counted := _sum(step.counters for step in steps):
        print_table(("counter", "count"), sorted(counted.items()), "Counters", console)
    for step in steps:
        _print_skew(step.report.partitions, step.label if len(steps) > 1 else "", console)
    workers = _sum(step.report.tasks_by_worker for step in steps)
    if workers:
        more = f", the first {_WORKERS} of {len(workers)}" if len(workers) > _WORKERS else ""
        print_table(("worker", "tasks"), workers.most_common(_WORKERS), f"Workers{more}", console)
    console.print(Text(_summary(steps, rows, workers)), soft_wrap=not console.is_interactive)
    skipped = [each for step in steps for each in step.report.skipped]
    print_skipped(skipped, [each for step in steps for each in step.report.skipped_tasks], console)


def report_document(steps: Sequence[Step]) -> dict[str, Any]:
    """Return the same for programs; of several steps, `report` is the last one's."""
    last = steps[-1]
    document: dict[str, Any] = {
        "id": last.id, "counters": _sum(step.counters for step in steps),
        "skipped_records": [each for step in steps for each in step.report.skipped],
        "skipped_tasks": [each for step in steps for each in step.report.skipped_tasks],
        "report": last.report.as_dict(),
    }  # fmt: skip
    if len(steps) > 1:
        document["steps"] = [
            {
                "id": step.id,
                "label": step.label,
                "counters": step.counters,
                "report": step.report.as_dict(),
            }
            for step in steps
        ]
    return document


def _summary(steps: Sequence[Step], rows: int, workers: Counter[str]) -> str:
    reports = [step.report for step in steps]
    return (
        f"{rows:,} rows; {sum(each.pairs for each in reports):,} pairs, "
        f"{sum(each.shuffle_bytes for each in reports):,} bytes shuffled; "
        f"{sum(workers.values())} tasks on {len(workers)} {'worker' if len(workers) == 1 else 'workers'}, "
        f"{sum(step.attempts_failed for step in steps)} failed attempts, "
        f"{sum(each.backup_tasks for each in reports)} backup tasks; "
        f"{sum(each.seconds for each in reports):.2f} s"
    )


def _print_phases(report: Report, console: Console) -> None:
    phases = [(name, each) for name, each in _phases(report) if each.attempts]
    rows = [
        (name, each.tasks, each.attempts, each.failed, seconds_text(each.median),
         seconds_text(each.slowest[0].seconds) if each.slowest else "", each.records,
         bytes_text(each.bytes))
        for name, each in phases
    ]  # fmt: skip
    if rows:
        columns = ("phase", "tasks", "attempts", "failed", "median", "slowest", "records", "bytes")
        print_table(columns, rows, "Phases", console)


def _print_steps(steps: Sequence[Step], console: Console) -> None:
    rows = [
        (short(step.label), step.report.map.tasks, step.report.reduce.tasks, step.attempts_failed,
         step.report.map.records, step.report.pairs, bytes_text(step.report.shuffle_bytes),
         seconds_text(step.report.seconds))
        for step in steps
    ]  # fmt: skip
    columns = ("step", "maps", "reduces", "failed", "records", "pairs", "bytes", "time")
    print_table(columns, rows, "Steps", console)


def _print_slowest(steps: Sequence[Step], console: Console) -> None:
    """Print the slowest task of each phase."""
    slowest: dict[str, TimedTask] = {}
    for step in steps:
        for name, phase in _phases(step.report):
            for task in phase.slowest[:1]:
                if name not in slowest or task.seconds > slowest[name].seconds:
                    slowest[name] = task
    rows = [
        (f"{task.phase} {task.number}", seconds_text(task.seconds), short(task.worker), short(task.what))
        for task in slowest.values()
    ]  # fmt: skip
    if rows:
        print_table(("slowest task", "time", "worker", "worked on"), rows, "Slowest tasks", console)


def _print_failures(steps: Sequence[Step], console: Console) -> None:
    """Print why attempts failed, the last ones."""
    failed = [each for step in steps for each in step.report.failed]
    rows = [
        (f"{each.phase} {each.number}", short(each.worker), short(each.reason))
        for each in failed[-_FAILURES:]
    ]
    if rows:
        more = f", the last {_FAILURES}" if len(failed) > _FAILURES else ""
        print_table(("task", "worker", "reason"), rows, f"Failed attempts{more}", console)


def _print_skew(partitions: Sequence[Partition], label: str, console: Console) -> None:
    """Print the worst partitions, if they are noticeably worse than others."""
    if len(partitions) < 2:
        return
    middle = median(each.bytes for each in partitions)
    worst = sorted(partitions, key=lambda each: (-each.bytes, each.number))[:_WORST]
    rows = [
        (each.number, each.pairs, bytes_text(each.bytes),
         f"{each.bytes / middle:.1f} x" if middle else "all")
        for each in worst if each.bytes > _SKEWED * middle
    ]  # fmt: skip
    if rows:
        of = f" of {label}" if label else ""
        title = f"Largest partitions{of}, of {len(partitions)}"
        print_table(("partition", "pairs", "bytes", "of the median"), rows, title, console)


def _sum(counters: Iterable[Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for each in counters:  # adding them with + would leave out what is below 1
        total.update(each)
    return total


def _phases(report: Report) -> tuple[tuple[str, PhaseReport], ...]:
    return ("map", report.map), ("reduce", report.reduce)
