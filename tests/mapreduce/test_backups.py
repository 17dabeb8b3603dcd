"""Backup tasks in the plan, as lists: two attempts of a task under way, in any order of ends."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapreduce.options import Options
from mapreduce.plan import DEATHS, MAP, MEMORY_DEATHS, REDUCE, Order, Plan
from mapreduce.shuffle import MapOutput, output_of
from workers.blocks import Frame, Location
from workers.task import DIED, ERROR, LOST, MEMORY, OK, REFUSED, Outcome


def output(number: int, generation: int = 0, content: int = 0, partitions: int = 1) -> MapOutput:
    frames = tuple(
        (Frame(part, 10 + part, bytes([number, part, content])),) for part in range(partitions)
    )
    return output_of(frames, partitions, Location("h", f"map-{number}-{generation}", "uri"))


def outcome(order: Order, status: str = OK, *, maps: Iterable[int] = (), **details: str) -> Outcome:
    found = {"maps": tuple(maps), **details} if maps else details
    return Outcome("j", order.phase, order.number, order.attempt, status, "w/1", 1, 0.1, None,
                   found)  # fmt: skip


def two_under_way(phase: str, **options: int) -> tuple[Plan, Order, Order]:
    """Return a plan of one map and one reduce, and two attempts of one of them."""
    plan = Plan(1, 1, Options(**options))  # type: ignore[arg-type]
    [first] = plan.start()
    if phase == REDUCE:
        [first] = plan.decide(outcome(first), output(0))
    second = plan.back_up(phase, 0)
    assert second is not None
    return plan, first, second


def is_done(plan: Plan, phase: str) -> bool:
    return (plan.outputs if phase == MAP else plan.results)[0] is not None


phases = pytest.mark.parametrize("phase", [MAP, REDUCE])


# --- who gets one ---------------------------------------------------------------------------------


@phases
def test_a_task_under_way_gets_one_backup_at_a_time(phase: str) -> None:
    plan, first, second = two_under_way(phase)

    assert second == first._replace(attempt=1)
    assert plan.under_way == {(phase, 0): (0, 1)}
    assert plan.back_up(phase, 0) is None
    plan.decide(outcome(second, DIED))
    third = plan.back_up(phase, 0)
    assert third is not None
    assert third.attempt == 2


@phases
def test_a_task_that_is_done_or_unknown_gets_none(phase: str) -> None:
    plan, first, _ = two_under_way(phase)
    plan.decide(outcome(first), output(0) if phase == MAP else None)

    assert plan.back_up(phase, 0) is None
    assert plan.back_up(phase, 7) is None


def test_a_reduce_gets_none_while_maps_run_again() -> None:
    plan = Plan(1, 2)
    [order] = plan.start()
    reduces = plan.decide(outcome(order), output(0, partitions=2))
    [again] = plan.decide(outcome(reduces[0], LOST, maps=[0]))

    assert [plan.back_up(REDUCE, each.number) for each in reduces] == [None, None]
    plan.decide(outcome(again), output(0, 1, partitions=2))
    backup = plan.back_up(REDUCE, reduces[1].number)
    assert backup is not None
    # It reads what there is now, not what the first was given.
    assert [source.location.path for source in backup.sources or ()] == ["map-0-1"]


def test_a_job_that_has_failed_gives_none() -> None:
    plan = Plan(2, 1, Options(retries=0))
    first, _ = plan.start()
    plan.decide(outcome(first, ERROR))
    assert plan.back_up(MAP, 1) is None


# --- how the two end ------------------------------------------------------------------------------


@phases
@pytest.mark.parametrize("winner", [0, 1])
@pytest.mark.parametrize("status", [OK, ERROR, DIED, LOST, REFUSED])
def test_the_first_that_is_ok_wins_and_the_other_counts_for_nothing(
    phase: str, winner: int, status: str
) -> None:
    plan, *attempts = two_under_way(phase, retries=0)
    won, lost = attempts[winner], attempts[1 - winner]
    ours = output(0, winner, content=winner)

    orders = plan.decide(outcome(won), ours if phase == MAP else None)
    made = list(plan.outputs), list(plan.results)
    assert plan.decide(outcome(lost, status), output(0, 9, content=9)) == []

    assert (list(plan.outputs), list(plan.results)) == made
    assert plan.failed_attempts == 0
    assert plan.failure is None
    if phase == MAP:
        [reduce] = orders
        assert plan.outputs[0] is ours
        assert [source.location.path for source in reduce.sources or ()] == [f"map-0-{winner}"]


@phases
@pytest.mark.parametrize("fails", [0, 1])
@pytest.mark.parametrize("status", [ERROR, DIED, LOST, REFUSED])
def test_a_failure_of_either_neither_ends_the_job_nor_issues_a_third(
    phase: str, fails: int, status: str
) -> None:
    plan, *attempts = two_under_way(phase, retries=0)

    assert plan.decide(outcome(attempts[fails], status)) == []

    assert plan.failure is None
    assert plan.failed_attempts == 1
    plan.decide(outcome(attempts[1 - fails]), output(0) if phase == MAP else None)
    assert is_done(plan, phase)


@phases
def test_both_failures_count_as_two_attempts_one_after_the_other_would(phase: str) -> None:
    plan, first, second = two_under_way(phase, retries=2)
    assert plan.decide(outcome(second, ERROR)) == []
    [third] = plan.decide(outcome(first, ERROR))
    last = outcome(third, ERROR)

    assert plan.decide(last) == []
    assert plan.failure is last

    plan, first, second = two_under_way(phase, retries=1)
    first_error = outcome(first, ERROR)
    plan.decide(first_error)
    last = outcome(second, ERROR)
    assert plan.decide(last) == []
    assert plan.failure is last


@phases
def test_a_verdict_waits_for_the_other_attempt_and_holds_however_that_one_fails(
    phase: str,
) -> None:
    for status in (ERROR, DIED, LOST, REFUSED):
        plan, first, second = two_under_way(phase, retries=0)
        verdict = outcome(second, ERROR)
        plan.decide(verdict)
        missing = [0] if status == LOST and phase == REDUCE else ()

        assert plan.decide(outcome(first, status, maps=missing)) == []
        assert plan.failure is verdict, status


@phases
def test_deaths_of_both_count_and_memory_is_a_verdict_too(phase: str) -> None:
    plan, first, second = two_under_way(phase)
    plan.decide(outcome(second, DIED))
    [order] = plan.decide(outcome(first, DIED))
    for _ in range(DEATHS - 3):
        [order] = plan.decide(outcome(order, DIED))
    assert plan.decide(outcome(order, DIED)) == []
    assert plan.failure is not None

    assert MEMORY_DEATHS == 2
    plan, first, second = two_under_way(phase)
    plan.decide(outcome(first, DIED, cause=MEMORY))
    assert plan.failure is None
    plan.decide(outcome(second, DIED, cause=MEMORY))
    assert plan.failure is not None


def test_a_backup_that_misses_blocks_has_the_maps_run_again_and_the_first_may_still_win() -> None:
    plan, first, second = two_under_way(REDUCE)
    [again] = plan.decide(outcome(second, LOST, maps=[0]))
    assert (again.phase, again.attempt) == (MAP, 1)

    assert plan.decide(outcome(first)) == []
    assert plan.done
    assert plan.decide(outcome(again), output(0, 1)) == []  # no reduce waits for it any more


def test_a_backup_that_misses_blocks_is_issued_anew_beside_the_first() -> None:
    plan, first, second = two_under_way(REDUCE)
    [again] = plan.decide(outcome(second, LOST, maps=[0]))
    [third] = plan.decide(outcome(again), output(0, 1))

    assert plan.under_way == {(REDUCE, 0): (0, 2)}
    # The first was given the blocks of before: that it misses them is no news.
    [fourth] = plan.decide(outcome(first, LOST, maps=[0]))
    assert fourth.phase == REDUCE
    plan.decide(outcome(third))
    assert plan.done


def test_a_verdict_on_a_map_is_over_when_the_other_attempt_was_ok() -> None:
    plan, first, second = two_under_way(MAP, retries=0)
    plan.decide(outcome(second, ERROR))
    [reduce] = plan.decide(outcome(first), output(0))
    [again] = plan.decide(outcome(reduce, LOST, maps=[0]))

    [again] = plan.decide(outcome(again, DIED))
    assert (again.phase, plan.failure) == (MAP, None)


def test_what_a_first_attempt_misses_was_not_lost_since_its_backup_was_issued() -> None:
    plan = Plan(1, 2)
    [order] = plan.start()
    reduces = plan.decide(outcome(order), output(0, partitions=2))
    [again] = plan.decide(outcome(reduces[0], LOST, maps=[0]))
    plan.decide(outcome(again), output(0, 1, partitions=2))
    assert plan.back_up(REDUCE, reduces[1].number) is not None

    # It has the old blocks, its backup the new ones: the map does not run a third time.
    orders = plan.decide(outcome(reduces[1], LOST, maps=[0]))

    assert [order.phase for order in orders] == [REDUCE]
    assert plan.maps_to_do == 0


# --- any order, any end ---------------------------------------------------------------------------


@pytest.mark.parametrize("status", [ERROR, DIED])
def test_a_task_that_always_fails_ends_although_it_is_backed_up_each_time(status: str) -> None:
    plan = Plan(1, 1)
    in_flight, attempts = plan.start(), 0
    while plan.failure is None:
        order = in_flight.pop(0)
        backup = plan.back_up(order.phase, order.number)
        in_flight += [] if backup is None else [backup]
        in_flight += plan.decide(outcome(order, status))
        attempts += 1
        assert attempts < 10
    assert attempts == plan.attempts(MAP, 0)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_is_backed_up_and_however_it_ends_every_result_is_there_once(
    data: st.DataObject,
) -> None:
    draw = data.draw
    maps, reduces = draw(st.integers(0, 3)), draw(st.integers(1, 3))
    retries = draw(st.integers(0, 2))
    plan = Plan(maps, reduces, Options(retries=retries))
    in_flight = plan.start()
    errors: dict[tuple[str, int], int] = {}
    generation = 0
    troubles = 25  # then all goes well
    while not plan.done and plan.failure is None:
        assert in_flight, "nothing is under way and the job has not ended"
        counting = {(order.phase, order.number, order.attempt) for order in in_flight} & {
            (*task, attempt) for task, each in plan.under_way.items() for attempt in each
        }
        # All that may end a task is under way, two at most of each, and each only once.
        assert len(counting) == sum(map(len, plan.under_way.values()))
        assert max(map(len, plan.under_way.values()), default=0) <= 2
        at = draw(st.integers(0, len(in_flight) - 1))
        order = in_flight[at]
        kinds = ["back up", OK, ERROR, DIED, *([LOST] if order.sources else [])]
        what = draw(st.sampled_from(kinds)) if troubles else OK
        troubles = max(0, troubles - 1)
        task = order.phase, order.number
        if what == "back up":
            backup = plan.back_up(*task)
            in_flight += [] if backup is None else [backup]
            continue
        del in_flight[at]
        if what == OK:
            generation += 1
            content = draw(st.integers(0, 1))
            made = output(order.number, generation, content, reduces)
            in_flight += plan.decide(outcome(order), made if order.phase == MAP else None)
            continue
        missing: list[int] = []
        if what == LOST:
            missing = [draw(st.sampled_from(order.sources or [])).map_number]
        if what == ERROR and order.attempt in plan.under_way.get(task, ()):
            errors[task] = errors.get(task, 0) + 1
        in_flight += plan.decide(outcome(order, what, maps=missing))
    if plan.failure is None:
        assert plan.done
    elif plan.failure.status == ERROR:
        # Not before the user's number of attempts have raised.
        assert errors[plan.failure.phase, plan.failure.number] > retries
    else:
        assert plan.failure.status in (DIED, LOST)
