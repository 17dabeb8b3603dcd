"""What a task does to its worker costs that task an attempt and nothing else; what it starts ends with it."""

from __future__ import annotations

import ctypes
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from byhand import Job
from mapreduce import JobFailedError, MapReduceJob, each
from mapreduce.engine.embedded import EmbeddedEngine
from tuplespace.pickles import load
from workers.task import DIED, MEMORY, OK, TIMEOUT, timeouts_in

cloudpickle.register_pickle_by_value(sys.modules[__name__])

#: Seconds that nobody else on this machine sleeps, to be known by.
NAP = str(random.randrange(10**6, 10**7))

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere orphans are not found")


@pytest.fixture
def new_job(cluster: Any) -> Callable[..., Job]:
    return lambda **about: Job(cluster.connect(), cluster.key, **about)


def test_an_idle_worker_that_is_killed_is_replaced_at_once(
    cluster: Any, eventually: Callable[..., Any]
) -> None:
    agent, space = cluster.start_agent(processes=1), cluster.connect()
    idle = "running", None, None, 1, None
    [[killed, _]] = space.read((*idle, ((int, int),)), timeout=20)[5]

    os.kill(killed, signal.SIGKILL)

    agent.wait_for(f"worker process {killed} of")
    [other] = eventually(lambda: [pid for pid in agent.workers if pid != killed])
    space.read((*idle, ((other, int),)), timeout=20)  # as `status` shows it


BROKEN = """
import sys
from pathlib import Path
from workers.serve import serve

sys.executable = sys.argv[2]
def announce(line):
    print(line, flush=True)
    if "cannot be started" in line:  # there is one that can be run, but it ends at once
        Path(sys.argv[2]).symlink_to("/bin/false")
serve(sys.argv[1], 1, announce=announce)
"""


