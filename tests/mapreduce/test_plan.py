"""The plan as lists: outcomes in, orders out."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from mapreduce.options import Options
from mapreduce.plan import DEATHS, LOSSES, MAP, MEMORY_DEATHS, REDUCE, Order, Plan
from mapreduce.shuffle import MapOutput, output_of
from workers.blocks import Frame, Location
from workers.errors import CUT_OFF
from workers.task import DIED, ERROR, LOST, MEMORY, OK, REFUSED, Outcome, Parcel


def output(number: int, generation: int = 0, content: int = 0, partitions: int = 2) -> MapOutput:
    """What a map returned: its generation names the file, its content the digests."""
    frames = tuple(
        (Frame(part, 10 + part, bytes([number, part, content])),) for part in range(partitions)
    )
    return output_of(frames, partitions, Location("h", f"map-{number}-{generation}", "uri"))


def outcome(order: Order, status: str = OK, *, maps: Iterable[int] = ()) -> Outcome:
    details = {"maps": tuple(maps)} if maps else {}
    return Outcome("j", order.phase, order.number, order.attempt, status, "w/1", 1, 0.1, None,
                   details)  # fmt: skip


def cut_off(order: Order) -> Outcome:
    return outcome(order, LOST)._replace(details={CUT_OFF: True})


def names(orders: Iterable[Order]) -> list[tuple[str, int, int]]:
    return [(order.phase, order.number, order.attempt) for order in orders]


def paths(order: Order) -> list[str]:
    return [source.location.path for source in order.sources or ()]


def with_maps_done(maps: int = 2, reduces: int = 2) -> tuple[Plan, dict[int, Order]]:
    """Return a plan and the reduces it has issued."""
    plan = Plan(maps, reduces)
    orders: list[Order] = []
    for order in plan.start():
        orders = plan.decide(outcome(order), output(order.number, partitions=reduces))
    return plan, {order.number: order for order in orders}


# --- what should happen ---------------------------------------------------------------------------


def test_maps_first_then_reduces_then_done() -> None:
    plan = Plan(2, 2)
    first, second = plan.start()

    assert names([first, second]) == [(MAP, 0, 0), (MAP, 1, 0)]
    assert plan.decide(outcome(second), output(1)) == []
    reduces = plan.decide(outcome(first), output(0))
    # The larger first.
    assert names(reduces) == [(REDUCE, 1, 0), (REDUCE, 0, 0)]
    assert [paths(order) for order in reduces] == [["map-0-0", "map-1-0"]] * 2
    assert plan.decide(outcome(reduces[0])) == []
    assert not plan.done
    assert plan.decide(outcome(reduces[1])) == []
    assert plan.done
    assert plan.failed_attempts == 0


def test_without_maps_the_reduces_run_on_nothing() -> None:
    plan = Plan(0, 3)
    orders = plan.start()

    assert names(orders) == [(REDUCE, 0, 0), (REDUCE, 1, 0), (REDUCE, 2, 0)]
    assert [order.sources for order in orders] == [[], [], []]
    for order in orders:
        plan.decide(outcome(order))
    assert plan.done


def test_a_map_with_nothing_for_a_partition_is_no_source_of_it() -> None:
    plan = Plan(1, 2)
    [order] = plan.start()
    frames = output(0).part(1)
    empty_first = output_of([[], frames], 1, output(0).location)

    orders = plan.decide(outcome(order), empty_first)

    assert {order.number: len(order.sources or ()) for order in orders} == {0: 0, 1: 1}


def test_the_first_outcome_of_a_task_wins() -> None:
    plan, reduces = with_maps_done()
    first = outcome(reduces[0])
    plan.decide(first)

    assert plan.decide(outcome(reduces[0])._replace(pid=2)) == []
    assert plan.decide(outcome(reduces[0], ERROR)) == []
    assert plan.results[0] is first
    assert plan.failed_attempts == 0


# --- attempts that fail ---------------------------------------------------------------------------


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_what_raises_is_tried_again_so_many_times(retries: int) -> None:
    plan = Plan(1, 1, Options(retries=retries))
    [order] = plan.start()
    for attempt in range(1, retries + 1):
        [order] = plan.decide(outcome(order, ERROR))
        assert order.attempt == attempt
        assert plan.failure is None
    last = outcome(order, ERROR)

    assert plan.decide(last) == []
    assert plan.failure is last
    assert plan.failed_attempts == retries + 1


def test_a_reduce_that_raises_gets_its_sources_again() -> None:
    plan, reduces = with_maps_done()

    [again] = plan.decide(outcome(reduces[1], ERROR))

    assert names([again]) == [(REDUCE, 1, 1)]
    assert again.sources == reduces[1].sources


@pytest.mark.parametrize("phase", [MAP, REDUCE])
def test_deaths_are_counted_apart(phase: str) -> None:
    plan = Plan(1, 1, Options(retries=1))
    [order] = plan.start()
    if phase == REDUCE:
        [order] = plan.decide(outcome(order), output(0, partitions=1))
    for status in [DIED] * (DEATHS - 2) + [ERROR, DIED]:
        [order] = plan.decide(outcome(order, status))
        assert order.phase == phase
    assert plan.failure is None

    assert plan.decide(outcome(order, DIED)) == []
    assert plan.failure is not None


def test_deaths_for_memory_are_counted_apart_and_are_fewer() -> None:
    plan = Plan(1, 1, Options(retries=0))
    [order] = plan.start()
    for _ in range(DEATHS - 1):
        [order] = plan.decide(outcome(order, DIED))
    for _ in range(MEMORY_DEATHS - 1):
        [order] = plan.decide(outcome(order, DIED)._replace(details={"cause": MEMORY}))
    assert plan.failure is None
    last = outcome(order, DIED)._replace(details={"cause": MEMORY})

    assert plan.decide(last) == []
    assert plan.failure is last
    assert MEMORY_DEATHS < DEATHS


def test_a_refused_task_is_not_tried_again() -> None:
    plan = Plan(1, 1, Options(retries=5))
    [order] = plan.start()

    assert plan.decide(outcome(order, REFUSED)) == []
    assert plan.failure is not None


def test_nothing_is_issued_after_the_job_has_failed() -> None:
    plan = Plan(2, 1, Options(retries=0))
    first, second = plan.start()
    plan.decide(outcome(first, ERROR))

    assert plan.decide(outcome(second), output(1)) == []
    assert plan.decide(outcome(second, ERROR)) == []


def test_a_loss_of_the_tasks_own_parts_costs_an_attempt() -> None:
    # Its function or its argument cannot be had: that is for ever, if the driver is out of reach.
    plan = Plan(1, 1, Options(retries=1))
    [order] = plan.start()
    [order] = plan.decide(outcome(order, LOST))
    [order] = plan.decide(outcome(order), output(0, partitions=1))
    [order] = plan.decide(outcome(order, LOST))

    assert plan.decide(outcome(order, LOST)) == []
    assert plan.failure is not None


@pytest.mark.parametrize("phase", [MAP, REDUCE])
def test_a_task_that_is_cut_off_loses_no_attempt_but_is_not_tried_for_ever(phase: str) -> None:
    plan = Plan(1, 1, Options(retries=0))
    [order] = plan.start()
    if phase == REDUCE:
        [order] = plan.decide(outcome(order), output(0, partitions=1))
    for _ in range(LOSSES):
        [order] = plan.decide(cut_off(order))
        assert order.phase == phase

    assert plan.decide(cut_off(order)) == []
    assert plan.failure is not None
    assert plan.failure.status == LOST


def test_hosts_that_cannot_reach_each_other_end_a_job_that_skips_bad_tasks_too() -> None:
    plan = Plan(2, 1, Options(retries=0, on_bad_task="skip"))
    order, _ = plan.start()
    while orders := plan.decide(cut_off(order)):
        [order] = orders

    assert plan.failure is not None
    assert plan.maps_done == 0


def test_a_task_that_was_cut_off_may_still_fail_as_often_as_another() -> None:
    plan = Plan(1, 1, Options(retries=1))
    [order] = plan.start()
    for _ in range(3):
        [order] = plan.decide(cut_off(order))
    [order] = plan.decide(outcome(order, ERROR))
    [order] = plan.decide(cut_off(order))

    assert plan.decide(outcome(order, ERROR)) == []
    assert plan.failure is not None
    assert plan.failure.status == ERROR


def test_what_a_dead_driver_had_sent_costs_no_attempt_however_many_die() -> None:
    plan = Plan(1, 1, Options(retries=1))
    [order] = plan.start()
    for _ in range(5):
        plan.succeed()
        [order] = plan.decide(outcome(order, LOST))
    [order] = plan.decide(outcome(order, LOST))  # the last one's own

    assert plan.decide(outcome(order, LOST)) == []
    assert plan.failure is not None


# --- blocks that are gone -------------------------------------------------------------------------


def test_maps_whose_blocks_are_gone_run_again_and_the_reduce_waits() -> None:
    plan, reduces = with_maps_done(maps=3)

    orders = plan.decide(outcome(reduces[0], LOST, maps=[1]))

    assert names(orders) == [(MAP, 1, 1)]
    [again] = plan.decide(outcome(orders[0]), output(1, generation=1))
    assert names([again]) == [(REDUCE, 0, 1)]
    assert paths(again) == ["map-0-0", "map-1-1", "map-2-0"]
    assert plan.failure is None


def test_a_lost_block_costs_no_attempt() -> None:
    plan, reduces = with_maps_done(maps=1, reduces=1)
    reduce = reduces[0]
    for generation in range(LOSSES):
        [order] = plan.decide(outcome(reduce, LOST, maps=[0]))
        [reduce] = plan.decide(outcome(order), output(0, generation + 1, partitions=1))

    [again] = plan.decide(outcome(reduce, ERROR))
    assert plan.failure is None
    # But for ever it does not go on: the workers do not reach each other.
    assert plan.decide(outcome(again, LOST, maps=[0])) == []
    assert plan.failure is not None


def test_a_map_that_several_reduces_miss_runs_again_once() -> None:
    plan, reduces = with_maps_done()

    [order] = plan.decide(outcome(reduces[0], LOST, maps=[0]))
    assert plan.decide(outcome(reduces[1], LOST, maps=[0])) == []
    again = plan.decide(outcome(order), output(0, 1))

    assert sorted(names(again)) == [(REDUCE, 0, 1), (REDUCE, 1, 1)]


def test_a_reduce_that_missed_a_block_which_is_back_since_just_runs_again() -> None:
    plan, reduces = with_maps_done()
    [order] = plan.decide(outcome(reduces[0], LOST, maps=[0]))
    plan.decide(outcome(order), output(0, 1))

    [again] = plan.decide(outcome(reduces[1], LOST, maps=[0]))

    assert names([again]) == [(REDUCE, 1, 1)]
    assert paths(again) == ["map-0-1", "map-1-0"]


def test_a_map_whose_block_is_found_elsewhere_does_not_run_again() -> None:
    plan, reduces = with_maps_done()
    plan.relocate(0, Location("h", "map-0-0", "another"))

    [again] = plan.decide(outcome(reduces[0], LOST, maps=[0]))

    assert names([again]) == [(REDUCE, 0, 1)]
    assert [source.location.uri for source in again.sources or ()] == ["another", "uri"]
    # Another reduce that was under way misses it where it was, too.
    assert names(plan.decide(outcome(reduces[1], LOST, maps=[0]))) == [(REDUCE, 1, 1)]
    # Gone there as well, it is lost.
    assert names(plan.decide(outcome(again, LOST, maps=[0]))) == [(MAP, 0, 1)]


def test_a_reduce_that_is_done_stays_done_when_blocks_are_lost() -> None:
    plan, reduces = with_maps_done()
    plan.decide(outcome(reduces[0]))

    [order] = plan.decide(outcome(reduces[1], LOST, maps=[0, 1]))[:1]
    plan.decide(outcome(order), output(0, 1))

    assert plan.results[0] is not None


def test_the_outcome_of_a_voided_map_does_not_count() -> None:
    plan = Plan(1, 1)
    [first] = plan.start()
    [reduce] = plan.decide(outcome(first), output(0, partitions=1))
    [second] = plan.decide(outcome(reduce, LOST, maps=[0]))

    assert plan.decide(outcome(first), output(0, partitions=1)) == []
    assert plan.decide(outcome(first, ERROR)) == []
    [again] = plan.decide(outcome(second), output(0, 1, partitions=1))
    assert paths(again) == ["map-0-1"]


def test_a_map_that_gives_other_blocks_than_before_runs_its_reduces_again() -> None:
    plan, reduces = with_maps_done()
    plan.decide(outcome(reduces[0]))
    [order] = plan.decide(outcome(reduces[1], LOST, maps=[0]))

    again = plan.decide(outcome(order), output(0, 1, content=9))

    assert sorted(names(again)) == [(REDUCE, 0, 1), (REDUCE, 1, 1)]
    assert plan.results == [None, None]
    # Whoever read the old blocks comes too late.
    assert plan.decide(outcome(reduces[0])) == []
    assert plan.decide(outcome(reduces[1])) == []
    for each in again:
        plan.decide(outcome(each))
    assert plan.done


def test_a_result_whose_block_is_gone_is_made_again() -> None:
    plan, reduces = with_maps_done()
    done = [outcome(reduces[0]), outcome(reduces[1])]
    for each in done:
        plan.decide(each)
    assert plan.done

    [again] = plan.revoke(done[1])

    assert not plan.done
    assert names([again]) == [(REDUCE, 1, 1)]
    assert plan.decide(done[1]) == []
    plan.decide(outcome(again))
    assert plan.done


# --- any order, any crash -------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_in_whatever_order_it_ends_with_every_result(seed: int) -> None:
    chance = random.Random(seed)
    maps, reduces = chance.randrange(6), chance.randrange(1, 5)
    plan = Plan(maps, reduces, Options(retries=1_000))
    in_flight = plan.start()
    generation = 0
    for _ in range(5_000):
        if plan.done or plan.failure:
            break
        assert in_flight, "nothing is under way and the job has not ended"
        order = in_flight.pop(chance.randrange(len(in_flight)))
        roll = chance.random()
        if roll < 0.1:
            in_flight += plan.decide(outcome(order, ERROR))
        elif roll < 0.2 and order.phase == REDUCE and order.sources:
            missing = chance.choice(order.sources).map_number
            in_flight += plan.decide(outcome(order, LOST, maps=[missing]))
        else:
            generation += 1
            made = output(order.number, generation, chance.randrange(2), reduces)
            result = outcome(order)
            in_flight += plan.decide(result, made if order.phase == MAP else None)
            if chance.random() < 0.2:
                in_flight += plan.decide(result, made if order.phase == MAP else None)

    assert plan.done or (plan.failure is not None and plan.failure.status == LOST)


# --- what is no outcome of this job ---------------------------------------------------------------


def test_what_cannot_be_an_outcome_of_the_plan_is_told() -> None:
    plan = Plan(2, 1)
    first = plan.start()[0]
    good = outcome(first)._replace(value=Parcel(b"x"))
    assert plan.misfit(good) == ""
    assert plan.misfit(good._replace(status=LOST, value=None, details={"maps": (0, 1)})) == ""

    for odd in (
        {"phase": "zzz"}, {"phase": REDUCE}, {"number": 2}, {"number": -1}, {"number": "0"},
        {"number": True}, {"attempt": 1}, {"attempt": -1}, {"status": "fine"}, {"value": None},
        {"phase": REDUCE, "number": 5},
    ):  # fmt: skip
        assert plan.misfit(good._replace(**odd)), odd
    for maps in ((2,), (-1,), ("0",), (0, None), 7, "0"):
        assert plan.misfit(good._replace(status=LOST, details={"maps": maps})), maps
