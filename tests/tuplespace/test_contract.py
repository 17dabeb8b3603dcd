"""The contract of a space, against the local and the remote one alike."""

from __future__ import annotations

import collections
import decimal
import fractions
import inspect
import pickle
import re
import signal
import threading
import time
import uuid

import pytest

import tuplespace
from tuplespace import (
    ANY,
    AuthenticationError,
    Between,
    ClaimLostError,
    ClosedError,
    Exactly,
    InvalidArgumentError,
    InvalidTemplateError,
    InvalidTupleError,
    LeaseExpiredError,
    MatchTimeoutError,
    OneOf,
    Space,
    SpaceFullError,
    SpaceUnreachableError,
    TupleSpaceError,
)

Point = collections.namedtuple("Point", "x y")  # noqa: PYI024

MATCHES = [
    # template, tuples that match, tuples that do not
    (("a", 1), [("a", 1), ("a", 1.0)], [("a", True), ("a", 2), ("b", 1), ("a",), ("a", 1, 1)]),
    ((0,), [(0,), (0.0,), (-0.0,)], [(False,), (None,), ("",), ("0",)]),
    ((True,), [(True,)], [(1,), (1.0,), (False,), ("True",)]),
    ((None,), [(None,), (0,), ("",), ({1, 2},), ((),)], [(), (1, 2)]),
    ((ANY, "x"), [(None, "x"), ({1}, "x")], [("x", "y")]),
    ((Exactly(None),), [(None,)], [(0,), (False,), ("",), ((),)]),
    ((Exactly((1, None)),), [((1, None),)], [((1, 2),), ((True, None),)]),
    ((Exactly([1, (2, {"k": None})]),), [([1, (2, {"k": None})],)], [([1, (2, {"k": 0})],)]),
    ((int,), [(1,), (2**80,), (-1,)], [(True,), (1.0,), ("1",), (None,)]),
    ((float,), [(1.0,), (float("inf"),)], [(1,), (True,)]),
    ((bool,), [(True,), (False,)], [(1,), (0,)]),
    ((str,), [("",), ("\ud800",)], [(b"",), (1,)]),
    ((bytes,), [(b"x",)], [("x",), (bytearray(b"x"),)]),
    ((tuple,), [((),), ((1,),)], [([],), ("",)]),
    ((list,), [([],), ([1],)], [((),)]),
    ((dict,), [({},), ({"a": 1},)], [([],)]),
    ((Between(1, 5),), [(1,), (5,), (2.5,)], [(0,), (5.1,), (True,), ("3",), (None,), ((3,),)]),
    ((Between("a", "c"),), [("a",), ("bzz",)], [("d",), (2,), (b"b",)]),
    ((Between(False, True),), [(True,), (False,)], [(0,), (1,)]),
    ((Between((1,), (2, 0)),), [((1, 9),)], [((3,),), (1,)]),
    ((range(0, 10, 2),), [(0,), (8,), (4.0,)], [(1,), (10,), (4.5,), (False,), ("0",)]),
    ((range(10**15),), [(7.0,)], [(0.5,), (float("inf"),), (float("nan"),), (-1,)]),
    ((re.compile(r"b+$", re.I),), [("aBB",)], [("ba",), (b"b",), (1,), (None,)]),
    ((OneOf("a", 1, Exactly(None), Between(7, 9)),), [("a",), (1,), (None,), (8,)], [(True,), (2,)]),
    ((("a", ANY, (None, int)),), [(("a", {1}, (2, 3)),)], [(("a", 1, (2, "3")),), (("a", 1),)]),
    (({"k": int, "n": None},), [({"k": 1, "n": 2},)], [({"k": 1},), ({"k": True, "n": 2},)]),
    (([1, 2],), [([1, 2],), ([1.0, 2],)], [((1, 2),), ([1],), ([True, 2],)]),
    (("\ud800",), [("\ud800",)], [("\ud801",)]),
    ((2**80,), [(2**80,), (2.0**80,)], [(2**80 + 1,)]),
    ((float("nan"),), [], [(float("nan"),), (1.0,)]),
    ((), [()], [(1,), {}]),
    ({"k": int, "n": None}, [{"k": 1, "n": {2}}, {"n": None, "k": 5}], [{"k": 1}, {"k": "1", "n": 1}]),
    ({"k": [1, 2]}, [{"k": [1, 2]}], [{"k": (1, 2)}]),
    ({}, [{}], [(), {"k": 1}]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("template", "yes", "no"), MATCHES, ids=[f"{template!r:.40}" for template, *_ in MATCHES]
)
def test_a_template_matches_what_it_says_and_nothing_else(space, template, yes, no):
    for value in no:
        space.write(value)
    assert space.count(template) == 0
    for value in yes:
        space.write(value)
    assert space.read_all(template) == yes
    assert [space.take(template, 0) for _ in yes] == yes
    assert space.status()["tuples"] == len(no)


@pytest.mark.parametrize(
    "template",
    ["text", 5, ["a"], {1: 2}, (object(),), (1, {2}), (decimal.Decimal(1),), (object,), (set,),
     (Exactly({1}),), (Exactly(ANY),), (Between(1, {2}),), (re.compile(b"x"),), ((1, (set(),)),),
     (OneOf(1, {2}),), ([ANY],), None],
    ids=lambda template: repr(template).partition(" at 0x")[0],
)  # fmt: skip
def test_what_is_no_template_is_refused_and_changes_nothing(space, template):
    space.write(("a",))
    for call in (
        lambda: space.take(template, 0), lambda: space.read(template, 0),
        lambda: space.read_all(template), lambda: space.count(template),
        lambda: space.take_many(template, 1, 0), lambda: space.claim(template, timeout=0),
        lambda: space.claim_many(template, 1, timeout=0), lambda: space.notify(None, template),
        lambda: space.swap(template, ("b",)),
    ):  # fmt: skip
        with pytest.raises(InvalidTemplateError):
            call()
    assert space.read_all((None,)) == [("a",)]
    assert space.status()["subscriptions"] == 0


def _self_containing() -> tuple:
    endless: list = []
    endless.append(endless)
    return ("endless", endless)


@pytest.mark.parametrize(
    "value",
    ["text", 5, None, ["a"], {1: 2}, {1}, (threading.Lock(),), _self_containing()],
    ids=lambda value: f"{value!r:.30}",
)
def test_what_is_no_tuple_is_refused_and_changes_nothing(space, value):
    space.write(("a",))
    claim = space.claim(("a",))
    for call in (
        lambda: space.write(value), lambda: space.write_many([("fine",), value]),
        lambda: claim.confirm([("fine",), value]), lambda: claim.renew(write=[value]),
        lambda: space.swap((None,), value),
    ):  # fmt: skip
        with pytest.raises(InvalidTupleError):
            call()
    assert space.status()["tuples"] == 1
    claim.confirm()
    assert space.status()["tuples"] == 0


@pytest.mark.parametrize("bad", [-1, float("nan"), "1", True, b"", [1], -(10**400)])
def test_a_lease_is_none_or_seconds(space, bad):
    space.write(("a",))
    for call in (
        lambda: space.write(("b",), lease=bad), lambda: space.write_many([("b",)], lease=bad),
        lambda: space.claim(("a",), lease=bad), lambda: space.claim_many(("a",), 1, lease=bad),
        lambda: space.notify(None, ("a",), lease=bad),
    ):  # fmt: skip
        with pytest.raises(InvalidArgumentError):
            call()
    assert space.read_all((None,)) == [("a",)]


@pytest.mark.parametrize("bad", [float("nan"), "1", True, b"", [1]])
def test_a_timeout_is_none_or_seconds(space, bad):
    for call in (
        lambda: space.take(("a",), bad), lambda: space.read(("a",), bad),
        lambda: space.take_many(("a",), 1, bad), lambda: space.claim(("a",), timeout=bad),
        lambda: space.notify(None, ("a",)).next(bad),
    ):  # fmt: skip
        with pytest.raises(InvalidArgumentError):
            call()
    assert space.status()["waiters"] == 0


@pytest.mark.parametrize("bad", [0, -1, 1.0, None, "1", True])
def test_a_limit_is_an_int_of_at_least_one(space, bad):
    space.write(("a",))
    with pytest.raises(InvalidArgumentError):
        space.take_many(("a",), bad, 0)
    with pytest.raises(InvalidArgumentError):
        space.claim_many(("a",), bad, timeout=0)
    assert space.count(("a",)) == 1


def test_an_event_kind_is_one_of_three(space):
    with pytest.raises(InvalidArgumentError):
        space.notify("burn", ("a",))


@pytest.mark.parametrize("for_ever", [1e12, 10**400, float("inf")])
def test_seconds_may_be_as_many_as_one_likes(space, for_ever, background):
    space.write(("a",), lease=for_ever)
    assert space.take(("a",), for_ever) == ("a",)
    parked = background(space.take, ("b",), for_ever)
    space.write(("b",))
    assert parked.result() == ("b",)


# -- objects


@pytest.mark.parametrize(
    "field",
    [decimal.Decimal("1.50"), {1, 2}, frozenset({(1, 2)}), uuid.UUID(int=7), fractions.Fraction(1, 3),
     2**64, -(2**70), 2**63 - 1, -(2**63), {1: "a", (2, None): [b"c"]}, {None: 1, True: 2, 2**70: 3},
     ((1, (2, ())), [(3,), [4, []]]), "\ud800 \udfff", bytearray(b"x"), range(3), 1j, ...,
     Point(1, [2]), {"n": {"m": Point(1, 2)}}, collections.OrderedDict(a=1), {}, (), [], b"", "",
     1e308, ValueError, {"x": {frozenset(): 1}}, "a" * 70_000, b"b" * 300_000, [None] * 70_000],
    ids=lambda field: f"{type(field).__name__}-{field!r:.20}",
)  # fmt: skip
def test_a_field_comes_back_as_what_it_was(space, field):
    space.write(("f", field))
    claim = space.claim(("f", ANY))
    claim.confirm([("g", claim.tuple[1])])
    _, found = space.take(("g", None), 0)
    assert found == field
    assert type(found) is type(field)
    assert repr(found) == repr(field) or isinstance(field, (set, frozenset))


def test_a_lambda_comes_back_callable_and_a_negative_zero_negative(space):
    offset = 5
    space.write((lambda x: x + offset, -0.0, float("nan")))
    function, zero, nan = space.take((None, None, None))
    assert (function(2), str(zero), str(nan)) == (7, "-0.0", "nan")


def test_a_named_tuple_is_written_and_matched_as_a_tuple(space):
    space.write(Point(1, 2))
    assert space.take(Point(1, None), 0) == (1, 2)


def test_only_a_wildcard_matches_an_object(space):
    space.write(("o", {1}))
    for template in (("o", Between(0, 9)), ("o", tuple), ("o", re.compile(".")), ("o", OneOf(1))):
        assert space.count(template) == 0
    assert space.count(("o", OneOf(1, ANY))) == 1


def test_what_is_written_and_read_is_a_copy(space):
    inner = [1]
    value = ("c", inner, {"k": inner}, {1})
    space.write(value)
    inner.append(2)
    value[3].add(2)
    for _ in range(2):
        found = space.read(("c", None, None, None))
        assert found == ("c", [1], {"k": [1]}, {1})
        found[1].append(9)
        found[2]["k"].append(9)
        found[3].add(9)
    template = ("c", [1], {"k": [1]}, None)
    assert space.take(template, 0)[1:3] == ([1], {"k": [1]})


# -- order, timeouts


def test_tuples_are_taken_first_in_first_out(space):
    space.write_many([("q", i, i % 3) for i in range(100)])
    assert [space.take(("q", None, 1), 0)[1] for _ in range(5)] == [1, 4, 7, 10, 13]
    assert space.take_many(("q", None, None), 4) == [
        ("q", 0, 0),
        ("q", 2, 2),
        ("q", 3, 0),
        ("q", 5, 2),
    ]


def test_take_many_takes_what_is_there_up_to_its_limit(space, parked):
    space.write_many([("q", i) for i in range(5)])
    assert len(space.take_many(("q", None), 3)) == 3
    assert len(space.take_many(("q", None), 3)) == 2
    waiting = parked(space, space.take_many, ("q", None), 10)
    space.write_many([("q", 7), ("q", 8)])
    assert waiting.result() == [("q", 7), ("q", 8)]


def test_a_timeout_is_waited_and_not_longer(space):
    for call in (space.take, space.read, lambda t, timeout: space.take_many(t, 3, timeout),
                 lambda t, timeout: space.claim(t, timeout=timeout)):  # fmt: skip
        for timeout, least, most in ((0, 0, 5), (-1, 0, 5), (0.15, 0.145, 5)):
            started = time.monotonic()
            with pytest.raises(MatchTimeoutError):
                call(("no",), timeout)
            assert least <= time.monotonic() - started < most
    assert space.status()["waiters"] == 0
    space.write(("no",))
    assert space.count(("no",)) == 1


def test_waiters_are_served_in_order_of_arrival(space, parked):
    waiting = [parked(space, space.take, ("w", None)) for _ in range(4)]
    waiting.append(parked(space, space.take, ("w", 4)))
    space.write_many([("w", i) for i in range(5)])
    assert [each.result() for each in waiting] == [("w", i) for i in range(5)]


def test_one_write_serves_all_matching_readers_then_one_taker(space, parked):
    takers = [parked(space, space.take, ("w", int))]
    readers = [parked(space, space.read, ("w", None)) for _ in range(3)]
    other = parked(space, space.read, ("w", str))
    takers.append(parked(space, space.take, ("w", None)))
    space.write(("w", 1))
    assert [each.result() for each in (*readers, takers[0])] == [("w", 1)] * 4
    assert space.status()["waiters"] == 2
    space.write(("w", "x"))
    assert other.result() == takers[1].result() == ("w", "x")
    assert space.status()["tuples"] == 0


def test_write_many_stores_all_before_any_waiter_is_served(space, parked):
    waiting = parked(space, space.take_many, ("w", None), 10)
    space.write_many([("w", i) for i in range(4)])
    assert len(waiting.result()) == 4


def test_write_many_of_nothing_writes_nothing(space):
    assert space.write_many([]) == []
    assert space.write_many(iter([("a",)]))[0].cancel() is True


# -- leases


def test_a_tuple_lives_as_long_as_its_lease(space):
    started = time.monotonic()
    space.write(("l",), lease=0.25)
    with pytest.raises(MatchTimeoutError):
        space.take(("other",), 0.15)
    assert space.count(("l",)) == 1
    gone = space.notify("delete", ("l",))
    assert tuple(gone.next(5)) == ("delete", ("l",))
    assert time.monotonic() - started >= 0.24
    assert space.count(("l",)) == 0


def test_a_lease_of_zero_serves_who_waits_and_is_over(space, parked):
    waiting = parked(space, space.read, ("l",))
    space.write(("l",), lease=0)
    assert waiting.result() == ("l",)
    assert space.count(("l",)) == 0


def test_a_handle_renews_and_cancels_its_tuple(space):
    handle = space.write(("l", 1), lease=0.5)
    handle.renew(60)
    events = space.notify("delete", ("l", None))
    space.write(("l", 2), lease=0.55)
    assert events.next(5).tuple == ("l", 2)
    assert space.read_all(("l", None)) == [("l", 1)]
    handle.renew(None)
    assert handle.cancel() is True
    assert handle.cancel() is False
    with pytest.raises(LeaseExpiredError):
        handle.renew(5)


def test_handles_of_write_many_stand_for_their_tuples(space):
    handles = space.write_many([("h", i) for i in range(3)])
    assert handles[1].cancel()
    assert space.read_all(("h", None)) == [("h", 0), ("h", 2)]


# -- claims


def test_a_claimed_tuple_is_invisible_and_comes_back_to_its_old_place(space):
    space.write_many([("c", i) for i in range(3)])
    claim = space.claim(("c", None))
    assert claim.tuple == ("c", 0)
    assert space.count(("c", None)) == 2
    assert space.read_all(("c", None)) == [("c", 1), ("c", 2)]
    for verb in (space.take, space.read):
        with pytest.raises(MatchTimeoutError):
            verb(("c", 0), 0)
    with pytest.raises(MatchTimeoutError):
        space.claim(("c", 0), timeout=0)
    assert space.status()["claims"] == 1
    claim.release()
    assert space.read_all(("c", None)) == [("c", 0), ("c", 1), ("c", 2)]
    assert space.status()["claims"] == 0


def test_a_released_tuple_goes_to_the_oldest_waiter(space, parked):
    space.write(("c",))
    claim = space.claim(("c",))
    first, second = parked(space, space.take, ("c",)), parked(space, space.take, ("c",), 0.1)
    claim.release()
    assert first.result() == ("c",)
    with pytest.raises(MatchTimeoutError):
        second.result()


def test_confirm_removes_the_tuple_and_writes_in_one_step(space, parked):
    space.write(("task", 1))
    claim = space.claim(("task", None))
    waiting = parked(space, space.take_many, ("result", None), 5)
    claim.confirm([("result", 1), ("result", 2)])
    assert waiting.result() == [("result", 1), ("result", 2)]
    assert space.status()["tuples"] == 0


def test_what_confirm_writes_may_have_a_lease(space):
    space.write(("task",))
    space.claim(("task",)).confirm([("result",)], lease=0.05)
    assert space.notify("delete", ("result",)).next(5).event == "delete"


def test_a_claim_ends_with_its_lease_and_is_stale_for_ever(space):
    space.write(("c",))
    started = time.monotonic()
    claim = space.claim(("c",), lease=0.1)
    assert space.take(("c",), 5) == ("c",)
    assert time.monotonic() - started >= 0.09
    for call in (
        lambda: claim.confirm([("x",)]),
        lambda: claim.renew(write=[("x",)]),
        claim.release,
    ):
        with pytest.raises(ClaimLostError):
            call()
    assert space.count(("x",)) == 0


def test_an_ended_claim_does_not_touch_the_next_claim_of_its_tuple(space):
    space.write(("c",))
    first = space.claim(("c",))
    first.release()
    second = space.claim(("c",))
    for call in (first.confirm, first.release, first.renew):
        with pytest.raises(ClaimLostError):
            call()
    second.confirm([("done",)])
    with pytest.raises(ClaimLostError):
        second.confirm([("done",)])
    assert space.count(("done",)) == 1


def test_renew_keeps_a_claim_and_may_write(space):
    space.write(("c",))
    claim = space.claim(("c",), lease=0.5)
    claim.renew(60, write=[("progress", 1)])
    with pytest.raises(MatchTimeoutError):
        space.take(("c",), 0.6)
    claim.renew()
    assert space.take(("progress", None), 0) == ("progress", 1)
    claim.confirm()


def test_cancelling_a_claimed_tuple_makes_its_confirm_fail(space):
    handle = space.write(("c",))
    claim = space.claim(("c",))
    assert handle.cancel() is True
    with pytest.raises(ClaimLostError):
        claim.confirm([("result",)])
    assert space.status()["tuples"] == 0


def test_its_own_lease_does_not_end_a_claimed_tuple(space):
    space.write(("c", 1), lease=0.4)
    space.write(("c", 2), lease=0.4)
    confirmed, released = space.claim_many(("c", None), 2)
    with pytest.raises(MatchTimeoutError):
        space.take(("c", None), 0.5)
    confirmed.confirm([("result",)])
    released.release()
    assert space.read_all((None,)) == [("result",)]
    assert space.count(("c", None)) == 0


def test_a_with_block_that_raises_releases_its_claim(space):
    space.write(("c",))
    with pytest.raises(KeyError), space.claim(("c",)):
        raise KeyError
    with space.claim(("c",), timeout=0) as claim:
        claim.confirm()
    assert space.count(("c",)) == 0


def test_a_parked_claim_gets_the_next_tuple(space, parked):
    waiting = parked(space, space.claim_many, ("c", None), 5)
    space.write_many([("c", 1), ("c", 2)])
    claims = waiting.result()
    assert [claim.tuple for claim in claims] == [("c", 1), ("c", 2)]
    claims[0].confirm()


def test_the_many_forms_give_one_result_or_error_each(space):
    space.write_many([("c", i) for i in range(4)])
    claims = space.claim_many(("c", None), 3)
    claims[1].release()
    outcomes = space.renew_many(claims)
    assert [type(each) for each in outcomes] == [type(None), ClaimLostError, type(None)]
    outcomes = space.confirm_many([(claim, [("r", claim.tuple[1])]) for claim in claims])
    assert [type(each) for each in outcomes] == [type(None), ClaimLostError, type(None)]
    assert space.read_all(("r", None)) == [("r", 0), ("r", 2)]
    fresh = space.claim(("c", 3))
    outcomes = space.release_many([fresh, claims[0]])
    assert [type(each) for each in outcomes] == [type(None), ClaimLostError]
    assert space.read_all(("c", None)) == [("c", 1), ("c", 3)]
    assert space.confirm_many([]) == space.renew_many([]) == space.release_many([]) == []


def test_swap_replaces_the_oldest_match_or_says_at_once_that_there_is_none(space, parked):
    space.write_many([("s", 1), ("s", 2)])
    waiting = parked(space, space.take, ("t", None))
    assert space.swap(("s", None), ("t", 1)) == ("s", 1)
    assert waiting.result() == ("t", 1)
    with pytest.raises(MatchTimeoutError):
        space.swap(("none",), ("t", 2))
    assert space.read_all((None, None)) == [("s", 2)]


# -- notify


def test_what_swap_writes_may_have_a_lease(space, eventually):
    space.write(("k", 1))
    assert space.swap(("k", None), ("k", 2), lease=0.4) == ("k", 1)
    assert space.count(("k", 2)) == 1
    eventually(lambda: space.count(("k", 2)) == 0)


@pytest.mark.parametrize(
    "field, hint",
    [
        (object, "ANY"),
        (..., "ANY"),
        ({1, 2}, "OneOf"),
        (int | str, "OneOf"),
        (set, "int, str, float"),
    ],
)
def test_what_is_no_template_is_refused_with_what_may_have_been_meant(space, field, hint):
    with pytest.raises(InvalidTemplateError, match=hint):
        space.read(("k", field), 0)


@pytest.mark.parametrize("field", [ANY, Between(1, 2), OneOf(1), Exactly(1), [ANY], {"k": ANY}])
def test_what_is_for_templates_cannot_be_written(space, field):
    with pytest.raises(InvalidTupleError, match="for templates"):
        space.write(("k", field))


@pytest.mark.parametrize(
    "verb", ["take", "write", "claim", "notify", "keep", "swap", "explain", "claimed"]
)
def test_help_tells_what_a_verb_does_and_not_where_that_stands(space, verb):
    told = inspect.getdoc(getattr(space, verb))
    assert told == inspect.getdoc(getattr(Space, verb))
    assert not told.startswith("See")


def test_notify_tells_every_event_in_order_with_its_number(space):
    events = space.notify(None, ("n", int))
    writes = space.notify("write", ("n", None))
    space.write(("n", 1))
    space.write(("n", "other"))
    space.take(("n", 1))
    handle = space.write(("n", 2))
    claim = space.claim(("n", 2))
    claim.release()
    handle.cancel()
    space.write(("n", 3))
    space.claim(("n", 3)).confirm()
    space.write(("n", 4), lease=0.01)
    got = [events.next(5) for _ in range(8)]
    assert [tuple(event) for event in got] == [
        ("write", ("n", 1)), ("take", ("n", 1)), ("write", ("n", 2)), ("delete", ("n", 2)),
        ("write", ("n", 3)), ("take", ("n", 3)), ("write", ("n", 4)), ("delete", ("n", 4)),
    ]  # fmt: skip
    assert [event.sequence for event in got] == list(range(1, 9))
    assert [writes.next(0).tuple[1] for _ in range(5)] == [1, "other", 2, 3, 4]


def test_swap_tells_of_a_take_and_a_write(space):
    space.write(("n", 1))
    events = space.notify(None, ("n", None))
    space.swap(("n", 1), ("n", 2))
    assert [tuple(events.next(0)) for _ in range(2)] == [("take", ("n", 1)), ("write", ("n", 2))]


def test_a_notify_waits_for_the_next_event_and_times_out(space, background, eventually):
    events = space.notify("write", ("n", None))
    with pytest.raises(MatchTimeoutError):
        events.next(0)
    with pytest.raises(MatchTimeoutError):
        events.next(0.05)
    waiting = background(next, events)
    space.write(("n", 1))
    assert tuple(waiting.result()) == ("write", ("n", 1))


def test_a_notify_ends_with_close_at_the_end_of_its_lease(space):
    events = space.notify(None, ("n",), lease=0.5)
    space.write(("n",))
    assert [tuple(event) for event in events] == [("write", ("n",)), ("close", None)]
    assert list(events) == []
    assert space.status()["subscriptions"] == 0


def test_cancel_ends_a_notify_another_thread_waits_on(space, background, eventually):
    events = space.notify(None, ("n",))
    before = space.status()["operations"]
    waiting = background(list, events)
    eventually(lambda: space.status()["operations"] >= before + 2)
    events.cancel()
    assert [tuple(event) for event in waiting.result()] == [("close", None)]
    events.cancel()
    assert space.status()["subscriptions"] == 0


def test_a_subscriber_that_falls_far_behind_gets_one_overflow(space):
    events = space.notify("write", ("n", None))
    space.write_many([("n", i) for i in range(10_001)])
    assert tuple(events.next(5)) == ("overflow", None)
    space.write(("n", "after"))
    assert tuple(events.next(5)) == ("write", ("n", "after"))


# -- the rest


def test_claimed_shows_what_is_claimed_and_nothing_else(space):
    space.write_many([("k", number) for number in range(4)])
    space.write(("other", 0))
    second, _ = space.claim(("k", 2)), space.claim(("k", 0))
    space.claim(("other", 0))

    assert space.claimed(("k", None)) == [("k", 2), ("k", 0)]
    assert space.claimed(("k", Between(1, 9))) == [("k", 2)]
    assert space.read_all(("k", None)) == [("k", 1), ("k", 3)]
    second.release()
    assert space.claimed(("k", None)) == [("k", 0)]
    assert space.claimed(("nobody", None)) == []


def test_explain_says_how_a_search_would_be_answered_and_searches_nothing(space):
    space.write_many([("k", number % 10, number) for number in range(200)])
    template = ("k", 3, None)
    unindexed = {"ready": 200, "candidates": 200, "by": None, "position": None}
    assert {**space.explain(template), "indexes": None} == {**unindexed, "indexes": None}
    assert list(space.explain(template)["indexes"]) == []
    space.take(("k", 9, None))  # a search that passes some others, but not enough to mind
    assert space.explain(template)["by"] is None
    assert space.count(template) == 20
    explained = space.explain(template)
    assert (explained["candidates"], explained["by"], explained["position"]) == (20, "value", 1)
    assert space.explain(("k", 77, None))["candidates"] == 0
    assert space.explain(("no", "such", "shape", 4))["ready"] == 0
    with pytest.raises(InvalidTemplateError):
        space.explain(("k", object()))


def test_status_is_a_plain_dict_with_its_figures(space, parked):
    space.write_many([("s", 1), ("s", 2)])
    claim = space.claim(("s", 1))
    waiting = parked(space, space.take, ("other",))
    status = space.status()
    assert type(status) is dict
    assert (status["tuples"], status["waiters"], status["claims"]) == (2, 1, 1)
    assert status["connections"] >= 1
    assert status["operations"] >= 4
    assert 0 <= status["oldest_ready_seconds"] < 60
    claim.release()
    space.write(("other",))
    waiting.result()


def test_close_wakes_blocked_calls_and_refuses_new_ones(space, parked, background):
    calls = [parked(space, space.take, ("no",)), parked(space, space.read, ("no",), 30)]
    calls.append(background(space.notify(None, ("no",)).next))
    space.close()
    for call in calls:
        with pytest.raises((ClosedError, StopIteration)):
            call.result(5)
    for verb in (space.take, space.count, space.write):
        with pytest.raises(ClosedError):
            verb(("no",))
    space.close()


def test_threads_that_write_and_take_lose_and_double_nothing(space, background):
    each, threads, taken = 150, 6, []

    def write(number):
        for i in range(0, each, 5):
            space.write(("h", number, i))
            space.write_many([("h", number, i + k) for k in range(1, 5)])

    def take(number):
        mine = []
        while True:
            if number == 0:
                claims = space.claim_many(("h", None, None), 7)
                space.confirm_many([(claim, []) for claim in claims])
                got = [claim.tuple for claim in claims]
            elif number == 1:
                got = space.take_many(("h", None, None), 5)
            elif number == 2:
                claim = space.claim(("h", None, None))
                claim.release()
                continue_with = space.take(("h", None, None))
                got = [continue_with]
            else:
                got = [space.take(("h", None, None))]
            mine += [value for value in got if value[1] != "stop"]
            stops = sum(value[1] == "stop" for value in got)
            if stops:
                space.write_many([("h", "stop", 0)] * (stops - 1))
                return mine

    takers = [background(take, number) for number in range(threads)]
    for writer in [background(write, number) for number in range(threads)]:
        writer.result(20)
    space.write_many([("h", "stop", 0)] * threads)
    for taker in takers:
        taken += taker.result(20)
    assert sorted(taken) == [("h", n, i) for n in range(threads) for i in range(each)]
    assert space.status()["tuples"] == 0


def test_ctrl_c_in_a_blocked_take_swallows_no_tuple(space, background, eventually):
    main = threading.main_thread().ident

    def interrupt():
        eventually(lambda: space.status()["waiters"] == 1)
        signal.pthread_kill(main, signal.SIGINT)

    for _ in range(3):
        interrupting = background(interrupt)
        with pytest.raises(KeyboardInterrupt):
            space.take(("k",), 20)
        interrupting.result()
        space.write(("k",))
        assert space.take(("k",), 5) == ("k",)
    assert space.status()["tuples"] == space.status()["waiters"] == 0


def test_every_error_survives_pickling():
    classes = [
        each for each in vars(tuplespace).values()
        if isinstance(each, type) and issubclass(each, TupleSpaceError)
    ]  # fmt: skip
    assert len(classes) >= 13
    for cls in classes:
        copy = pickle.loads(pickle.dumps(cls("what happened")))
        assert type(copy) is cls
        assert str(copy) == "what happened"
    unreachable = pickle.loads(pickle.dumps(SpaceUnreachableError("m", True)))
    assert unreachable.outcome_unknown is True
    full = pickle.loads(pickle.dumps(SpaceFullError("m", 10, 12, 0.5)))
    assert (full.limit, full.size, full.retry_after) == (10, 12, 0.5)


@pytest.mark.parametrize(
    ("error", "builtin"),
    [(MatchTimeoutError, TimeoutError), (SpaceUnreachableError, ConnectionError),
     (ClaimLostError, LookupError), (InvalidTupleError, TypeError),
     (InvalidTemplateError, TypeError), (InvalidArgumentError, ValueError),
     (AuthenticationError, PermissionError)],
)  # fmt: skip
def test_every_error_is_also_what_python_would_raise(error, builtin):
    assert issubclass(error, builtin)
    assert issubclass(error, TupleSpaceError)
