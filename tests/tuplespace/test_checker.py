"""The checker, on histories written by hand: what it must see, and what it must let pass."""

from __future__ import annotations

import pytest

from history.checker import check
from history.recorder import History, Op


def history(*lines, drained=None, end=100.0, deaths=()):
    """Make a history: each line is (client, verb, began, ended, details)."""
    made = History()
    for number, (client, verb, began, ended, details) in enumerate(lines, 1):
        details.setdefault("outcome", "ok" if ended is not None else "unknown")
        made.ops.append(Op(client, number, verb, began=began, ended=ended, **details))
    made.drained, made.end, made.deaths = drained, end, dict(deaths)
    return made


def write(began, ended, *values, client="ann", **details):
    return client, "write", began, ended, {"written": values, **details}


def take(began, ended, *found, template=("a", None), client="bob", verb="take", **details):
    details.setdefault("outcome", "ok" if found else "no match" if ended else "unknown")
    return client, verb, began, ended, {"template": template, "found": list(found), **details}


def read(*args, **details):
    return take(*args, verb="read", **details)


def count(began, ended, number):
    return "bob", "count", began, ended, {"template": ("a", None), "found": number}


def about(verb, began, ended, what, outcome="ok", **details):
    return "bob", verb, began, ended, {"about": what, "outcome": outcome, **details}


A, B, C = ("a", 1), ("a", 2), ("a", 3)
CLAIM = ("bob", 2, 0)

WRONG = {
    "lost": [
        history(write(1, 2, A), drained=50),
        history(write(1, 2, A, B), take(3, 4, A), drained=50),
        # The dead taker took one of them, not both.
        history(write(1, 2, A), write(3, 4, B), take(5, None, client="dead"), drained=50,
                deaths={"dead": 6}),
        # It was dead before the tuple came.
        history(take(1, None, client="dead"), write(3, 4, A), drained=50, deaths={"dead": 2}),
    ],
    "twice": [
        history(write(1, 2, A), take(3, 4, A), take(3, 5, A)),
        history(write(1, 2, A), take(3, 4, A, verb="claim", lease=30), take(5, 6, A, verb="claim")),
        history(write(1, 2, A), take(3, 4, A, A, verb="take_many", limit=5)),
    ],
    "phantom": [
        history(take(3, 4, A)),
        history(take(1, 2, A), write(3, 4, A)),
        history(write(1, 2, A, outcome="error"), read(3, 4, A)),
    ],
    "gone": [history(write(1, 2, A), take(3, 4, A), read(5, 6, A))],
    "claimed": [history(write(1, 2, A), take(3, 4, A, verb="claim", lease=30), read(5, 6, A))],
    "lease": [history(write(1, 2, A, lease=1.0), read(3.1, 4, A))],
    "template": [history(write(1, 2, ("b", 1)), read(3, 4, ("b", 1)))],
    "limit": [history(write(1, 2, A, B), take(3, 4, A, B, verb="take_many", limit=1))],
    "order": [
        history(write(1, 2, A), write(3, 4, B), take(5, 6, B)),
        history(write(1, 2, A, B), take(5, 6, B)),
        history(write(1, 2, A, B), take(5, 6, B, A, verb="read_all")),
        history(write(1, 2, A), take(3, 4, A, verb="claim"), about("release", 5, 6, CLAIM),
                write(7, 8, B), take(9, 10, B)),
    ],
    "missed": [
        history(write(1, 2, A), take(3, 4)),
        history(write(1, 2, A, lease=5.0), read(3, 4)),
        history(write(1, 2, A), write(1, 2, B), take(3, 4, A, verb="take_many", limit=5)),
        # It was parked when the tuple came, and told at its timeout that none had come.
        history(take(1, 6, timeout=5), write(3, 3.5, A), take(5, 5.5, A)),
        # A swap's tuples are one that is always there.
        history(write(1, 2, A), ("ann", "swap", 3, 6, {"template": A, "found": [A], "written": [B]}),
                read(4, 5), take(7, 8, B)),
    ],
    "count": [
        history(write(1, 2, A), count(3, 4, 0)),
        history(write(1, 2, A), take(3, 4, A), count(5, 6, 1)),
    ],
    "batch": [
        history(write(1, 9, A, B), take(2, 3, A, verb="take_many", limit=2), take(10, 11, B)),
    ],
    "claim": [
        history(write(1, 2, A), take(3, 4, A, verb="claim", lease=1.0), about("confirm", 6, 7, CLAIM)),
        history(write(1, 2, A), take(3, 4, A, verb="claim", lease=30.0),
                about("confirm", 6, 7, CLAIM, "refused")),
        history(write(1, 2, A), take(3, 4, A, verb="claim"), about("confirm", 5, 6, CLAIM),
                about("confirm", 5, 6, CLAIM)),
        history(write(1, 2, A), take(3, 4, A, verb="claim"), about("release", 5, 6, CLAIM),
                about("renew", 7, 8, CLAIM)),
    ],
    "handle": [
        history(write(1, 2, A), about("cancel", 3, 4, A, found=False)),
        history(write(1, 2, A), about("renew_entry", 3, 4, A, "refused")),
        history(write(1, 2, A), take(3, 4, A), about("renew_entry", 5, 6, A)),
    ],
    "timeout": [history(take(1, 2, timeout=5))],
    "liveness": [
        history(take(1, 20, timeout=5)),
        history(take(1, None), write(2, 3, A)),
        history(take(1, 20, A), write(2, 3, A)),
    ],
}  # fmt: skip

