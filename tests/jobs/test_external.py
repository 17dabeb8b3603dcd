"""The job whose map is a program: against the same program in a shell."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from jobs import external
from jobs.catalogue import build, find, options_of
from jobs.errors import JobOptionsError
from mapreduce import MapReduceJob


def rows_of(paths: str, **options: str) -> list[tuple[str, int]]:
    job = build("external", paths, **options)
    assert isinstance(job, MapReduceJob)
    job.map_tasks, job.reduce_tasks = 3, 2
    return find("external").table(job.run_sequential())


def test_it_counts_what_the_same_program_counts_in_a_shell(tmp_path: Path) -> None:
    find("external").sample(tmp_path, 1)
    done = subprocess.run(
        ["sh", "-c", f'cat "$1"/* | {external.PROGRAM} | cut -f1 | sort | uniq -c | sort -k1,1nr -k2',
         "sh", tmp_path],
        env={**os.environ, "LC_ALL": "C"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    expected = [
        (word, int(times)) for times, word in (line.split() for line in done.stdout.splitlines())
    ]

    rows = rows_of(f"{tmp_path}/*")

    assert rows == expected
    assert len(rows) > 1000


def test_empty_files_and_words_of_any_letters(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    assert rows_of(f"{tmp_path}/*") == []

    (tmp_path / "text.txt").write_text(
        "Šumava 日本語\tnaïve\n\n日本語 a:b 'it''s'", encoding="utf-8"
    )
    assert dict(rows_of(f"{tmp_path}/*")) == {
        "日本語": 2, "Šumava": 1, "naïve": 1, "a:b": 1, "'it''s'": 1,
    }  # fmt: skip


def test_a_program_of_ones_own_goes_along(tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.txt").write_text("to be or not to be\n" * 10)
    own = tmp_path / "with space" / "letters.awk"
    own.parent.mkdir()
    own.write_text('{ for (i = 1; i <= NF; i++) print substr($i, 1, 1) "\\t" length($i) }\n')

    rows = rows_of(f"{texts}/*", program="awk -f letters.awk", files=f"'{own}'")

    assert dict(rows) == {"t": 40, "b": 40, "o": 20, "n": 30}


@pytest.mark.parametrize(
    "options, why",
    [
        ({"program": "awk '{ print }"}, "No closing quotation"),
        ({"program": ""}, "takes a program"),
        ({"files": "no-such-file"}, "no-such-file cannot be read"),
    ],
)
def test_what_is_no_command_is_refused(options: dict[str, str], why: str) -> None:
    with pytest.raises(JobOptionsError, match=f"^external: .*{why}"):
        build("external", "*.txt", **options)


def test_its_options_are_listed() -> None:
    assert options_of("external").startswith("program=awk '{ for")
