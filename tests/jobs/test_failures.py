"""What people see of bad records and of tasks that have failed for good."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from jobs.cli import program
from jobs.terminal.failures import SHOWN, print_buried, print_skipped
from mapreduce import JobFailedError
from mapreduce.report import SkippedTask
from mapreduce.skipping import SkippedRecord


def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_first_bad_records_are_shown_and_how_many_there_are() -> None:
    records = [
        SkippedRecord("map", 0, f"a.txt, line {n}, byte {n * 10}", "ValueError: no", f"'r{n}'")
        for n in range(1, 1235)
    ]
    shown = console()
    print_skipped(records, [], shown)

    lines = text_of(shown).splitlines()
    assert lines[0] == f"Bad records skipped: 1,234, the first {SHOWN}"
    assert len(lines) == 2 + SHOWN
    assert [each.strip() for each in lines[2].split("  ") if each] == [
        "a.txt, line 1, byte 10", "'r1'", "ValueError: no",
    ]  # fmt: skip


def test_skipped_tasks_are_shown_with_reason() -> None:
    shown = console()
    print_skipped([], [SkippedTask("map", 3, "lines of a.txt", "ValueError: no")], shown)

    assert text_of(shown).splitlines()[0] == "Tasks skipped: 1"
    assert "lines of a.txt" in text_of(shown)


def test_nothing_is_shown_of_nothing() -> None:
    shown = console()
    print_skipped([], [], shown)
    print_buried([], shown)

    assert text_of(shown) == ""


def test_buried_tasks_are_shown_whatever_their_tuples_lack() -> None:
    about = {"reason": "ValueError: no", "where": "a.txt, line 3", "record": None, "attempts": 2}
    shown = console()
    print_buried([("buried", "j1", "map", 0, about), ("buried", "j2", "reduce", 1, {})], shown)

    lines = text_of(shown).splitlines()
    assert lines[0] == "Buried tasks"
    assert "a.txt, line 3" in lines[2]
    assert lines[3].split()[:2] == ["j2", "reduce"]


def test_a_long_reason_does_not_fill_the_screen() -> None:
    shown = console()
    print_buried([("buried", "j1", "map", 0, {"reason": "x" * 5000})], shown)

    assert 100 < text_of(shown).count("x") < 200


@pytest.mark.parametrize(
    "message, record, is_said",
    [
        ("map 3 failed on lab1/7: ValueError: no", "'r1'", True),
        ("map 3 failed on lab1/7: ValueError: no", None, False),  # it may be anything
        ("map 3 failed on lab1/7: more than 2 bad records: a.txt, line 3: 'r1'", "'r1'", False),
    ],
)
def test_a_job_that_a_record_has_failed_says_that_such_records_can_be_skipped(
    message: str, record: str | None, is_said: bool
) -> None:
    said = str(JobFailedError(message, "", record))

    assert ("--skip-bad-records N) leaves out up to N such records" in said) == is_said


def test_the_job_command_takes_what_may_be_skipped(
    space_server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    job = f"job word_count --input {__file__} --space {space_server.uri}"
    program.run(f"tuplemill {job} --on-bad-task never", exit=False)
    assert "job.on_bad_task is 'fail' or 'skip', not 'never'" in capsys.readouterr().err


def test_input_that_cannot_be_read_is_told_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "friends").write_text('["a", "b"]\nno JSON\n')

    with pytest.raises(SystemExit):
        program.run(f"tuplemill job friend_count --local --input {tmp_path}/friends")

    said = capsys.readouterr().err
    assert "friends, line 2: is no JSON" in said
    assert "In the worker" not in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "words, part",
    [
        (["gone.py"], "there is no script gone.py: No such file"),
        (["."], "there is no script .: it is a directory"),
        (
            [__file__, "gone.json"],
            "gone.json: No such file or directory; name a file of JSON lines",
        ),
    ],
)
def test_a_script_or_data_that_cannot_be_read_is_one_line(words: list[str], part: str) -> None:
    command = [sys.executable, "-c", "from jobs.entry import main; main()", "emit", *words]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)

    assert ended.returncode == 1
    assert part in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
