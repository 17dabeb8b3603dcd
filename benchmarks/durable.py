"""What durability costs the clients of a space: writes to one in a file and in memory, and its recovery.

What its store can do without server and clients is measured by `benchmarks.store`.
"""

from __future__ import annotations

import os
import selectors
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import (
    against,
    figure,
    goal,
    in_turn,
    process,
    ratio,
    show,
    space_process,
    timed,
)
from tuplespace import RemoteSpace, connect
from tuplespace.frames import call_message
from tuplespace.security import make_key
from tuplespace.wire import pack

COMMAND = "invoke bench durable"
CLIENTS = 64
CALLS = 400
TUPLE = ("task", 1, b"x" * 16)
ROUNDS = 9


def main() -> None:
    """Print the tables."""
    writes()
    recovery()


class Crowd:
    """Clients of a space, each with a connection and one write under way; they wait in one thread.

    Threads would measure how Python's take turns.
    """

    def __init__(self, uri: str, key_file: str, size: int) -> None:
        self._spaces = [connect(uri, key_file=key_file) for _ in range(size)]
        self._selector = selectors.DefaultSelector()
        self._lanes = []
        for space in self._spaces:
            lane = space._borrow()
            assert lane._sock is not None
            self._lanes.append(lane)
            self._selector.register(lane._sock, selectors.EVENT_READ, lane)

    def write(self, count: int) -> None:
        """Write so many tuples, and return when all are acknowledged."""
        asked = acknowledged = 0
        for lane in self._lanes:
            self._ask(lane)
            asked += 1
        while acknowledged < count:
            for key, _ in self._selector.select():
                assert key.data._sock.recv(65536)
                acknowledged += 1
                if asked < count:
                    self._ask(key.data)
                    asked += 1

    @staticmethod
    def _ask(lane: Any) -> None:
        lane.number += 1
        request = pack((lane.number, "write", ((TUPLE,), None)))
        lane._sock.sendall(call_message(lane.number & 0xFFFF, request))

    def close(self) -> None:
        """Say goodbye."""
        self._selector.close()
        for space, lane in zip(self._spaces, self._lanes, strict=True):
            space._give_back(lane)
            space.close()


@contextmanager
def writers(*options: str) -> Iterator[tuple[RemoteSpace, Callable[[], None], Callable[[], None]]]:
    """Start a space; yield a client, what writes from one client, and what writes from many."""
    with ExitStack() as stack:
        space, key_file, _, _ = stack.enter_context(space_process(*options))
        one, many = Crowd(space.uri, key_file, 1), Crowd(space.uri, key_file, CLIENTS)
        stack.callback(one.close)
        stack.callback(many.close)
        yield space, lambda: one.write(CALLS), lambda: many.write(CALLS * 16)


def writes() -> None:
    """Acknowledged writes, one a call."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=_disk())))
        kept, one_kept, many_kept = stack.enter_context(writers("--store", str(folder / "space")))
        light, one_light, many_light = stack.enter_context(writers())
        raw = os.open(folder / "raw", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        stack.callback(os.close, raw)

        def sync() -> None:
            for _ in range(CALLS):
                os.write(raw, bytes(512))
                os.fdatasync(raw)

        def clear() -> dict[str, float]:
            for space in (kept, light):
                while space.count(("task", None, None)):
                    space.take_many(("task", None, None), 10_000, timeout=0)
            return {}

        found = in_turn(
            timed("raw", CALLS, sync),
            timed("one kept", CALLS, one_kept), timed("one light", CALLS, one_light),
            timed("many kept", CALLS * 16, many_kept), timed("many light", CALLS * 16, many_light),
            clear, rounds=ROUNDS,
        )  # fmt: skip
    rows = [
        ("the disk: append 512 bytes and fdatasync", figure(found["raw"], "/s"), "1", ""),
        ("one client, in memory", figure(found["one light"], "/s"), "", ""),
        ("one client, in a file", figure(found["one kept"], "/s"),
         against(found["one kept"], found["raw"], "the disk"), ""),
        (f"{CLIENTS} clients, in memory", figure(found["many light"], "/s"), "", ""),
        (f"{CLIENTS} clients, in a file", figure(found["many kept"], "/s"),
         against(found["many kept"], found["many light"], "memory"),
         goal(ratio(found["many kept"], found["many light"]), ">=", 0.5, "x memory")),
    ]  # fmt: skip
    show("Acknowledged writes", COMMAND, rows, ROUNDS)


def recovery() -> None:
    """From the start of the process until it has answered a call, after a kill -9."""
    rows = []
    for size in (0, 100_000, 1_000_000):
        times = []
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=_disk())))
            key_file = str(folder / "key")
            make_key(key_file)
            options = ("--port", "0", "--key-file", key_file, "--store", str(folder / "space"))
            for turn in range(3):
                started = time.perf_counter()
                with process("tuplespace", *options) as server:
                    assert server.stdout is not None
                    with connect(server.stdout.readline().strip(), key_file=key_file) as space:
                        assert space.count(("task", None, None)) == (size if turn else 0)
                        times.append(time.perf_counter() - started)
                        for start in range(0, 0 if turn else size, 10_000):
                            space.write_many(
                                ("task", n, b"x" * 16) for n in range(start, start + 10_000)
                            )
                        server.kill()
        rows.append((f"{size:,} tuples", f"{median(times[1:]):.2f} s", f"{times[0]:.2f} s empty"))
    show("Until a space that was killed answers again", COMMAND, rows, 2)


def _disk() -> str:
    """Return a folder that is on a disk: the temporary one is often in memory."""
    return os.environ.get("BENCH_FOLDER") or os.getcwd()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
