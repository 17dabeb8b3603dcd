"""What has met a silent machine waits, longer each time; nothing else does."""

from __future__ import annotations

import pytest

from mapreduce.options import Options
from mapreduce.patience import Patience
from mapreduce.plan import LOSSES, MAP, REDUCE, Order, Plan
from workers.errors import CUT_OFF
from workers.task import ERROR, LOST, Outcome


def failed(order: Order, status: str = LOST) -> Outcome:
    details = {CUT_OFF: True} if status == LOST else {}
    return Outcome("j", order.phase, order.number, order.attempt, status, "w/1", 1, 0.1, None,
                   details)  # fmt: skip


def test_a_task_that_is_cut_off_is_tried_for_about_a_minute() -> None:
    plan, patience, now = Plan(1, 1, Options(retries=0)), Patience(), 0.0
    [order] = plan.start()
    waits = []
    while orders := plan.decide(outcome := failed(order)):
        assert patience.hold(outcome, orders, now) == []
        began = now
        while not (due := patience.due(plan, now)):
            now += 0.125
        assert due == orders
        assert patience.due(plan, now) == []
        [order] = due
        waits.append(round(now - began, 1))

    assert len(waits) == LOSSES
    assert waits == sorted(waits)
    assert waits[0] < 0.5 < waits[4]
    assert 40 < now < 90


def test_of_many_that_are_cut_off_together_little_is_said(caplog: pytest.LogCaptureFixture) -> None:
    plan, patience, now = Plan(100, 1), Patience(), 0.0
    orders = plan.start()
    while orders:
        for order in orders:
            patience.hold(failed(order), plan.decide(failed(order)), now)
        now += 5
        orders = patience.due(plan, now)

    assert plan.failure is not None
    assert 2 <= len(caplog.records) <= 10


def test_what_has_failed_otherwise_is_not_kept_waiting() -> None:
    plan, patience = Plan(1, 1), Patience()
    [order] = plan.start()
    orders = plan.decide(outcome := failed(order, ERROR))

    assert patience.hold(outcome, orders, 0.0) == orders
    assert patience.due(plan, 100.0) == []


def test_a_loss_that_orders_nothing_makes_no_later_one_wait_longer() -> None:
    plan, patience = Plan(1, 1), Patience()
    [order] = plan.start()
    backup = plan.back_up(*order[:2])
    assert backup is not None
    assert patience.hold(failed(order), plan.decide(failed(order)), 0.0) == []
    assert order[:2] not in patience

    assert patience.hold(failed(backup), plan.decide(failed(backup)), 0.0) == []
    assert order[:2] in patience
    assert len(patience.due(plan, 0.3)) == 1
    assert order[:2] not in patience


def test_what_nobody_wants_any_more_is_forgotten() -> None:
    plan, patience = Plan(2, 1), Patience()
    order, other = plan.start()
    orders = plan.decide(outcome := failed(order))
    assert patience.hold(outcome, orders, 0.0) == []
    plan.options = Options(retries=0)
    plan.decide(failed(other, ERROR))
    assert plan.failure is not None

    assert patience.due(plan, 100.0) == []


def test_what_else_follows_from_it_is_not_kept_waiting() -> None:
    patience = Patience()
    reduce, other = Order(REDUCE, 0, 2), Order(MAP, 1, 2)

    assert patience.hold(failed(reduce), [other, reduce], 0.0) == [other]


def test_each_task_waits_as_often_as_it_was_cut_off_itself() -> None:
    plan, patience = Plan(20, 1), Patience()
    for order in plan.start():
        patience.hold(outcome := failed(order), plan.decide(outcome), 0.0)

    assert len(patience.due(plan, 1.0)) == 20
