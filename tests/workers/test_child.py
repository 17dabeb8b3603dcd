"""The agent's side of a worker process: what it is ended for, and what it then died of."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workers.child import Child, InHand, WorkerDiedError
from workers.worker import Assignment

OVER, LIVING = ("over", "map", 0), ("living", "map", 1)


@pytest.fixture
def child(key_file: Path, tmp_path: Path) -> Iterator[Child]:
    folder = str(tmp_path / "blocks")
    child = Child(Assignment("h", str(key_file), folder, folder, "", 1 << 30), lambda *_: None)
    child.wait_ready()
    yield child
    child.bury()


def end(child: Child, what: str) -> None:
    if what == "job":
        child.end_jobs({"over"})
    else:
        child.end_task((None, *OVER))


@pytest.mark.parametrize("what", ["job", "task"])
@pytest.mark.parametrize("tasks", [(), (LIVING,), (OVER, LIVING)])
def test_a_worker_that_has_something_else_in_hand_goes_on(
    child: Child, what: str, tasks: tuple[Any, ...]
) -> None:
    child.in_hand = InHand(tasks, 0.0)
    end(child, what)
    os.kill(child.pid, 0)
    assert child._ended_for is None


@pytest.mark.parametrize("what", ["job", "task"])
@pytest.mark.parametrize("has_gone_on", [False, True])
def test_a_worker_that_had_gone_on_just_before_it_was_ended_did_not_die_of_its_next_task(
    child: Child, what: str, has_gone_on: bool
) -> None:
    child.in_hand = InHand((OVER,), 0.0)
    end(child, what)
    if has_gone_on:
        child.in_hand = InHand((LIVING,), 1.0)
    with pytest.raises(WorkerDiedError) as death:
        child.receive()
    assert death.value.blameless == has_gone_on


def test_a_worker_that_was_dead_when_it_was_given_a_task_did_not_die_of_it(child: Child) -> None:
    os.kill(child.pid, signal.SIGKILL)
    assert child.has_ended.wait(20)
    with pytest.raises(WorkerDiedError) as death:
        child.send(((None, *LIVING),))
    assert death.value.blameless


def test_who_hears_that_a_worker_has_ended_finds_it_so(key_file: Path, tmp_path: Path) -> None:
    folder = str(tmp_path / "blocks")
    heard: list[bool] = []
    told = threading.Event()

    def hear() -> None:
        heard.append(child.has_ended.is_set())
        told.set()

    assignment = Assignment("h", str(key_file), folder, folder, "", 1 << 30)
    child = Child(assignment, lambda *_: None, hear)
    os.kill(child.pid, signal.SIGKILL)

    assert told.wait(10)
    assert heard == [True]
    child.bury()
