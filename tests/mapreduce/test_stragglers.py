"""Stragglers: who gets a backup task and who is reported, as lists; and on real workers."""

from __future__ import annotations

import logging
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from ledgers import Ledgers
from mapreduce import MapReduceJob, sum_values
from mapreduce.engine.interface import Load, Running
from mapreduce.engine.space import SpaceEngine
from mapreduce.plan import MAP, REDUCE, Order, Plan
from mapreduce.report import SlowTask
from mapreduce.shuffle import output_of
from mapreduce.stragglers import (
    BACKUP_FACTOR,
    BACKUP_SECONDS,
    LONE_SECONDS,
    LOOK_SECONDS,
    SLOW_FACTOR,
    Stragglers,
)  # fmt: skip
from tuplespace import ClaimLostError, connect
from workers.blocks import Frame, Location
from workers.task import ANYWHERE, ERROR, OK, Outcome, Parcel, Task, this_runtime

# Functions of this module travel by value, as those of a script do.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


class Play:
    """A job of one reduce and the looks at it; its clock goes when it is told to.

    Args:
        maps: How many. backup: Whether its user wants backup tasks.
    """

    def __init__(self, maps: int, *, backup: bool = True) -> None:
        self.plan = Plan(maps, 1)
        self.stragglers = Stragglers(self.plan, backup)
        self.now = 1000.0
        self.orders = {(order.phase, order.number): order for order in self.plan.start()}

    def end(self, *numbers: int, seconds: float, phase: str = MAP) -> None:
        """End some tasks well."""
        for number in numbers:
            order = self.orders[phase, number]
            made = output_of(((Frame(0, 9, b""),),), 1, Location("h", "p", "uri"))
            new = self.plan.decide(outcome(order), made if phase == MAP else None)
            self.orders.update({(each.phase, each.number): each for each in new})
            self.stragglers.finished(phase, seconds)

    def look(
        self, *running: Running, idle: int = 8, waiting: bool = False, after: float = 0.0,
        aimed: tuple[int, ...] = (), held: tuple[tuple[str, int], ...] = (),
    ) -> list[int]:  # fmt: skip
        """Return the numbers of the tasks to be backed up; `slow` has those to be reported."""
        self.now += after
        load = Load(waiting, idle, list(running))
        tasks, self.slow = self.stragglers.look(self.now, load, aimed, held)
        for task in tasks:
            assert self.plan.back_up(*task) is not None
        return [number for _, number in tasks]


def outcome(order: Order, status: str = OK) -> Outcome:
    return Outcome("j", order.phase, order.number, order.attempt, status, "w/1", 1, 0.1)


def runs(number: int, seconds: float, agent: str = "a", phase: str = MAP) -> Running:
    return Running(agent, f"host-{agent}", 7, phase, number, seconds)


# --- backup tasks ---------------------------------------------------------------------------------


def test_a_task_over_one_and_a_half_times_the_median_is_backed_up_once() -> None:
    play = Play(10)
    play.end(*range(9), seconds=10.0)
    limit = 10.0 * BACKUP_FACTOR

    assert play.look(runs(9, limit - 0.1)) == []
    assert play.look(runs(9, limit + 0.4), after=0.5) == [9]
    assert play.look(runs(9, 100.0), after=85) == []  # one at a time


def test_nothing_is_backed_up_while_a_task_waits_or_nobody_idles_or_the_user_says_no() -> None:
    play = Play(10)
    play.end(*range(9), seconds=1.0)
    assert play.look(runs(9, 50.0), waiting=True) == []
    assert play.look(runs(9, 50.0), idle=0) == []
    assert play.look(runs(9, 50.0)) == [9]

    unwanted = Play(10, backup=False)
    unwanted.end(*range(9), seconds=1.0)
    assert unwanted.look(runs(9, 50.0)) == []
    assert [each.number for each in unwanted.slow] == [9]


def test_what_is_not_written_yet_is_not_backed_up_and_is_not_slow() -> None:
    play = Play(10)
    play.end(*range(9), seconds=1.0)
    held = ((MAP, 9),)
    assert play.look(runs(9, 50.0), held=held) == []  # of the attempt before
    assert play.look(held=held, after=50) == []
    assert play.slow == []
    assert play.look(after=1) == []  # it is written now
    assert play.look(after=1.4) == []
    assert play.look(after=0.2) == [9]