def test_workers_that_cannot_start_are_tried_again_less_and_less_often(
    cluster: Any, run_python: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    agent = run_python("-u", "-c", BROKEN, cluster.uri, str(tmp_path / "python"))
    assert agent.stdout is not None
    failures = (line for line in agent.stdout if "worker process" in line)
    said, times = [], []
    for line in itertools.islice(failures, 4):
        said.append(line)
        times.append(time.monotonic())

    assert "cannot be started" in said[0]
    assert all("exited with status 1" in line for line in said[1:])
    assert times[3] - times[0] > 1.5  # at first it is 0.25 s
    assert agent.poll() is None
    agent.terminate()
    assert agent.wait(10) == 0


def note(folder: Path, number: Any) -> None:
    """For tasks: add a line to a file, in one step."""
    descriptor = os.open(folder / "ran", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, f"{number}\n".encode())
    os.close(descriptor)


def noted(folder: Path) -> Counter[str]:
    return Counter((folder / "ran").read_text().split())


def daemonize(seconds: str) -> None:
    """Start a process that has left group, session and parent."""
    if os.fork() == 0:
        if os.getpid() != os.getsid(0):  # not the worker itself
            os.setsid()
        if os.fork() == 0:
            os.execvp("sleep", ["sleep", seconds])
        os._exit(0)
    os.wait()


def hold_the_gil() -> None:
    re.match("(a+)+$", "a" * 60 + "b")


def fork_much() -> None:
    for _ in range(5):
        os.fork()
        if os.getpid() != os.getsid(0):  # not the worker itself
            os.setsid()
    time.sleep(1000)


def eat_memory() -> None:
    eaten = []
    while True:
        eaten.append(b"x" * 1_000_000)


def commands() -> str:
    return subprocess.run(
        ["ps", "-A", "-o", "args="], capture_output=True, text=True, check=True
    ).stdout


DEADLY: dict[str, Callable[[], Any]] = {
    "segfault": lambda: ctypes.string_at(0),
    "exit": lambda: os._exit(7),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "memory": eat_memory,
    "gil": hold_the_gil,
    "sleep": lambda: time.sleep(1000),
}


@on_linux
def test_each_kind_of_death_costs_its_own_task_only(
    cluster: Any, new_job: Callable[..., Job], tmp_path: Path, eventually: Callable[..., Any],
    below: Callable[[int], dict[int, str]],
) -> None:  # fmt: skip
    agent = cluster.start_agent("--memory", "150MB")
    job = new_job(task_timeout=2.0)
    deadly = {3 * number + 2: kind for number, kind in enumerate(DEADLY)}

    def task(number: int) -> int:
        note(tmp_path, number)
        if number in deadly:
            daemonize(NAP)
            DEADLY[deadly[number]]()
        time.sleep(0.01)
        return number

    job.write(task, *range(30))
    outcomes = job.outcomes(30)

    died = {outcome.number: outcome for outcome in outcomes if outcome.status == DIED}
    assert sorted(died) == sorted(deadly)
    assert {load(each.value.content) for each in outcomes if each.value} == set(range(30)) - set(
        deadly
    )
    # One that ate memory in a worker which had run others is run again in a fresh one, at no cost.
    ran = noted(tmp_path)
    assert ran.pop("11") in (1, 2)
    assert set(ran.values()) == {1}
    assert died[14].details["cause"] == died[17].details["cause"] == TIMEOUT
    assert "ran longer than task_timeout=2 s" in died[14].details["message"]
    assert died[11].details["cause"] == MEMORY
    assert "SIGSEGV" in died[2].details["message"]
    eventually(lambda: len(below(agent.pid)) - 1 == len(agent.workers) == 2)  # and the guard
    assert f"sleep {NAP}" not in commands()


@on_linux
def test_what_a_task_has_started_ends_with_the_task(
    cluster: Any, new_job: Callable[..., Job], below: Callable[[int], dict[int, str]]
) -> None:
    agent = cluster.start_agent(processes=1)

    def start(kind: str) -> int:
        if kind == "child":
            subprocess.Popen(["sleep", NAP])
        elif kind == "daemon":
            daemonize(NAP)
        elif kind == "fork":
            if os.fork() == 0:
                time.sleep(1000)
        elif kind == "raise":
            subprocess.Popen(["sleep", NAP])
            raise ValueError
        elif kind == "stopped":
            os.kill(subprocess.Popen(["sleep", NAP]).pid, signal.SIGSTOP)
        else:
            assert (
                subprocess.run(
                    ["ps", "-A", "-o", "args="], capture_output=True, text=True, check=True
                ).stdout.count(f"sleep {NAP}")
                == 0
            )
        return os.getpid()

    job = new_job()
    kinds = ("child", "look", "daemon", "look", "fork", "raise", "look", "stopped", "look")
    job.write(start, *kinds)
    outcomes = job.outcomes(len(kinds))

    assert [outcome.status for outcome in outcomes if outcome.status != OK] == ["error"]
    assert {outcome.pid for outcome in outcomes} == set(agent.workers)
    assert len(below(agent.pid)) == 2  # and the guard


@pytest.mark.faults
@on_linux
def test_a_small_fork_bomb_ends_with_its_task(
    cluster: Any, new_job: Callable[..., Job], eventually: Callable[..., Any],
    below: Callable[[int], dict[int, str]],
) -> None:  # fmt: skip
    agent = cluster.start_agent(processes=1)
    job = new_job(task_timeout=0.5)
    job.write(lambda _: fork_much(), 0)

    [outcome] = job.outcomes(1)

    assert (outcome.status, outcome.details["cause"]) == (DIED, TIMEOUT)
    eventually(lambda: len(below(agent.pid)) - 1 == len(agent.workers) == 1)  # and the guard
    assert job.run(lambda n: n, 1) == [1]


def test_helpers_that_python_keeps_outlive_a_task(
    cluster: Any, new_job: Callable[..., Job]
) -> None:
    cluster.start_agent(processes=1)

    def share(_: Any) -> int:
        from multiprocessing import resource_tracker
        from multiprocessing.shared_memory import SharedMemory

        memory = SharedMemory(create=True, size=100)
        memory.close()
        memory.unlink()
        subprocess.run(["true"], check=True)
        return int(resource_tracker._resource_tracker._pid)

    assert len(set(new_job().run(share, 1, 2, 3))) == 1


# --- task_timeout ---------------------------------------------------------------------------------


def test_a_timeout_is_a_number_of_seconds_or_there_is_none() -> None:
    odd = [("job", str(n), {"task_timeout": odd}) for n, odd in enumerate((None, "1", -1, 0, True))]
    assert timeouts_in([*odd, ("job", "a", {}), ("job", "b", {"task_timeout": 2}),
                        ("job", "c", {"task_timeout": 0.5})]) == {"b": 2, "c": 0.5}  # fmt: skip


@pytest.mark.parametrize(
    "hang", [pytest.param(hold_the_gil, marks=pytest.mark.faults), lambda: time.sleep(1000)]
)
def test_of_a_group_only_the_task_that_takes_too_long_is_answered_died(
    hang: Callable[[], None], cluster: Any, new_job: Callable[..., Job]
) -> None:
    cluster.start_agent(processes=1)
    job = new_job(task_timeout=1.0)
    job.run(lambda n: n, *range(300))  # the agent has learned that these are short

    job.write(lambda n: hang() if n == 40 else n, *range(80))
    outcomes = job.outcomes(80)

    assert [outcome.number for outcome in outcomes if outcome.status != OK] == [340]
    assert outcomes[40].status == DIED
    assert outcomes[40].details["cause"] == TIMEOUT


@pytest.mark.faults
def test_a_task_within_its_time_is_left_alone_and_one_beyond_is_ended_soon(
    cluster: Any, new_job: Callable[..., Job]
) -> None:
    cluster.start_agent(processes=1)
    job = new_job(task_timeout=2.0)
    assert job.run(time.sleep, 0.9, 0.9) == [None, None]

    started = time.monotonic()
    job.write(time.sleep, 30)
    [outcome] = job.outcomes(1)

    assert outcome.status == DIED
    assert 2.0 <= time.monotonic() - started < 5.0


def hanging(folder: Path, times: int) -> Callable[[int], Any]:
    """Return what maps a number, and hangs at 3 so many times."""

    def work(number: int) -> Any:
        if number == 3 and len(list(folder.glob("hung-*"))) < times:
            (folder / f"hung-{os.getpid()}").touch()
            time.sleep(1000)
        return [(number, 1)]

    return work


def hung_job(work: Callable[[int], Any], task_timeout: float) -> MapReduceJob:
    job = MapReduceJob(data=range(6), map=each(work), reduce=lambda pairs: len(list(pairs)))
    job.map_tasks, job.reduce_tasks, job.task_timeout = 6, 1, task_timeout
    return job


@pytest.mark.faults
def test_a_job_whose_task_hangs_once_goes_on(tmp_path: Path) -> None:
    job = hung_job(hanging(tmp_path, 1), 2.0)
    job.backup_tasks = False  # else that may be done before the time is up
    run = job.submit(EmbeddedEngine(2))

    assert run.result(30) == [6]
    assert run.progress().attempts_failed == 1


@pytest.mark.faults
def test_a_job_whose_task_always_hangs_fails_after_four_attempts(tmp_path: Path) -> None:
    with pytest.raises(JobFailedError, match=r"ran longer than task_timeout=1\.5 s"):
        hung_job(hanging(tmp_path, 99), 1.5).run()

    assert len(list(tmp_path.glob("hung-*"))) in (4, 5)  # one may be the backup of the last
