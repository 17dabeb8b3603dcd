"""Values that are large for the memory of a worker pass through it one after the other."""

from __future__ import annotations

from typing import Any

import pytest

from mapreduce import MapReduceJob, by_key, each

VALUE_BYTES = 10_000_000
COUNT = 60
pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]


def generated(records: Any) -> Any:
    for record in records:
        yield record % 5, b"x" * VALUE_BYTES


def added(pairs: Any) -> int:
    return sum(len(value) for _, value in pairs)


@pytest.mark.parametrize(
    "map_function",
    [each(lambda record: [(record % 5, b"x" * VALUE_BYTES)]), generated],
    ids=["each", "generator"],
)
def test_values_of_10_mb_are_mapped_within_200(cluster: Any, map_function: Any) -> None:
    cluster.start_agent("--memory", "200MB", processes=1)
    job = MapReduceJob(data=range(COUNT), map=map_function, reduce=added)
    job.map_tasks, job.reduce_tasks = 1, 2
    assert sum(job.run(cluster.uri)) == COUNT * VALUE_BYTES


@pytest.mark.parametrize("keys", [1, 5])
@pytest.mark.parametrize(
    "options, memory",
    # To sort values takes copies of some; it was seen to use up to 205 MB.
    [({}, "200MB"), ({"sort_values": len}, "260MB")],
    ids=["plain", "sorted"],
)
def test_values_of_10_mb_are_grouped_in_a_small_worker(
    cluster: Any, keys: int, options: Any, memory: str
) -> None:
    cluster.start_agent("--memory", memory, processes=1)
    job = MapReduceJob(data=range(COUNT), map_tasks=COUNT, reduce_tasks=1)
    job.map = each(lambda record: [(record % keys, b"x" * VALUE_BYTES)])
    job.reduce = by_key(lambda key, values: sum(map(len, values)), **options)
    [result] = job.run(cluster.uri)
    assert sorted(result) == [(key, COUNT // keys * VALUE_BYTES) for key in range(keys)]