def test_those_that_run_longest_are_backed_up_first_one_for_each_idle_worker() -> None:
    play = Play(20)
    play.end(*range(14), seconds=1.0)
    running = [runs(number, 10.0 + number, f"a{number}") for number in range(14, 20)]

    assert play.look(*running, idle=2) == [19, 18]
    assert play.look(*running, idle=3) == [17, 16, 15]


def test_short_tasks_get_no_backup_however_many_times_the_median_they_take() -> None:
    play = Play(10)
    play.end(*range(9), seconds=0.001)
    assert play.look(runs(9, BACKUP_SECONDS - 0.01)) == []
    assert play.look(runs(9, BACKUP_SECONDS), after=0.01) == [9]


def test_of_two_tasks_one_done_and_one_stuck_the_stuck_one_is_backed_up() -> None:
    play = Play(2)
    play.end(0, seconds=2.0)
    assert play.look(runs(1, 2.5)) == []
    assert play.look(runs(1, 3.5), after=1) == [1]


def test_one_that_ends_at_once_makes_no_stragglers_of_all_others() -> None:
    play = Play(10)
    play.end(0, seconds=0.001)
    running = [runs(number, 20.0, f"a{number}") for number in range(1, 10)]
    assert play.look(*running) == []
    # But most have run 20 s now, and one of them twice as long.
    running[4] = runs(5, 40.0, "other")
    assert play.look(*running) == [5]


def test_while_no_task_of_a_phase_has_ended_it_takes_long_until_one_is_backed_up() -> None:
    play = Play(1)
    assert play.look(runs(0, LONE_SECONDS - 1)) == []
    assert play.look(runs(0, LONE_SECONDS + 1), after=2) == [0]
    assert play.slow == []  # than what?

    reducing = Play(2)
    reducing.end(0, 1, seconds=0.1)  # how long maps took says nothing of a reduce
    assert reducing.look(runs(0, 30.0, phase=REDUCE)) == []


def test_a_stopped_agent_tells_nothing_and_its_tasks_are_backed_up() -> None:
    play = Play(4)
    play.end(0, 1, seconds=1.0)
    # It had told of map 2 once, and stays with that for as long as its lease.
    assert play.look(runs(2, 0.4)) == []
    assert play.look(runs(2, 0.4), after=0.9) == []
    assert play.look(runs(2, 0.4), after=0.5, idle=1) == [2]
    # It has never told of map 3, which nobody else can have either.
    assert play.look(after=0.5) == [3]


def test_what_may_wait_has_not_been_claimed_for_as_long_as_that() -> None:
    play = Play(4)
    play.end(0, 1, 2, seconds=1.0)
    assert play.look() == []
    assert play.look(waiting=True, after=1.0) == []  # it may have been given back
    assert play.look(after=1.0) == []
    assert play.look(after=1.6) == [3]


def test_a_backup_that_waits_does_not_hide_how_long_the_others_have_run() -> None:
    play = Play(4)
    play.end(0, 1, seconds=1.0)
    assert play.look() == []
    assert play.look(after=1.6, idle=1) == [3]
    assert play.look(waiting=True, after=0.2) == []  # the backup of 3
    assert play.look(after=0.2) == [2]


def test_a_second_attempt_has_not_run_as_long_as_the_first() -> None:
    play = Play(3)
    play.end(0, 1, seconds=10.0)
    assert play.look(runs(2, 9.0)) == []
    play.plan.decide(outcome(play.orders[MAP, 2], ERROR))
    assert play.look(after=7) == []
    assert play.look(runs(2, 1.0), after=1) == []  # in the same process, too
    assert play.look(runs(2, 14.0), after=13) == []
    assert play.look(runs(2, 16.0), after=2) == [2]


def test_a_task_that_waits_for_its_host_is_not_taken_for_claimed() -> None:
    play = Play(3)
    play.end(0, 1, seconds=1.0)
    assert play.look(aimed=(2,)) == []
    assert play.look(aimed=(2,), after=60) == []
    assert play.look(runs(2, 1.6), aimed=(2,)) == [2]  # now somebody has it


