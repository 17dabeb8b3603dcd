"""The shelf: how much is claimed, what runs together, and that nothing falls off it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from workers import shelf as limits
from workers.shelf import GROUP_TASKS, PREFETCH_TASKS, Errand, Shelf


class FakeClaim(NamedTuple):
    tuple: Any


def errands(count: int, phase: str = "map", job: str = "j") -> list[Errand]:
    return [Errand(FakeClaim(("task", job, phase, number, "", "", b""))) for number in range(count)]


@pytest.fixture
def worker(background: Any, eventually: Callable[..., Any]) -> Callable[[Shelf], Any]:
    """Return what makes a worker ask for a group, and returns once it waits for it."""

    def ask(shelf: Shelf) -> Any:
        before = shelf._idle
        asking = background(shelf.next_group)
        eventually(lambda: shelf._idle > before or not asking.running)
        return asking

    return ask


def run_one(shelf: Shelf, seconds: float, phase: str = "map") -> None:
    """Let the shelf learn how long the tasks of a phase take."""
    [errand] = errands(1, phase)
    shelf.add([errand])
    assert shelf.next_group() == [errand]
    shelf.done([errand], [seconds])
    shelf.forget([errand])


def test_nothing_is_wanted_before_a_worker_is_idle(background: Any, worker: Any) -> None:
    shelf = Shelf(2)
    claimer = background(shelf.wait_for_room)
    assert claimer.running

    worker(shelf)

    assert claimer.result() == 1
    shelf.close()


def test_of_an_unknown_phase_each_idle_worker_gets_one(worker: Any) -> None:
    shelf = Shelf(2)
    first, second = worker(shelf), worker(shelf)
    tasks = errands(5)

    assert shelf.add(tasks) == tasks[2:]
    assert sorted(map(len, (first.result(), second.result()))) == [1, 1]


def test_a_claim_that_comes_while_all_are_busy_keeps_one_task() -> None:
    shelf = Shelf(2)
    tasks = errands(3)

    assert shelf.add(tasks) == tasks[1:]
    assert shelf.next_group() == tasks[:1]


def test_short_tasks_are_wanted_ahead_and_run_in_groups() -> None:
    shelf = Shelf(2)
    run_one(shelf, 1e-6)

    assert shelf.wait_for_room() == 2 * PREFETCH_TASKS
    assert shelf.add(errands(1000)) == []
    group = shelf.next_group()
    assert group is not None
    assert len(group) == GROUP_TASKS


def test_the_last_short_tasks_are_shared_among_the_workers() -> None:
    shelf = Shelf(4)
    run_one(shelf, 1e-5)
    shelf.add(errands(8))

    sizes = []
    while shelf._waiting:
        sizes.append(len(shelf.next_group() or ()))

    assert sum(sizes) == 8
    assert max(sizes) <= 3


def test_long_tasks_run_one_by_one_and_are_not_hoarded(worker: Any) -> None:
    shelf = Shelf(2)
    run_one(shelf, 5.0)
    waiting = worker(shelf)

    assert shelf.wait_for_room() == 1
    tasks = errands(1)
    shelf.add(tasks)
    assert waiting.result() == tasks
    worker(shelf)
    worker(shelf)
    assert shelf.wait_for_room() == 2
    shelf.close()


def test_the_mean_follows_tasks_that_grow_longer() -> None:
    shelf = Shelf(1)
    run_one(shelf, 1e-5)
    for _ in range(40):
        run_one(shelf, 1.0)
    shelf.add(errands(10))

    assert len(shelf.next_group() or ()) == 1


def test_a_death_says_nothing_about_how_long_tasks_take(worker: Any) -> None:
    shelf = Shelf(1)
    [killer] = errands(1)
    shelf.add([killer])
    shelf.next_group()
    shelf.done([killer])
    waiting = worker(shelf)

    assert shelf.wait_for_room() == 1
    tasks = errands(4)
    assert shelf.add(tasks) == tasks[1:]
    assert waiting.result() == tasks[:1]


def test_tasks_of_a_group_that_died_run_alone_and_first() -> None:
    shelf = Shelf(1)
    run_one(shelf, 1e-6)
    shelf.add(errands(1000))
    group = shelf.next_group()
    assert group is not None
    assert len(group) > 2
    shelf.done(group[:1], [1e-5])

    shelf.retry_alone(group[1:])

    for errand in group[1:]:
        assert shelf.next_group() == [errand]
    assert len(shelf.next_group() or ()) > 1


def test_a_worker_that_has_ended_gets_nothing_and_keeps_no_other_from_its_tasks(
    background: Any, worker: Any, eventually: Callable[..., Any]
) -> None:
    shelf = Shelf(2)
    ended = threading.Event()
    dead = background(lambda: shelf.next_group(ended))
    eventually(lambda: shelf.idle == 1)
    living = worker(shelf)  # it is told of tasks after the other one
    tasks = errands(1)

    ended.set()
    assert shelf.add(tasks) == []
    shelf.look()

    assert dead.result() == []
    assert living.result() == tasks
    assert shelf.idle == 0


def test_who_keeps_what_is_held_rests_until_there_is_something(background: Any) -> None:
    shelf, closed = Shelf(1), Shelf(1)
    resting = background(lambda: shelf.wait_held(60))
    ending = background(lambda: closed.wait_held(60))
    shelf.wait_held(0.01)
    assert resting.running

    shelf.add(errands(1))
    resting.result()
    shelf.wait_held(60)
    assert ending.running
    closed.close()
    ending.result()


def test_everything_is_held_until_its_result_is_confirmed() -> None:
    shelf = Shelf(1)
    run_one(shelf, 5.0)
    tasks = errands(3)
    shelf.add(tasks)
    assert set(shelf.held()) == set(tasks)

    shelf.next_group()
    assert set(shelf.held()) == set(tasks)
    shelf.done(tasks[:1], [1.0])
    assert set(shelf.held()) == set(tasks)
    shelf.forget(tasks[:1])
    assert set(shelf.held()) == set(tasks[1:])


def test_what_waits_too_long_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf(1)
    run_one(shelf, 0.01)
    running, waiting, dangerous = errands(3)
    shelf.add([running, waiting, dangerous])
    shelf.next_group()
    shelf.retry_alone([dangerous])
    shelf._waiting.remove(dangerous)
    shelf._waiting.append(dangerous)
    assert shelf.overdue() == []

    monkeypatch.setattr(limits, "OVERDUE_SECONDS", -1.0)

    assert shelf.overdue() == [waiting]
    assert shelf.overdue() == []
    assert set(shelf.held()) == {running, dangerous}


def test_a_task_whose_claim_has_ended_is_not_started() -> None:
    shelf = Shelf(1)
    run_one(shelf, 5.0)
    lost, kept = errands(2)
    shelf.add([lost, kept])

    shelf.lose(lost)

    assert shelf.next_group() == [kept]
    shelf.lose(kept)  # it runs: its result will be refused, no more
    assert shelf.held() == [kept]


def test_closed_it_lets_everybody_go_and_keeps_nothing(background: Any, worker: Any) -> None:
    shelf = Shelf(1)
    claimer, idle = background(shelf.wait_for_room), worker(shelf)
    assert claimer.result() == 1
    claimer = background(shelf.wait_for_room)

    shelf.close()

    assert idle.result() is None
    assert claimer.result() in (0, 1)
    assert shelf.wait_for_room() == 0
    late = errands(2)
    assert set(shelf.add(late)) == set(late)


def test_stopping_waits_for_what_runs(background: Any) -> None:
    shelf = Shelf(1)
    tasks = errands(1)
    shelf.add(tasks)
    shelf.next_group()
    assert not shelf.wait_idle(0)

    waiting = background(shelf.wait_idle, 10)
    shelf.done(tasks[:1], [1.0])

    assert waiting.result() is True


def test_the_durations_of_a_thousand_jobs_are_forgotten() -> None:
    shelf = Shelf(1)
    for number in range(1000):
        run_one(shelf, 1.0, phase=f"p{number}")

    assert len(shelf._means) < 200


def test_a_worker_that_has_ended_hears_of_it_though_others_wait_before_it(
    background: Any, worker: Any, eventually: Callable[..., Any]
) -> None:
    shelf, ended = Shelf(2), threading.Event()
    living = worker(shelf)
    dead = background(shelf.next_group, ended)
    eventually(lambda: shelf.idle == 2)

    ended.set()
    shelf.look()

    assert dead.result() == []
    assert living.running
    shelf.close()
    assert living.result() is None


def test_what_runs_and_what_is_answered_is_held(background: Any) -> None:
    shelf = Shelf(1)
    tasks = errands(1)
    shelf.add(tasks)
    assert shelf.next_group() == tasks
    background(shelf.wait_held, 60).result()

    shelf.done(tasks, [0.1])
    background(shelf.wait_held, 60).result()

    shelf.forget(tasks)
    resting = background(shelf.wait_held, 60)
    assert resting.running
    shelf.close()
    resting.result()
