"""Agents that are told to leave, stopped, cut off or killed: their tasks go on elsewhere, and count once."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from byhand import Job, begun, say_and_wait, wait_for_file
from mapreduce import JobFailedError, MapReduceJob, each
from tuplespace import connect
from tuplespace.errors import MatchTimeoutError, TupleTooLargeError
from tuplespace.pickles import load
from workers.task import ERROR, OK
from workers.voice import Voice

cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def new_job(cluster: Any) -> Callable[..., Job]:
    return lambda **about: Job(cluster.connect(), cluster.key, **about)


def noting(folder: Path, seconds: float) -> Callable[[Any], Any]:
    """Return what a task does that notes that it runs, and takes its time."""

    def task(number: Any) -> Any:
        descriptor = os.open(folder / "ran", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(descriptor, f"{number}\n".encode())
        os.close(descriptor)
        time.sleep(seconds)
        return number

    return task


def noted(folder: Path) -> Counter[int]:
    return Counter(map(int, (folder / "ran").read_text().split()))


# --- told to leave --------------------------------------------------------------------------------


def test_a_drained_agent_runs_no_task_twice_and_loses_none(
    cluster: Any, new_job: Callable[..., Job], tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    leaving = cluster.start_agent()
    job = new_job()
    job.write(noting(tmp_path, 0.02), *range(100))
    eventually(lambda: (tmp_path / "ran").exists() and sum(noted(tmp_path).values()) > 20)
    cluster.start_agent()

    started = time.monotonic()
    assert leaving.stop() == 0
    assert time.monotonic() - started < 3

    outcomes = job.outcomes(100)
    assert [load(outcome.value.content) for outcome in outcomes] == list(range(100))
    assert noted(tmp_path) == Counter(range(100))
    with pytest.raises(MatchTimeoutError):
        job.space.take(("result", job.id, None, None, None), timeout=0)


def test_what_waits_is_given_back_at_once_while_what_runs_goes_on(
    cluster: Any, new_job: Callable[..., Job], tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    leaving = cluster.start_agent("--drain", "8", processes=1)
    job = new_job()
    job.run(lambda n: n, *range(200))  # so that it claims ahead, and puts them into groups

    def task(number: int) -> int:
        if number == 0:
            say_and_wait(tmp_path)(number)
        return os.getpid()

    job.write(task, *range(40))
    [busy] = eventually(begun(tmp_path))
    leaving.process.send_signal(signal.SIGTERM)
    other = cluster.start_agent(processes=1)

    rest = job.outcomes(39)  # before the first has ended
    assert {outcome.pid for outcome in rest} <= {busy, *other.workers}
    assert job.space.count(("worker", *[None] * 4)) == 1  # nobody counts on it any more
    (tmp_path / "go").touch()
    [first] = job.outcomes(1)
    assert (first.number, first.pid, first.status) == (200, busy, OK)
    assert leaving.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_twice_an_agent_ends_at_once_and_another_goes_on_without_waiting_for_a_lease(
    number: int, cluster: Any, new_job: Callable[..., Job], tmp_path: Path,
    eventually: Callable[..., Any],
) -> None:  # fmt: skip
    leaving = cluster.start_agent("--drain", "60", processes=1)
    job = new_job()
    job.write(say_and_wait(tmp_path), 0)
    [busy] = eventually(begun(tmp_path))
    leaving.process.send_signal(number)
    eventually(lambda: job.space.count(("worker", *[None] * 4)) == 0)
    assert leaving.process.poll() is None
    [told] = eventually(lambda: [line for line in leaving.lines if " stops: " in line])
    assert "1 running task may take up to 60 s to end; another Ctrl-C or SIGTERM ends" in told

    started = time.monotonic()
    assert leaving.stop(number, within=5) == 0
    cluster.start_agent(processes=1)
    eventually(begun(tmp_path, 2))
    assert time.monotonic() - started < 8
    (tmp_path / "go").touch()
    [outcome] = job.outcomes(1)
    assert outcome.status == OK
    assert outcome.pid != busy


@pytest.mark.faults
def test_claims_outlive_their_lease_in_a_long_drain(
    cluster: Any, new_job: Callable[..., Job], tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    leaving = cluster.start_agent("--drain", "30", "--claim-lease", "1", processes=1)
    job = new_job()
    job.write(noting(tmp_path, 4.0), 0)
    eventually((tmp_path / "ran").exists)
    leaving.process.send_signal(signal.SIGTERM)
    cluster.start_agent(processes=1)

    [outcome] = job.outcomes(1)

    assert outcome.status == OK
    assert noted(tmp_path) == Counter([0])
    assert leaving.end() == 0


@pytest.mark.parametrize(
    "tasks, seconds, said",
    [
        (0, 5.0, []),
        (2, 0.0, []),
        (
            1,
            2.5,
            [
                "1 running task may take up to 2.5 s to end; another Ctrl-C or SIGTERM ends it at once"
            ],
        ),
        (
            2,
            5.0,
            [
                "2 running tasks may take up to 5 s to end; another Ctrl-C or SIGTERM ends them at once"
            ],
        ),
    ],
)
def test_an_agent_says_what_it_still_waits_for(tasks: int, seconds: float, said: list[str]) -> None:
    lines: list[str] = []
    Voice("h/1", lines.append).draining(tasks, seconds)
    assert [line.removeprefix("worker h/1 stops: ") for line in lines] == said


# --- stopped, cut off, killed ---------------------------------------------------------------------


def first_waits(folder: Path) -> Callable[[Any], Any]:
    """Return what a task does that waits for a file the first time, and then returns at once."""

    def task(number: Any) -> int:
        first = not list(folder.glob("begun-*"))
        (folder / f"begun-{number}-{os.getpid()}").touch()
        if first:
            wait_for_file(folder / "go")
        return os.getpid()

    return task


def only_once(job: Job, other: Any) -> None:
    """Check that the task has one outcome, another agent's, and keeps it."""
    [outcome] = job.outcomes(1)
    assert outcome.status == OK
    assert outcome.pid in other.workers


