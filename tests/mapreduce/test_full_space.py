"""A space that is full in the middle of a job: everybody waits, nobody gives up."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from mapreduce import JobCancelledError, MapReduceJob, each, sum_values


def test_a_job_with_far_more_tasks_than_the_space_takes_ends_with_the_right_result(cluster):
    cluster.kill_server()
    cluster.start_server("--limit", "tuples=25")
    cluster.start_agent()
    lines = [f"word{number % 37} word{number % 11}" for number in range(900)]
    job = MapReduceJob(data=lines, map_tasks=300, reduce_tasks=40)
    job.map = each(lambda line: [(word, 1) for word in line.split()])
    job.reduce = sum_values

    with cluster.connect() as space:
        results = job.run(space)
        assert space.status()["limits"]["tuples"] == 25

    counts = Counter(word for line in lines for word in line.split())
    assert {word: count for part in results for word, count in part} == counts
    assert len(results) == 40
    assert results == job.run_sequential()


def test_a_job_whose_ledger_takes_the_room_of_its_tasks_goes_on_without(cluster, caplog):
    cluster.kill_server()
    cluster.start_server("--limit", "bytes=16KB")
    cluster.start_agent()
    padding = bytes(2000)  # with each task, and in the ledger; a record of an outcome has room
    job = MapReduceJob(range(60), map_tasks=20, reduce_tasks=2)
    job.map = lambda split: [(number % 3, number + len(padding)) for number in split]
    job.reduce = sum_values

    with cluster.connect() as space:
        assert job.run(space) == job.run_sequential()

    assert "goes on without a ledger, because the space is full" in caplog.text


def test_a_job_that_waits_for_a_full_space_can_be_cancelled(cluster, eventually):
    cluster.kill_server()
    cluster.start_server("--limit", "tuples=20")
    with cluster.connect() as space:
        run = MapReduceJob(list(range(100)), list, sum_values, map_tasks=100).submit(space)
        eventually(lambda: space.count(("task", *[None] * 6)) > 10)

        started = time.monotonic()
        run.cancel()

        assert time.monotonic() - started < 5
        with pytest.raises(JobCancelledError, match=r"cancelled$"):
            run.result()
        assert space.read_all(("task", *[None] * 6)) == space.read_all(("job", None, None)) == []


def test_an_agent_waits_for_a_full_space_to_have_room_for_it(cluster, eventually):
    cluster.kill_server()
    cluster.start_server("--limit", "tuples=2")
    with cluster.connect() as space:
        space.write_many([("filler", 1), ("filler", 2)])
        agent = cluster.start_agent(ready=False)
        agent.wait_for("the space is full")
        space.take(("filler", None))
        agent.wait_for(" processes, ")
        assert space.count(("worker", None, None, None, None)) == 1
