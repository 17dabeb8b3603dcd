"""Commands whose output cannot be had, or is asked for in vain."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from jobs.cli import program
from tuplespace import RemoteSpace

FULL = Path("/dev/full")


def status_of(*words: str) -> int:
    try:
        program.run(["tuplemill", *words])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@pytest.mark.parametrize(
    "words", [["status"], ["status", "--json"], ["jobs"], ["tuples", '("a", ...)'], ["write", "-"]]
)
def test_a_command_whose_standard_streams_are_closed_does_its_work(
    words: list[str], remote: RemoteSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)

    assert status_of(*words, "--space", remote.uri) == 0

    for name in ("stdin", "stdout", "stderr"):
        getattr(sys, name).close()


@pytest.mark.skipif(not FULL.exists(), reason="there is no disk that is always full")
@pytest.mark.parametrize("words", [["status"], ["status", "--json"], ["take", '("a", ...)']])
def test_a_full_disk_is_one_line_and_what_was_taken_goes_back(
    words: list[str], remote: RemoteSpace, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], eventually: Any,
) -> None:  # fmt: skip
    remote.write(("a", 1))
    with FULL.open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)

        assert status_of(*words, "--space", remote.uri) == 1

    assert capsys.readouterr().err == "error: cannot write: [Errno 28] No space left on device\n"
    eventually(lambda: remote.count(("a", 1)) == 1)


@pytest.mark.parametrize(
    "words", [[], ["--list"], ["--help", "job"], ["job", "list"], ["nonsense"]]
)
def test_a_command_whose_output_nobody_reads_ends_without_a_traceback(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as unread:
        monkeypatch.setattr(sys, "stdout", unread)

        assert status_of(*words) == 1

    assert len(capsys.readouterr().err.splitlines()) == (words == ["nonsense"])


@pytest.mark.parametrize("words", [["tuples", "--help"], ["take", "-h"], ["job", "--help"]])
def test_who_asks_for_help_behind_a_command_hears_where_it_is(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(*words) == 1
    assert f"for help, say `invoke --help {words[0]}`" in capsys.readouterr().err


def test_what_is_no_number_of_rows_is_refused_before_the_job_runs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert status_of("job", "word_count", "--input", "x", "--rows", "-3") == 1
    assert capsys.readouterr().err == "error: --rows is a whole number from 0, not -3\n"
