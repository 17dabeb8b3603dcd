"""SpaceCore by itself, with a clock that is a number: every interleaving is a list of calls."""

from __future__ import annotations

import itertools
import math
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from history.model import Client, Model
from tuplespace import (
    ANY,
    Between,
    ClaimLostError,
    InvalidArgumentError,
    MatchTimeoutError,
    OneOf,
)
from tuplespace.core import SpaceCore
from tuplespace.deadlines import Deadlines
from tuplespace.index import SCAN_LIMIT
from tuplespace.sessions import FORGET_AFTER, GRACE
from tuplespace.template import Template


def T(*fields):  # noqa: N802
    return Template(fields)


@pytest.fixture
def core():
    return SpaceCore()


@pytest.fixture
def ann(core):
    return Client(core, "ann")


@pytest.fixture
def bob(core):
    return Client(core, "bob")


def test_the_same_number_again_gets_the_same_reply_and_is_applied_once(ann):
    assert ann.call("write", [("a",)], None) == ("ok", 1)
    assert ann.call("write", [("a",)], None, again=True) == ("ok", 1)
    assert ann.call("count", T("a")) == ("ok", 1)
    assert ann.call("take", T("a"), 0) == ("ok", ("a",))
    assert ann.call("take", T("a"), 0, again=True) == ("ok", ("a",))
    kind, error = ann.call("take", T("a"), 0)
    assert kind == "error"
    assert ann.call("take", T("a"), 0, again=True) == ("error", error)


def test_a_number_older_than_the_last_is_refused_and_not_applied(core, ann):
    ann.call("write", [("a",)], None)
    ann.call("count", T("a"))
    core.call(ann.lane(), 1, "take", (T("a"), 0), 0.0)
    ((_, number, ok, error),) = core.effects
    assert (number, ok) == (1, False)
    assert isinstance(error, InvalidArgumentError)
    core.effects.clear()
    assert ann.call("count", T("a")) == ("ok", 1)


def test_a_repeat_of_a_parked_call_keeps_its_place(core, ann, bob):
    assert ann.call("take", T("a", None), None) is None
    core.connect("ann", 0.0)  # another connection: the session does not go
    assert bob.call("take", T("a", None), None) is None
    ann.break_off()
    ann.come_back()
    assert ann.call("take", T("a", None), None, again=True) is None
    bob.call("write", [("a", 1)], None, lane=2)
    assert ann.reply() == ("ok", ("a", 1))
    assert bob.reply() is None


def test_a_repeat_of_a_parked_call_gets_what_came_meanwhile(core, ann, bob):
    assert ann.call("take", T("a", None), None) is None
    core.connect("ann", 0.0)
    ann.break_off()
    bob.call("write", [("a", 1)], None)
    ann.come_back()
    assert ann.call("take", T("a", None), None, again=True) == ("ok", ("a", 1))


def test_a_waiter_whose_connection_has_gone_is_skipped(core, ann, bob):
    assert ann.call("take", T("a"), None) is None
    core.connect("ann", 0.0)
    ann.break_off()
    assert bob.call("take", T("a"), None) is None
    bob.call("write", [("a",), ("a",)], None, lane=2)
    assert bob.reply() == ("ok", ("a",))
    assert bob.call("count", T("a"), lane=2) == ("ok", 1)


def test_a_parked_call_dropped_with_its_session_is_new_when_it_is_repeated(core, ann, bob):
    assert ann.call("take", T("a"), None) is None
    ann.break_off(now=1.0)
    assert bob.call("status", now=1.0)[1]["waiters"] == 0
    ann.come_back(now=1.5)
    assert ann.call("take", T("a"), None, now=1.5, again=True) is None
    bob.call("write", [("a",)], None, now=2.0)
    assert ann.reply() == ("ok", ("a",))
    assert ann.call("take", T("a"), None, now=3.0, again=True) == ("ok", ("a",))


def test_a_repeated_wait_for_events_goes_on_waiting(core, ann, bob):
    _, number = ann.call("notify", T("n"), None, None)
    assert ann.call("next_events", number, 0, None) is None
    assert ann.call("next_events", number, 0, None, again=True) is None
    core.connect("ann", 0.0)
    ann.break_off()
    bob.call("write", [("n",)], None)
    ann.come_back()
    assert ann.call("next_events", number, 0, None, again=True) == ("ok", ((1, "write", ("n",)),))
    assert ann.call("next_events", number, 0, 0) == ("ok", ((1, "write", ("n",)),))
    assert ann.call("next_events", number, 1, 0) == ("ok", ())


