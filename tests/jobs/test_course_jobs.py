"""The Data Science course's problems: against sqlite, and against the plain algorithms."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from fractions import Fraction
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.catalogue import build, find
from jobs.errors import JobOptionsError
from jobs.steps import run_steps
from mapreduce import Blocks, InputError, JobFailedError, MapReduceJob, RecordFailedError, TextFiles
from mapreduce.engine.embedded import EmbeddedEngine
from workers.counters import counts, reset

JOBS = ["asymmetric_friends", "friend_count", "join", "matrix_multiply", "unique_trims"]

SUMS = """SELECT a.column1, b.column2, sum(a.column3 * b.column3) AS total
          FROM a, b WHERE a.column2 = b.column1 GROUP BY 1, 2 HAVING total <> 0 ORDER BY 1, 2"""
JOINED = "SELECT * FROM left_table l, right_table r WHERE l.column1 = r.column1"
COUNTS = "SELECT column0, count(*) FROM rows GROUP BY 1 ORDER BY 2 DESC, 1"
ONE_SIDED = """WITH said AS (SELECT DISTINCT column0 AS one, column1 AS other FROM rows),
                    missing AS (SELECT other, one FROM said EXCEPT SELECT one, other FROM said)
               SELECT other, one FROM missing UNION SELECT one, other FROM missing ORDER BY 1, 2"""
TRIMS = """SELECT substr(column1, 1, max(length(column1) - 10, 0)), count(*)
           FROM rows GROUP BY 1 ORDER BY 2 DESC, 1"""


def write(path: Path, records: Iterable[Any]) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def read(paths: Iterable[Path | str]) -> list[Any]:
    return [json.loads(line) for path in paths for line in Path(path).read_text().splitlines()]


def selected(query: str, **tables: list[list[Any]]) -> list[tuple[Any, ...]]:
    """Return what sqlite selects from tables without types, of column0, column1 and so on."""
    with closing(sqlite3.connect(":memory:")) as database:
        for name, rows in tables.items():
            width = len(rows[0])
            names = ", ".join(f"column{number}" for number in range(width))
            database.execute(f"CREATE TABLE {name} ({names})")
            database.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * width)})", rows)
        return database.execute(query).fetchall()


def of_table(records: Iterable[list[Any]], name: str) -> list[list[Any]]:
    return [record for record in records if record[0] == name]


def here(maps: int, reduces: int) -> Callable[[MapReduceJob], list[Any]]:
    """Return what runs a job, or a step of one, in this process."""

    def run(step: MapReduceJob) -> list[Any]:
        if isinstance(step.data, TextFiles):
            step.map_tasks = maps
        step.reduce_tasks = reduces
        return step.run_sequential()

    return run


def table_of(
    name: str, paths: Any, maps: int = 3, reduces: int = 2, **options: Any
) -> list[tuple[Any, ...]]:
    paths = paths if isinstance(paths, str) else [str(path) for path in paths]
    rows = find(name).table(run_steps(build(name, paths, **options), here(maps, reduces)))
    assert all(len(row) == len(find(name).COLUMNS) for row in rows)
    return rows


def joined(paths: Any, **options: Any) -> list[list[Any]]:
    table = table_of("join", paths, **options)
    assert table == sorted(table)
    return [json.loads(text) for (text,) in table]


def in_any_order(rows: Iterable[Any]) -> list[str]:
    return sorted(json.dumps(row) for row in rows)


@pytest.fixture
def sample_of(tmp_path: Path) -> Callable[[str], list[Path]]:
    def written(name: str) -> list[Path]:
        find(name).sample(tmp_path, 1)
        return sorted(tmp_path.iterdir())

    return written


# --- Samples against sqlite ----------------------------------------------------------------------


def test_join_agrees_with_sqlite_on_its_sample(sample_of: Any) -> None:
    paths = sample_of("join")
    records = read(paths)
    orders, items = of_table(records, "order"), of_table(records, "line_item")
    expected = selected(JOINED, left_table=orders, right_table=items)

    rows = joined(paths)

    assert in_any_order(rows) == in_any_order(expected)
    assert 0 < len(rows) < len(items)


def test_friend_count_agrees_with_sqlite_on_its_sample(sample_of: Any) -> None:
    paths = sample_of("friend_count")

    assert table_of("friend_count", paths) == selected(COUNTS, rows=read(paths))


def test_asymmetric_friends_agree_with_sqlite_on_their_sample(sample_of: Any) -> None:
    paths = sample_of("asymmetric_friends")
    records = read(paths)

    rows = table_of("asymmetric_friends", paths)

    assert rows == selected(ONE_SIDED, rows=records)
    assert 0 < len(rows) < len(records)


def test_unique_trims_agree_with_sqlite_on_their_sample(sample_of: Any) -> None:
    paths = sample_of("unique_trims")
    records = read(paths)

    rows = table_of("unique_trims", paths)

    assert rows == selected(TRIMS, rows=records)
    assert len(rows) < len(records) / 5


def test_matrix_multiply_agrees_with_sqlite_on_its_sample(sample_of: Any) -> None:
    paths = sample_of("matrix_multiply")
    records = read(paths)

    rows = table_of("matrix_multiply", paths)

    assert rows == selected(SUMS, a=of_table(records, "a"), b=of_table(records, "b"))


# --- Hand-made corners ---------------------------------------------------------------------------


def test_a_join_is_that_of_sql_in_every_corner(tmp_path: Path) -> None:
    records = [
        ["line_item", "2", "before its order"], ["order", "1", "first"], ["order", "2", "second"],
        ["line_item", "1", "x"], ["line_item", "1", "x"],  # twice the same
        ["order", "1", "another of this id"],
        ["order", "3", "without items"], ["line_item", "4", "without order"],
        ["order", None, "of no id"], ["line_item", None, "of no order"],
        ["order", 1, "a number"], ["line_item", 1.0, "a number as well"],
    ]  # fmt: skip
    path = write(tmp_path / "all.json", records)
    orders, items = of_table(records, "order"), of_table(records, "line_item")
    expected = selected(JOINED, left_table=orders, right_table=items)

    assert in_any_order(joined(path)) == in_any_order(expected)
    assert len(expected) == 6


def test_the_left_table_and_the_column_of_a_join_can_be_chosen(tmp_path: Path) -> None:
    path = write(tmp_path / "all.json", [["b", 0, "k", 7], ["a", 1, "k"], ["a", 2, "other"]])

    assert joined(path, left="a", right="b", column=2) == [["a", 1, "k", "b", 0, "k", 7]]
    assert joined(path, left="b", right="a", column=2) == [["b", 0, "k", 7, "a", 1, "k"]]


def test_a_table_can_be_joined_with_itself(tmp_path: Path) -> None:
    records = [["n", 1, "a"], ["n", 1, "b"], ["n", 2, "c"]]
    path = write(tmp_path / "n.json", records)

    rows = joined(path, left="n", right="n")

    expected = selected(JOINED, left_table=records, right_table=records)
    assert in_any_order(rows) == in_any_order(expected)


def test_rows_of_other_tables_are_passed_over_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "all.json", [["order", 1], ["customer"], ["line_item", 1], ["clerk"]])
    reset()

    assert joined(path) == [["order", 1, "line_item", 1]]
    assert counts() == {"rows of other tables": 2}
    reset()


def test_a_join_without_such_a_column_is_refused_before_anything_runs() -> None:
    with pytest.raises(JobOptionsError, match=r"column is 1 or more.*not 0"):
        build("join", "*.json", column=0)


def test_friends_are_counted_by_record_and_in_one_direction(tmp_path: Path) -> None:
    path = write(tmp_path / "f.json", [["Ann", "Bob"], ["Ann", "Bob"], ["Ann", "Ann"]])

    assert table_of("friend_count", path) == [("Ann", 3)]


def test_a_friendship_is_asymmetric_until_the_other_says_so(tmp_path: Path) -> None:
    one_sided = write(tmp_path / "f.json", [["Bob", "Ann"], ["Bob", "Ann"], ["Eve", "Eve"]])
    returned = write(tmp_path / "g.json", [["Ann", "Bob"]])

    assert table_of("asymmetric_friends", one_sided) == [("Ann", "Bob"), ("Bob", "Ann")]
    assert table_of("asymmetric_friends", [one_sided, returned]) == []


def test_short_sequences_are_trimmed_to_nothing_once(tmp_path: Path) -> None:
    texts = ["", "A", "ACGTACGTA", "ACGTACGTAC", "TACGTACGTAC", "TGGGGGGGGGG"]
    records = [[f"id{number}", text] for number, text in enumerate(texts)]
    path = write(tmp_path / "s.json", records)

    rows = table_of("unique_trims", path)

    assert rows == [("", 4), ("T", 2)]
    assert rows == selected(TRIMS, rows=records)


def test_cells_given_twice_are_added_up_and_zeros_left_out(tmp_path: Path) -> None:
    cells = [
        ["a", 0, 0, 2], ["a", 0, 0, 3], ["b", 0, 0, 10],
        ["a", 1, 0, 1], ["a", 1, 1, -1], ["b", 0, 1, 4], ["b", 1, 1, 4],  # 4 - 4
        ["a", 2, 2, 0], ["b", 2, 2, 9],
        ["a", 3, 7, 1], ["b", 8, 3, 1],  # meet nothing
    ]  # fmt: skip

    rows = table_of("matrix_multiply", write(tmp_path / "m.json", cells))

    assert rows == [(0, 0, 50), (0, 1, 20), (1, 0, 10)]
    assert rows == selected(SUMS, a=of_table(cells, "a"), b=of_table(cells, "b"))


def test_a_product_is_exact_where_adding_up_one_by_one_is_not(tmp_path: Path) -> None:
    large = 3**2000  # beyond any float
    values = [1e100, 1.0, -1e100, 0.5]
    cells = [["a", 0, 0, large], ["b", 0, 0, large + 1]]
    cells += [["a", 1, 1 + place, value] for place, value in enumerate(values)]
    cells += [["b", 1 + place, 1, 1] for place in range(len(values))]

    rows = table_of("matrix_multiply", write(tmp_path / "m.json", cells))

    assert rows == [(0, 0, large * (large + 1)), (1, 1, 1.5)]
    assert reduce(add, values) == 0.5  # as `sum` did until Python 3.12


@pytest.mark.parametrize("name", JOBS)
def test_blank_lines_alone_are_an_empty_table(name: str, tmp_path: Path) -> None:
    (tmp_path / "blank.json").write_text("\n\n  \n")

    assert table_of(name, str(tmp_path / "blank.json")) == []


# --- Anything at all -----------------------------------------------------------------------------

KEYS = st.sampled_from([None, 0, 1, 1.0, 2**70, "", "1", "k", "ключ"])
ROWS = st.lists(st.tuples(st.sampled_from(["order", "line_item"]), KEYS, st.integers(0, 2)))
CUTS = st.tuples(st.integers(1, 4), st.integers(1, 3))


@settings(max_examples=40, deadline=None)
@given(ROWS, CUTS)
def test_a_join_is_what_nested_loops_give(rows: list[Any], cut: tuple[int, int]) -> None:
    records = [list(row) for row in rows]
    expected = [
        one + other
        for one in of_table(records, "order")
        for other in of_table(records, "line_item")
        if None is not one[1] == other[1]
    ]

    assert in_any_order(table_of_records("join", records, cut)) == in_any_order(expected)


INTS = st.integers(-3, 3) | st.integers()
FLOATS = st.floats(-1e100, 1e100) | st.sampled_from([0.1, -0.1, 0.3, 1e16, -1e16])
PLACES = st.integers(0, 3)


def cells_of(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.tuples(st.sampled_from("ab"), PLACES, PLACES, values), max_size=25)


@settings(max_examples=60, deadline=None)
@given(cells_of(INTS) | cells_of(FLOATS), CUTS)
def test_a_matrix_product_is_the_exact_sum_of_the_products(
    cells: list[Any], cut: tuple[int, int]
) -> None:
    products: dict[tuple[int, int], list[Any]] = {}
    for left, row, inner, value in cells:
        for right, inner_too, column, factor in cells:
            if (left, right, inner) == ("a", "b", inner_too):
                products.setdefault((row, column), []).append(value * factor)
    totals = {place: sum(map(Fraction, numbers)) for place, numbers in products.items()}
    kind = float if any(isinstance(cell[3], float) for cell in cells) else int

    rows = table_of_records("matrix_multiply", cells, cut)

    assert rows == [(*place, kind(total)) for place, total in sorted(totals.items()) if total]
    assert all(type(value) is kind for _, _, value in rows)


def table_of_records(name: str, records: list[Any], cut: tuple[int, int]) -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:
        half = len(records) // 2
        paths = [
            write(Path(folder) / "first.json", records[:half]),
            write(Path(folder) / "second.json", records[half:]),
        ]
        rows = table_of(name, paths, *cut)
    return [json.loads(row[0]) for row in rows] if name == "join" else rows


# --- However it is run ---------------------------------------------------------------------------


# Of join and matrix_multiply, the tests with anything at all cut the work differently each time.
@pytest.mark.parametrize("name", ["asymmetric_friends", "friend_count", "unique_trims"])
def test_the_table_is_the_same_however_the_work_is_cut(name: str, sample_of: Any) -> None:
    paths = sample_of(name)
    tables = [table_of(name, paths, maps, reduces) for maps, reduces in [(1, 1), (2, 7)]]

    assert tables[0]
    assert tables[0] == tables[1]


@pytest.mark.parametrize("name", JOBS)
def test_the_functions_of_each_step_travel(name: str, tmp_path: Path) -> None:
    run = here(1, 1)

    def travelled(step: MapReduceJob) -> list[Any]:
        for function in (step.map, step.reduce):
            assert callable(cloudpickle.loads(cloudpickle.dumps(function)))
        return run(step)

    run_steps(build(name, write(tmp_path / "empty.json", [])), travelled)


@pytest.fixture(scope="module")
def cluster() -> Iterator[EmbeddedEngine]:
    with closing(EmbeddedEngine(processes=2)) as engine:
        yield engine


@pytest.mark.parametrize("name", ["join", "matrix_multiply"])
def test_workers_give_the_table_that_one_process_gives(
    name: str, cluster: EmbeddedEngine, sample_of: Any
) -> None:
    paths = sample_of(name)

    def there(step: MapReduceJob) -> list[Any]:
        assert isinstance(step.data, (TextFiles, Blocks))  # between steps, nothing comes back here
        step.reduce_tasks = 2
        return step.run(cluster.another())

    rows = find(name).table(run_steps(build(name, [str(path) for path in paths]), there))

    assert rows == table_of(name, paths)


def test_workers_say_which_record_is_bad_and_what_they_wanted(
    cluster: EmbeddedEngine, tmp_path: Path
) -> None:
    path = write(tmp_path / "cells.json", [["a", 0, 0, 1], ["a", 0, 1]])
    steps = build("matrix_multiply", path)

    with pytest.raises(JobFailedError) as failure:
        run_steps(steps, lambda step: step.run(cluster.another()))

    assert 'expected a cell, ["a" or "b", row, column, number]' in failure.value.message
    assert failure.value.record == "['a', 0, 1]"
    assert "cells.json, line 2" in str(failure.value.where)


# --- Bad records ---------------------------------------------------------------------------------

NAMES = "expected [person, friend], two texts"
SEQUENCE = "expected [id, nucleotides], two texts"
CELL = 'expected a cell, ["a" or "b", row, column, number]'
RANGE = "expected a row and a column from 0, and a finite number"
ROW = "expected a list that starts with the name of a table"

BAD = [
    *[(name, record, NAMES) for name in ("friend_count", "asymmetric_friends")
      for record in ("Ann", None, ["Ann"], ["Ann", 2], ["Ann", "Bob", "Cid"], {"Ann": "Bob"})],
    *[("unique_trims", record, SEQUENCE) for record in ([], ["r"], ["r", None], [1, "ACGT"], 3)],
    *[("matrix_multiply", record, CELL)
      for record in ("cell", ["a", 0, 0], ["c", 0, 0, 1], ["a", 0.0, 0, 1], ["b", 0, 0, "1"],
                     ["a", 0, 0, 1, 2], ["a", 0, 0, None])],
    *[("matrix_multiply", record, RANGE)
      for record in (["a", -1, 0, 1], ["b", 0, -1, 1], ["a", True, 0, 1], ["a", 0, 0, False],
                     ["a", 0, 0, float("inf")], ["a", 0, 0, float("nan")])],
    *[("join", record, ROW) for record in ("order", 7, [], [7, "order"], {"order": 7}, None)],
    ("join", ["order"], "expected a list with the field to join on in column 1"),
    ("join", ["line_item", [7]], "expected a text or a number to join on in column 1"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "record", "wanted"), BAD)
def test_a_bad_record_is_named_with_its_line_and_what_was_expected(
    name: str, record: Any, wanted: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(f"\n{json.dumps(record)}\n")

    with pytest.raises(RecordFailedError) as failure:
        table_of(name, str(path))

    assert "bad.json, line 2" in str(failure.value)
    assert wanted in str(failure.value.__cause__)


@pytest.mark.parametrize("name", JOBS)
def test_a_line_that_is_no_json_is_named(name: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text('["half\n')

    with pytest.raises(InputError, match=r"bad\.json, line 1: is no JSON"):
        table_of(name, str(path))
