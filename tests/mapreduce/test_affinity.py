"""Splits aimed at a worker or host: they run there if they can, and anywhere if they must."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from mapreduce import InvalidJobError, MapReduceJob, Split, collect, manning
from mapreduce.aims import GRACE_SECONDS, Aims
from mapreduce.inputs import stream
from tuplespace import RemoteSpace, connect
from workers.task import Parcel, Task

# Functions of this module travel by value, as those of a script do.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.mark.parametrize("affinity", [7, b"east", ["east"]])
def test_a_name_that_is_no_str_is_refused(affinity: Any) -> None:
    with pytest.raises(InvalidJobError, match="name of a host or worker, a str"):
        Split([1], affinity=affinity)


@pytest.mark.parametrize("wait", [-1, math.nan, "10", None, True])
def test_a_wait_that_is_no_time_is_refused(wait: Any) -> None:
    with pytest.raises(InvalidJobError, match="wait is seconds"):
        Split([1], affinity="east", wait=wait)


# --- as lists -------------------------------------------------------------------------------------


def aimed(number: int, affinity: str = "east") -> Task:
    return Task("j", "map", number, "r", affinity, 0, Parcel(b""), Parcel(b""))


def test_a_task_is_lifted_when_it_has_waited_and_not_before() -> None:
    aims, task = Aims(), aimed(0)
    aims.add(task, 10, 100.0)

    assert aims.seconds_left(100.0) == GRACE_SECONDS
    now = 100.0
    while now < 110:
        assert aims.look(now, {"east", "east/7"}) == []
        now += aims.seconds_left(now)
    assert now == 110
    assert aims.look(now, {"east"}) == [task]


def test_a_task_is_lifted_after_the_grace_if_there_is_no_such_place() -> None:
    aims, task = Aims(), aimed(0)
    aims.add(task, 10, 100.0)

    assert aims.look(100.0, {"west"}) == []
    assert aims.look(100.0 + GRACE_SECONDS, {"west"}) == [task]
    assert aims.without_worker({"west"}) == "east"
    aims.lifted(task)
    assert (aims.is_lifted(0), bool(aims), aims.seconds_left(0.0)) == (True, False, math.inf)


def test_a_place_that_goes_away_is_noticed_before_the_wait_is_over() -> None:
    aims, task = Aims(), aimed(0)
    aims.add(task, 1000, 0.0)

    assert aims.look(GRACE_SECONDS, {"east"}) == []
    assert aims.look(GRACE_SECONDS + aims.seconds_left(GRACE_SECONDS), set()) == [task]


def test_a_task_that_may_wait_for_ever_does() -> None:
    aims = Aims()
    aims.add(aimed(0), math.inf, 0.0)
    assert aims.look(1e9, set()) == []
    assert aims.without_worker(set()) == "east"


def test_a_task_that_a_worker_has_is_looked_at_again_ever_more_rarely() -> None:
    aims, task = Aims(), aimed(0)
    aims.add(task, 0.5, 0.0)
    pauses, now = [], 0.0
    for _ in range(6):
        before = now
        while not aims.look(now, {"east"}):
            now += aims.seconds_left(now)
        aims.missed(task, now)
        pauses.append(now - before)
    assert pauses == [0.5, 4, 8, 16, 30, 30]
    aims.settle(0)
    assert aims.seconds_left(now) == math.inf


# --- on two hosts ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def _hosts(_standing_cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """Hosts with a worker each, and one with two: the agents' process ids and names."""
    found = {_standing_cluster.agents[0].pid: "here"}
    for name in ("east", "west"):
        folder = str(tmp_path_factory.mktemp(name))
        agent = _standing_cluster.start_agent("--host", name, "--work-dir", folder, processes=1)
        found[agent.pid] = name
    return found


@pytest.fixture
def hosts(standing_cluster: Any, _hosts: dict[int, str]) -> dict[int, str]:
    return _hosts


@pytest.fixture
def space(standing_cluster: Any) -> Iterator[RemoteSpace]:
    with connect(standing_cluster.uri) as space:
        yield space


def where(records: Any) -> list[Any]:
    return [(record, os.getppid()) for record in records]


def ran_at(results: list[Any], hosts: dict[int, str]) -> dict[Any, str]:
    return {key: hosts[pid] for part in results for key, [pid] in part}


