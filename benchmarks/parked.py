"""Ten thousand connections and ten thousand parked takes: memory, hand-off, what others feel."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from statistics import median, quantiles

from benchmarks.children import Child, allow_open_files
from benchmarks.measure import (
    MANY_ROUNDS,
    Figures,
    Work,
    against,
    figure,
    goal,
    in_turn,
    memory,
    ratio,
    show,
    space_process,
    timed,
)
from benchmarks.peers import Rinda, no_rinda, raw_pyro5, rinda
from tuplespace import RemoteSpace

CONNECTIONS = 10_000
HOLDERS = 4
CONNECTION_ROUNDS = 3
#: Files a server has open besides its connections.
SPARE = 100
#: How many takers wait in the space whose hand-off is compared, and in Rinda.
FEW = 16
RINDA_PARKED = 200
HAND_OFFS = 500
WRITES = 1_000
RINDA_WRITES = 50
PAYLOAD = b"x" * 16
COMMAND = "invoke bench space"


def tables() -> None:
    """Print both tables."""
    count = min(CONNECTIONS, allow_open_files(CONNECTIONS + SPARE) - SPARE)
    scaled = "" if count == CONNECTIONS else f" (this system allows no more than {count:,})"
    connections(count, scaled)
    parked(count, scaled)


@contextmanager
def holders(count: int, *arguments: str) -> Iterator[list[Child]]:
    """Start processes that will hold connections."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                Child(sys.executable, "-m", "benchmarks.holder", *arguments, f"park{number}")
            )
            for number in range(count)
        ]


