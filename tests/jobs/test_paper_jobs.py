"""Sort, reverse links and term vectors of the paper, against sort, sqlite and the plain algorithm."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
from collections import Counter, defaultdict
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from jobs.catalogue import build, find
from mapreduce import MapReduceJob

Pages = list[dict[str, Any]]


def cut(name: str, paths: Any, **options: object) -> MapReduceJob:
    job = build(name, paths, **options)
    assert isinstance(job, MapReduceJob)
    job.map_tasks, job.reduce_tasks = 3, 2
    return job


def rows_of(name: str, paths: Any, **options: object) -> list[tuple[Any, ...]]:
    return find(name).table(cut(name, paths, **options).run_sequential())


def made(name: str, folder: Path) -> str:
    find(name).sample(folder, 1)
    return f"{folder}/*"


def written(pages: Pages, folder: Path) -> str:
    path = folder / "pages.jsonl"
    path.write_text("".join(json.dumps(page) + "\n" for page in pages), encoding="utf-8")
    return str(path)


def read(folder: Path) -> Pages:
    lines = chain.from_iterable(path.read_text("utf-8").splitlines() for path in folder.iterdir())
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("name", ["sort", "reverse_links", "term_vectors"])
def test_empty_input_has_no_rows(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()

    assert rows_of(name, str(tmp_path / "empty")) == []


# --- sort -----------------------------------------------------------------------------------------


def sorted_by_shell(folder: Path) -> bytes:
    return subprocess.run(
        ["sh", "-c", 'sort "$1"/*', "sh", folder],
        env={**os.environ, "LC_ALL": "C"}, capture_output=True, check=True,
    ).stdout  # fmt: skip


def as_bytes(results: list[list[str]]) -> bytes:
    return b"".join(line.encode("latin-1") + b"\n" for line in chain.from_iterable(results))


def test_sort_gives_the_bytes_that_sort_gives(tmp_path: Path) -> None:
    results = cut("sort", made("sort", tmp_path)).run_sequential()

    assert as_bytes(results) == sorted_by_shell(tmp_path)
    assert all(0.4 < len(part) / 10_000 < 0.6 for part in results)


def test_sort_takes_any_bytes_for_lines_and_many_equal_ones(tmp_path: Path) -> None:
    lines = [
        "",
        "a",
        "b" * 200,
        "same key, one",
        "same key, two",
        "Šumava",
        "日本語",
        "😀",
        "caf\udce9",
    ]
    for number in range(3):
        text = "\n".join(lines[number:] * 20 + ["same key, 0", "\t", "\x01", "~"]) + "\n"
        (tmp_path / f"{number}.txt").write_bytes(text.encode("utf-8", "surrogateescape"))

    results = cut("sort", f"{tmp_path}/*").run_sequential()

    assert as_bytes(results) == sorted_by_shell(tmp_path)
    rows = [line for (line,) in find("sort").table(results)]
    assert rows[-1] == "😀"
    assert {"", "Šumava", "日本語", "caf\ufffd"} < set(rows)


def test_sort_and_the_others_run_on_workers_alike(standing_cluster: Any, tmp_path: Path) -> None:
    for name in ("sort", "term_vectors", "external"):
        (tmp_path / name).mkdir()
        job = cut(name, made(name, tmp_path / name))

        assert job.run(standing_cluster.uri) == job.run_sequential()


# --- reverse links --------------------------------------------------------------------------------


def test_reverse_links_agree_with_sqlite(tmp_path: Path) -> None:
    paths = made("reverse_links", tmp_path)
    links = [(page["url"], link) for page in read(tmp_path) for link in page["links"]]
    with closing(sqlite3.connect(":memory:")) as base:
        base.execute("CREATE TABLE links (source, target)")
        base.executemany("INSERT INTO links VALUES (?, ?)", links)
        expected = base.execute("""
            SELECT target, count(*), group_concat(source, ' ')
            FROM (SELECT DISTINCT target, source FROM links ORDER BY target, source)
            GROUP BY target ORDER BY count(*) DESC, target
        """).fetchall()
    base.close()

    rows = rows_of("reverse_links", paths)

    assert rows == expected
    assert len(set(links)) < len(links)  # some pages link twice to another


def test_a_page_may_link_to_itself_to_none_and_to_one_nobody_has_read(tmp_path: Path) -> None:
    pages = [
        {"url": "/a", "links": ["/a", "/ü", "/a"]},
        {"url": "/b", "links": []},
        {"url": "/c", "links": ["/ü"], "text": "more than links"},
    ]

    assert rows_of("reverse_links", written(pages, tmp_path)) == [
        ("/ü", 2, "/a /c"),
        ("/a", 1, "/a"),
    ]


# --- term vectors ---------------------------------------------------------------------------------


def plain_vectors(pages: Pages, least: int, words: int) -> list[tuple[str, str]]:
    totals: dict[str, Counter[str]] = defaultdict(Counter)
    for page in pages:
        host = re.fullmatch(r"\w+://([^/:]+)(:\d+)?(/.*)?", page["url"])[1]
        totals[host] += Counter(re.split(r"\W+", page["text"].lower()))
    rows = []
    for host, total in sorted(totals.items()):
        common = [(-count, word) for word, count in total.items() if count >= least and word]
        if common:
            vector = ", ".join(f"{word} {-count}" for count, word in sorted(common)[:words])
            rows.append((host, vector))
    return rows


@pytest.mark.parametrize("least, words", [(5, 10), (1, 1000), (200, 3)])
def test_term_vectors_are_those_of_the_plain_algorithm(
    least: int, words: int, tmp_path: Path
) -> None:
    paths = made("term_vectors", tmp_path)

    rows = rows_of("term_vectors", paths, least=least, words=words)

    assert rows == plain_vectors(read(tmp_path), least, words)
    assert len(rows) == 5


def test_a_word_that_is_rare_in_each_split_may_be_common_in_all(tmp_path: Path) -> None:
    pages = [
        {"url": f"http://{host}/{number}", "text": f"Größe, GRÖSSE größe; once{number}"}
        for number in range(3)
        for host in ("One.example:80", "one.example", "two.example")
    ]

    assert rows_of("term_vectors", written(pages, tmp_path), least=4) == [
        ("one.example", "größe 12, grösse 6"),
        ("two.example", "größe 6"),
    ]