def wait_for_file(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, f"no {path}"
        time.sleep(0.005)


def test_aimed_tasks_run_at_their_host_or_worker(
    space: RemoteSpace, hosts: dict[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    [west] = [pid for pid, name in hosts.items() if name == "west"]
    names = ["east", f"west/{west}"] * 10
    job = MapReduceJob([Split([n], affinity=name) for n, name in enumerate(names)], where, collect)
    expected = {n: name.partition("/")[0] for n, name in enumerate(names)}
    jobs = space.notify("write", ("job", None, dict))

    assert ran_at(job.run(space), hosts) == expected
    told = jobs.next(timeout=5).tuple[2]
    assert (told["maps"], told["reduces"], told["affinity"]) == (20, 8, True)
    # And as a stream, whose splits are not known in advance.
    monkeypatch.setattr(stream, "HEAD_RECORDS", 3)
    job.data = iter(job.data)
    assert ran_at(job.run(space), hosts) == expected
    told = jobs.next(timeout=5).tuple[2]
    assert (told["maps"], told["reduces"]) == (0, stream.STREAM_REDUCE_TASKS)
    assert told["affinity"]
    jobs.cancel()


def test_tasks_aimed_at_nobody_fall_back_soon_and_others_ask_for_nobody(
    space: RemoteSpace, hosts: dict[int, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    read_all = space.read_all
    monkeypatch.setattr(space, "read_all", lambda t: asked.append(t) or read_all(t))

    MapReduceJob(list(range(50)), where, collect).run(space)
    assert asked == []

    def fail_once(records: Any) -> Any:
        if records == [3] and not (tmp_path / "tried").exists():
            (tmp_path / "tried").touch()
            raise ConnectionError("the weather")
        return where(records)

    data = [Split([n], affinity="nowhere", wait=300) for n in range(10)]
    tasks = space.notify("write", ("task", None, "map", 3, None, None, None))
    started = time.monotonic()
    results = MapReduceJob(data, fail_once, collect).run(space)

    assert len(ran_at(results, hosts)) == 10
    assert GRACE_SECONDS <= time.monotonic() - started < 15
    assert 0 < len(asked) <= 4
    # It is not aimed again: three tuples, and the last two may go anywhere.
    assert [tasks.next(timeout=5).tuple[5] for _ in range(3)] == ["nowhere", "", ""]
    tasks.cancel()


def test_a_task_aimed_at_a_busy_host_falls_back_after_its_wait(
    space: RemoteSpace, hosts: dict[int, str], tmp_path: Path
) -> None:
    def hold_the_first(records: Any) -> Any:
        if records == ["first"]:
            (tmp_path / "begun").touch()
            wait_for_file(tmp_path / "go")
        elif records == ["patient"]:
            return where(records)
        else:
            wait_for_file(tmp_path / "begun")
            if records == ["second"]:
                (tmp_path / "go").touch()
        return where(records)

    data = [
        Split(["first"], affinity="east"),
        Split(["second"], affinity="east", wait=0.5),
        Split(["patient"], affinity="east", wait=math.inf),
        Split(["at once"], affinity="east", wait=0),
    ]
    # East is held until "second" has run, which cannot be at east.
    job = MapReduceJob(data, hold_the_first, collect, backup_tasks=False)
    results = job.submit(space).result(20)

    at = ran_at(results, hosts)
    assert (at["first"], at["patient"]) == ("east", "east")
    assert at["second"] != "east"


def test_a_job_whose_split_waits_for_ever_says_for_whom(
    standing_cluster: Any, space: RemoteSpace, hosts: dict[int, str],
    monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., Any],
) -> None:  # fmt: skip
    monkeypatch.setattr(manning, "_NOTICE_SECONDS", 0.2)
    data = [Split([1], affinity="north", wait=math.inf)]
    run = MapReduceJob(data, where, collect).submit(space)
    assert "'north', where no worker is" in eventually(lambda: run.progress().notice)

    agent = standing_cluster.start_agent("--host", "north", processes=1)

    assert ran_at(run.result(20), {agent.pid: "north"}) == {1: "north"}
    assert agent.stop() == 0


@pytest.mark.faults
def test_a_task_whose_host_dies_with_it_falls_back(
    cluster: Any, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    east = cluster.start_agent("--host", "east", processes=1)
    west = cluster.start_agent("--host", "west", processes=1)
    hosts = {east.pid: "east", west.pid: "west"}

    def first_at_east(records: Any) -> Any:
        (tmp_path / f"begun-{os.getppid()}").touch()
        if hosts[os.getppid()] == "east":
            wait_for_file(tmp_path / "never")
        return where(records)

    data = [Split([1], affinity="east", wait=1)]
    run = MapReduceJob(data, first_at_east, collect).submit(cluster.connect())
    eventually((tmp_path / f"begun-{east.pid}").exists)
    assert not run.wait(2.0)  # its wait is over, and it runs: nothing to lift
    east.kill()

    assert ran_at(run.result(40), hosts) == {1: "west"}
