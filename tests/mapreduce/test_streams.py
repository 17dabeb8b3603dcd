"""Data that is read while the job runs: what comes out is what a list would give, in bounded memory."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import cloudpickle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapreduce import (
    InvalidJobError,
    JobCancelledError,
    JobFailedError,
    MapReduceJob,
    Split,
    collect,
    each,
    feeder,
    manning,
    sum_values,
)
from mapreduce.inputs import stream
from mapreduce.inputs.splits import plan_splits
from mapreduce.inputs.stream import STREAM_REDUCE_TASKS, Piece, cut, deal, read_head
from mapreduce.plan import MAP, REDUCE, Plan
from mapreduce.shuffle import output_of
from tuplespace import RemoteSpace, connect
from tuplespace.pickles import dump
from workers.blocks import Frame, Location
from workers.task import OK, Outcome, Parcel
from workers.workplace import Workplace

# Functions of this module travel by value, as those of a script do.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


class Inline:
    """A workplace where all parcels are inline."""

    def receive(self, parcel: Parcel) -> bytes:
        return parcel.content or b""


@pytest.fixture
def space(standing_cluster: Any) -> Iterator[RemoteSpace]:
    with connect(standing_cluster.uri) as space:
        yield space


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a short generator be a stream of many splits."""
    monkeypatch.setattr(stream, "HEAD_RECORDS", 50)
    monkeypatch.setattr(stream, "SPLIT_BYTES", 1000)


def uneven(count: int) -> Iterator[str]:
    """Yield lines of very uneven lengths."""
    return (f"{n % 13} {'x' * (n % 31) * (100 if n % 500 == 0 else 1)} end" for n in range(count))


words = each(lambda line: [(word, len(word)) for word in line.split()])


def pairs_of(results: list[Any]) -> list[Any]:
    return [pair for part in results for pair in part]


def nothing_of_a_job_is_left(space: RemoteSpace) -> bool:
    return not any(
        space.count(template)
        for template in (("job", None, None), ("task", *[None] * 6), ("result", *[None] * 4))
    )


# --- what is a stream, and where it is cut --------------------------------------------------------


@pytest.mark.parametrize(
    "count, ended", [(0, True), (10_000, True), (10_001, False), (10**9, False)]
)
def test_so_much_is_read_ahead_and_no_more(count: int, ended: bool) -> None:
    source = iter(range(count))
    head = read_head(source)

    assert head.ended is ended
    assert len(head.records) == min(count, 10_001)
    assert list(itertools.islice(head.rest, 10_003)) == list(range(min(count, 10_003)))


def test_large_records_are_read_ahead_to_a_mebibyte() -> None:
    assert len(read_head(iter(["x" * 100_000] * 50)).records) == 11


@pytest.mark.parametrize("map_tasks", [None, 3])
def test_a_short_generator_is_as_good_as_a_list(map_tasks: int | None, space: RemoteSpace) -> None:
    data = list(range(10_000))
    of_list = MapReduceJob(data, lambda r: [(len(r), type(r))], collect, map_tasks=map_tasks)
    of_generator = MapReduceJob(iter(data), of_list.map, collect, map_tasks=map_tasks)

    run = of_generator.submit(space)

    assert run.result(20) == of_list.run(space)
    assert run.progress().map_total == (map_tasks or 16)


@given(st.lists(st.integers(0, 3000).map(lambda size: "r" * size)), st.integers(1, 12))
@settings(deadline=None, max_examples=50)
def test_the_splits_of_a_stream_follow_from_its_records(records: list[str], M: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "SPLIT_BYTES", 2000)
        splits = list(cut(iter(records)))

    assert [record for split in splits for record in split.data] == records
    assert [split.first for split in splits] == [
        sum(split.size for split in splits[:number]) for number in range(len(splits))
    ]
    sizes = [[len(cloudpickle.dumps(record)) for record in split.data] for split in splits]
    assert all(sum(size) >= 2000 for size in sizes[:-1])
    assert all(sum(size[:-1]) < 2000 for size in sizes)
    # And dealt anew they are those of the list.
    pieces = [Piece(Parcel(dump(split)), 0, split.size) for split in splits]
    dealt = [split.read_by(cast("Workplace", Inline())) for split in deal(pieces, M)]
    assert dealt == plan_splits(records, M)