def test_an_interrupted_wait_for_events_does_not_shut_out_the_next(core, ann):
    _, number = ann.call("notify", T("n"), None, None)
    assert ann.call("next_events", number, 0, None) is None
    kind, error = ann.call("next_events", number, 0, None, lane=2)
    assert kind == "error"
    assert isinstance(error, InvalidArgumentError)
    core.connect("ann", 0.0)
    ann.break_off()
    assert ann.call("next_events", number, 0, None, lane=2) is None


def test_claims_come_back_a_second_after_the_last_connection(core, ann, bob):
    bob.call("write", [("a", 1), ("a", 2)], None)
    core.connect("ann", 0.0)
    _, (_, (token, _)) = ann.call("claim_many", T("a", None), 5, None, 0)
    ann.break_off(now=10.0)
    assert bob.call("count", T("a", None), now=20.0) == ("ok", 0)
    core.disconnect(ann.session, 30.0)
    assert core.next_deadline() == 30.0 + GRACE == 31.0
    assert bob.call("count", T("a", None), now=30.9) == ("ok", 0)
    assert bob.call("read_all", T("a", None), now=31.0) == ("ok", (("a", 1), ("a", 2)))
    ann.come_back(now=32.0)
    _, ((number, *error),) = ann.call("confirm_many", (token,), ((),), now=32.0)
    assert number == 0
    assert error[0] == ClaimLostError.__name__


def test_claims_stay_if_the_session_is_back_within_its_grace(ann, bob, core):
    bob.call("write", [("a",)], None)
    _, (_, token) = ann.call("claim", T("a"), None, 0)
    ann.break_off(now=10.0)
    ann.come_back(now=10.9)
    assert bob.call("count", T("a"), now=100.0) == ("ok", 0)
    assert ann.call("confirm_many", (token,), ((),), now=100.0) == ("ok", ())


def test_claims_come_back_in_their_old_order_to_the_oldest_waiter(core, ann, bob):
    bob.call("write", [("a", i) for i in range(4)], None)
    ann.call("claim_many", T("a", None), 4, None, 0)
    assert bob.call("take", T("a", None), None, lane=2) is None
    assert bob.call("take", T("a", None), None, lane=3) is None
    ann.break_off(now=5.0)
    core.advance(6.0)
    assert bob.reply(2) == ("ok", ("a", 0))
    assert bob.reply(3) == ("ok", ("a", 1))


def test_who_waits_for_many_gets_all_that_is_released_in_one_step(ann, bob):
    ann.call("write", [("a", n) for n in range(4)], None)
    _, (_, tokens) = ann.call("claim_many", T("a", None), 4, None, 0)
    assert bob.call("claim_many", T("a", None), 9, None, None) is None

    _, failures = ann.call("release_many", (*tokens[2:], tokens[3], *tokens[:2]))

    assert [number for number, *_ in failures] == [2]  # it had just been released
    assert bob.reply()[1][0] == (("a", 0), ("a", 1), ("a", 2), ("a", 3))


def test_who_waits_for_many_gets_all_claims_of_a_session_that_goes(core, ann, bob):
    ann.call("write", [("a", n) for n in range(4)], None)
    ann.call("claim_many", T("a", None), 4, None, 0)
    assert bob.call("take_many", T("a", None), 9, None) is None

    core.goodbye(ann.session, 0.0)

    assert bob.reply() == ("ok", (("a", 0), ("a", 1), ("a", 2), ("a", 3)))


def test_who_waits_for_many_gets_all_that_one_call_confirms(ann, bob):
    ann.call("write", [("a", n) for n in range(3)], None)
    _, (_, tokens) = ann.call("claim_many", T("a", None), 3, None, 0)
    assert bob.call("take_many", T("b", None), 9, None) is None

    writes = ([("b", 0)], [("b", 1), ("b", 2)], [])
    assert ann.call("confirm_many", tokens, writes) == ("ok", ())

    assert bob.reply() == ("ok", (("b", 0), ("b", 1), ("b", 2)))


