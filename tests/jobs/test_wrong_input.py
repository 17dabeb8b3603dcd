"""Input and options that are wrong are named, with file and line, and never give a wrong table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.catalogue import build, find
from jobs.errors import JobOptionsError
from jobs.steps import run_steps
from mapreduce import InputError, MapReduceJob, RecordFailedError

LINKS = 'expected a page and its links, as in {"url": "/a", "links": ["/b", "/c"]}'
PAGE = 'expected a page, as in {"url": "http://host/a", "text": "of words"}'

NO_LINKS: list[Any] = [
    {"url": "/a", "links": "bc"},  # each letter would be a page
    {"url": None, "links": []},  # None is the key of what goes to all pages
    {"url": "/a", "links": ["/b", None]},
    {"url": "/a", "links": [["/b"]]},
    {"url": "/a", "links": ["/b", 7]},
    {"url": ["/a"], "links": []},
    {"url": "/a"},
    ["/a", "/b"],
    None,
]
NO_PAGES: list[Any] = [
    {"url": None, "text": "x"},
    {"url": "http://a/", "text": ["x"]},
    {"url": "a.example/x", "text": "x"},  # no host: all such pages would be one
    {"url": ""},
]


def table_of(name: str, path: Path, **options: Any) -> list[tuple[Any, ...]]:
    return find(name).table(run_steps(build(name, str(path), **options), run=two_partitions))


def two_partitions(step: MapReduceJob) -> list[Any]:
    step.reduce_tasks = 2
    return step.run_sequential()


@pytest.mark.parametrize(
    "name, page, expected",
    [
        *[(name, page, LINKS) for name in ("page_rank", "reverse_links") for page in NO_LINKS],
        *[("term_vectors", page, PAGE) for page in NO_PAGES],
        ("join", ["order", float("nan")], "expected a number in column 1, not NaN"),
        (
            "join",
            ["order", True],
            "expected a text or a number to join on in column 1",
        ),  # 1, to Python
    ],
)
def test_a_record_of_other_types_is_named(
    name: str, page: Any, expected: str, tmp_path: Path
) -> None:
    good = '["order", 1]' if name == "join" else '{"url": "http://a/", "links": [], "text": ""}'
    (tmp_path / "pages").write_text(f"{good}\n{json.dumps(page)}\n")

    with pytest.raises(RecordFailedError, match="pages, line 2") as failure:
        table_of(name, tmp_path / "pages")

    assert str(failure.value.__cause__) == expected


def test_points_so_far_out_that_their_sum_is_infinite_are_named(tmp_path: Path) -> None:
    (tmp_path / "points").write_text("1e99,1\n1e99,1\n")
    assert table_of("k_means", tmp_path / "points") == [(2, "1e+99, 1")]

    (tmp_path / "points").write_text("1,1\n-1e308,1\n")
    with pytest.raises(RecordFailedError, match="points, line 2") as failure:
        table_of("k_means", tmp_path / "points")
    assert "its coordinates are below 1e+100" in str(failure.value.__cause__)


def test_one_point_of_many_with_a_coordinate_more_is_named(tmp_path: Path) -> None:
    # More than the start is chosen from.
    lines = [f"{number},{number % 7}" for number in range(1000)]
    (tmp_path / "points").write_text("\n".join([*lines, "1,2,3"]))

    with pytest.raises(InputError, match=r"of 2 and of 3 coordinates, .* \(1\.0, 2\.0, 3\.0\)$"):
        table_of("k_means", tmp_path / "points")


@pytest.mark.parametrize("line", ["1,,3", ",1,3", "1,3,", "1; ,3"])
def test_a_coordinate_that_is_missing_is_not_passed_over(line: str, tmp_path: Path) -> None:
    (tmp_path / "points").write_text(f"1,3\n{line}\n")

    with pytest.raises(RecordFailedError, match="points, line 2"):
        table_of("k_means", tmp_path / "points")


@pytest.mark.parametrize("options", [{"words": 0}, {"words": -1}, {"least": 0}])
def test_no_vector_has_less_than_one_word(options: dict[str, int]) -> None:
    with pytest.raises(JobOptionsError, match=r"^term_vectors: least and words are whole numbers"):
        build("term_vectors", "*.jsonl", **options)


def test_ranks_that_look_the_same_are_in_the_order_of_their_pages() -> None:
    # Their last digits depend on the order of what was added up.
    assert find("page_rank").table({"b": 0.25 + 1e-15, "a": 0.25, "c": 0.5}) == [
        ("c", 0.5), ("a", 0.25), ("b", 0.25),
    ]  # fmt: skip


def test_files_of_the_home_folder_are_found_although_no_shell_looks_into_an_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "own.awk").write_text('{ print $1 "\\t" 1 }')
    (tmp_path / "text").write_text("a b\na c\n")

    rows = table_of("external", tmp_path / "text", program="awk -f own.awk", files="~/own.awk")

    assert rows == [("a", 2)]
