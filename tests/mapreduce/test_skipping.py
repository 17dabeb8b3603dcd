"""Which records are bad follows from the outcomes of attempts: everything here is a list of those."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapreduce.options import SKIP, Options
from mapreduce.plan import DEATHS, LOSSES, MAP, MEMORY_DEATHS, REDUCE, Order, Plan
from mapreduce.shuffle import empty_output
from workers.task import DIED, ERROR, LOST, MEMORY, OK, REFUSED, Outcome, Parcel

EACH, STREAM, LIST = "each", "stream", "list"


def outcome(order: Order, status: str = OK, **details: Any) -> Outcome:
    value = Parcel(b"x") if status == OK else None
    return Outcome("j", order.phase, order.number, order.attempt, status, "w/1", 1, 0.1, value,
                   {"message": status, **details})  # fmt: skip


def told(*positions: int) -> tuple[Any, ...]:
    return tuple(("record", at, f"x.txt, line {at + 1}", "repr", "why") for at in positions)


def run(
    order: Order, kind: str, records: int, raising: Collection[int], killing: Collection[int]
) -> Outcome:
    """Return how an attempt at a map of so many records ends, if a worker runs it."""
    options = order.options
    tracks, first = bool(options), options.get("first")
    skip, budget = options.get("skip", ()), options.get("budget", 0)
    left_out, position = [], -1
    bound = min(records, records if first is None else first)
    for position in range(bound):
        if position in skip:
            left_out.append(position)
            continue
        if position in raising or position in killing:
            on_the_spot = kind == EACH and tracks and position in raising
            if on_the_spot and (first is not None or budget > 0):
                budget -= 1
                left_out.append(position)
                continue
            where = {
                EACH: {"position": position, "bound": position + 1, "named": 0},
                STREAM: {"position": -1, "bound": position + 1, "named": 1},
                LIST: {"position": -1, "bound": bound, "named": 0},
            }[kind]
            facts = where if tracks else {}
            if position in killing:
                return outcome(order, DIED, **facts)
            return outcome(order, ERROR, **facts, skipped=told(*left_out))
    return outcome(order, skipped=told(*left_out) if first is None else ())


def carry_out(plan: Plan, *args: Any) -> int:
    """Run a plan of one map to its end; return how many attempts that took."""
    orders, attempts = plan.start(), 0
    while orders and plan.failure is None:
        [order] = orders
        if order.phase == REDUCE:
            break
        attempts += 1
        assert attempts < 10_000
        orders = plan.decide(run(order, *args), empty_output(1))
    return attempts


def positions(plan: Plan) -> list[int]:
    return [record.position for record in plan.skipped_records()]


# --- finding them ---------------------------------------------------------------------------------


@given(
    kind=st.sampled_from([EACH, STREAM, LIST]),
    records=st.integers(1, 300),
    retries=st.integers(0, 2),
    spare=st.integers(0, 2),
    data=st.data(),
)
def test_every_bad_record_is_found_and_no_other(
    kind: str, records: int, retries: int, spare: int, data: st.DataObject
) -> None:
    bad = sorted(data.draw(st.sets(st.integers(0, records - 1), max_size=6)))
    killing = set(data.draw(st.lists(st.sampled_from(bad), max_size=6))) if bad else set()
    limit = max(1, len(bad) + spare)
    plan = Plan(1, 1, Options(retries=retries, skip_bad_records=limit))

    attempts = carry_out(plan, kind, records, set(bad) - killing, killing)

    assert plan.failure is None
    assert positions(plan) == bad
    assert plan.outputs != [None]
    each_takes = 2 if kind == EACH else math.log2(records) + 6
    assert attempts <= 2 + each_takes * len(bad)


@given(
    kind=st.sampled_from([EACH, STREAM, LIST]),
    records=st.integers(5, 100),
    limit=st.integers(1, 3),
    kill=st.booleans(),
    data=st.data(),
)
def test_more_than_may_be_skipped_fail_the_job(
    kind: str, records: int, limit: int, kill: bool, data: st.DataObject
) -> None:
    bad = data.draw(st.sets(st.integers(0, records - 1), min_size=limit + 1))
    plan = Plan(1, 1, Options(skip_bad_records=limit))

    carry_out(plan, kind, records, set() if kill else bad, bad if kill else set())

    assert plan.failure is not None
    assert plan.has_too_many_bad
    assert positions(plan) == sorted(bad)[: limit + 1]


def test_the_first_attempt_tracks_nothing_and_the_second_does() -> None:
    plan = Plan(1, 1, Options(retries=0, skip_bad_records=2))
    [first] = plan.start()
    assert first.options == {}

    [second] = plan.decide(outcome(first, ERROR))
    assert second.options == {"selects": True, "skip": (), "keys": (), "budget": 2}


def test_without_the_option_nothing_is_tracked() -> None:
    plan = Plan(1, 1, Options(retries=1))
    [first] = plan.start()
    [second] = plan.decide(outcome(first, ERROR, position=3, bound=4))

    assert second.options == {}
    assert plan.decide(outcome(second, ERROR, position=3, bound=4)) == []
    assert plan.failure is not None


def test_keys_of_a_reduce_are_found_by_their_hash() -> None:
    plan = Plan(0, 1, Options(retries=0, skip_bad_records=2))
    [order] = plan.start()
    [order] = plan.decide(outcome(order, ERROR))
    [order] = plan.decide(outcome(order, ERROR, position=77, bound=9, where="partition 0"))
    assert order.options == {"selects": True, "skip": (), "keys": (77,), "budget": 1}
    [order] = plan.decide(outcome(order, DIED, position=5, bound=9))
    [order] = plan.decide(outcome(order, DIED, position=5, bound=9))
    assert order.options["keys"] == (5, 77)

    plan.decide(outcome(order, skipped=(("key", 5, "partition 0", "'a'", ""),
                                        ("key", 77, "partition 0", "'b'", ""))))  # fmt: skip

    assert plan.done
    assert [(record.record, record.error) for record in plan.skipped_records()] == [
        ("'a'", DIED), ("'b'", ERROR),
    ]  # fmt: skip


def test_pairs_of_a_reduce_are_bisected() -> None:
    plan = Plan(0, 1, Options(retries=0, skip_bad_records=1))
    [order] = plan.start()
    for _ in range(2):
        [order] = plan.decide(outcome(order, ERROR, position=-1, bound=64, named=0))
    probes = 0
    while (first := order.options.get("first")) is not None:
        probes += 1
        status = ERROR if first > 20 else OK
        [order] = plan.decide(outcome(order, status, position=-1, bound=first, named=0))

    assert order.options["skip"] == (20,)
    assert probes <= 7
    assert plan.skipped_records()[0].kind == "pair"


# --- what is no record's fault --------------------------------------------------------------------


def test_workers_killed_from_outside_blame_no_record() -> None:
    plan = Plan(1, 1, Options(skip_bad_records=100))
    [order] = plan.start()
    [order] = plan.decide(outcome(order, DIED))
    for position in range(DEATHS - 1):
        [order] = plan.decide(outcome(order, DIED, position=position, bound=position + 1))
        assert order.options["skip"] == ()

    assert plan.decide(outcome(order, DIED, position=50, bound=51)) == []
    assert plan.failure is not None
    assert plan.skipped_records() == []


def test_a_death_that_a_record_explains_does_not_count() -> None:
    plan = Plan(1, 1, Options(skip_bad_records=100))
    [order] = plan.start()
    [order] = plan.decide(outcome(order, DIED))
    for position in range(3 * DEATHS):
        for _ in range(2):
            [order] = plan.decide(outcome(order, DIED, position=position, bound=position + 1))
    assert positions(plan) == list(range(3 * DEATHS))
    assert plan.failure is None


def test_memory_that_fills_up_is_no_records_fault_but_one_record_that_takes_it_all_is_bad() -> None:
    def died(order: Order, position: int) -> Outcome:
        return outcome(order, DIED, cause=MEMORY, position=position, bound=99, named=1)

    for where, blamed in ((-1, []), (7, [7])):
        plan = Plan(1, 1, Options(skip_bad_records=5))
        orders = plan.start()
        for _ in range(MEMORY_DEATHS + 1):
            orders = plan.decide(died(orders[0], where))
        assert positions(plan) == blamed
        assert (plan.failure is None) == bool(blamed)


def test_a_failure_that_no_probe_repeats_is_the_tasks_own() -> None:
    plan = Plan(1, 1, Options(retries=0, skip_bad_records=5))
    orders = plan.start()
    orders = plan.decide(outcome(orders[0], ERROR))
    orders = plan.decide(outcome(orders[0], ERROR, position=-1, bound=1000, named=0))
    probes = 0
    while orders:
        probes += 1
        assert "first" in orders[0].options
        orders = plan.decide(outcome(orders[0]))

    assert probes <= 12
    assert plan.failure is not None
    assert plan.failure.details["message"].startswith("error (no bad record was found: ")
    assert plan.skipped_records() == []


def test_a_task_that_fails_without_any_record_fails() -> None:
    plan = Plan(1, 1, Options(retries=0, skip_bad_records=5))
    orders = plan.start()
    orders = plan.decide(outcome(orders[0], ERROR))
    orders = plan.decide(outcome(orders[0], ERROR, position=-1, bound=8, named=1))
    while orders:
        first = orders[0].options["first"]
        orders = plan.decide(outcome(orders[0], ERROR, position=-1, bound=first, named=1))

    assert plan.failure is not None
    assert "without any record" in plan.failure.details["message"]
    assert plan.skipped_records() == []


def test_a_probe_disturbed_from_outside_costs_no_innocent_record() -> None:
    # The record at 40 kills; a worker that probed the first 20 was killed by somebody else.
    plan = Plan(1, 1, Options(skip_bad_records=5))
    [order] = plan.start()
    disturbed = False
    for _ in range(60):
        first = order.options.get("first")
        if first is not None and not disturbed and first <= 32:
            disturbed = True
            result = outcome(order, DIED, position=-1, bound=first, named=0)
        else:
            result = run(order, LIST, 64, (), {40})
        orders = plan.decide(result, empty_output(1))
        if plan.outputs != [None] or not orders:
            break
        [order] = orders

    assert disturbed
    assert set(positions(plan)) <= {40}


# --- attempts that overlap, and tasks that run again ----------------------------------------------


def test_an_outcome_that_comes_too_late_starts_nothing() -> None:
    plan = Plan(1, 1, Options(retries=0, skip_bad_records=3))
    [first] = plan.start()
    [second] = plan.decide(outcome(first, ERROR))
    assert plan.decide(outcome(first, ERROR)) == []  # said twice, or by a backup task
    [third] = plan.decide(outcome(second, ERROR, position=4, bound=5))

    assert plan.decide(outcome(second, ERROR, position=4, bound=5)) == []
    assert third.options["skip"] == (4,)
    assert plan.failure is None


def test_a_backup_that_fails_after_the_first_attempt_has_the_task_tracked() -> None:
    plan = Plan(1, 1, Options(skip_bad_records=3))
    [first] = plan.start()
    second = plan.back_up("map", 0)

    assert plan.decide(outcome(first, ERROR)) == []  # the other attempt goes on
    [third] = plan.decide(outcome(second, ERROR))

    assert third.options["selects"]
    assert plan.back_up("map", 0) is None  # it is looked for bad records, step by step
    plan.decide(outcome(third), empty_output(1))
    assert plan.outputs != [None]


def test_a_map_whose_output_is_lost_counts_its_bad_records_once() -> None:
    plan = Plan(1, 1, Options(skip_bad_records=2))
    [order] = plan.start()
    [order] = plan.decide(outcome(order, ERROR))
    [reduce] = plan.decide(outcome(order, skipped=told(3, 9)), empty_output(1))
    for _ in range(LOSSES):
        [again] = plan.decide(outcome(reduce, LOST, maps=(0,)))
        assert again.options["skip"] == (3, 9)
        [reduce] = plan.decide(outcome(again, skipped=told(3, 9)), empty_output(1))

    assert plan.failure is None
    assert positions(plan) == [3, 9]


def test_bad_records_of_all_tasks_count_together_and_come_in_order() -> None:
    plan = Plan(3, 1, Options(skip_bad_records=3))
    again = [plan.decide(outcome(order, ERROR))[0] for order in plan.start()]
    for order, found in zip(reversed(again), ([5, 2], [7], []), strict=True):
        plan.decide(outcome(order, skipped=told(*found)), empty_output(1))

    assert [(record.number, record.position) for record in plan.skipped_records()] == [
        (1, 7), (2, 2), (2, 5),
    ]  # fmt: skip
    assert plan.failure is None


def test_nonsense_in_an_outcome_is_not_believed() -> None:
    plan = Plan(1, 1, Options(retries=0, skip_bad_records=2))
    [order] = plan.start()
    [order] = plan.decide(outcome(order, ERROR))
    odd: Any = (("record", "1", "", "", ""), 7, ("zzz", 1, "", "", ""), ("record", 1))
    plan.decide(outcome(order, ERROR, position="4", bound=None, named=[], skipped=odd))

    assert plan.skipped_records() == []
    assert plan.failure is not None


# --- tasks that have failed for good --------------------------------------------------------------


@pytest.mark.parametrize("phase", [MAP, REDUCE])
def test_a_job_that_skips_bad_tasks_goes_on_without_them(phase: str) -> None:
    plan = Plan(2, 2, Options(retries=1, on_bad_task=SKIP))
    orders = plan.start()
    while orders:
        order = orders.pop()
        bad = (order.phase, order.number) == (phase, 1)
        result = outcome(order, ERROR if bad else OK)
        orders += plan.decide(result, empty_output(2))

    assert plan.done
    assert plan.failure is None
    assert [(each.phase, each.number) for each in plan.buried] == [(phase, 1)]
    assert plan.attempts(phase, 1) == 2
    statuses = [each and each.status for each in plan.results]
    assert statuses == ([OK, OK] if phase == MAP else [OK, ERROR])


def test_a_job_fails_with_its_first_bad_task_unless_it_skips_them() -> None:
    plan = Plan(1, 1, Options(retries=0))
    [order] = plan.start()
    plan.decide(outcome(order, ERROR))

    assert plan.failure is not None
    assert plan.buried == [plan.failure]


def test_what_has_a_wrong_signature_is_never_skipped() -> None:
    plan = Plan(1, 1, Options(on_bad_task=SKIP))
    [order] = plan.start()
    plan.decide(outcome(order, REFUSED))

    assert plan.failure is not None


def test_too_many_bad_records_fail_a_job_that_skips_bad_tasks() -> None:
    plan = Plan(1, 1, Options(on_bad_task=SKIP, skip_bad_records=1))
    carry_out(plan, EACH, 10, {1, 2}, set())

    assert plan.failure is not None
    assert plan.has_too_many_bad