def spread(count: int, children: list[Child], verb: str) -> None:
    """Have every child connect its share, all at the same time."""
    shares = [count // len(children) + (n < count % len(children)) for n in range(len(children))]
    for child, share in zip(children, shares, strict=True):
        child.tell(do=[verb, share])
    for child in children:
        child.hear()


def connections(count: int, scaled: str) -> None:
    """Time connecting and proving the key, against a stock daemon that asks for none."""

    def ours() -> Mapping[str, float]:
        with ExitStack() as stack:
            space, key_file, _, pid = stack.enter_context(space_process())
            children = stack.enter_context(holders(HOLDERS, space.uri, key_file))
            return measured("space", pid, children, "connect")

    def peer() -> Mapping[str, float]:
        with raw_pyro5() as (uri, pid), holders(HOLDERS, uri, "") as children:
            return measured("raw", pid, children, "connect_stock")

    def measured(who: str, pid: int, children: list[Child], verb: str) -> Mapping[str, float]:
        spread(HOLDERS * 2, children, verb)  # each has started and imported what it needs
        before, started = memory(pid), time.perf_counter()
        spread(count, children, verb)
        seconds = time.perf_counter() - started
        return {
            f"{who} rate": count / seconds,
            f"{who} seconds": seconds,
            f"{who} bytes": (memory(pid) - before) / count,
        }

    found = in_turn(ours, peer, rounds=CONNECTION_ROUNDS, warm=False)
    show(
        f"{count:,} connections, opened by {HOLDERS} processes at once{scaled}",
        COMMAND,
        [
            ("raw Pyro5, stock daemon and proxies, no key", figure(found["raw rate"], "/s"), "1", ""),
            ("connect and prove the key", figure(found["space rate"], "/s"),
             against(found["space rate"], found["raw rate"], "raw Pyro5"), ""),
            ("until all were in", figure(found["space seconds"], "s"), "", ""),
            ("server memory a connection, raw Pyro5", figure(found["raw bytes"], "bytes"), "1", ""),
            ("server memory a connection", figure(found["space bytes"], "bytes"),
             against(found["space bytes"], found["raw bytes"], "raw Pyro5"), ""),
        ],
        CONNECTION_ROUNDS,
    )  # fmt: skip


def parked(count: int, scaled: str) -> None:
    """Measure a space in which many wait, one in which few do, one in which nobody does; Rinda."""
    with ExitStack() as stack:
        empty, _, _, _ = stack.enter_context(space_process())
        quiet, quiet_key, _, _ = stack.enter_context(space_process())
        crowded, crowded_key, _, pid = stack.enter_context(space_process())
        few = stack.enter_context(holders(1, quiet.uri, quiet_key))
        many = stack.enter_context(holders(HOLDERS, crowded.uri, crowded_key))
        before = memory(pid)
        park(FEW, few, quiet)
        park(count, many, crowded)
        held = memory(pid)
        works = [
            timed("write, none", WRITES, lambda: write(empty)),
            timed("write, many", WRITES, lambda: write(crowded)),
            timed("write, near", WRITES, lambda: write(crowded, 0)),
            lambda: percentiles("few", few[0].ask(do=["hand_off", HAND_OFFS])),
            lambda: percentiles("many", many[0].ask(do=["hand_off", HAND_OFFS])),
        ]
        lonely, busy = stack.enter_context(rinda()), stack.enter_context(rinda())
        if lonely is not None and busy is not None:
            busy.do("park", RINDA_PARKED)
            works += rinda_works(lonely, busy)
        found = in_turn(*works)
    memory_goal = goal(held / 1e6, "<=", 150, "MB")
    rows = [
        ("server memory", f"{held / 1e6:.1f} MB", f"{(held - before) / count:,.0f} bytes a "
         "parked take, its connection included", memory_goal),
        ("write with no take parked", figure(found["write, none"], "/s"), "1", ""),
        *(
            (f"write with {count:,} {kind}", figure(found[name], "/s"),
             f"costs {against(found['write, none'], found[name], 'that')}",
             goal(ratio(found["write, none"], found[name]), "<=", 1.2, "x its cost with none"))
            for name, kind in (("write, many", "unrelated takes parked"),
                               ("write, near", "parked, some for the same number and another name"))
        ),
        *rinda_rows(found),
        *hand_off_rows(found, "few", f"{FEW} parked"),
        *hand_off_rows(found, "many", f"{count:,} parked"),
    ]  # fmt: skip
    title = f"{count:,} parked takes of {HOLDERS} client processes{scaled}"
    show(title, COMMAND, rows, MANY_ROUNDS)


def park(count: int, children: list[Child], space: RemoteSpace) -> None:
    """Connect and park, and see that the space has them all."""
    spread(count + len(children), children, "connect")  # one of each writes
    assert sum(child.ask(do=["park"]) for child in children) == count
    waiters = 0
    for _ in range(100):  # the last ones may be on their way
        waiters = space.status()["waiters"]
        if waiters == count:
            return
    raise RuntimeError(f"{waiters} of {count} takes are parked")


def write(space: RemoteSpace, first: int = CONNECTIONS) -> None:
    """Write what nobody waits for; those who wait have smaller numbers than `CONNECTIONS`."""
    for number in range(first, first + WRITES):
        space.write(("task", number, PAYLOAD))


def rinda_works(lonely: Rinda, busy: Rinda) -> list[Work]:
    """Return the same for Rinda."""
    return [
        lambda: {"rinda write, none": lonely.do("write", RINDA_WRITES)},
        lambda: {"rinda write, many": busy.do("write", RINDA_WRITES)},
        lambda: percentiles("rinda", busy.do("hand_off", 2 * RINDA_WRITES)),
    ]


def percentiles(who: str, seconds: list[float]) -> Mapping[str, float]:
    """Return the median and the 99th percentile, in microseconds."""
    return {
        f"{who} p50": 1e6 * median(seconds),
        f"{who} p99": 1e6 * quantiles(seconds, n=100)[98],
    }


def rinda_rows(found: Figures) -> list[tuple[str, str, str, str]]:
    """Return the rows of what Rinda did, or why it did nothing."""
    if no_rinda():
        return [("Rinda", no_rinda(), "", "")]
    none, many = found["rinda write, none"], found["rinda write, many"]
    return [
        ("Rinda: write with no take parked", figure(none, "/s"), "1", ""),
        (f"Rinda: write with {RINDA_PARKED} unrelated takes parked", figure(many, "/s"),
         f"costs {against(none, many, 'that')}", ""),
        *hand_off_rows(found, "rinda", f"Rinda, {RINDA_PARKED} parked"),
    ]  # fmt: skip


def hand_off_rows(found: Figures, who: str, what: str) -> list[tuple[str, str, str, str]]:
    """Return the rows of p50 and p99 from a write to the taker's having the tuple."""
    rows = []
    for each in ("p50", "p99"):
        values, compared = found[f"{who} {each}"], ""
        if who == "many":
            compared = against(values, found[f"few {each}"], f"with {FEW} parked")
            if f"rinda {each}" in found:
                compared += f", {against(values, found[f'rinda {each}'], 'Rinda')}"
        rows.append((f"hand-off, {what}, {each}", figure(values, "us"), compared, ""))
    return rows