def test_a_new_backup_follows_one_that_has_failed() -> None:
    play = Play(3)
    play.end(0, 1, seconds=1.0)
    assert play.look(runs(2, 5.0)) == [2]
    play.plan.decide(outcome(play.orders[MAP, 2]._replace(attempt=1), ERROR))
    assert play.look(runs(2, 6.0), after=1) == [2]


# --- looks and reports ----------------------------------------------------------------------------


def test_a_look_is_due_twice_a_second_at_the_end_and_never_without_tasks() -> None:
    play = Play(2)
    is_due = play.stragglers.is_due
    assert not is_due(play.now)
    assert not is_due(play.now + 0.4)
    assert is_due(play.now + 0.5)
    play.look(waiting=True)
    assert not is_due(play.now + LOOK_SECONDS - 0.1)
    assert is_due(play.now + LOOK_SECONDS)
    play.end(0, 1, seconds=0.1)
    play.end(0, seconds=0.1, phase=REDUCE)
    assert not is_due(play.now + 100)


def test_a_task_ten_times_over_the_median_is_reported_once_even_while_others_wait() -> None:
    play = Play(10)
    play.end(*range(6), seconds=2.0)
    play.look(runs(7, 2 * SLOW_FACTOR), waiting=True)
    assert play.slow == []
    play.look(runs(7, 2 * SLOW_FACTOR + 1, "b"), waiting=True, after=1)
    assert play.slow == [SlowTask(MAP, 7, 21.0, 2.0, "host-b/7")]
    play.look(runs(7, 30.0), waiting=True, after=9)
    assert play.slow == []


def test_what_an_agent_tells_of_other_tasks_or_nonsense_does_no_harm() -> None:
    play = Play(2)
    play.end(0, seconds=1.0)
    odd = [runs(99, 50.0), runs(0, 50.0), runs(1, 50.0, phase="zzz"), runs(1, math.nan, "c")]
    assert play.look(*odd) == []
    assert play.slow == []


# --- on a space -----------------------------------------------------------------------------------


@pytest.fixture
def engine(space_server: Any, tmp_path: Path) -> Iterator[SpaceEngine]:
    engine = SpaceEngine(connect(space_server.uri), owned=True, work_dir=str(tmp_path))
    engine.open("j", {})
    yield engine
    engine.close()


def task(number: int, affinity: str = ANYWHERE) -> Task:
    return Task("j", "map", number, this_runtime(), affinity, 0, Parcel(b""), Parcel(b""))


def test_the_load_is_what_agents_tell_and_whatever_waits_for_any_of_them(
    engine: SpaceEngine,
) -> None:
    assert engine.load() == Load(False, 0, [])
    engine.write([task(0, "east")])  # nobody idles for that one's sake
    told: list[Any] = [
        (("east/1", "east", 2, ((11, "j", "map", 0, 1.5), (12, "other", "map", 1, 2.5)))),
        (("west/1", "west", -5, ((13, "j", "map", 0.5, 1.5), "x", 7, (1, 2), ()))),
        (("west/2", "west", 1, "no tasks")),
    ]
    for each in told:
        engine.space.write(("running", *each, ((11, 1 << 20),)))
    assert engine.load() == Load(False, 2, [Running("east/1", "east", 11, "map", 0, 1.5)])

    engine.space.write(task(5)._replace(job="other").to_tuple(engine.space.key))
    assert engine.load().waiting


def test_an_attempt_that_is_withdrawn_waits_no_more_and_has_no_outcome(engine: SpaceEngine) -> None:
    ready, claimed, aimed = task(0), task(1), task(2, "east")
    engine.write([claimed, ready, aimed])
    assert engine.lift(aimed)
    claim = engine.space.claim(("task", "j", "map", 1, *[None] * 3))

    for each in (ready, claimed, claimed, aimed):
        engine.withdraw(each.phase, each.number, each.attempt)

    assert engine.space.count(("task", *[None] * 6)) == 0
    with pytest.raises(ClaimLostError):
        claim.confirm(write=[("result", "j", "map", 1, b"late")])
    assert engine.outcomes(0.0) == []