def test_a_goodbye_ends_everything_of_its_session_at_once(core, ann, bob):
    bob.call("write", [("a",)], None)
    ann.call("claim", T("a"), None, 0)
    ann.call("notify", T("a"), None, None)
    assert ann.call("take", T("b"), None, lane=2) is None
    core.goodbye(ann.session, 1.0)
    _, status = bob.call("status", now=1.0)
    assert (status["claims"], status["waiters"], status["subscriptions"]) == (0, 0, 0)
    assert status["sessions"] == 1
    core.disconnect(ann.session, 2.0)
    assert bob.call("take", T("a"), 0, now=2.0) == ("ok", ("a",))
    assert core.next_deadline() == math.inf


def test_a_session_is_forgotten_ten_minutes_after_it_has_gone(core, ann, bob):
    ann.call("write", [("a",)], None)
    ann.break_off(now=1.0)
    core.advance(FORGET_AFTER)
    assert bob.call("status", now=FORGET_AFTER)[1]["sessions"] == 2
    assert bob.call("status", now=1.0 + FORGET_AFTER)[1]["sessions"] == 1


def test_another_session_cannot_end_a_claim(ann, bob):
    ann.call("write", [("a",)], None)
    _, (_, token) = ann.call("claim", T("a"), None, 0)
    for verb, *arguments in (
        ("confirm_many", (token,), ((),)),
        ("renew_many", ((token, None, ()),)),
        ("release_many", (token,)),
    ):
        _, ((number, name, *_),) = bob.call(verb, *arguments)
        assert (number, name) == (0, ClaimLostError.__name__)
    assert ann.call("release_many", (token,)) == ("ok", ())


def test_everything_falls_due_at_its_time_and_in_order(core, ann, bob):
    ann.call("write", [("a",)], 5.0)
    ann.call("write", [("b",)], None)
    ann.call("claim", T("b"), 3.0, 0)
    assert bob.call("take", T("c"), 4.0) is None
    assert core.next_deadline() == 3.0
    core.advance(3.0)
    assert core.next_deadline() == 4.0
    core.advance(4.0)
    kind, error = bob.reply()
    assert kind == "error"
    assert isinstance(error, MatchTimeoutError)
    assert core.next_deadline() == 5.0
    core.advance(5.0)
    assert core.next_deadline() == math.inf
    assert ann.call("read_all", T(None), now=5.0) == ("ok", (("b",),))


def test_an_unknown_verb_or_nonsense_arguments_change_nothing(ann):
    for verb, args in (("burn", ()), ("write", (5, None)), ("write", ()), ("take", (T("a"),) * 9),
                       ("confirm_many", (5,)), ("renew_entry", ("x", None)), ("__init__", ())):  # fmt: skip
        kind, _ = ann.call(verb, *args)
        assert kind == "error"
    assert ann.call("status")[1]["tuples"] == 0


# -- against a model


FIELDS = [
    0,
    1,
    2,
    1.0,
    True,
    False,
    None,
    "a",
    "b",
    "abc",
    b"a",
    (1, "a"),
    (1, None),
    [1],
    {"k": 1},
]
QUERIES = [
    *[field for field in FIELDS if field is not None], None, ANY, int, str, tuple, Between(0, 1), range(2),
    re.compile("b"), OneOf("a", 1, b"a"), (1, None), (int, ANY), {"k": int},
]  # fmt: skip


