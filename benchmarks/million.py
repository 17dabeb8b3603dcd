"""A million tuples: what they weigh, what a keyed take among them costs, against Rinda."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from contextlib import ExitStack

from benchmarks.measure import (
    MANY_ROUNDS,
    against_all,
    figure,
    goal,
    in_turn,
    memory,
    peer_rows,
    ratio,
    show,
    space_process,
)
from benchmarks.peers import Rinda, no_rinda, rinda
from tuplespace import RemoteSpace

COMMAND = "invoke bench space"
FEW, MANY = 1_000, 1_000_000
TAKES = 300
RINDA_PRESENT, RINDA_TAKES = 20_000, 5
BATCH = 10_000


def table() -> None:
    """Print the table."""
    with ExitStack() as stack:
        few, _, _, _ = stack.enter_context(space_process())
        many, _, _, pid = stack.enter_context(space_process())
        ruby = stack.enter_context(rinda())
        fill(few, FEW)
        before, started = memory(pid), time.perf_counter()
        fill(many, MANY)
        filled = time.perf_counter() - started
        weight = (memory(pid) - before) / MANY
        take_and_return(few, [FEW // 2])
        built = take_and_return(many, [MANY // 2])
        indexed = (memory(pid) - before) / MANY
        works = [lambda: keyed("few", few, FEW), lambda: keyed("many", many, MANY)]
        lighter = ""
        if ruby is not None:
            rinda_weight = fill_rinda(ruby)
            lighter = (
                f"{weight / rinda_weight:.2f} x Rinda's {rinda_weight:,.0f} at {RINDA_PRESENT:,}"
            )
            works.append(lambda: rinda_keyed(ruby))
        found = in_turn(*works)
    rows = [
        (f"memory a tuple, {MANY:,} of three fields", f"{weight:,.0f} bytes", lighter, ""),
        ("the same with an index of as many values", f"{indexed:,.0f} bytes", "", ""),
        (f"writing them, {BATCH:,} a call", f"{MANY / filled:,.0f} tuples/s", "", ""),
        ("the first keyed take, which builds the index", f"{built:.2f} s", "", ""),
        *peer_rows("Rinda", no_rinda(), found,
                   {"rinda": f"safe keyed take, {RINDA_PRESENT:,} present"}),
        (f"keyed take, {FEW:,} present", figure(found["few"], "/s"), "1", ""),
        (f"keyed take, {MANY:,} present", figure(found["many"], "/s"),
         against_all(found, "many", {"few": f"among {FEW:,}", "rinda": "Rinda"}),
         goal(ratio(found["few"], found["many"]), "<=", 1.5, f"x the cost among {FEW:,}")),
    ]  # fmt: skip
    show("A million tuples", COMMAND, rows, MANY_ROUNDS)


def fill(space: RemoteSpace, count: int) -> None:
    """Write numbered tuples."""
    size = min(count, BATCH)
    for start in range(0, count, size):
        space.write_many(("task", number, b"x" * 16) for number in range(start, start + size))


def fill_rinda(ruby: Rinda) -> float:
    """Write numbered tuples; return the bytes of memory that each costs."""
    before = memory(ruby.server.pid)
    ruby.server.ask(do=["fill", 0, RINDA_PRESENT])
    return (memory(ruby.server.pid) - before) / RINDA_PRESENT


def take_and_return(space: RemoteSpace, numbers: list[int]) -> float:
    """Take these by key and write them again; return the seconds of the takes."""
    started = time.perf_counter()
    taken = [space.take(("task", number, None), timeout=30) for number in numbers]
    seconds = time.perf_counter() - started
    space.write_many(taken)
    return seconds


def keyed(name: str, space: RemoteSpace, present: int) -> Mapping[str, float]:
    """Measure takes from everywhere in line."""
    return {name: TAKES / take_and_return(space, random.sample(range(present), TAKES))}


def rinda_keyed(ruby: Rinda) -> Mapping[str, float]:
    """Measure the same in Rinda, fewer."""
    return {"rinda": ruby.do("keyed", random.sample(range(RINDA_PRESENT), RINDA_TAKES))}
