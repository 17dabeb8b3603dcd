"""What people and programs are told of a job that has ended."""

from __future__ import annotations

import io
from collections import Counter
from typing import Any

import pytest
from rich.console import Console

from jobs.terminal.documents import as_json
from jobs.terminal.reports import Step, print_report, report_document
from mapreduce.report import FailedAttempt, Partition, PhaseReport, Report, SkippedTask, TimedTask
from mapreduce.skipping import SkippedRecord


def a_report(**changes: Any) -> Report:
    slow_map = TimedTask("map", 7, 3.25, "lab1/41", "lines of big.txt, bytes 0 to 9")
    slow_reduce = TimedTask("reduce", 2, 0.75, "lab2/9", "partition 2")
    report = Report(
        seconds=12.5, tasks_by_worker=Counter({"lab1/41": 8, "lab2/9": 3}), pairs=5000,
        shuffle_bytes=70_000, backup_tasks=1,
        map=PhaseReport(8, 10, 1, 9.0, 0.5, [slow_map, slow_map._replace(number=1, seconds=1.0)],
                        100_000, 70_000),
        reduce=PhaseReport(3, 3, 0, 1.0, 0.25, [slow_reduce], 5000, 70_000),
        partitions=[Partition(0, 50, 1000), Partition(1, 60, 1200), Partition(2, 4890, 67_800)],
    )  # fmt: skip
    for name, value in changes.items():
        setattr(report, name, value)
    return report


def a_step(number: int = 1, **changes: Any) -> Step:
    return Step(f"chain, step {number}", f"id{number}", a_report(**changes), Counter(bad=number), 1)


def told(*steps: Step, terminal: bool = False) -> str:
    console = Console(file=io.StringIO(), width=200, force_terminal=terminal, color_system=None,
                      force_interactive=terminal)  # fmt: skip
    print_report(steps, 1234, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def rows(output: str, title: str) -> list[list[str]]:
    lines = output.splitlines()
    at = lines.index(title) + 2
    found = []
    for line in lines[at:]:
        cells = [cell.strip() for cell in line.split("  ") if cell.strip()]
        if len(cells) < 2:
            break
        found.append(cells)
    return found


def test_each_phase_is_told_of_with_its_median_and_its_slowest_task() -> None:
    output = told(a_step())

    assert rows(output, "Phases")[:2] == [
        ["map", "8", "10", "1", "0.5 s", "3.2 s", "100000", "70.0 kB"],
        ["reduce", "3", "3", "0", "0.25 s", "0.75 s", "5000", "70.0 kB"],
    ]
    assert rows(output, "Slowest tasks")[:2] == [
        ["map 7", "3.2 s", "lab1/41", "lines of big.txt, bytes 0 to 9"],
        ["reduce 2", "0.75 s", "lab2/9", "partition 2"],
    ]
    assert rows(output, "Workers")[:2] == [["lab1/41", "8"], ["lab2/9", "3"]]
    assert rows(output, "Counters")[:1] == [["bad", "1"]]
    assert output.endswith(
        "1,234 rows; 5,000 pairs, 70,000 bytes shuffled; 11 tasks on 2 workers, 1 failed attempts, "
        "1 backup tasks; 12.50 s\n"
    )


def test_the_last_failed_attempts_are_told_of_with_their_reasons() -> None:
    failed = [FailedAttempt("map", n, f"lab1/{n}", f"ValueError: no {n}") for n in range(1, 6)]
    output = told(a_step(failed=failed))

    assert rows(output, "Failed attempts, the last 3")[:3] == [
        [f"map {n}", f"lab1/{n}", f"ValueError: no {n}"] for n in (3, 4, 5)
    ]
    assert "Failed attempts" not in told(a_step())


def test_partitions_are_told_of_only_if_one_is_much_larger_than_most() -> None:
    assert rows(told(a_step()), "Largest partitions, of 3")[:1] == [
        ["2", "4890", "67.8 kB", "56.5 x"]
    ]
    even = [Partition(number, 10, 1000 + number) for number in range(5)]
    assert "partitions" not in told(a_step(partitions=even))
    assert "partitions" not in told(a_step(partitions=[Partition(0, 10, 10_000)]))
    one = [Partition(0, 0, 0), Partition(1, 0, 0), Partition(2, 10, 5000)]
    assert rows(told(a_step(partitions=one)), "Largest partitions, of 3")[0][3] == "all"
    many = [Partition(number, 10, 100) for number in range(9)]
    many += [Partition(number, 10, number * 1000) for number in range(9, 14)]
    worst = rows(told(a_step(partitions=many)), "Largest partitions, of 14")
    assert [row[0] for row in worst[:3]] == ["13", "12", "11"]


def test_of_several_steps_there_is_a_line_for_each_and_the_sum() -> None:
    skipped = SkippedTask("map", 1, "split 1", "ValueError: no")
    output = told(a_step(1), a_step(2, skipped_tasks=[skipped]))

    assert rows(output, "Steps")[:2] == [
        [f"chain, step {number}", "8", "3", "1", "100000", "5000", "70.0 kB", "12 s"]
        for number in (1, 2)
    ]
    assert rows(output, "Workers")[0] == ["lab1/41", "16"]
    assert rows(output, "Counters")[0] == ["bad", "3"]
    assert rows(output, "Tasks skipped: 1")[0][1:3] == ["1", "split 1"]
    assert "Largest partitions of chain, step 2, of 3" in output
    assert "10,000 pairs, 140,000 bytes shuffled; 22 tasks on 2 workers, 2 failed" in output


def test_what_is_not_known_is_not_shown() -> None:
    nothing = Step("", "id", Report(seconds=1.0), Counter(), 0)

    assert told(nothing) == (
        "1,234 rows; 0 pairs, 0 bytes shuffled; 0 tasks on 0 workers, 0 failed attempts, "
        "0 backup tasks; 1.00 s\n"
    )


def test_counters_below_one_are_told_too() -> None:
    step = a_step()._replace(counters=Counter(balance=-3, nothing=0))

    assert rows(told(step, step), "Counters")[:2] == [["balance", "-6"], ["nothing", "0"]]


def test_many_workers_do_not_fill_the_screen() -> None:
    workers = Counter({f"lab{number}/1": number for number in range(1, 101)})
    output = told(a_step(tasks_by_worker=workers))

    listed = rows(output, "Workers, the first 20 of 100")
    assert listed[0] == ["lab100/1", "100"]
    assert len(listed) == 20


@pytest.mark.parametrize("steps", [1, 2])
def test_a_terminal_shows_the_same_tables(steps: int) -> None:
    output = told(*(a_step(number + 1) for number in range(steps)), terminal=True)

    for text in ("Slowest tasks", "lab1/41", "Counters", "Largest partitions", "backup tasks"):
        assert text in output


def test_programs_are_told_the_same() -> None:
    record = SkippedRecord("map", 0, "a.txt, line 1", "ValueError: no", "'x'")
    document = as_json(report_document([a_step(1, skipped=[record]), a_step(2)]))

    assert document["id"] == "id2"
    assert document["counters"] == {"bad": 3}
    assert document["skipped_records"][0]["where"] == "a.txt, line 1"
    assert document["report"]["map"]["slowest"][0]["worker"] == "lab1/41"
    assert [step["label"] for step in document["steps"]] == ["chain, step 1", "chain, step 2"]
    assert "steps" not in report_document([a_step()])