def test_the_reduces_of_a_stream_wait_for_its_end() -> None:
    def done(number: int) -> list[Any]:
        outcome = Outcome("j", MAP, number, 0, OK, "w/1", 1, 0.1)
        parts = ((Frame(0, 1, b"d"),),) * 2
        return plan.decide(outcome, output_of(parts, 1, Location("h", f"{number}", "u")))

    plan = Plan(0, 2, more_maps=True)
    assert plan.start() == []
    assert [(plan.add_map().number, done(number)) for number in range(3)] == [
        (0, []), (1, []), (2, []),
    ]  # fmt: skip
    assert plan.add_map().number == 3
    assert plan.maps_to_do == 1
    assert plan.no_more_maps() == []
    assert [(order.phase, len(order.sources or ())) for order in done(3)] == [(REDUCE, 4)] * 2


def test_a_stream_may_end_after_its_maps() -> None:
    plan = Plan(0, 2, more_maps=True)
    assert [order.phase for order in plan.no_more_maps()] == [REDUCE] * 2


# --- the same as in one process -------------------------------------------------------------------


@pytest.mark.parametrize("map_tasks", [None, 7])
def test_a_long_generator_gives_what_one_process_would(
    map_tasks: int | None, space: RemoteSpace
) -> None:
    job = MapReduceJob(uneven(120_000), words, sum_values, sum_values, map_tasks=map_tasks)
    run = job.submit(space)
    results = run.result(50)

    job.data = uneven(120_000)
    assert results == job.run_sequential()
    assert dump(results) == dump(job_of_list(map_tasks, run.progress().map_total).run(space))
    assert run.progress().map_total == (map_tasks or 3)
    assert nothing_of_a_job_is_left(space)


def job_of_list(map_tasks: int | None, splits: int) -> MapReduceJob:
    if map_tasks is not None:
        return MapReduceJob(
            list(uneven(120_000)), words, sum_values, sum_values, map_tasks=map_tasks
        )
    data = [Split(split.data) for split in cut(uneven(120_000))]
    assert len(data) == splits
    return MapReduceJob(data, words, sum_values, sum_values, reduce_tasks=STREAM_REDUCE_TASKS)


@pytest.mark.usefixtures("small")
def test_values_of_many_splits_come_in_the_order_of_the_stream(space: RemoteSpace) -> None:
    job = MapReduceJob((n for n in range(3000)), each(lambda n: [(n % 3, n)]), collect)
    run = job.submit(space)

    results = {key: values for part in run.result(20) for key, values in part}

    assert results == {key: list(range(key, 3000, 3)) for key in range(3)}
    assert run.progress().map_total > 10
    assert run.progress().reduce_total == STREAM_REDUCE_TASKS


@pytest.mark.usefixtures("small")
def test_splits_of_a_stream_reach_another_host(cluster: Any, tmp_path: Path) -> None:
    cluster.start_agent("--host", "east", "--work-dir", str(tmp_path / "east"))
    job = MapReduceJob(("x" * 10_000 for n in range(60)), each(lambda r: [(len(r), 1)]), sum_values)

    results = job.run(cluster.connect())

    assert pairs_of(results) == [(10_000, 60)]


@pytest.mark.usefixtures("small")
def test_a_stream_of_the_users_splits_keeps_them(space: RemoteSpace) -> None:
    def splits() -> Iterator[Split]:
        return (Split({"id": n, "pad": "x" * 5000 * (n % 2)}, wait=1) for n in range(100))

    job = MapReduceJob(splits(), lambda data: [(data["id"], len(data["pad"]))], collect)
    run = job.submit(space)
    results = run.result(20)

    assert run.progress().map_total == 100
    assert sorted(pairs_of(results)) == [(n, [5000 * (n % 2)]) for n in range(100)]
    job.data = splits()
    assert job.run_sequential() == results
    job.data, job.map_tasks = splits(), 99
    with pytest.raises(InvalidJobError, match="100 Split objects"):
        job.run(space)


