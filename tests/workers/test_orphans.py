"""An agent that is killed leaves nothing: its guard ends its workers and all that tasks have started."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from byhand import Job
from workers.guard import NAME

cloudpickle.register_pickle_by_value(sys.modules[__name__])

#: Seconds that nobody else on this machine sleeps, to be known by.
NAP = str(random.randrange(10**6, 10**7))

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere orphans are not found")


@pytest.fixture
def new_job(cluster: Any) -> Callable[..., Job]:
    return lambda: Job(cluster.connect(), cluster.key)


@pytest.fixture
def guards(below: Callable[[int], dict[int, str]]) -> Callable[[Any], list[int]]:
    """Return an agent's guards."""
    return lambda agent: [pid for pid, line in below(agent.pid).items() if NAME in line]


def start_programs() -> None:
    """For tasks: start a child, one with a session of its own, and a daemon."""
    subprocess.Popen(["sleep", NAP])
    subprocess.Popen(["sleep", NAP], start_new_session=True)
    script = (
        "import os, sys; os.setsid(); os.fork() and os._exit(0); os.execvp('sleep', sys.argv[1:])"
    )
    subprocess.run([sys.executable, "-S", "-c", script, "sleep", NAP], check=True)


def keep_gil() -> None:
    re.match("(a+)+$", "a" * 60 + "b")


def keep_forking() -> None:
    while True:
        subprocess.Popen(["sleep", NAP], start_new_session=True)


def running(folder: Path, what: Callable[[], None]) -> Callable[[Any], None]:
    """Return what a task does that starts programs and then goes on for very long."""

    def task(_: Any) -> None:
        start_programs()
        (folder / "begun").touch()
        what()

    return task


def naps() -> int:
    """Return how many of the programs run."""
    listing = subprocess.run(
        ["ps", "-A", "-o", "stat=,args="], capture_output=True, text=True, check=True
    )
    rows = [line.split(None, 1) for line in listing.stdout.splitlines()]
    return sum(row[1:] == [f"sleep {NAP}"] and row[0][0] != "Z" for row in rows)


@pytest.mark.parametrize("what", [
    keep_gil,
    pytest.param(lambda: time.sleep(1000), marks=pytest.mark.faults),
    pytest.param(keep_forking, marks=pytest.mark.faults),
])  # fmt: skip
@on_linux
def test_an_agent_that_is_killed_leaves_no_program_of_its_tasks(
    what: Callable[[], None], cluster: Any, new_job: Callable[[], Job], tmp_path: Path,
    eventually: Callable[..., Any], below: Callable[[int], dict[int, str]],
    alive: Callable[[int], bool],
) -> None:  # fmt: skip
    agent = cluster.start_agent(processes=1)
    new_job().write(running(tmp_path, what), 0)
    eventually(lambda: (tmp_path / "begun").exists() and naps() >= 3)
    processes = below(agent.pid)  # the worker and the guard too
    assert len(processes) >= 5

    agent.process.kill()

    eventually(lambda: naps() == 0 and not any(map(alive, processes)), 2)


@on_linux
def test_a_guard_is_out_of_the_way_and_ends_with_an_agent_that_is_told_to(
    cluster: Any, eventually: Callable[..., Any], guards: Callable[[Any], list[int]],
    alive: Callable[[int], bool],
) -> None:  # fmt: skip
    agent = cluster.start_agent(processes=2)
    [guard] = eventually(lambda: guards(agent))
    eventually(lambda: len(agent.workers) == 2)

    assert os.getsid(guard) == guard  # no Ctrl-C reaches it
    opened = {number: os.readlink(f"/proc/{guard}/fd/{number}")[:5]
              for number in os.listdir(f"/proc/{guard}/fd")}  # fmt: skip
    assert opened == {"0": "pipe:", "1": "/dev/", "2": "/dev/"}
    status = Path(f"/proc/{guard}/status").read_text("ascii")
    assert int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) < 2000
    os.kill(guard, signal.SIGTERM)  # as a system that stops all at once does
    assert agent.stop() == 0
    assert not alive(guard)


@on_linux
def test_a_guard_that_was_killed_is_replaced_when_a_worker_is(
    cluster: Any, new_job: Callable[[], Job], tmp_path: Path, eventually: Callable[..., Any],
    guards: Callable[[Any], list[int]], below: Callable[[int], dict[int, str]],
    alive: Callable[[int], bool],
) -> None:  # fmt: skip
    agent = cluster.start_agent(processes=2)
    new_job().write(running(tmp_path, keep_gil), 0)
    eventually(lambda: (tmp_path / "begun").exists() and naps() == 3)
    [guard] = guards(agent)
    [idle] = eventually(lambda: len(agent.workers) == 2) and [
        pid for pid in agent.workers if not any("sleep" in line for line in below(pid).values())
    ]
    os.kill(guard, signal.SIGKILL)
    eventually(lambda: not alive(guard))
    os.kill(idle, signal.SIGKILL)
    eventually(lambda: guards(agent) not in ([], [guard]))
    processes = below(agent.pid)

    agent.process.kill()

    eventually(lambda: naps() == 0 and not any(map(alive, processes)), 2)


@pytest.mark.faults
@on_linux
def test_without_a_guard_a_worker_ends_by_itself_with_all_that_it_has_started(
    cluster: Any, new_job: Callable[[], Job], tmp_path: Path, eventually: Callable[..., Any],
    guards: Callable[[Any], list[int]], below: Callable[[int], dict[int, str]],
    alive: Callable[[int], bool],
) -> None:  # fmt: skip
    agent = cluster.start_agent(processes=1)
    new_job().write(running(tmp_path, lambda: time.sleep(1000)), 0)
    eventually(lambda: (tmp_path / "begun").exists() and naps() == 3)
    processes = below(agent.pid)
    for guard in guards(agent):
        os.kill(guard, signal.SIGKILL)

    agent.process.kill()

    eventually(lambda: naps() == 0 and not any(map(alive, processes)), 4)


@pytest.mark.faults
def test_a_worker_that_is_killed_together_with_its_agent_leaves_nothing_of_its_group(
    cluster: Any, new_job: Callable[[], Job], eventually: Callable[..., Any],
    below: Callable[[int], dict[int, str]], alive: Callable[[int], bool],
) -> None:  # fmt: skip
    agent = cluster.start_agent(processes=1)
    new_job().write(lambda _: subprocess.run(["sleep", NAP], check=True), 0)
    eventually(lambda: naps() == 1)
    processes = below(agent.pid)
    [worker] = agent.workers
    os.kill(agent.pid, signal.SIGSTOP)  # so that it ends nothing itself
    os.kill(worker, signal.SIGKILL)

    agent.process.kill()

    eventually(lambda: naps() == 0 and not any(map(alive, processes)), 2)