@pytest.mark.faults
def test_a_stopped_agent_loses_its_tasks_and_what_it_sends_later_is_refused(
    cluster: Any, new_job: Callable[..., Job], tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    stopped = cluster.start_agent("--claim-lease", "1.5", processes=1)
    job = new_job()
    job.write(first_waits(tmp_path), 0)
    eventually(begun(tmp_path))
    os.kill(stopped.pid, signal.SIGSTOP)
    other = cluster.start_agent(processes=1)

    only_once(job, other)
    (tmp_path / "go").touch()  # its worker goes on, and answers an agent that does not listen
    os.kill(stopped.pid, signal.SIGCONT)

    # Whether it hears first that its claim has ended or what its worker says: nothing counts.
    eventually(lambda: any(line for line in stopped.lines if "a result was refused" in line
                           or "was ended: its task is done, or runs, elsewhere" in line))  # fmt: skip
    assert job.space.count(("result", job.id, *[None] * 3)) == 0
    assert job.space.count(("task", job.id, *[None] * 5)) == 0
    job.run(lambda n: n, *range(50))  # both serve
    eventually(lambda: job.space.count(("worker", *[None] * 4)) == 2)


@pytest.mark.faults
def test_an_agent_that_is_cut_off_loses_its_tasks_and_what_it_sends_later_is_refused(
    cluster: Any, new_job: Callable[..., Job], tmp_path: Path, eventually: Callable[..., Any],
    forward: Callable[[int], Any],
) -> None:  # fmt: skip
    link = forward(cluster.port)
    cut_off = cluster.start_agent("--space", f"127.0.0.1:{link.port}", processes=1)
    job = new_job()
    job.write(first_waits(tmp_path), 0)
    eventually(begun(tmp_path))
    link.refuse = True
    link.cut_all()
    other = cluster.start_agent(processes=1)

    only_once(job, other)
    (tmp_path / "go").touch()
    cut_off.wait_for("still trying")
    link.refuse = False

    cut_off.wait_for("a result was refused")
    assert job.space.count(("result", job.id, *[None] * 3)) == 0
    eventually(lambda: job.space.count(("worker", *[None] * 4)) == 2)


@pytest.mark.faults
def test_a_job_survives_agents_that_are_killed_stopped_and_told_to_leave(
    cluster: Any, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    agents = [cluster.start_agent("--claim-lease", "1.5", processes=1) for _ in range(4)]
    slowly = noting(tmp_path, 0.03)
    job = MapReduceJob(data=range(200), map=each(lambda n: [(n % 7, slowly(n))]), reduce=sorted)
    job.map_tasks, job.reduce_tasks = 50, 3
    with connect(cluster.uri, key_file=cluster.key_file) as space:
        run = job.submit(space)
        eventually(lambda: run.progress().map_done >= 5)
        agents[0].process.kill()
        os.kill(agents[1].pid, signal.SIGSTOP)
        agents[2].process.send_signal(signal.SIGTERM)
        cluster.start_agent(processes=1)
        assert sorted(pair for part in run.result(40) for pair in part) == sorted(
            (n % 7, n) for n in range(200)
        )
        os.kill(agents[1].pid, signal.SIGCONT)
    ran = noted(tmp_path)
    assert set(ran) == set(range(200))
    # One task of four records each was lost with the first two, and no other.
    assert sum(ran.values()) <= 200 + 2 * 4


# --- too much for the space -----------------------------------------------------------------------


def test_a_result_that_the_space_does_not_take_is_an_error_that_says_so(
    cluster: Any, new_job: Callable[..., Job]
) -> None:
    cluster.kill_server()
    cluster.start_server("--limit", "tuple_bytes=20000")
    cluster.start_agent(processes=1)
    job = new_job()

    job.write(lambda size: b"x" * size, *[10, 100_000, 20] * 3)
    outcomes = job.outcomes(9)

    assert [outcome.status for outcome in outcomes] == [OK, ERROR, OK] * 3
    message = outcomes[1].details["message"]
    assert "too large" in message
    assert "100," in message
    assert "20,000" in message
    assert "--limit tuple_bytes=" in message
    assert job.run(lambda n: n, 1) == [1]


@pytest.mark.faults
def test_a_job_whose_results_the_space_does_not_take_fails_and_says_why(cluster: Any) -> None:
    cluster.kill_server()
    cluster.start_server("--limit", "tuple_bytes=20000")
    cluster.start_agent(processes=1)
    job = MapReduceJob(data=["x"], map=each(lambda x: [(x, 1)]), reduce=lambda _: "y" * 50_000)

    with cluster.connect() as space, pytest.raises(JobFailedError, match="too large for the space"):
        job.run(space)


def test_a_task_larger_than_the_whole_space_fails_its_job(cluster: Any) -> None:
    cluster.kill_server()
    cluster.start_server("--limit", "bytes=100K")
    job = MapReduceJob(data=["x" * 150_000], map=each(lambda x: [(x, 1)]), reduce=list)

    with cluster.connect() as space, pytest.raises(TupleTooLargeError, match="--limit bytes="):
        job.submit(space).result(20)