@pytest.mark.usefixtures("small")
def test_splits_among_the_records_of_a_stream_are_refused(
    space: RemoteSpace, eventually: Callable[..., Any]
) -> None:
    mixed = itertools.chain(range(1000), [Split([1])])
    with pytest.raises(InvalidJobError, match="mixes Split"):
        MapReduceJob(mixed, each(lambda n: [(n, n)]), collect).run(space)
    eventually(lambda: nothing_of_a_job_is_left(space))


def test_records_of_own_classes_travel_with_their_module(
    space: RemoteSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: None
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_streamed.py").write_text(
        "from dataclasses import dataclass\n@dataclass\nclass Visit:\n    page: int\n"
    )
    import my_streamed

    job = MapReduceJob(map(my_streamed.Visit, range(500)), reduce=sum_values, reduce_tasks=1)
    job.map = each(lambda visit: [(visit.page % 2, 1)])

    assert job.run(space) == [[(0, 250), (1, 250)]]


@pytest.mark.usefixtures("small")
def test_one_process_reads_a_stream_split_by_split() -> None:
    read, read_at = 0, []

    def records() -> Iterator[str]:
        nonlocal read
        for _ in range(60):
            read += 1
            yield "x" * 1000

    def look(records: Any) -> list[Any]:
        read_at.append(read)
        return [(0, len(records))]

    assert pairs_of(MapReduceJob(records(), look, sum_values).run_sequential()) == [(0, 60)]
    assert read_at == [max(51, n) for n in range(1, 61)]


# --- reading in a thread of its own ---------------------------------------------------------------


@pytest.mark.usefixtures("small")
def test_maps_run_while_the_stream_is_still_read(
    space: RemoteSpace, eventually: Callable[..., Any]
) -> None:
    go_on = threading.Event()

    def records() -> Iterator[int]:
        yield from range(1000)
        assert go_on.wait(20)
        yield from range(1000, 2000)

    run = MapReduceJob(records(), each(lambda n: [(0, n)]), sum_values).submit(space)
    eventually(lambda: run.progress().map_done == run.progress().map_total > 3)
    before = run.progress()
    assert before.reduce_done == 0
    go_on.set()

    assert pairs_of(run.result(20)) == [(0, 1999 * 1000)]
    assert run.progress().map_total > before.map_total


@pytest.mark.parametrize("records", [10, 1000], ids=["in the head", "later"])
def test_a_job_whose_iterator_blocks_can_be_cancelled(
    records: int, space: RemoteSpace, small: None, eventually: Callable[..., Any]
) -> None:
    reached, never = threading.Event(), threading.Event()

    def blocking() -> Iterator[int]:
        yield from range(records)
        reached.set()
        never.wait(30)
        yield 1

    run = MapReduceJob(blocking(), each(lambda n: [(0, n)]), sum_values).submit(space)
    assert reached.wait(10)
    started = time.monotonic()
    run.cancel()

    assert time.monotonic() - started < 5
    with pytest.raises(JobCancelledError):
        run.result(0)
    never.set()
    # The feeder comes back to a job that is over, sends nothing and ends.
    eventually(lambda: f"feeder-{run.id}" not in {thread.name for thread in threading.enumerate()})
    eventually(lambda: nothing_of_a_job_is_left(space))


