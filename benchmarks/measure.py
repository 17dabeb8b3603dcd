"""Measuring: peer and project in turn in one run, ratios from the pairs, tables in Markdown."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from tuplespace import RemoteSpace, connect
from tuplespace.security import make_key

ROUNDS = 5


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


def ratio(ours: Sequence[float], peers: Sequence[float]) -> float:
    """Return the median of the ratios pair by pair, deaf to a machine that changes its speed."""
    return median(our / peer for our, peer in zip(ours, peers, strict=True))


def show(title: str, command: str, rows: Sequence[tuple[str, str, str]]) -> None:
    """Print a table of (what, figure, against its peer)."""
    print(f"\n### {title}\n")
    print(
        f"`{command}`, Python {platform.python_version()}, {os.cpu_count()} cores, "
        f"{platform.system()}; medians of {ROUNDS} rounds in turn\n"
    )
    print("| what | figure | against its peer |\n|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    sys.stdout.flush()


def figure(values: Sequence[float], unit: str) -> str:
    """Return a median with its spread."""
    return f"{median(values):,.0f} {unit} ({min(values):,.0f}-{max(values):,.0f})"


@contextmanager
def space_server() -> Iterator[tuple[RemoteSpace, str, Path]]:
    """Start a space server process; yield a client, its key file and a folder."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        key_file = str(folder / "key")
        make_key(key_file)
        server = stack.enter_context(process("tuplespace", "--port", "0", "--key-file", key_file))
        assert server.stdout is not None
        uri = server.stdout.readline().strip()
        yield stack.enter_context(connect(uri, key_file=key_file)), key_file, folder


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
