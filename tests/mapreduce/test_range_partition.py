"""range_partition: the partitions, one after the other, are in order."""

from __future__ import annotations

import pickle
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapreduce import (
    BytesOutput,
    InvalidJobError,
    MapReduceJob,
    PartitionError,
    Split,
    TextFiles,
    each,
    range_partition,
)
from mapreduce.inputs.splits import plan_splits
from mapreduce.ranges import SAMPLE_KEYS
from tuplespace import RemoteSpace, connect

cloudpickle.register_pickle_by_value(sys.modules[__name__])

NUMBERS = random.Random(7).sample(range(10**9), 20_000)
identity = each(lambda record: [(record, None)])


def in_order(pairs: Any) -> list[Any]:
    return sorted(key for key, _ in pairs)


@pytest.fixture
def space(standing_cluster: Any) -> Iterator[RemoteSpace]:
    with connect(standing_cluster.uri) as space:
        yield space


@given(st.lists(st.integers(-50, 50)), st.lists(st.integers(-60, 60)), st.integers(1, 9))
def test_smaller_keys_are_in_smaller_partitions(sample: list[int], keys: list[int], R: int) -> None:
    partition = range_partition(sample)
    keys = sorted(keys)

    numbers = [partition(key, R) for key in keys]

    assert numbers == sorted(numbers)
    assert all(0 <= number < R for number in numbers)
    assert len({(key, number) for key, number in zip(keys, numbers, strict=True)}) == len(set(keys))
    assert partition.deal(keys, R) == numbers


def test_the_partitions_are_of_about_equal_size() -> None:
    partition = range_partition(NUMBERS[:2000])
    sizes = [0] * 8
    for number in partition.deal(NUMBERS, 8):
        sizes[number] += 1
    assert max(sizes) < 1.3 * min(sizes)


def test_a_large_sample_is_thinned_and_travels() -> None:
    keys = range(100_000)
    partition = pickle.loads(pickle.dumps(range_partition(iter(keys))))
    assert len(pickle.dumps(partition)) < 8 * SAMPLE_KEYS
    assert [partition.deal(keys, 4).count(number) for number in range(4)] == [25_000] * 4


def test_keys_that_cannot_be_compared_are_named() -> None:
    with pytest.raises(InvalidJobError, match="cannot be sorted"):
        range_partition([1, "a"])
    partition = range_partition([1, 2, 3])
    with pytest.raises(PartitionError, match="'a' cannot be compared"):
        partition("a", 2)
    with pytest.raises(PartitionError, match="'a' cannot be compared"):
        partition.deal([1, "a"], 2)
    with pytest.raises(PartitionError, match="no sample outside of a job"):
        range_partition()(1, 2)


@pytest.mark.parametrize("sample", [None, NUMBERS[::50], []])
def test_sorted_results_are_in_total_order(space: RemoteSpace, sample: Any) -> None:
    job = MapReduceJob(NUMBERS, identity, in_order, reduce_tasks=5)
    job.partition = range_partition(sample)

    results = job.run(space)

    assert [number for part in results for number in part] == sorted(NUMBERS)
    assert results == job.run_sequential()
    if sample is None:
        assert min(map(len, results)) > 2000


def test_a_sample_is_taken_from_all_over_the_data() -> None:
    job = MapReduceJob(range(100_000), identity, lambda pairs: len(list(pairs)))
    job.partition, job.map_tasks, job.reduce_tasks = range_partition(), 200, 4
    sizes = job.run_sequential()
    assert max(sizes) < 1.2 * min(sizes)


def test_a_sample_looks_at_few_records(tmp_path: Path) -> None:
    seen = []

    def map_function(records: Any) -> Any:
        for record in records:
            seen.append(record)
            yield record, 1

    (tmp_path / "lines").write_text("".join(f"{n}\n" for n in range(300_000)))
    lines = TextFiles(str(tmp_path / "lines"))
    partition = range_partition()
    assert partition.sampled(plan_splits(lines), map_function).bounds(3)
    assert 500 < len(seen) <= 20 * 500


@pytest.mark.parametrize("data", [[Split("/no/such/file")], [1, "x"], [(1, 2), 3]])
def test_a_map_that_cannot_run_in_the_driver_asks_for_a_sample(data: Any) -> None:
    job = MapReduceJob(data, lambda split: [(r, 1) for r in open_if_path(split)], in_order)
    job.partition = range_partition()
    with pytest.raises(InvalidJobError, match=r"range_partition\(\) could not sample|sorted"):
        job.run_sequential()


def open_if_path(split: Any) -> Any:
    return open(split) if isinstance(split, str) else split


def test_files_of_sorted_records_are_sorted_as_a_whole(space: RemoteSpace, tmp_path: Path) -> None:
    records = [random.Random(n).randbytes(100) for n in range(3000)]
    job = MapReduceJob(records, each(lambda record: [(record[:10], record)]))
    job.reduce = lambda pairs: (record for _, record in sorted(pairs))
    job.partition = range_partition(record[:10] for record in records[::10])
    job.reduce_tasks = 3
    job.output = BytesOutput(tmp_path / "sorted")

    paths = job.run(space)

    assert b"".join(Path(path).read_bytes() for path in paths) == b"".join(sorted(records))