@pytest.mark.usefixtures("small")
def test_a_map_that_fails_ends_the_job_while_the_iterator_blocks(space: RemoteSpace) -> None:
    never = threading.Event()

    def blocking() -> Iterator[int]:
        yield from range(1000)
        never.wait(30)

    job = MapReduceJob(blocking(), each(lambda n: [(0, 1 // (n - 70))]), sum_values, retries=0)
    with pytest.raises(JobFailedError, match="ZeroDivisionError") as failed:
        job.submit(space).result(10)
    never.set()
    assert failed.value.where == "record 70 of the data"


def test_a_job_that_nobody_serves_says_so_while_its_iterator_blocks(
    cluster: Any, eventually: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manning, "_NOTICE_SECONDS", 0.1)
    never = threading.Event()
    run = MapReduceJob(iter(lambda: never.wait(30), True), words, sum_values).submit(
        cluster.connect()
    )
    assert "no workers" in eventually(lambda: run.progress().notice)
    run.cancel()
    never.set()


@pytest.mark.parametrize("records, map_tasks", [(10, None), (1000, None), (1000, 4)])
def test_what_the_generator_raises_reaches_the_caller_as_it_is(
    records: int, map_tasks: int | None, space: RemoteSpace, small: None,
    eventually: Callable[..., Any],
) -> None:  # fmt: skip
    reason = LookupError("no such row")

    def failing_generator() -> Iterator[int]:
        yield from range(records)
        raise reason

    job = MapReduceJob(failing_generator(), each(lambda n: [(0, n)]), sum_values)
    job.map_tasks = map_tasks
    with pytest.raises(LookupError) as raised:
        job.run(space)

    assert raised.value is reason
    assert "failing_generator" in "".join(traceback.format_tb(raised.value.__traceback__))
    eventually(lambda: nothing_of_a_job_is_left(space))


@pytest.mark.usefixtures("small")
def test_a_record_that_cannot_be_pickled_is_named(space: RemoteSpace) -> None:
    records = (threading.Lock() if n == 700 else n for n in range(1000))
    with pytest.raises(InvalidJobError, match="record 700 of the data cannot be pickled"):
        MapReduceJob(records, each(lambda n: [(0, n)]), sum_values).run(space)


def test_a_stream_without_an_end_runs_until_it_is_cancelled(
    space: RemoteSpace, standing_cluster: Any, small: None, eventually: Callable[..., Any]
) -> None:
    run = MapReduceJob(itertools.count(), each(lambda n: [(n % 2, 1)]), sum_values).submit(space)
    eventually(lambda: run.progress().map_done > 300)
    run.cancel()

    with pytest.raises(JobCancelledError):
        run.result(0)
    assert space.count(("job", None, None)) == 0
    eventually(lambda: nothing_of_a_job_is_left(space))
    eventually(lambda: not list(standing_cluster.temporary.glob(f"tuplemill-*/*/{run.id}/*")))
    eventually(lambda: f"feeder-{run.id}" not in {thread.name for thread in threading.enumerate()})


@pytest.mark.usefixtures("small")
def test_a_stream_is_not_read_far_ahead_of_its_maps(
    space: RemoteSpace, standing_cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    eventually: Callable[..., Any],
) -> None:  # fmt: skip
    monkeypatch.setattr(feeder, "AHEAD", 5)
    monkeypatch.setattr(stream, "HEAD_RECORDS", 2)
    read = 0

    def records() -> Iterator[str]:
        nonlocal read
        for _ in range(100):
            read += 1
            yield "x" * 2000  # a split of its own

    def wait_to_go(records: Any) -> list[Any]:
        deadline = time.monotonic() + 30
        while not (tmp_path / "go").exists():
            assert time.monotonic() < deadline
            time.sleep(0.005)
        return [(len(record), 1) for record in records]

    run = MapReduceJob(records(), wait_to_go, sum_values).submit(space)
    eventually(lambda: run.progress().map_total == 5)
    assert not run.wait(0.3)
    assert (run.progress().map_total, read) == (5, 5)
    # Two for each worker, if these are more.
    agent = standing_cluster.start_agent(processes=6)
    eventually(lambda: run.progress().map_total == 16)
    assert not run.wait(0.3)
    assert (run.progress().map_total, read) == (16, 16)
    (tmp_path / "go").touch()

    assert pairs_of(run.result(20)) == [(2000, 100)]
    assert read == 100
    assert agent.stop() == 0


# --- read before ----------------------------------------------------------------------------------


def test_an_iterator_that_a_run_has_used_up_gives_no_empty_answer(space: RemoteSpace) -> None:
    once = MapReduceJob((n for n in range(10)), each(lambda n: [(0, n)]), sum_values)
    assert pairs_of(once.run(space)) == [(0, 45)]

    for again in (once.run_sequential, lambda: once.submit(space)):
        with pytest.raises(InvalidJobError, match=r"an earlier run has read.* pass a list"):
            again()
    with pytest.raises(InvalidJobError, match="earlier run"):
        MapReduceJob(once.data, once.map, once.reduce).run(space)
    once.data = (n for n in range(10))
    assert pairs_of(once.run(space)) == [(0, 45)]


def test_a_job_knows_its_own_iterator_again_whatever_its_type() -> None:
    job = MapReduceJob(map(int, "123"), each(lambda n: [(0, n)]), sum_values)
    assert job.run_sequential() == job.__class__([1, 2, 3], job.map, sum_values).run_sequential()
    with pytest.raises(InvalidJobError, match="earlier run"):
        job.run_sequential()


def test_an_iterable_that_begins_anew_may_be_run_again() -> None:
    class Rows:
        def __iter__(self) -> Iterator[int]:
            return iter(range(20_000))

    job = MapReduceJob(Rows(), each(lambda n: [(n % 2, 1)]), sum_values)
    assert job.run_sequential() == job.run_sequential()


def test_a_job_that_was_refused_has_not_read_its_iterator() -> None:
    job = MapReduceJob((n for n in range(3)), reduce=sum_values, reduce_tasks=0)
    with pytest.raises(InvalidJobError, match="no map"):
        job.run_sequential()
    job.map = each(lambda n: [(0, n)])
    with pytest.raises(InvalidJobError, match="reduce_tasks"):
        job.run_sequential()
    job.reduce_tasks = 1
    assert job.run_sequential() == [[(0, 3)]]


# --- deaths and memory ----------------------------------------------------------------------------


@pytest.mark.faults
@pytest.mark.parametrize("map_tasks", [None, 9])
def test_agents_that_die_while_a_stream_is_read_change_nothing(
    cluster: Any, map_tasks: int | None, small: None, eventually: Callable[..., Any]
) -> None:
    first, second = cluster.start_agent(), cluster.start_agent()
    killed, started = threading.Event(), threading.Event()

    def records() -> Iterator[str]:
        for number, line in enumerate(uneven(100_000)):
            if number == 60_000:
                started.set()
                assert killed.wait(20)
            yield line

    job = MapReduceJob(records(), words, sum_values, map_tasks=map_tasks)
    run = job.submit(cluster.connect())
    assert started.wait(30)
    if map_tasks is None:
        eventually(lambda: run.progress().map_done > 10)
    first.process.kill()
    os.kill(second.workers[0], 9)
    killed.set()

    results = run.result(50)
    job.data = uneven(100_000)
    assert results == job.run_sequential()


@pytest.mark.faults
def test_a_stream_of_more_splits_than_the_space_takes_ends_with_the_right_result(
    cluster: Any, small: None
) -> None:
    cluster.kill_server()
    cluster.start_server("--limit", "tuples=20")
    cluster.start_agent()
    job = MapReduceJob(uneven(20_000), words, collect, reduce_tasks=40)
    with cluster.connect() as space:
        results = job.run(space)
    job.data = uneven(20_000)
    assert results == job.run_sequential()


MEMORY = """
import resource, sys
from mapreduce import MapReduceJob

def rows():
    for number in range(300):
        for part in range(10):
            yield f"{number} {part} " * 18_000  # 3,000 records, 300 MB in all

job = MapReduceJob(rows(), map_tasks=int(sys.argv[1]) or None)
job.map = lambda rows: [(len(row) > 90_000, len(row)) for row in rows]
job.reduce = lambda pairs: sum(value for _, value in pairs)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
total = sum(job.run())
print(total, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.faults
@pytest.mark.parametrize("map_tasks", [0, 200])
def test_a_long_stream_takes_little_memory_of_the_driver(
    map_tasks: int, run_python: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = run_python("-c", MEMORY, str(map_tasks), cwd=tmp_path)
    output, error = process.communicate(timeout=55)

    assert error == ""
    total, growth = map(int, output.split())
    assert total > 300_000_000
    kilobytes = growth // (1024 if sys.platform == "darwin" else 1)
    assert kilobytes < 40_000
