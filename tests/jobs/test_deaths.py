"""Ready-made jobs whose workers die: the table is the same, or the error says which job to run again."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from jobs.catalogue import build, find
from jobs.steps import run_steps
from mapreduce import JobFailedError, MapReduceJob, TextFiles

pytestmark = pytest.mark.faults


@pytest.fixture
def sample_of(tmp_path: Path) -> Callable[[str, int], str]:
    def write(name: str, size: int) -> str:
        folder = tmp_path / "samples"
        folder.mkdir()
        find(name).sample(folder, size)
        return f"{folder}/*"

    return write


@pytest.fixture
def killed(cluster: Any) -> Iterator[list[int]]:
    """The workers that were killed so far, of an agent with two: one of them now and then."""
    agent, killed, stop = cluster.start_agent(processes=2), [], Event()

    def kill_some() -> None:
        while len(killed) < 3 and not stop.wait(0.3):
            for worker in agent.workers[:1]:
                os.kill(worker, signal.SIGKILL)
                killed.append(worker)

    killer = Thread(target=kill_some)
    killer.start()
    yield killed
    stop.set()
    killer.join()


@pytest.mark.parametrize("name", ["external", "join", "k_means", "page_rank", "sort"])
def test_the_table_is_the_same_although_workers_are_killed(
    name: str, cluster: Any, killed: list[int], sample_of: Callable[[str, int], str]
) -> None:
    paths, space = sample_of(name, 5), cluster.connect()

    def cut(step: MapReduceJob) -> MapReduceJob:
        step.map_tasks = 7 if isinstance(step.data, TextFiles) else None
        step.reduce_tasks, step.retries = step.reduce_tasks or 3, 10
        return step

    there = run_steps(build(name, paths), lambda step: cut(step).run(space))

    assert killed
    assert there == run_steps(build(name, paths), lambda step: cut(step).run_sequential())


def test_a_chain_whose_kept_blocks_have_gone_says_which_job_to_run_again(
    cluster: Any, sample_of: Callable[[str, int], str]
) -> None:
    agent, space = cluster.start_agent(processes=1), cluster.connect()
    ran: list[str] = []

    def run(step: MapReduceJob) -> list[Any]:
        if ran:
            agent.stop(signal.SIGKILL)
            for folder in cluster.temporary.iterdir():
                shutil.rmtree(folder)
            cluster.start_agent(processes=1)
        running = step.submit(space)
        ran.append(running.id)
        return running.result(30)

    with pytest.raises(JobFailedError, match="is gone: run job") as failure:
        run_steps(build("page_rank", sample_of("page_rank", 1)), run)

    assert f"partition 0 of job {ran[0]} is gone: run job {ran[0]} again" in failure.value.message
