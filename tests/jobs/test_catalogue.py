"""Each ready-made job against tools that share no code with it."""

import os
import re
import subprocess
from collections import Counter
from pathlib import Path

import cloudpickle
import pytest

from jobs.catalogue import build, find
from jobs.errors import JobOptionsError, JobsError, UnknownJobError

TEXTS = {
    "plain.txt": b"to be or not to be\nthat is the question\n",
    "accents.txt": "Šumava  naïve\t日本語\nto be, or naïve\n".encode(),
    "latin.txt": b"caf\xe9 caf\xe9 to be\n",
    "windows.txt": b"to be\r\n\r\nor not\r\n",
    "unfinished.txt": b"\n\n  the last line has no end",
    "empty.txt": b"",
}

LOG = """\
10.0.0.1 - - [21/Nov/2026:03:00:01 +0000] "GET /index.html HTTP/1.1" 200 512
10.0.0.2 - - [21/Nov/2026:03:00:02 +0000] "GET /feed.xml HTTP/1.0" 200 99
10.0.0.1 - - [21/Nov/2026:03:00:03 +0000] "GET /logo.png HTTP/1.1" 200 4096
10.0.0.3 - - [21/Nov/2026:03:00:04 +0000] "POST /form.html HTTP/1.1" 302 0
10.0.0.3 - - [21/Nov/2026:03:00:05 +0000] "GET /a.b/deep.html HTTP/1.1" 404 10
10.0.0.4 - - [21/Nov/2026:03:00:06 +0000] "GET /index.html?q=1 HTTP/1.1" 200 512
10.0.0.4 - - [21/Nov/2026:03:00:06 +0000] "GET /index.htm HTTP/1.1" 200 512
not a log line at all

"""

# The jobs that take any text; others are tested with their own samples.
OF_TEXT = ["grep", "inverted_index", "url_count", "word_count"]


@pytest.fixture
def texts(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name for name in TEXTS]
    for path in paths:
        path.write_bytes(TEXTS[path.name])
    return paths


@pytest.fixture
def logs(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name for name in ("first.log", "second.log")]
    for times, path in enumerate(paths, start=1):
        path.write_text(LOG * times)
    return paths


def result_of(name: str, paths: list[Path], **options: object) -> list[tuple]:
    job = build(name, [str(path) for path in paths], **options)
    job.map_tasks, job.reduce_tasks = 3, 2
    return find(name).table(job.run_sequential())


def decoded(path: Path) -> str:
    return path.read_bytes().decode("utf-8", errors="replace")


def shell_counts(script: str, *arguments: object) -> list[tuple[str, int]]:
    """Return the lines that a shell script prints, counted and ordered by sort and uniq."""
    done = subprocess.run(
        ["sh", "-c", f"{script} | sort | uniq -c | sort -k1,1nr -k2", "sh", *map(str, arguments)],
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=True,
    )
    counted = (line.lstrip().partition(" ") for line in done.stdout.splitlines())
    return [(text, int(count)) for count, _, text in counted]


def test_word_count_counts_what_a_split_of_the_whole_text_gives(texts: list[Path]) -> None:
    counts = Counter(word for path in texts for word in decoded(path).split())

    rows = result_of("word_count", texts)

    assert dict(rows) == counts
    assert rows == sorted(rows, key=lambda row: (-row[1], row[0]))


def test_url_count_agrees_with_grep_sort_and_uniq(logs: list[Path]) -> None:
    expected = shell_counts(
        r"""grep -ohE 'GET [^[:space:]]+\.(html|xml) HTTP' "$@" | cut -d' ' -f2""", *logs
    )

    rows = result_of("url_count", logs)

    assert rows == expected
    assert ("/index.html", 3) in rows


@pytest.mark.parametrize("pattern", ["GET", r"\.html", "^10[.]0[.]0[.][12] ", "404|302", "^not"])
def test_grep_agrees_with_grep_sort_and_uniq(pattern: str, logs: list[Path]) -> None:
    expected = shell_counts('grep -hE "$@"', "-e", pattern, *logs)

    rows = result_of("grep", logs, pattern=pattern)

    assert rows == expected
    assert rows


def test_grep_without_a_match_has_no_rows(logs: list[Path]) -> None:
    assert result_of("grep", logs, pattern="no such thing") == []


def test_inverted_index_names_every_file_a_word_is_in(texts: list[Path]) -> None:
    files: dict[str, set[str]] = {}
    for path in texts:
        for word in re.findall(r"\S+", decoded(path)):
            files.setdefault(word, set()).add(str(path))

    rows = result_of("inverted_index", texts)

    assert rows == sorted((word, " ".join(sorted(paths))) for word, paths in files.items())


def test_inverted_index_takes_a_glob_and_each_file_once(texts: list[Path], tmp_path: Path) -> None:
    by_glob = result_of("inverted_index", [tmp_path / "*.txt", texts[0]])

    assert by_glob == result_of("inverted_index", texts)


@pytest.mark.parametrize("name", OF_TEXT)
def test_every_job_gives_the_same_table_however_it_is_cut(name: str, logs: list[Path]) -> None:
    options = {"pattern": "html"} if name == "grep" else {}
    job = build(name, [str(path) for path in logs], **options)
    tables = []

    for job.map_tasks, job.reduce_tasks in [(1, 1), (5, 1), (2, 7)]:
        tables.append(find(name).table(job.run_sequential()))

    assert tables[0]
    assert tables == [tables[0]] * 3


@pytest.mark.parametrize("name", OF_TEXT)
def test_every_job_has_what_the_command_line_shows(name: str, logs: list[Path]) -> None:
    module = find(name)
    options = {"pattern": "html"} if name == "grep" else {}

    rows = result_of(name, logs, **options)

    assert module.__doc__
    assert module.TITLE
    assert all(len(row) == len(module.COLUMNS) for row in rows)


@pytest.mark.parametrize("name", OF_TEXT)
def test_the_functions_of_every_job_travel(name: str, logs: list[Path]) -> None:
    options = {"pattern": "html"} if name == "grep" else {}
    job = build(name, [str(logs[0])], **options)

    for function in (job.map, job.reduce):
        assert callable(cloudpickle.loads(cloudpickle.dumps(function)))


def test_an_unknown_job_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(UnknownJobError) as refusal:
        find("wordcount")

    assert isinstance(refusal.value, JobsError)
    assert isinstance(refusal.value, LookupError)
    for name in ("wordcount", "grep", "inverted_index", "url_count", "word_count"):
        assert name in str(refusal.value)


def test_a_missing_option_is_named(logs: list[Path]) -> None:
    with pytest.raises(JobOptionsError, match=r"^grep: .*pattern"):
        build("grep", str(logs[0]))


def test_an_option_the_job_does_not_know_is_named(logs: list[Path]) -> None:
    with pytest.raises(JobOptionsError, match=r"^word_count: .*pattern"):
        build("word_count", str(logs[0]), pattern="x")


def test_a_pattern_that_is_no_regular_expression_is_refused_before_anything_runs() -> None:
    with pytest.raises(JobOptionsError, match=r"'\(' is not a regular expression"):
        build("grep", "*.txt", pattern="(")


def test_an_index_of_no_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobOptionsError, match=r"no file matches"):
        build("inverted_index", str(tmp_path / "*.txt"))
