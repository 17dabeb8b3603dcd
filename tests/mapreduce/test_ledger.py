"""The ledger as lists: whatever happened, its replay gives the plan that wrote it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapreduce.errors import LedgerError
from mapreduce.ledger import History, outcome_event
from mapreduce.options import FAIL, SKIP, Options
from mapreduce.plan import MAP, REDUCE, Order, Plan
from mapreduce.records import PIECE_BYTES, Decoder, encode
from mapreduce.shuffle import MapOutput, output_of
from tuplespace.pickles import dump
from tuplespace.security import Key, make_key
from workers.blocks import Frame, Location, digest
from workers.task import DIED, ERROR, LOST, MEMORY, OK, Outcome, Parcel

MAPS, REDUCES = 3, 2


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    return make_key(tmp_path_factory.mktemp("key") / "key")


def output(variant: int) -> MapOutput:
    parts = [[Frame(0, 10, digest(bytes([variant, part])))] for part in range(REDUCES)]
    return output_of(parts, 1, Location("h", f"p{variant}", "u"))


class Life:
    """A driver that does what the draws say, and its ledger."""

    def __init__(self, stream: bool, options: Options) -> None:
        self.stream = stream
        self.plan = Plan(0 if stream else MAPS, REDUCES, options, more_maps=stream)
        head = {
            "maps": None if stream else MAPS, "reduces": REDUCES, "options": tuple(options),
        }  # fmt: skip
        self.events: list[Any] = [("head", head)]
        self.orders: list[Order] = [] if stream else self.plan.start()
        self.answered: set[tuple[str, int, int]] = set()
        self.ended = not stream
        for number in range(0 if stream else MAPS):
            self.events.append(split(number))

    def step(self, draw: Any) -> None:
        if not self.ended and draw(st.booleans()):
            if len(self.plan.outputs) == MAPS:
                self.ended = True
                self.events.append(("end",))
                self.orders += self.plan.no_more_maps()
            else:
                self.events.append(split(len(self.plan.outputs)))
                self.orders.append(self.plan.add_map())
        elif won := [each for each in self.plan.results if each] if draw(st.booleans()) else []:
            outcome = draw(st.sampled_from(won))
            self.events.append(("revoked", outcome.number, "gone"))
            self.orders += self.plan.revoke(outcome)
        elif self.orders and draw(st.integers(0, 4)) == 0:
            phase, number = draw(st.sampled_from(self.orders))[:2]
            order = self.plan.back_up(phase, number)
            if order is not None:
                self.events.append(("call", "back_up", phase, number))
                self.orders.append(order)
        elif self.orders:
            self.answer(draw(st.sampled_from(self.orders)), draw)

    def answer(self, order: Order, draw: Any) -> None:
        status = draw(st.sampled_from([OK, OK, OK, ERROR, DIED, LOST]))
        details: dict[str, Any] = {}
        if status == LOST and order.phase == REDUCE:
            details["maps"] = (draw(st.integers(0, MAPS - 1)),)
        if status == DIED and draw(st.booleans()):
            details["cause"] = MEMORY
        if status in (ERROR, DIED) and draw(st.booleans()):
            details["position"] = draw(st.integers(0, 3))
        elif status in (ERROR, DIED) and draw(st.booleans()):
            details["bound"] = draw(st.integers(1, 4))
        made = output(draw(st.integers(0, 1))) if order.phase == MAP else None
        value = Parcel(dump(made)) if status == OK else None
        outcome = Outcome("j", *order[:3], status, "h/1", 1, 0.5, value, details)
        self.events.append(outcome_event(outcome))
        self.answered.add(order[:3])
        self.orders += self.plan.decide(outcome, made if status == OK else None)


def split(number: int) -> Any:
    return ("split", number, b"pickled", (), None, 0.0, (), f"split {number}")


def state_of(plan: Plan) -> dict[str, Any]:
    state = {name: repr(value) for name, value in vars(plan).items()}
    return state | {"_skipping": repr(vars(plan._skipping))}


@settings(max_examples=150, deadline=None)
@given(
    data=st.data(), stream=st.booleans(), bad=st.sampled_from([0, 2]),
    on_bad_task=st.sampled_from([FAIL, SKIP]),
)  # fmt: skip
def test_the_replay_of_any_history_is_the_plan_that_wrote_it(
    key: Key, data: st.DataObject, stream: bool, bad: int, on_bad_task: str
) -> None:
    life = Life(stream, Options(2, skip_bad_records=bad, on_bad_task=on_bad_task))
    for _ in range(data.draw(st.integers(0, 40))):
        life.step(data.draw)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(life.events)), max_size=4)))
    tuples: list[Any] = []
    for low, high in zip([0, *cuts], [*cuts, len(life.events)], strict=True):
        if low < high:
            tuples += encode(life.events[low:high], "j", len(tuples), key)

    history, decoder = History("j"), Decoder("j", key)
    for event in decoder.feed(data.draw(st.permutations(tuples + tuples[:1]))):
        history.take(event)

    assert state_of(history.plan) == state_of(life.plan)
    assert (history.ended, decoder.serial) == (life.ended, len(tuples))
    assert {order[:3] for order in history.unanswered} == {
        order[:3] for order in life.orders
        if order[:3] not in life.answered and not life.plan.is_settled(*order[:3])
    }  # fmt: skip


def test_a_failure_that_is_told_of_twice_counts_once() -> None:
    plan = Plan(1, 1, Options(retries=1))
    plan.start()
    failed = Outcome("j", MAP, 0, 0, ERROR, "h/1", 1, 0.5)
    [again] = plan.decide(failed)
    assert plan.decide(failed) == []
    assert (plan.failure, plan.failed_attempts, again.attempt) == (None, 1, 1)
    plan.decide(failed._replace(attempt=1))
    assert plan.failure is not None


def test_a_large_event_travels_in_pieces_and_half_of_one_is_none(key: Key) -> None:
    events = [("call", "x", bytes(PIECE_BYTES * 2))], [("end",)]
    tuples = list(encode(events[0], "j", 0, key))
    assert [value[2] for value in tuples] == [0, 1, 2]
    assert max(len(value[3]) for value in tuples) < PIECE_BYTES + 100
    tuples += encode(events[1], "j", 3, key)

    assert [*Decoder("j", key).feed(tuples)] == [*events[0], *events[1]]
    decoder = Decoder("j", key)
    assert [*decoder.feed(tuples[:2])] == []
    assert decoder.serial == 0
    assert [*decoder.feed(tuples[3:])] == []  # after a gap nothing is known


def test_nothing_is_believed_that_was_not_sealed_for_this_place(key: Key) -> None:
    [first] = encode([("end",)], "j", 0, key)
    for forged in (
        (*first[:3], first[3][:-1] + b"x"),
        ("ledger", "other", 0, first[3]),
        ("ledger", "j", 0, next(encode([("end",)], "j", 1, key))[3]),
    ):
        decoder = Decoder(forged[1], key)
        assert [*decoder.feed([forged])] == []
        assert decoder.serial == 0
        if forged[1] == "j":  # nor is what was sealed for it lost, in whatever order they come
            for both in ([forged, first], [first, forged]):
                assert [*Decoder("j", key).feed(both)] == [("end",)]


def test_a_ledger_without_a_head_or_with_a_gap_in_its_splits_is_none() -> None:
    with pytest.raises(LedgerError, match="'end' at 0"):
        History("j").take(("end",))
    history = History("j")
    history.take(("head", {"maps": 2, "reduces": 1, "options": ()}))
    with pytest.raises(LedgerError, match="no split 0"):
        history.take(split(1))
    with pytest.raises(LedgerError, match="'_order'"):
        history.take(("call", "_order"))
