"""What agents tell of themselves in the space: who they are, and what runs for long."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from byhand import Job, begun, say_and_wait, wait_for_file
from tuplespace import ANY, TupleSpace
from tuplespace.errors import MatchTimeoutError
from workers.presence import LONG_SECONDS, Presence

cloudpickle.register_pickle_by_value(sys.modules[__name__])

RUNNING = ("running", str, str, int, tuple, tuple)


@pytest.fixture
def new_job(cluster: Any) -> Callable[..., Job]:
    return lambda **about: Job(cluster.connect(), cluster.key, **about)


def test_an_agent_tells_what_runs_for_long_and_how_many_workers_are_idle(
    cluster: Any, new_job: Callable[..., Job], tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    agent = cluster.start_agent()
    job = new_job()
    eventually(lambda: job.space.read(RUNNING)[3:5] == (2, ()))

    started = time.monotonic()
    job.write(say_and_wait(tmp_path), 1)
    [pid] = eventually(begun(tmp_path))
    *_, idle, tasks, _ = eventually(lambda: (told := job.space.read(RUNNING))[4] and told)

    assert idle == 1
    [(worker, job_id, phase, number, seconds)] = tasks
    assert (worker, job_id, phase, number) == (pid, job.id, "work", 0)
    assert LONG_SECONDS < seconds < time.monotonic() - started
    assert job.space.read(RUNNING)[1:3] == (
        f"{os.uname().nodename}/{agent.pid}",
        os.uname().nodename,
    )
    (tmp_path / "go").touch()
    job.outcomes(1)
    eventually(lambda: job.space.read(RUNNING)[3:5] == (2, ()))
    assert job.space.count(RUNNING) == 1

    agent.stop()
    assert job.space.count(RUNNING) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody counts")
def test_an_agent_with_nothing_to_do_sleeps(cluster: Any, eventually: Callable[..., Any]) -> None:
    agent, space = cluster.start_agent(), cluster.connect()
    eventually(lambda: space.count(("running", str, str, 2, (), (ANY, ANY))))

    def wake_ups() -> int:
        told = [path.read_text() for path in Path(f"/proc/{agent.pid}/task").glob("*/status")]
        return sum(int(text.split("\nvoluntary_ctxt_switches:")[1].split()[0]) for text in told)

    def are_few() -> bool:
        before = wake_ups()
        threading.Event().wait(1.5)
        return wake_ups() - before < 8

    eventually(are_few, 20)  # the first ones are of its start


def test_the_long_task_of_a_group_of_short_ones_is_known(
    cluster: Any, new_job: Callable[..., Job], tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    cluster.start_agent(processes=1)
    job = new_job()
    job.run(lambda n: n, *range(200))

    def task(n: int) -> int:
        if n == 30:
            wait_for_file(tmp_path / "go")
        return n

    job.write(task, *range(60))
    [told] = eventually(lambda: job.space.read(RUNNING)[4])
    assert told[1:4] == (job.id, "work", 230)
    (tmp_path / "go").touch()
    assert len(job.outcomes(60)) == 60


def test_an_agent_tells_the_memory_of_all_its_workers(
    cluster: Any, new_job: Callable[..., Job], tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    agent = cluster.start_agent(processes=2)
    job = new_job()
    folder = str(tmp_path)

    def fill(_: int) -> None:
        held = bytearray(b"x") * (80 << 20)
        Path(folder, f"begun-{os.getpid()}").touch()
        wait_for_file(Path(folder, "go"))
        del held

    job.write(fill, 1)
    [full] = eventually(begun(tmp_path))
    told = eventually(
        lambda: (now := dict(job.space.read(RUNNING)[5])).get(full, 0) > 80 << 20 and now
    )
    assert len(told) == 2
    for pid, size in told.items():  # as another program sees it, which looks a little later
        found = subprocess.check_output(["ps", "-o", "ppid=,rss=", "-p", str(pid)], text=True)
        parent, resident = map(int, found.split())
        assert parent == agent.pid
        assert size == pytest.approx(1024 * resident, rel=0.1)
    (tmp_path / "go").touch()


def test_an_idle_agent_tells_no_more_often_because_memory_changes() -> None:
    class Written:
        space_id, count = "", 0

        def swap(self, template: Any, value: Any, lease: float) -> None:
            self.count += 1

        write = swap

    space, looks = Written(), iter(range(1000))
    presence = Presence("h/1", "h", 1)
    presence._space = space  # type: ignore[assignment]
    for _ in range(50):
        presence.tell(1, (), lambda: [(7, next(looks))])
    assert (space.count, next(looks)) == (1, 1)


def test_news_that_must_wait_is_none_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.presence._TELL_SECONDS", 60.0)
    with TupleSpace() as space:
        presence = Presence("h/1", "h", 1)
        presence._space = space  # type: ignore[assignment]

        assert presence.tell(1, (), lambda: [(7, 1)])
        assert not presence.tell(0, (), lambda: [(7, 1)])
        assert presence.tell(1, (), lambda: [(7, 1)])
        assert space.read(RUNNING)[3] == 1


@pytest.mark.faults
def test_short_tasks_are_never_told_of(cluster: Any, new_job: Callable[..., Job]) -> None:
    cluster.start_agent(processes=1)
    job = new_job()
    events = job.space.notify("write", RUNNING)

    job.run(time.sleep, *[0.1] * 10)

    told = []
    with suppress(MatchTimeoutError):
        while True:
            told.append(events.next(0.1).tuple[3:])
    events.cancel()
    assert told
    assert {tasks for _, tasks, _ in told} == {()}
    assert len(told) < 6  # of twenty times that it was idle, and then not


@pytest.mark.faults
def test_a_space_that_came_back_empty_is_told_again(
    cluster: Any, new_job: Callable[..., Job], tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    cluster.start_agent()
    old = new_job()
    old.write(say_and_wait(tmp_path), 1)
    eventually(lambda: old.space.read(RUNNING)[4])
    cluster.kill_server()
    cluster.start_server()
    space = cluster.connect()

    eventually(lambda: space.count(RUNNING) == 1)
    assert space.count(("worker", *[None] * 4)) == 1
