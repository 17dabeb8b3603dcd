"""A random history of appends that follows from its seed alone, and the state after each of them."""

from __future__ import annotations

import math
import random
from typing import Any

from tuplespace.store.interface import (
    CLAIM,
    EXPIRES,
    FORGET,
    GONE,
    LISTEN,
    PUT,
    REPLY,
    UNCLAIM,
    UNLISTEN,
    Change,
    Contents,
)  # fmt: skip

#: What a store holds: ("entry", id), ("reply", session, lane) or ("subscription", number) -> the rest.
State = dict[tuple[Any, ...], Any]
#: The lane whose kept reply says how many appends there were: no two states are alike.
COUNTER = ("reply", "ledger", 0)


def state_of(contents: Contents) -> State:
    """Return the state that a store has loaded."""
    state: State = {}
    for entry in contents.entries:
        claim = tuple(entry.claim) if entry.claim else None
        state["entry", entry.id] = (entry.value, entry.written, entry.expires, claim)
    for session, lane, number, reply in contents.replies:
        state["reply", session, lane] = (number, reply)
    for number, session, kind, template, expires in contents.subscriptions:
        state["subscription", number] = (session, kind, template, expires)
    return state


def count_of(state: State) -> int:
    """Return after how many appends a store holds this."""
    return int(state[COUNTER][0]) if COUNTER in state else 0


def clock(count: int) -> float:
    """Return the space's clock at an append."""
    return 1000.0 + count / 8


class Ledger:
    """Goes on from a state: `next` makes an append's changes, `states[n]` is what n appends make."""

    def __init__(self, seed: str, life: int, states: list[State] | None = None) -> None:
        self._seed = f"{seed}/{life}"
        self.states: list[State] = [{}] if states is None else states

    def next(self) -> tuple[list[Change], float]:
        """Return the changes of the next append, and the space's clock."""
        count = len(self.states)
        chance = random.Random(f"{self._seed}/{count}")
        state = dict(self.states[-1])
        changes: list[Change] = []
        for number in range(chance.choice([1, 1, 2, 3, 8])):
            change = _change(chance, state, count * 100 + number, clock(count))
            apply(state, change)
            changes.append(change)
        counter: Change = (REPLY, *COUNTER[1:], count, chance.randbytes(chance.randrange(40)))
        apply(state, counter)
        changes.append(counter)
        self.states.append(state)
        return changes, clock(count)


def _value(chance: random.Random, unique: int) -> Any:
    size = chance.choice([0, 10, 100, 100, 1000, 6000])
    return chance.choice([
        ("task", unique, chance.randbytes(size)),
        {"name": "unique", "number": unique, "payload": chance.randbytes(size)},
        ("\u00fc\u4e00\U0001f600", unique, None, True, 1.5, 1 << 80, ("nested", [1, {"a": b""}]), -0.25),
        (unique,),
    ])  # fmt: skip


def _change(chance: random.Random, state: State, unique: int, now: float) -> Change:
    entries = [key[1] for key in state if key[0] == "entry"]
    claimed = [id for id in entries if state["entry", id][3]]
    ready = [id for id in entries if not state["entry", id][3]]
    subscriptions = [key[1] for key in state if key[0] == "subscription"]
    expires = chance.choice([math.inf, now + 1e6 + chance.random()])
    kind = chance.choice(
        [PUT] * 4
        + [GONE] * 4
        + [CLAIM] * 2
        + [REPLY] * 2
        + [EXPIRES, UNCLAIM, FORGET, LISTEN, UNLISTEN]
    )
    session = f"session-{chance.randrange(4)}"
    if kind == GONE and len(entries) > 30:
        return (GONE, chance.choice(entries))
    if kind == EXPIRES and entries:
        return (EXPIRES, chance.choice(entries), expires)
    if kind == CLAIM and ready:
        return (CLAIM, chance.choice(ready), unique, session, 30.0 + chance.random())
    if kind == UNCLAIM and claimed:
        return (UNCLAIM, chance.choice(claimed))
    if kind == REPLY:
        return (
            REPLY,
            session,
            chance.randrange(3),
            unique,
            chance.randbytes(chance.choice([5, 500])),
        )
    if kind == FORGET:
        return (FORGET, session)
    if kind == LISTEN:
        event = chance.choice(["write", "take", "delete", None])
        return (LISTEN, unique, session, event, chance.randbytes(20), expires)
    if kind == UNLISTEN and subscriptions:
        return (UNLISTEN, chance.choice(subscriptions))
    return (PUT, unique, _value(chance, unique), now, expires)


def apply(state: State, change: Change) -> None:
    """Let a change happen to a state: what a store must do, in the fewest words."""
    kind, *rest = change
    if kind == PUT:
        state["entry", rest[0]] = (rest[1], rest[2], rest[3], None)
    elif kind == GONE:
        del state["entry", rest[0]]
    elif kind == EXPIRES:
        value, written, _, claim = state["entry", rest[0]]
        state["entry", rest[0]] = (value, written, rest[1], claim)
    elif kind == CLAIM:
        state["entry", rest[0]] = (*state["entry", rest[0]][:3], tuple(rest[1:]))
    elif kind == UNCLAIM:
        state["entry", rest[0]] = (*state["entry", rest[0]][:3], None)
    elif kind == REPLY:
        state["reply", rest[0], rest[1]] = (rest[2], rest[3])
    elif kind == FORGET:
        for key in [key for key in state if key[:2] == ("reply", rest[0])]:
            del state[key]
    elif kind == LISTEN:
        state["subscription", rest[0]] = tuple(rest[1:])
    elif kind == UNLISTEN:
        del state["subscription", rest[0]]
    else:
        raise AssertionError(f"no such change: {change}")
