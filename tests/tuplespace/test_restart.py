"""A core whose journal a store has kept, after its death; the clock is a number here too."""

from __future__ import annotations

import pytest

from history.dict_store import DictStore
from history.model import Client
from tuplespace.core import SpaceCore
from tuplespace.sessions import ABSENCE, FORGET_AFTER
from tuplespace.template import Template


def T(*fields):  # noqa: N802
    return Template(fields)


class Restarts:
    """A core with a store, which dies when it is told to."""

    def __init__(self):
        self.disk, self.clients = None, {}
        self.restart()

    def restart(self):
        """Kill the space and start it again, with what was durable."""
        store = DictStore(self.disk)
        self.store, self.disk = store, store.disk
        contents = store.load()
        self.core = SpaceCore(first_number=(contents.generation << 40) + 1, journal=[])
        self.core.restore(contents)
        for client in self.clients.values():
            client.core = self.core

    def client(self, name):
        self.clients[name] = Client(self.core, name, self.core.now)
        return self.clients[name]

    def save(self):
        self.store.append(self.core.journal, self.core.now)
        self.core.journal = []

    def back(self, name, now=None):
        """Let a client come back; its numbers go on."""
        client = self.clients[name]
        client.session = self.core.connect(name, self.core.now if now is None else now)
        for lane in client.numbers:
            client.session.lane(lane).link = object()
        return client


@pytest.fixture
def space():
    return Restarts()


def test_what_was_written_is_there_in_the_same_order_after_a_restart(space):
    ann = space.client("ann")
    ann.call("write", [("a", number) for number in range(5)], None)
    ann.call("take", T("a", 2), 0)
    space.save()
    space.restart()
    ann = space.back("ann")
    ann.call("write", [("a", 9)], None)
    assert ann.call("read_all", T("a", None))[1] == tuple(("a", n) for n in (0, 1, 3, 4, 9))


def test_what_was_not_durable_never_was(space):
    ann = space.client("ann")
    ann.call("write", [("a", 1)], None)
    space.save()
    ann.call("take", T("a", None), 0)
    space.restart()
    ann = space.back("ann")
    assert ann.call("take", T("a", None), 0, again=True) == ("ok", ("a", 1))
    assert ann.call("count", T("a", None)) == ("ok", 0)


def test_a_call_repeated_after_a_restart_gets_the_kept_reply_and_is_applied_once(space):
    ann = space.client("ann")
    ann.call("write", [("a", 1), ("a", 2)], None)
    taken = ann.call("take", T("a", None), 0)
    written = ann.call("write", [("b",)], None, lane=2)
    refused = ann.call("confirm_many", (1, 2), ((), ()), None, lane=3)
    space.save()
    space.restart()
    ann = space.back("ann")
    assert ann.call("take", T("a", None), 0, again=True) == taken
    assert ann.call("write", [("b",)], None, lane=2, again=True) == written
    assert ann.call("confirm_many", (1, 2), ((), ()), None, lane=3, again=True) == refused
    assert ann.call("count", T("a", None)) == ("ok", 1)
    assert ann.call("count", T("b")) == ("ok", 1)


def test_a_parked_take_that_was_answered_before_the_restart_is_not_applied_again(space):
    ann, bob = space.client("ann"), space.client("bob")
    assert ann.call("take", T("a", None), None) is None
    bob.call("write", [("a", 1)], None)
    assert ann.reply() == ("ok", ("a", 1))
    bob.call("write", [("a", 2)], None)
    space.save()
    space.restart()
    ann = space.back("ann")
    assert ann.call("take", T("a", None), None, again=True) == ("ok", ("a", 1))
    assert ann.call("count", T("a", None)) == ("ok", 1)


def test_a_parked_take_parks_again_after_a_restart(space):
    ann, bob = space.client("ann"), space.client("bob")
    assert ann.call("take", T("a", None), None) is None
    space.save()
    space.restart()
    ann, bob = space.back("ann"), space.back("bob")
    assert ann.call("take", T("a", None), None, again=True) is None
    bob.call("write", [("a", 1)], None)
    assert ann.reply() == ("ok", ("a", 1))


def test_a_claim_holds_over_a_restart_with_its_whole_lease(space):
    ann, bob = space.client("ann"), space.client("bob")
    ann.call("write", [("a", 1)], None)
    _, (_, token) = ann.call("claim", T("a", None), 5.0, 0)
    space.core.advance(4.0)
    space.save()
    space.restart()
    assert space.core.now == 4.0
    ann, bob = space.back("ann"), space.back("bob")
    assert bob.call("count", T("a", None), now=8.9) == ("ok", 0)
    assert ann.call("confirm_many", (token,), ([("b", 1)],), None, now=8.9) == ("ok", ())
    assert bob.call("read_all", T(None, None), now=9.0) == ("ok", (("b", 1),))


def test_a_claim_that_was_renewed_with_another_lease_has_that_one_after_a_restart(space):
    ann, bob = space.client("ann"), space.client("bob")
    ann.call("write", [("a", 1)], None)
    _, (_, token) = ann.call("claim", T("a", None), 5.0, 0)
    assert ann.call("renew_many", ((token, 60.0, ()),)) == ("ok", ())
    space.save()
    space.restart()
    ann, bob = space.back("ann"), space.back("bob")
    assert bob.call("count", T("a", None), now=59.9) == ("ok", 0)
    assert bob.call("count", T("a", None), now=60.0) == ("ok", 1)


