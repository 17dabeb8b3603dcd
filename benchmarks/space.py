"""A tuple space against raw Pyro5, Rinda and Redis: calls, batches, a million tuples, parked takes."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from statistics import median
from typing import Any

from benchmarks import million, parked
from benchmarks.measure import (
    MANY_ROUNDS,
    Work,
    against_all,
    figure,
    goal,
    in_turn,
    peer_rows,
    ratio,
    show,
    space_server,
    timed,
    timed_pair,
)
from benchmarks.peers import echo, no_redis, no_rinda, raw_pyro5, redis, rinda
from tuplespace.wire import pack

COMMAND = "invoke bench space"
CALLS = 1_000
BATCH = 1_000
BATCHES = 20
TUPLE = ("task", 1, b"x" * 16)
BY_KEY = ("task", 1, None)


def main() -> None:
    """Print the tables."""
    round_trips()
    batches()
    million.table()
    parked.tables()


def round_trips() -> None:
    """One client, one call at a time; each write is followed by its take."""
    with ExitStack() as stack:
        space, _, _ = stack.enter_context(space_server())
        uri, _ = stack.enter_context(raw_pyro5())
        call = stack.enter_context(echo(uri))
        ruby, store = stack.enter_context(rinda()), stack.enter_context(redis())

        def raw() -> None:
            for _ in range(CALLS):
                call(TUPLE)

        works = [
            timed("raw", CALLS, raw),
            timed_pair(
                ("write", "take"), 1,
                lambda: space.write(TUPLE), lambda: space.take(BY_KEY, timeout=30), CALLS,
            ),
        ]  # fmt: skip
        if ruby is not None:
            works.append(lambda: {f"rinda {k}": v for k, v in ruby.do("pairs", CALLS).items()})
        if store is not None:
            client, element = store[0], pack(TUPLE)
            works.append(
                timed_pair(
                    ("lpush", "rpop"), 1,
                    lambda: client.lpush("k", element), lambda: client.rpop("k"), CALLS,
                )
            )  # fmt: skip
        found = in_turn(*works)
    writes, takes = found["write"], found["take"]
    safe = goal(ratio(takes, found["rinda take"]), ">=", 2, "x Rinda's") if ruby else ""
    rows = [
        ("raw Pyro5: echo of the same tuple (msgpack)", figure(found["raw"], "/s"), "1", ""),
        *peer_rows("Rinda", no_rinda(), found, {"rinda write": "write", "rinda take": "safe take"}),
        *peer_rows("Redis", no_redis(), found, {"lpush": "LPUSH", "rpop": "RPOP"}),
        ("write", figure(writes, "/s"),
         against_all(found, "write", {"raw": "raw Pyro5", "rinda write": "Rinda", "lpush": "Redis"}),
         goal(ratio(writes, found["raw"]), ">=", 0.8, "x raw Pyro5")),
        ("take by key", figure(takes, "/s"),
         against_all(found, "take", {"raw": "raw Pyro5", "rinda take": "Rinda", "rpop": "Redis"}),
         goal(ratio(takes, found["raw"]), ">=", 0.8, "x raw Pyro5") + (safe and f"; {safe}")),
    ]  # fmt: skip
    show("Round trips, one client, one call at a time", COMMAND, rows, MANY_ROUNDS)


def batches() -> None:
    """Many tuples a call, against Redis with many commands a round trip, and one for many."""
    tuples = [("task", number, b"x" * 16) for number in range(BATCH)]

    with ExitStack() as stack:
        space, _, _ = stack.enter_context(space_server())
        store = stack.enter_context(redis())

        def take_many() -> None:
            assert len(space.take_many(("task", None, None), BATCH, timeout=30)) == BATCH

        works = [
            timed_pair(
                ("write", "take"), BATCH, lambda: space.write_many(tuples), take_many, BATCHES
            )
        ]
        if store is not None:
            works += redis_works(store[0], [pack(each) for each in tuples])
        found = in_turn(*works)
    rows = [
        *peer_rows("Redis", no_redis(), found, {
            "lpush": f"redis-py pipeline of {BATCH:,} LPUSH",
            "rpop": f"redis-py pipeline of {BATCH:,} RPOP",
            "lpush many": f"one LPUSH of {BATCH:,}", "rpop many": f"one RPOP of {BATCH:,}",
        }),
        *(
            (f"{verb}_many, {BATCH:,} a call", figure(found[verb], "tuples/s"),
             against_all(found, verb, {peer: "the pipeline", f"{peer} many": "one command"}),
             goal(median(found[verb]), ">=", 200_000, "tuples/s"))
            for verb, peer in (("write", "lpush"), ("take", "rpop"))
        ),
    ]  # fmt: skip
    title = "Batches, one client (Redis: the tuples packed before and left packed)"
    show(title, COMMAND, rows, MANY_ROUNDS)


def redis_works(client: Any, elements: list[bytes]) -> list[Work]:
    """Return what pushes and pops as many, with a command for each and with one for all."""

    def pipelined(add: Callable[[Any, bytes], object]) -> None:
        pipeline = client.pipeline(transaction=False)
        for element in elements:
            add(pipeline, element)
        assert None not in pipeline.execute()

    return [
        timed_pair(
            ("lpush", "rpop"), BATCH,
            lambda: pipelined(lambda pipeline, element: pipeline.lpush("k", element)),
            lambda: pipelined(lambda pipeline, _: pipeline.rpop("k")), BATCHES,
        ),
        timed_pair(
            ("lpush many", "rpop many"), BATCH,
            lambda: client.lpush("k", *elements), lambda: client.rpop("k", BATCH), BATCHES,
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
