"""Measuring: peer and project in turn in one run, ratios from the pairs, tables in Markdown."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from tuplespace import RemoteSpace, connect
from tuplespace.security import make_key

ROUNDS = 5
#: Where a round takes a moment only: short rounds in turn see the same machine.
MANY_ROUNDS = 15

#: What was measured, by name, one value a round; and what measures some of it in one round.
Figures = dict[str, list[float]]
Work = Callable[[], Mapping[str, float]]


def rates(rounds: int, count: float, *works: Callable[[], object]) -> list[list[float]]:
    """Run the works in turn, a few rounds; return for each its rates (count / seconds)."""
    found: list[list[float]] = [[] for _ in works]
    for each in range(rounds + 1):  # the first round warms up
        for work, into in zip(works, found, strict=True):
            started = time.perf_counter()
            work()
            if each:
                into.append(count / (time.perf_counter() - started))
    return found


def in_turn(*works: Work, rounds: int = MANY_ROUNDS, warm: bool = True) -> Figures:
    """Run the works in turn, a few rounds, after one that warms up; return what they found.

    Every other round runs backwards: what goes before a work may have warmed or tired the machine.
    """
    found: Figures = {}
    for each in range(rounds + warm):
        for work in works[:: -1 if each % 2 else 1]:
            for name, value in work().items():
                if each or not warm:
                    found.setdefault(name, []).append(value)
    return found


def timed(name: str, count: float, work: Callable[[], object]) -> Work:
    """Return what measures one work: how many a second under this name."""

    def measure() -> dict[str, float]:
        started = time.perf_counter()
        work()
        return {name: count / (time.perf_counter() - started)}

    return measure


def timed_pair(
    names: tuple[str, str], count: int, write: Callable[[], object], take: Callable[[], object],
    times: int = 1,
) -> Work:  # fmt: skip
    """Return what measures, so many times in turn, a work and the work that takes away its effect.

    Args:
        names: Of the two figures. count: How many either does at a time.
    """

    def measure() -> dict[str, float]:
        writing = taking = 0.0
        for _ in range(times):
            started = time.perf_counter()
            write()
            written = time.perf_counter()
            take()
            taking += time.perf_counter() - written
            writing += written - started
        return {names[0]: count * times / writing, names[1]: count * times / taking}

    return measure


def ratio(ours: Sequence[float], peers: Sequence[float]) -> float:
    """Return the median of the ratios pair by pair, deaf to a machine that changes its speed."""
    return median(our / peer for our, peer in zip(ours, peers, strict=True))


def show(
    title: str, command: str, rows: Sequence[tuple[str, ...]],
    rounds: int = ROUNDS,
) -> None:  # fmt: skip
    """Print a table of (what, figure, against its peer), and perhaps a goal."""
    columns = ("what", "figure", "against its peer", "goal")[: len(rows[0])]
    print(f"\n### {title}\n")
    print(
        f"`{command}`, Python {platform.python_version()}, {os.cpu_count()} cores, "
        f"{platform.system()}; medians of {rounds} rounds in turn\n"
    )
    for row in (columns, ["---"] * len(columns), *rows):
        print("| " + " | ".join(row) + " |")
    sys.stdout.flush()


def figure(values: Sequence[float], unit: str) -> str:
    """Return a median with its spread."""
    digits = 0 if median(values) >= 20 else 1
    low, middle, high = (f"{f(values):,.{digits}f}" for f in (min, median, max))
    return f"{middle} {unit} ({low}-{high})" if len(values) > 1 else f"{middle} {unit}"


def against(ours: Sequence[float], peers: Sequence[float], name: str) -> str:
    """Return the ratio to a peer with its spread."""
    pairs = [our / peer for our, peer in zip(ours, peers, strict=True)]
    return f"{median(pairs):.2f} x {name} ({min(pairs):.2f}-{max(pairs):.2f})"


def against_all(found: Figures, ours: str, peers: Mapping[str, str]) -> str:
    """Return the ratio to each peer that was there; the peers' names in the figures, and to us."""
    return ", ".join(
        against(found[ours], found[peer], name) for peer, name in peers.items() if peer in found
    )


def peer_rows(
    peer: str, absence: str, found: Figures, names: Mapping[str, str]
) -> list[tuple[str, str, str, str]]:
    """Return a row for each thing a peer did, by its name in the figures; or why it did nothing."""
    if absence:
        return [(peer, absence, "", "")]
    return [(f"{peer}: {what}", figure(found[name], "/s"), "", "") for name, what in names.items()]


def goal(value: float, sign: str, limit: float, unit: str) -> str:
    """Say what is wanted, and whether this value is it."""
    met = value >= limit if sign == ">=" else value <= limit
    return f"{sign} {limit:,g} {unit}: {'met' if met else '**missed**'}"


def memory(pid: int) -> int:
    """Return the bytes of memory that a process has now."""
    words = ["ps", "-o", "rss=", "-p", str(pid)]
    return 1024 * int(subprocess.run(words, capture_output=True, check=True).stdout)


@contextmanager
def space_server() -> Iterator[tuple[RemoteSpace, str, Path]]:
    """Start a space server process; yield a client, its key file and a folder."""
    with space_process() as (space, key_file, folder, _):
        yield space, key_file, folder


@contextmanager
def space_process(*options: str) -> Iterator[tuple[RemoteSpace, str, Path, int]]:
    """Start a space server process; yield a client, its key file, a folder and its process id."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        key_file = str(folder / "key")
        make_key(key_file)
        server = stack.enter_context(
            process("tuplespace", "--port", "0", "--key-file", key_file, *options)
        )
        assert server.stdout is not None
        uri = server.stdout.readline().strip()
        yield stack.enter_context(connect(uri, key_file=key_file)), key_file, folder, server.pid


@contextmanager
def process(module: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run one of our modules as a process that ends with the block."""
    with subprocess.Popen(
        [sys.executable, "-m", module, "--embedded", *options],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        yield running
        assert running.stdin is not None
        running.stdin.close()
        running.wait(20)
