"""What people see of bad records and of tasks that have failed for good."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from rich.console import Console

from jobs.terminal.tables import print_table
from mapreduce.report import SkippedTask
from mapreduce.skipping import SkippedRecord
from tuplespace.values import brief

#: Of bad records so many are shown, the others are in the job's report.
SHOWN: Final = 10
#: Of a reason so many characters are shown; its job has told the whole of it.
_REASON: Final = 160


def print_skipped(
    records: Sequence[SkippedRecord], tasks: Sequence[SkippedTask], console: Console | None = None
) -> None:
    """Print what a job has left out; nothing if that is nothing."""
    if records:
        shown = f", the first {SHOWN}" if len(records) > SHOWN else ""
        print_table(
            ("where", "record", "error"),
            [(each.where, each.record, each.error) for each in records[:SHOWN]],
            f"Bad records skipped: {len(records):,}{shown}", console,
        )  # fmt: skip
    if tasks:
        print_table(
            ("phase", "number", "where", "reason"), tasks, f"Tasks skipped: {len(tasks):,}", console
        )


#: Of a buried task.
BURIED_COLUMNS: Final = ("job", "phase", "number", "attempts", "where", "record", "reason")


def print_buried(values: Iterable[Sequence[Any]], console: Console | None = None) -> None:
    """Print the tasks that a space has buried, from their tuples; nothing if there are none."""
    if rows := buried_rows(values):
        print_table(BURIED_COLUMNS, rows, "Buried tasks", console)


def buried_rows(values: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Return a row for each tuple of a buried task, whatever it lacks or anybody has put there."""
    return [
        (_short(job), phase, number, about.get("attempts", ""), _short(about.get("where", "")),
         _short(about.get("record") or ""), _short(about.get("reason", "")))
        for _, job, phase, number, about in values
    ]  # fmt: skip


def _short(value: Any) -> Any:
    """Return what is shown of a value: of a text so much, of anything that is none, itself or little."""
    if type(value) in (int, float):
        return value
    text = value if type(value) is str else brief(value)
    return text if len(text) <= _REASON else f"{text[: _REASON - 3]}..."
