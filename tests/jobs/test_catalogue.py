"""Each ready-made job against tools that share no code with it."""

import gzip
import os
import re
import subprocess
from collections import Counter
from pathlib import Path

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


def test_inverted_index_has_every_position_that_awk_counts(texts: list[Path]) -> None:
    ascii_only = [path for path in texts if path.name not in ("accents.txt", "latin.txt")]
    done = subprocess.run(
        ["awk", 'FNR == 1 { n = 0 } { gsub(/\r/, ""); for (i = 1; i <= NF; i++) print $i, FILENAME, ++n }',
         *map(str, ascii_only)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    expected: dict[str, dict[str, list[int]]] = {}
    for word, path, position in map(str.split, done.stdout.splitlines()):
        expected.setdefault(word, {}).setdefault(path, []).append(int(position))

    results = build("inverted_index", list(map(str, ascii_only))).run_sequential()

    found = dict(pair for part in results for pair in part)
    assert {word: dict(places) for word, places in found.items()} == expected
    assert all(places == sorted(places) for places in found.values())
    plain = str(texts[0])
    assert expected["be"] == {plain: [2, 6], str(texts[3]): [2]}


def test_inverted_index_shows_the_first_positions_in_each_file(texts: list[Path]) -> None:
    more = texts[0].parent / "below" / "more.txt"
    more.parent.mkdir()
    more.write_text("to and again " * 7)

    rows = {
        word: (count, files) for word, count, files in result_of("inverted_index", [*texts, more])
    }

    assert rows["and"] == (7, "below/more.txt:2,5,8,11,14+2")
    assert rows["question"] == (1, "plain.txt:10")
    assert rows["naïve"] == (2, "accents.txt:2,7")
    assert rows["caf\ufffd"] == (2, "latin.txt:1,2")
    assert rows["to"] == (
        12, "accents.txt:4 below/more.txt:1,4,7,10,13+2 latin.txt:3 plain.txt:1,5 windows.txt:1"
    )  # fmt: skip
    assert list(rows) == sorted(rows)
    assert set(rows) == {word for path in [*texts, more] for word in decoded(path).split()}


def test_inverted_index_takes_a_glob_and_each_file_once(texts: list[Path], tmp_path: Path) -> None:
    by_glob = result_of("inverted_index", [tmp_path / "*.txt", texts[0]])

    assert by_glob == result_of("inverted_index", texts)


def test_inverted_index_reads_compressed_files_and_names_that_look_like_globs(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"to be\r\nor"))
    (tmp_path / "b[1].txt").write_bytes(b"be")
    paths = [tmp_path / "*.gz", tmp_path / "b[1].txt"]

    assert result_of("inverted_index", paths) == [
        ("be", 2, "a.txt.gz:2 b[1].txt:1"),
        ("or", 1, "a.txt.gz:3"),
        ("to", 1, "a.txt.gz:1"),
    ]


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


@pytest.mark.parametrize("pattern", ["(", "a{99999999999}", "(" * 2000 + ")" * 2000])
def test_a_pattern_that_is_no_regular_expression_is_refused_before_anything_runs(
    pattern: str,
) -> None:
    with pytest.raises(JobOptionsError, match=f"{re.escape(pattern)}' is not a regular expression"):
        build("grep", "*.txt", pattern=pattern)


def test_inverted_index_of_a_file_without_words_has_no_rows(texts: list[Path]) -> None:
    assert result_of("inverted_index", [texts[-1]]) == []


def test_an_index_of_no_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobOptionsError, match=r"no file matches"):
        build("inverted_index", str(tmp_path / "*.txt"))


def test_an_option_of_a_job_that_has_none_is_told_so() -> None:
    with pytest.raises(JobOptionsError, match="'pattern'; its options: none"):
        build("word_count", "*.txt", pattern="a")