def _script(seed, steps):  # noqa: C901  # one branch for each verb
    rng = random.Random(seed)
    core, model = SpaceCore(), Model()
    client = Client(core, "ann")
    claims, lanes, now = {}, itertools.count(2), 0.0

    def value():
        if rng.random() < 0.15:
            return {"k": rng.choice(FIELDS), "n": rng.randrange(3)}
        fields = [rng.choice(FIELDS) for _ in range(rng.choice((1, 2, 2, 2, 3)))]
        return tuple(fields)

    def template():
        if rng.random() < 0.15:
            return {"k": rng.choice(QUERIES), "n": rng.choice((None, 0, 1, int))}
        return tuple(rng.choice(QUERIES) for _ in range(rng.choice((1, 2, 2, 2, 3))))

    def lease():
        return rng.choice((None, None, None, None, None, 0.0, 0.5, 5.0, 50.0))

    def check_served(expected):
        assert {lane: client.reply(lane) for lane, _ in expected} == {
            lane: ("ok", found) for lane, found in expected
        }

    def write(values, seconds, first):
        for offset, each in enumerate(values):
            model.write(first + offset, each, math.inf if seconds is None else seconds)
        check_served(model.serve())
        check_served(model.advance(now))

    for step in range(steps):
        if rng.random() < 0.3:
            now += rng.choice((0.0, 0.1, 1.0))
            core.advance(now)
            check_served(model.advance(now))
        kind = rng.choices(
            ("write", "take", "take_many", "look", "claim", "confirm", "release", "renew",
             "cancel", "swap", "park", "renew_entry"),
            (30, 12, 2, 12, 14, 5, 7, 2, 2, 2, 3, 2) if step % 400 < 250 else
            (6, 30, 5, 12, 14, 5, 7, 2, 2, 2, 3, 2),
        )[0]  # fmt: skip
        query = template()
        if kind == "write":
            values, seconds = [value() for _ in range(rng.choice((1, 1, 1, 5, 40)))], lease()
            _, first = client.call("write", values, seconds, now=now)
            write(values, seconds, first)
        elif kind == "take":
            found = model.ready(query)
            outcome, got = client.call("take", Template(query), 0, now=now)
            assert (outcome == "ok") is bool(found)
            if found:
                assert got == found[0]["value"]
                model.remove(found[0])
        elif kind == "take_many":
            limit = rng.choice((1, 3, 100))
            found = model.ready(query)[:limit]
            outcome, got = client.call("take_many", Template(query), limit, 0, now=now)
            assert (list(got) if outcome == "ok" else []) == [e["value"] for e in found]
            for entry in found:
                model.remove(entry)
        elif kind == "look":
            found = [e["value"] for e in model.ready(query)]
            assert client.call("read_all", Template(query), now=now) == ("ok", tuple(found))
            assert client.call("count", Template(query), now=now) == ("ok", len(found))
            outcome, got = client.call("read", Template(query), 0, now=now)
            assert ([got] if outcome == "ok" else []) == found[:1]
        elif kind == "claim":
            seconds, limit = rng.choice((None, 1.0, 20.0)), rng.choice((1, 1, 4))
            found = model.ready(query)[:limit]
            outcome, got = client.call("claim_many", Template(query), limit, seconds, 0, now=now)
            assert (outcome == "ok") is bool(found)
            pairs = zip(*got, strict=True) if found else ()
            for entry, (held, token) in zip(found, pairs, strict=True):
                assert held == entry["value"]
                length = math.inf if seconds is None else seconds
                entry["claim"] = (token, now + length, length)
                claims[token] = entry
        elif kind in ("confirm", "release", "renew"):
            if not claims:
                continue
            token = rng.choice(list(claims))
            entry = claims[token]
            alive = entry in model.entries and entry["claim"] is not None
            alive = alive and entry["claim"][0] == token
            if kind == "confirm":
                values = [value() for _ in range(rng.randrange(3))]
                _, failed = client.call("confirm_many", (token,), (values,), now=now)
                if alive:
                    model.remove(entry)
                    # A confirm does not tell the ids of what it wrote, but numbers only grow.
                    write(values, None, next(reversed(core._entries), 0) - len(values) + 1)
            elif kind == "release":
                _, failed = client.call("release_many", (token,), now=now)
                if alive:
                    entry["claim"] = None
                    if entry["expires"] <= now:
                        model.remove(entry)
                    check_served(model.serve())
            else:
                _, failed = client.call("renew_many", ((token, None, ()),), now=now)
                if alive:
                    entry["claim"] = (token, now + entry["claim"][2], entry["claim"][2])
            assert bool(failed) is not alive
            if not alive or kind != "renew":
                del claims[token]
        elif kind == "cancel" and model.entries:
            entry = rng.choice(model.entries)
            assert client.call("cancel_entry", entry["id"], now=now) == ("ok", True)
            model.remove(entry)
        elif kind == "renew_entry" and model.entries:
            entry = rng.choice(model.entries)
            assert client.call("renew_entry", entry["id"], 30.0, now=now)[0] == "ok"
            entry["expires"] = now + 30.0
        elif kind == "swap":
            found, new = model.ready(query), value()
            outcome, got = client.call("swap", Template(query), new, now=now)
            assert (outcome == "ok") is bool(found)
            if found:
                assert got == found[0]["value"]
                model.remove(found[0])
                # A swap does not tell its replacement's id, but numbers only grow.
                write([new], None, next(reversed(core._entries), 0))
        elif kind == "park" and len(model.waiters) < 4:
            lane, verb = next(lanes), rng.choice(("read", "take"))
            got = client.call(verb, Template(query), None, now=now, lane=lane)
            found = model.ready(query)
            assert (got is None) is not bool(found)
            if found:
                assert got == ("ok", found[0]["value"])
                if verb == "take":
                    model.remove(found[0])
            else:
                model.waiters.append({"lane": lane, "kind": verb, "template": query})
        assert not core.effects
        status = core.status(now)
        assert status["tuples"] == len(model.entries)
        assert status["waiters"] == len(model.waiters)
        assert status["claims"] == sum(e["claim"] is not None for e in model.entries)
    return core