# --- on workers -----------------------------------------------------------------------------------


def wait_for(condition: Callable[[], Any], within: float = 20.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_task_whose_worker_is_stopped_is_run_by_another_and_its_slot_is_free_again(
    cluster: Any, tmp_path: Path
) -> None:
    cluster.start_agent(processes=2)

    def stop_once(records: Any) -> Any:
        for record in records:
            if record == 5 and not (tmp_path / "stopped").exists():
                (tmp_path / "stopped").touch()
                os.kill(os.getpid(), signal.SIGSTOP)
            yield record, 1

    def meet(pairs: Any) -> int:
        # Both reduces run at once, or none ends.
        (tmp_path / f"met-{os.getpid()}").touch()
        wait_for(lambda: len(list(tmp_path.glob("met-*"))) == 2)
        return len(list(pairs))

    job = MapReduceJob(range(12), stop_once, meet, map_tasks=12, reduce_tasks=2)
    space = cluster.connect()
    ledgers = Ledgers(space)
    run = job.submit(space)

    assert sum(run.result(30)) == 12
    assert run.report.backup_tasks == 1
    assert ("call", "back_up", "map", 5) in ledgers.events(run.id)
    assert run.progress().attempts_failed == 0
    assert sum(run.report.tasks_by_worker.values()) == 14
    assert (run.report.map.tasks, run.report.map.attempts, run.report.map.failed) == (12, 13, 0)


def test_a_task_that_takes_ten_times_the_median_is_reported_and_left_alone_if_that_is_wanted(
    standing_cluster: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "mapreduce")

    def slow(records: Any) -> Any:
        for record in records:
            with open(tmp_path / f"ran-{record}", "a") as file:
                file.write("x")
            if record == 5:
                wait_for((tmp_path / "reported").exists)
            yield record, 1

    job = MapReduceJob(range(12), slow, sum_values, map_tasks=12, backup_tasks=False)
    run = job.submit(standing_cluster.uri)
    wait_for(lambda: run.report.slow_tasks)
    [noticed] = run.report.slow_tasks
    (tmp_path / "reported").touch()
    run.result(20)

    [found] = run.report.slow_tasks
    assert found.seconds > noticed.seconds  # it took longer than it had then
    assert (found.phase, found.number) == ("map", 5)
    assert found.seconds > SLOW_FACTOR * found.median
    assert found.worker in run.report.tasks_by_worker
    [line] = [each.getMessage() for each in caplog.records if "has run for" in each.getMessage()]
    assert f"map 5 (records 5-5 of the data) has run for {noticed.seconds:.1f} s on" in line
    assert run.report.backup_tasks == 0
    assert {path.read_text() for path in tmp_path.glob("ran-*")} == {"x"}


@pytest.mark.faults
@pytest.mark.parametrize("backup", [True, False])
def test_a_job_does_not_wait_for_a_stopped_agent_if_it_may_have_backups(
    cluster: Any, tmp_path: Path, backup: bool
) -> None:
    agents = [cluster.start_agent("--host", host, processes=1) for host in ("east", "west")]

    def log(records: Any) -> Any:
        for record in records:
            (tmp_path / f"ran-{record}").touch()
            time.sleep(0.1)
            yield record, 1

    job = MapReduceJob(range(60), log, sum_values, map_tasks=60, backup_tasks=backup)
    started = time.monotonic()
    run = job.submit(cluster.connect())
    wait_for(lambda: run.progress().map_done > 5)
    os.kill(agents[0].pid, signal.SIGSTOP)
    try:
        assert sum(count for part in run.result(60) for _, count in part) == 60
        assert (time.monotonic() - started < 15) == backup
        assert (run.report.backup_tasks > 0) == backup
    finally:
        os.kill(agents[0].pid, signal.SIGCONT)
    # It finds that its claims have ended, and is of use again.
    assert len(MapReduceJob(range(4), log, sum_values, map_tasks=4).run(cluster.uri)) > 0
    assert agents[0].stop() == 0
