"""Records that maps read, of data of each kind: against how many there are."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from mapreduce import (
    PickleFiles,
    Split,
    TextFiles,
    each,
    fixed_length,
    hash_partition,
    json_lines,
    whole_file,
)
from mapreduce.inputs.counted import Count, Reading
from mapreduce.inputs.splits import plan_splits
from mapreduce.phases import run_map
from mapreduce.selecting import Selection
from tuplespace.pickles import dump
from workers.tracking import blank_page


def read_of(split: Any, function: Callable[[Any], Any]) -> int:
    """Return how many records a map task says it has read."""
    reading = Reading()
    for _ in run_map(split, function, None, hash_partition, 2, reading=reading):
        pass
    return reading.records


def all_of(records: Any) -> list[tuple[Any, int]]:
    return [(None, 1) for _ in records]


def first_seven(records: Any) -> list[tuple[Any, int]]:
    return [(None, 1) for _ in islice(records, 7)]


def reader_of_words(file: Any) -> Iterator[bytes]:
    for line in file:
        yield from line.split()


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, tuple[Any, int]]:
    """Data of each kind, and how many records it has."""
    lines = [f'{{"n": {n}}}{" " * (n % 90)}' for n in range(5000)]
    text = "\n".join(lines)
    for number in range(2):
        (tmp_path / f"{number}.txt").write_text(text)
        (tmp_path / f"{number}.txt.gz").write_bytes(gzip.compress(text.encode()))
        (tmp_path / f"{number}.jsonl").write_text("\n\n".join(lines[:100]) + "\n \n")
        (tmp_path / f"{number}.bin").write_bytes(bytes(24 * 9000))
        (tmp_path / f"{number}.pickle").write_bytes(dump([1] * 70) + dump([]) + dump([2] * 30))
    at = str(tmp_path)
    return {
        "lines": (TextFiles(f"{at}/*.txt"), 10_000),
        "compressed": (TextFiles(f"{at}/*.gz"), 10_000),
        "json lines, blank ones not": (TextFiles(f"{at}/*.jsonl", records=json_lines), 200),
        "fixed length": (TextFiles(f"{at}/*.bin", records=fixed_length(24)), 18_000),
        "a reader's own": (TextFiles(f"{at}/?.txt", records=reader_of_words), 20_000),
        "whole files": (TextFiles(f"{at}/*.txt", records=whole_file), 2),
        "pickles": (PickleFiles(at), 200),
        "a list": (list(range(1234)), 1234),
        "a mapping": ({n: n for n in range(77)}, 77),
        "lists of the user's": ([Split([1] * 40), Split({1: 2})], 41),
        "locators": ([Split("a path"), Split(b"bytes"), Split(7)], 3),
    }


def test_each_record_that_maps_read_is_counted_once(inputs: dict[str, Any]) -> None:
    for name, (data, records) in inputs.items():
        given = isinstance(data, list) and isinstance(data[0], Split)
        for M in (None,) if given else (None, 5):  # noqa: N806
            splits = plan_splits(data, M)
            assert (name, sum(read_of(split, as_records) for split in splits)) == (name, records)


def as_records(given: Any) -> list[tuple[Any, int]]:
    return [] if isinstance(given, (str, bytes, int)) else all_of(given)


def test_a_map_that_stops_early_has_read_what_it_took_or_of_a_list_all(
    inputs: dict[str, Any],
) -> None:
    for name in ("lines", "compressed", "fixed length", "a reader's own", "pickles"):
        [split] = plan_splits(inputs[name][0], 1)
        assert (name, read_of(split, first_seven)) == (name, 7)
        assert (name, read_of(split, lambda _: [])) == (name, 0)
    [split] = plan_splits(list(range(50)), 1)
    assert read_of(split, first_seven) == 50


def test_skipped_records_were_read_and_those_that_a_probe_leaves_were_not(
    inputs: dict[str, Any],
) -> None:
    for name in ("lines", "a list", "json lines, blank ones not"):
        data, records = inputs[name]
        [split] = plan_splits(data, 1)
        for options, read in (({"skip": [3, 5]}, records), ({"first": 40}, 40)):
            for function in (each(lambda record: [(str(record), 1)]), all_of):
                reading = Reading()
                selection = Selection(options, blank_page())
                for _ in run_map(
                    split, function, None, hash_partition, 2, None, selection, reading
                ):
                    pass
                whole = isinstance(data, list)
                assert (name, reading.records) == (name, records if whole else read)


def test_batches_of_any_kind_are_counted_as_they_are_gone_through() -> None:
    class Line(list[int]):
        pass

    batches: list[Any] = [[1, 2], (), (3,), iter([4, 5, 6]), Line([7]), [8, 9]]
    for taken in range(10):
        counted = Count()
        went = [record for batch in counted.watch(batches) for record in batch][:taken]
        assert len(went) == taken
        assert counted.total == 9 == counted.total

        batches[3] = iter([4, 5, 6])
        counted = Count()
        flow = (record for batch in counted.watch(batches) for record in batch)
        assert [*islice(flow, taken)] == list(range(1, taken + 1))
        assert counted.total == taken == counted.total
        batches[3] = iter([4, 5, 6])


def test_a_batch_is_let_go_of_before_the_next_is_read() -> None:
    class Large:
        alive = most = 0

        def __init__(self) -> None:
            Large.alive += 1
            Large.most = max(Large.most, Large.alive)

        def __del__(self) -> None:
            Large.alive -= 1

    for batch in Count().watch([Large()] for _ in range(5)):
        for _ in batch:
            del _
    assert Large.most == 1