@pytest.mark.parametrize("seed", range(4))
def test_the_core_agrees_with_a_list_of_tuples(seed):
    core = _script(seed, 800)
    assert any(shape.indexes for shape in core._index._shapes.values())


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(), st.integers(10, 120))
def test_the_core_agrees_with_a_list_of_tuples_in_short_scripts(seed, steps):
    _script(seed, steps)


def test_an_index_made_late_finds_what_was_there_before_and_came_back(ann):
    size = 10 * SCAN_LIMIT
    ann.call("write", [("k", i % 7, i) for i in range(size)], None)
    _, held = ann.call("claim_many", T("k", None, None), size // 2, None, 0)
    assert ann.call("count", T("k", 3, None))[1] == sum(i % 7 == 3 for i in range(size // 2, size))
    ann.call("release_many", tuple(reversed(held[1])))
    found = ann.call("read_all", T("k", 3, None))[1]
    assert [each[2] for each in found] == [i for i in range(size) if i % 7 == 3]


def test_long_lines_stay_small_however_often_their_tuples_are_claimed(core, ann):
    ann.call("write", [("k", i) for i in range(20)], None)
    for _ in range(500):
        _, (_, token) = ann.call("claim", T("k", None), None, 0)
        ann.call("release_many", (token,))
        ann.call("write", [("k", 99)], 5.0)
        ann.call("take", T("k", 99), 0)
    line = core._index._shapes[2].line
    assert len(line._ids) + len(line._returned or ()) < 300
    assert len(core.deadlines._heap) < 300


@given(
    st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), st.integers(0, 20)))),
    st.integers(0, 20),
)
def test_deadlines_fall_due_earliest_first_and_once(settings_of, now):
    deadlines, due = Deadlines(), {}
    for key, deadline in settings_of:
        if deadline is None:
            deadlines.discard(("k", key))
            due.pop(("k", key), None)
        else:
            deadlines.set(("k", key), deadline)
            due[("k", key)] = deadline
    fallen = list(deadlines.pop_due(now))
    assert sorted(fallen) == sorted(key for key, deadline in due.items() if deadline <= now)
    assert [due[key] for key in fallen] == sorted(due[key] for key in fallen)
    rest = [deadline for deadline in due.values() if deadline > now]
    assert deadlines.next() == min(rest, default=math.inf)


def test_readers_see_all_of_a_write_many_before_a_taker_has_any(ann, bob):
    assert ann.call("take_many", T("k", None), 10, None, lane=1) is None
    assert ann.call("read", T("k", 2), None, lane=2) is None
    bob.call("write", [("k", 1), ("k", 2)], None)
    assert ann.reply(lane=2) == ("ok", ("k", 2))
    assert ann.reply(lane=1) == ("ok", (("k", 1), ("k", 2)))


def test_a_timeout_that_came_while_its_caller_was_away_misses_no_match(core, ann, bob):
    assert ann.call("take", T("k", None), 5.0) is None
    core.connect("ann", 0.0)
    ann.break_off()
    core.advance(6.0)
    bob.call("write", [("k", 1)], None, now=7.0)
    ann.come_back(now=8.0)
    assert ann.call("take", T("k", None), 5.0, now=8.0, again=True) == ("ok", ("k", 1))
    assert core.status(8.0)["waiters"] == 0


def test_a_timeout_that_came_while_its_caller_was_away_is_told_when_it_asks_again(core, ann):
    assert ann.call("take", T("k", None), 5.0) is None
    core.connect("ann", 0.0)
    ann.break_off()
    core.advance(6.0)
    ann.come_back(now=8.0)
    kind, error = ann.call("take", T("k", None), 5.0, now=8.0, again=True)
    assert (kind, type(error)) == ("error", MatchTimeoutError)
    assert core.status(8.0)["waiters"] == 0
