"""Parquet: every field of every item is in the files, or the job says why not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from mapreduce import MapReduceJob, OutputError, ParquetOutput, each


def parts(output: Any, *results: Any) -> list[str]:
    """Return the files of a job whose reduces return these."""
    job = MapReduceJob([*range(len(results))], each(lambda n: [(n, n)]), output=output)
    job.partition, job.reduce_tasks = (lambda key, R: key), len(results)
    job.reduce = lambda pairs: results[next(iter(pairs))[0]]
    return job.run_sequential()


def test_parquet_has_the_fields_of_dicts(tmp_path: Path) -> None:
    rows = [{"x": 1, "y": None}, {"x": 2, "y": 2.5}]
    parts(ParquetOutput(tmp_path / "out"), rows)
    assert parquet.read_table(tmp_path / "out").to_pylist() == rows


def test_parquet_has_the_fields_of_all_rows(tmp_path: Path) -> None:
    rows = [{"a": 1}, {"a": 2, "b": "not lost"}, *[{"a": n} for n in range(40)], {"c": 2.5, "a": 3}]
    parts(ParquetOutput(tmp_path / "out"), rows)
    assert parquet.read_table(tmp_path / "out").to_pylist() == [
        {"a": None, "b": None, "c": None, **row} for row in rows
    ]


def test_parquet_takes_ints_and_floats_wherever_they_are(tmp_path: Path) -> None:
    parts(ParquetOutput(tmp_path / "one"), [*[("k", n) for n in range(100)], ("k", 2.5)])
    assert parquet.read_table(tmp_path / "one")["value"].to_pylist() == [*range(100), 2.5]

    paths = parts(
        ParquetOutput(tmp_path / "out"), [], [{"x": 1}], [{"x": 2.5, "y": ["a"]}], [{"x": None}]
    )
    assert parquet.read_table(tmp_path / "out").to_pylist() == [
        {"x": 1.0, "y": None}, {"x": 2.5, "y": ["a"]}, {"x": None, "y": None}
    ]  # fmt: skip
    assert len({str(parquet.read_schema(path)) for path in paths}) == 1
    assert sorted(os.listdir(tmp_path / "out")) == [
        "_SUCCESS", *(f"part-0000{number}.parquet" for number in range(4))
    ]  # fmt: skip


@pytest.mark.parametrize(
    "results, message",
    [
        ([[{"x": 1}, {"x": "text"}]], "do not fit the columns"),
        ([[{"x": 1}] * 40 + [{"x": "text"}]], "do not fit the same columns"),
        ([[{"x": 1}], [{"x": "text"}]], "of partition 1 do not fit the columns.*a schema says"),
        ([[{"x": 2**60 + 1}], [{"x": 2.5}]], "of partition 0 cannot have the columns of all"),
        ([[{"x": 1}, {}]], r"the item {} has no field"),
        ([[{}]], r"the item {} has no field"),
        (
            [[{"x": "x" * 500_000}] * 50 + [{"y": 1}]],
            "field 'y' is none of the columns of a file's",
        ),
        ([[{"x": None}] * 150_000 + [{"x": 1}]], "do not fit the columns"),
    ],
)
def test_parquet_refuses_what_it_would_lose(
    tmp_path: Path, results: list[Any], message: str
) -> None:
    with pytest.raises(OutputError, match=message):
        parts(ParquetOutput(tmp_path / "out"), *results)
    assert not (tmp_path / "out").exists()


def test_parquet_with_a_schema_refuses_other_fields(tmp_path: Path) -> None:
    schema = pyarrow.schema([("x", pyarrow.int64())])
    parts(ParquetOutput(tmp_path / "out", schema), [{"x": 1}, {}])
    assert parquet.read_table(tmp_path / "out").to_pylist() == [{"x": 1}, {"x": None}]
    with pytest.raises(OutputError, match=r"field 'y' is none of the columns, which are \['x'\]"):
        parts(ParquetOutput(tmp_path / "bad", schema), [{"x": 1, "y": 2}])


def test_parquet_with_a_schema_takes_what_fits_it(tmp_path: Path) -> None:
    schema = pyarrow.schema([("key", pyarrow.string()), ("value", pyarrow.float64())])
    parts(ParquetOutput(tmp_path / "out", schema), [("a", 1), ("b", 2.5)])
    assert parquet.read_table(tmp_path / "out").schema == schema
    parts(ParquetOutput(tmp_path / "empty", schema), [])
    assert parquet.read_table(tmp_path / "empty").schema == schema
    with pytest.raises(OutputError, match="a schema says what they are"):
        parts(ParquetOutput(tmp_path / "bad", schema), [("a", "text")])


@pytest.mark.parametrize("result", [[1], ["ab"], [(1, 2, 3)]])
def test_parquet_takes_pairs_and_dicts_only(tmp_path: Path, result: Any) -> None:
    with pytest.raises(OutputError, match="a pair or a dict"):
        parts(ParquetOutput(tmp_path / "out"), result)


@pytest.mark.parametrize("nested", [{"a": 1, "b": 2}, {"a": 1, "c": {"d": 1, "e": 2}}])
@pytest.mark.parametrize("lists", [False, True])
def test_parquet_refuses_fields_within_fields_that_it_would_lose(
    tmp_path: Path, nested: Any, lists: bool
) -> None:
    usual = {"a": 1, "c": {"d": 1}}
    rows = [{"x": [value] if lists else value} for value in [usual] * 150_000 + [nested]]
    with pytest.raises(OutputError, match=r"field '[be]' within 'x' is none of the columns"):
        parts(ParquetOutput(tmp_path / "out"), rows)