def test_a_claim_whose_session_does_not_come_back_is_released_and_stale_for_ever(space):
    ann, bob = space.client("ann"), space.client("bob")
    ann.call("write", [("a", 1)], None)
    _, (_, token) = ann.call("claim", T("a", None), None, 0)
    space.save()
    space.restart()
    bob = space.back("bob")
    assert bob.call("count", T("a", None), now=ABSENCE - 0.1) == ("ok", 0)
    _, (_, other) = bob.call("claim", T("a", None), None, 0, now=ABSENCE)
    assert other > token
    ann = space.back("ann", now=ABSENCE)
    ((_, name, *_),) = ann.call("confirm_many", (token,), ((),), None, now=ABSENCE)[1]
    assert name == "ClaimLostError"


def test_a_released_tuple_is_back_at_its_old_place_after_a_restart(space):
    ann = space.client("ann")
    ann.call("write", [("a", 1), ("a", 2), ("a", 3)], None)
    _, (_, first) = ann.call("claim", T("a", None), None, 0)
    _, (_, second) = ann.call("claim", T("a", None), None, 0)
    ann.call("release_many", (first,))
    space.save()
    space.restart()
    ann = space.back("ann")
    ann.call("release_many", (second,))
    assert ann.call("read_all", T("a", None))[1] == (("a", 1), ("a", 2), ("a", 3))


def test_a_lease_stands_still_while_the_space_is_down(space):
    ann = space.client("ann")
    _, id = ann.call("write", [("a",)], 10.0)
    ann.call("write", [("b",)], 3.0)
    ann.call("renew_entry", id, 20.0, now=2.0)
    space.save()
    space.restart()
    ann = space.back("ann")
    assert ann.call("count", T("b"), now=2.9) == ("ok", 1)
    assert ann.call("count", T("b"), now=3.0) == ("ok", 0)
    assert ann.call("count", T("a"), now=21.9) == ("ok", 1)
    assert ann.call("count", T("a"), now=22.0) == ("ok", 0)


def test_a_subscription_goes_on_after_an_overflow_and_ends_with_its_lease(space):
    ann, bob = space.client("ann"), space.client("bob")
    _, number = ann.call("notify", T("n", None), "write", 10.0)
    bob.call("write", [("n", 1)], None)
    ((seen, kind, _),) = ann.call("next_events", number, 0, None)[1]
    assert kind == "write"
    space.save()
    space.restart()
    ann, bob = space.back("ann"), space.back("bob")
    bob.call("write", [("n", 2)], None)
    lost, second = ann.call("next_events", number, seen, None)[1]
    assert lost[1:] == ("overflow", None)
    assert second == (lost[0] + 1, "write", ("n", 2))
    assert lost[0] > seen
    space.restart()  # nothing of it was kept
    ann = space.back("ann")
    again, close = ann.call("next_events", number, second[0], None, now=10.0)[1]
    assert (again[1], close[1]) == ("overflow", "close")
    assert again[0] > second[0]


def test_an_ended_subscription_does_not_come_back(space):
    ann = space.client("ann")
    _, number = ann.call("notify", T("n", None), None, None)
    ann.call("cancel_notify", number)
    space.save()
    space.restart()
    assert space.core.status(0.0)["subscriptions"] == 0


def test_the_replies_of_a_session_are_kept_for_a_while_and_no_longer_than_its_goodbye(space):
    ann, bob = space.client("ann"), space.client("bob")
    ann.call("write", [("a",)], None)
    bob.call("write", [("b",)], None)
    space.core.goodbye(bob.session, 1.0)
    space.save()
    assert [reply[:3] for reply in space.store.load().replies] == [("ann", 1, 1)]
    space.restart()
    space.core.advance(1.0 + FORGET_AFTER)
    space.save()
    assert space.store.load().replies == []


def test_a_call_that_changed_nothing_leaves_nothing_to_keep(space):
    ann = space.client("ann")
    ann.call("write", [("a", 1)], None)
    _, (_, token) = ann.call("claim", T("a", None), 5.0, 0)
    _, number = ann.call("notify", T("n", None), None, None)
    space.save()
    for verb, *args in (
        ("read", T("a", None), 0), ("take", T("a", None), 0), ("count", T("a", None)), ("status",),
        ("read_all", T("a", None)), ("renew_many", ((token, 5.0, ()), (token, None, ()))), ("cancel_entry", 7),
        ("release_many", (7,)), ("swap", T("a", None), ("b",)), ("next_events", number, 0, 0.0),
        ("write", [], None), ("write", [7], None), ("take", T("a", None), 3.0),
    ):  # fmt: skip
        ann.call(verb, *args)
        assert space.core.journal == [], verb


def test_many_tuples_come_back_where_they_are_looked_for(space):
    ann = space.client("ann")
    ann.call("write", [("k", number % 50, number) for number in range(1000)], None)
    ann.call("count", T("k", 7, None))
    space.save()
    space.restart()
    ann = space.back("ann")
    found = ann.call("read_all", T("k", 7, None))[1]
    assert [value[2] for value in found] == list(range(7, 1000, 50))
    assert space.core.status(0.0)["tuples"] == 1000
    assert space.core.status(0.0)["bytes"] > 300_000
