"""The emit style: what is emitted, by whom, and what a mapper and a reducer may count on."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

import mapreduce.styles.emit as MapReduce  # noqa: N812  # as the scripts have it
from mapreduce import (
    InputError,
    InvalidJobError,
    JobFailedError,
    OutputError,
    RecordFailedError,
    UnstableKeyError,
)
from mapreduce.styles.emit import Place, running_at
from tuplespace import RemoteSpace

# Functions of this module travel by value, as those of a script do.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


mr = MapReduce.MapReduce()


def split_words(record: Any) -> None:
    for word in record[1].split():
        mr.emit_intermediate(word, 1)


def count(key: str, list_of_values: list[int]) -> None:
    mr.emit([key, sum(list_of_values)])


def lines_of(*texts: str) -> list[str]:
    return [json.dumps(["a.txt", text]) + "\n" for text in texts]


def test_what_is_emitted_belongs_to_the_call_whatever_object_it_refers_to(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    other = MapReduce.MapReduce(reduce_tasks=3)
    other.execute(lines_of("to be or", "not to be"), split_words, count)

    assert capsys.readouterr().out == '["to", 2]\n["be", 2]\n["or", 1]\n["not", 1]\n'
    assert (other.result, mr.result) == ([["to", 2], ["be", 2], ["or", 1], ["not", 1]], [])
    other.execute(lines_of("or"), split_words, count)
    assert other.result == [["or", 1]]


def test_values_are_a_list_to_index_and_to_go_through_twice(place: Place) -> None:
    def look(key: str, list_of_values: Any) -> None:
        mr.emit((list_of_values[0], list_of_values[-1], len(list_of_values), sum(list_of_values)))
        mr.emit(sorted(list_of_values) == list_of_values)

    own = MapReduce.MapReduce()
    own.execute(["1", "2", "3"], lambda record: mr.emit_intermediate("all", record), look)
    assert own.result == [(1, 3, 3, 6), True]


def test_keys_may_be_all_that_a_dict_takes_and_json_does_not_have(place: Place) -> None:
    def keys(record: Any) -> None:
        for key in (record, (record, "x"), frozenset([record]), None, record + 0.0):
            mr.emit_intermediate(key, record)

    own = MapReduce.MapReduce(reduce_tasks=4)
    own.execute(["1", "2"], keys, lambda key, values: mr.emit((str(key), values)))
    assert own.result == [
        ("1", [1, 1]), ("(1, 'x')", [1]), ("frozenset({1})", [1]), ("None", [1, 2]),
        ("2", [2, 2]), ("(2, 'x')", [2]), ("frozenset({2})", [2]),
    ]  # fmt: skip


@pytest.fixture
def here() -> Iterator[None]:
    with running_at(Place(num_workers=1)):
        yield


@pytest.mark.usefixtures("here")
def test_a_list_as_key_is_refused_where_it_is_emitted() -> None:
    with pytest.raises(RecordFailedError) as caught:
        mr.execute(["[1, 2]"], lambda record: mr.emit_intermediate(record, 1), count)
    assert type(caught.value.__cause__) is UnstableKeyError
    assert "use a tuple instead" in str(caught.value.__cause__)


def test_a_mapper_and_a_reducer_emit_what_is_theirs(space: RemoteSpace) -> None:
    own = MapReduce.MapReduce(space=space)
    with pytest.raises(JobFailedError, match=r"emit\(\) is for the reducer"):
        own.execute(lines_of("to be"), lambda record: mr.emit(record), count)
    with pytest.raises(JobFailedError, match=r"emit_intermediate\(\) is for the mapper"):
        own.execute(
            lines_of("to be"), split_words, lambda key, values: mr.emit_intermediate(key, 1)
        )
    with pytest.raises(InvalidJobError, match=r"emit\(\) is for the reducer"):
        mr.emit(1)
    with pytest.raises(InvalidJobError, match=r"emit_intermediate\(\) is for the mapper"):
        mr.emit_intermediate("key", 1)


@pytest.mark.usefixtures("here")
def test_what_has_no_json_is_told_and_nothing_is_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def emit_both(key: str, values: list[int]) -> None:
        mr.emit(key)
        mr.emit({key})

    with pytest.raises(OutputError, match="type set is not JSON serializable"):
        mr.execute(lines_of("be"), split_words, emit_both)
    assert capsys.readouterr().out == ""


def test_a_line_that_is_no_json_is_named_with_its_file(space: RemoteSpace, tmp_path: Path) -> None:
    path = tmp_path / "books.json"
    path.write_text("\n".join(["", *lines_of("to be"), "  ", "[1, 2"]))
    with path.open("rb") as file, pytest.raises(JobFailedError) as caught:
        MapReduce.MapReduce(space=space).execute(file, split_words, count)  # type: ignore[arg-type]
    assert f"InputError: {path}, line 5: is no JSON: " in str(caught.value)

    with running_at(Place(num_workers=1)), pytest.raises(RecordFailedError) as here:
        mr.execute(io.StringIO("7 8"), split_words, count)
    assert type(here.value.__cause__) is InputError
    assert "the data, line 1: is no JSON" in str(here.value.__cause__)


@pytest.mark.usefixtures("here")
def test_a_line_that_is_nested_too_deep_is_named_like_any_other_that_is_no_json() -> None:
    with pytest.raises(RecordFailedError, match="record 1 of the data") as caught:
        mr.execute(["7", "[" * 100_000], lambda record: None, count)
    assert type(caught.value.__cause__) is InputError
    assert "the data, line 2: its lists and objects are nested too deep" in str(
        caught.value.__cause__
    )


def test_a_key_that_no_worker_could_deal_is_refused_with_its_line(place: Place) -> None:
    kind = RecordFailedError if place.space is None else JobFailedError
    with pytest.raises(kind) as caught:
        mr.execute(["7", "NaN"], lambda record: mr.emit_intermediate(record, 1), count)
    told = f"{caught.value} {caught.value.__cause__}"
    assert "record 'NaN' (record 1 of the data)" in told
    assert "NaN (float) cannot be a key" in told


def test_many_lines_come_in_the_order_of_one_dict(place: Place) -> None:
    numbers = [number * 7919 % 4001 for number in range(4000)]
    lines = [text for number in numbers for text in (f"{number}\n", "\n")]
    expected: dict[int, list[int]] = {}
    for at, number in enumerate(numbers):
        expected.setdefault(number % 500, []).append(number)
        expected.setdefault(-at // 100, []).append(at)

    def emit_two(number: int) -> None:
        mr.emit_intermediate(number % 500, number)
        at = number * pow(7919, -1, 4001) % 4001
        mr.emit_intermediate(-at // 100, at)

    own = MapReduce.MapReduce(reduce_tasks=5)
    own.execute(lines, emit_two, lambda key, values: mr.emit((key, values)))
    assert own.result == list(expected.items())


def test_a_line_far_down_is_named_by_where_it_is_in_the_data(place: Place) -> None:
    def fail_once(number: int) -> None:
        assert number != 777

    kind = RecordFailedError if place.space is None else JobFailedError
    with pytest.raises(kind) as caught:
        mr.execute(map(str, range(1000)), fail_once, count)
    assert "record '777' (record 777 of the data)" in str(caught.value)


@pytest.mark.usefixtures("here")
def test_a_key_on_which_the_reducer_fails_is_named_here_too() -> None:
    def fail_on_or(key: str, list_of_values: list[int]) -> None:
        assert key != "or"

    with pytest.raises(RecordFailedError, match="key 'or'"):
        mr.execute(lines_of("to be or", "not"), split_words, fail_on_or)


@pytest.mark.usefixtures("here")
def test_a_file_is_read_as_mappers_need_it() -> None:
    read, mapped_at = [], []

    def lines() -> Iterator[str]:
        for number in range(3_000):
            read.append(number)
            yield json.dumps("x" * 2_000)

    own = MapReduce.MapReduce()
    own.execute(lines(), lambda _: mapped_at.append(len(read)), count)
    assert (len(mapped_at), own.result) == (3_000, [])
    assert mapped_at[0] < 3_000


@pytest.mark.usefixtures("here")
def test_the_lines_on_stderr_count_what_was_done(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        mr.execute(lines_of("to be or", "not to be", "be"), split_words, count)
        told = capsys.readouterr().err
        assert re.findall(r"(\w+) \(.*\): ending \((\d+) items", told) == [
            ("Mapper", "3"),
            ("Reducer", "4"),
        ]
        assert re.search(r"^Master \(\d+\): ending after \d", told, re.MULTILINE)


@pytest.mark.usefixtures("here")
def test_options_of_the_job_reach_it_and_others_are_refused() -> None:
    own = MapReduce.MapReduce(skip_bad_records=2)
    own.execute(
        ["1", "0", "oops", "4"], lambda n: mr.emit_intermediate(4 / n, n), lambda k, v: mr.emit(v)
    )
    assert own.result == [[1], [4]]

    with pytest.raises(InvalidJobError, match="'retry' is no option here; is it retries"):
        MapReduce.MapReduce(retry=1)
    with pytest.raises(InvalidJobError, match="num_workers is a whole number"):
        MapReduce.MapReduce(num_workers="2")  # type: ignore[arg-type]
    with pytest.raises(InvalidJobError, match="the reducer is no function"):
        own.execute([], split_words, None)  # type: ignore[arg-type]
    with pytest.raises(InvalidJobError, match=r"write open\('books.json'\)"):
        own.execute("books.json", split_words, count)


@pytest.mark.usefixtures("here")
def test_two_at_once_do_not_mix(background: Any) -> None:
    def run(factor: int) -> list[Any]:
        own = MapReduce.MapReduce()
        own.execute(map(str, range(3000)), lambda n: mr.emit_intermediate(n % 7, n * factor),
                    lambda key, values: mr.emit(sum(values)))  # fmt: skip
        return own.result

    running = [background(run, factor) for factor in (1, 10)]
    sums = [sum(range(rest, 3000, 7)) for rest in range(7)]
    assert [each.result() for each in running] == [sums, [10 * number for number in sums]]


def test_the_default_is_one_worker_a_core_and_one_is_this_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(MapReduce, "cores", lambda: 1)
    MapReduce.MapReduce().execute(lines_of("be"), split_words, count)

    told = capsys.readouterr()
    assert told.out == '["be", 1]\n'
    assert f"Master ({os.getpid()}): starting, in this process" in told.err
    assert f"/{os.getpid()}): ending (1 items processed)" in told.err