RIGHT = [
    history(write(1, 2, A), take(3, 4, A), drained=50),
    history(write(1, 2, A, lease=5.0), drained=50),
    history(write(1, 2, A), take(1, None, client="dead"), drained=50, deaths={"dead": 3}),
    history(write(1, None, A), drained=50),
    history(write(1, None, A, B), take(3, 4, A), take(5, 6, B), drained=50),
    history(write(1, 4, A), take(2, 3)),
    history(write(1, 4, A), take(2, 3, A)),
    history(write(1, 2, A), take(3, 6, A), read(4, 7, A)),
    history(write(1, 2, A), take(3, 6, A), read(4, 7)),
    history(write(1, 3, A), write(2, 4, B), take(5, 6, B), take(7, 8, A)),
    history(write(1, 2, A), take(3, 4, A, verb="claim", lease=1.0), take(4.5, 5, A)),
    history(write(1, 2, A), take(3, 4, A, verb="claim", lease=1.0), take(4.5, 5)),
    history(write(1, 2, A), take(3, 4, A, verb="claim", lease=2.0),
            about("confirm", 5, 7, CLAIM, "refused"), take(8, 9, A)),
    # Who claimed first is not clear, but there is an order in which both are right.
    history(write(1, 2, A), take(3, 9, A, verb="claim", lease=1.0),
            take(4.5, 5, A, verb="claim", client="cleo"), about("confirm", 6, 7, ("cleo", 3, 0))),
    history(write(1, 2, A), count(1, 3, 0), count(4, 5, 1), take(6, 8, A), count(7, 9, 0)),
    history(take(1, 6, timeout=5), write(5.9, 6.5, A)),
    # The dead client's swap has written; what it took nobody knows.
    history(write(1, 2, A), ("dead", "swap", 3, None, {"template": A, "written": [B]}),
            take(5, 6, B), drained=50, deaths={"dead": 4}),
    # The dead client's claim hid the tuple until its session was over.
    history(write(1, 2, A), take(3, None, verb="claim", client="dead", lease=30), read(6, 7),
            take(20, 21, A), drained=50, deaths={"dead": 5}),
]  # fmt: skip


@pytest.mark.parametrize(
    "rule, number",
    [(rule, number) for rule, cases in WRONG.items() for number in range(len(cases))],
)
def test_the_checker_sees(rule, number):
    found = check(WRONG[rule][number])
    assert rule in {violation.partition(":")[0] for violation in found}, found


@pytest.mark.parametrize("number", range(len(RIGHT)))
def test_the_checker_lets_pass_what_may_have_been(number):
    assert check(RIGHT[number]) == []


def notified(*events, end=30.0, kind=None, **details):
    """Somebody writes and takes while another listens, who hears this."""
    lines = [("ear", "notify", 1, 2, {"template": ("a", None), "about": kind, **details})]
    lines += [write(3, 4, A), take(5, 6, A), write(7, 8, B)]
    lines += [
        ("ear", "next_events", 10 + n, 10.5 + n, {"about": ("ear", 1), "found": [event]})
        for n, event in enumerate(events)
    ]
    wait = {"about": ("ear", 1), "outcome": "no match"}
    return history(*lines, ("ear", "next_events", end, end, wait))


W, T, V = (1, "write", A), (2, "take", A), (3, "write", B)


def test_events_that_tell_all_in_order_pass():
    assert check(notified(W, T, V)) == []
    assert check(notified((1, "take", A), kind="take")) == []


@pytest.mark.parametrize(
    "events",
    [
        (W, T), (W, (2, "write", B)), (W, T, (4, "write", B)), ((1, "take", A), (2, "write", A), V),
        (W, T, V, (4, "write", B)), (W, T, V, (4, "take", B)), (W, T, V, (4, "write", C)),
        (W, T, V, (4, "close", None)), (W, T, (3, "delete", A)),
    ],
)  # fmt: skip
def test_events_with_a_gap_a_repeat_or_an_invention_are_seen(events):
    assert [each for each in check(notified(*events)) if each.startswith("events:")]


def test_two_writes_of_equal_tuples_are_too_much_for_the_checker():
    with pytest.raises(ValueError, match="unique"):
        check(history(write(1, 2, A), write(3, 4, A)))
