"""The store in a file, without a server, against the disk itself: commits, and loading.

Each is measured alone and beside a busy thread, as it has one in a server. What is left of it there is measured by
`benchmarks.durable`.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.measure import ROUNDS, against, figure, goal, in_turn, show
from tuplespace.store.interface import CLAIM, GONE, PUT, Change
from tuplespace.store.sqlite import SqliteStore

COMMAND = "invoke bench store"
#: What the space's server sets, so that its writer need not wait long for its busy loop.
SWITCH_INTERVAL = 0.0005
SECONDS = 0.5
SIZES = (1, 20, 200, 1_000)
#: Tasks that wait to be claimed: so many leave the log for the tables; how many are worked on.
BACKLOG, AT_WORK = 20_000, 200
BODY = b"x" * 100
LOADS = (100_000, 1_000_000)


def main() -> None:
    """Print the tables."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    with tempfile.TemporaryDirectory(dir=os.environ.get("STORE_FOLDER")) as folder:
        commits(Path(folder))
        loads(Path(folder))


def commits(folder: Path) -> None:
    """Measure commits of so many tasks' changes, one at a time."""
    works: list[Callable[[], Mapping[str, float]]] = [partial(raw, folder)]
    for busy in (False, True):
        works += [partial(tasks, folder, size, AT_WORK, busy) for size in SIZES]
        works.append(partial(tasks, folder, AT_WORK, BACKLOG, busy))
    found = in_turn(*works, rounds=ROUNDS)
    rows = [("append of 512 bytes and fdatasync", figure(found["raw"], "/s"), "1", "", "")]
    for busy in (False, True):
        beside = ", beside a busy thread" if busy else ""
        for size, waiting in [*((each, AT_WORK) for each in SIZES), (AT_WORK, BACKLOG)]:
            name = name_of(size, waiting, busy)
            title = (
                f"{size:,} tasks a commit"
                if waiting == AT_WORK
                else f"{size:,}, {waiting:,} waiting"
            )
            wanted = busy and size >= AT_WORK and waiting == AT_WORK
            rows.append((
                f"{title}{beside}",
                figure(found[name], "commits/s"),
                against(found[name], found["raw"], "the disk"),
                f"{median(found[name]) * size:,.0f} tasks/s, {median(found[f'{name} cpu']):.1f} us of CPU each",
                goal(median(found[name]) * size, ">=", 30_000, "tasks/s") if wanted else "",
            ))  # fmt: skip
    merged = [
        (what, f"{rate}; {more}".rstrip("; "), peer, aim) for what, rate, peer, more, aim in rows
    ]
    show(
        "A store: a task is written, claimed, confirmed with its result, which is taken",
        COMMAND,
        merged,
    )


def name_of(size: int, waiting: int, busy: bool) -> str:
    return f"{size} {waiting} {busy}"


def raw(folder: Path) -> Mapping[str, float]:
    """Measure what the disk can do."""
    descriptor = os.open(folder / "raw", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        count, started = 0, time.perf_counter()
        while time.perf_counter() < started + SECONDS:
            os.write(descriptor, b"x" * 512)
            os.fdatasync(descriptor)
            count += 1
        return {"raw": count / (time.perf_counter() - started)}
    finally:
        os.close(descriptor)


class Kept:
    """A store at work, whose commits are waited for."""

    def __init__(self, path: Path) -> None:
        self.store = SqliteStore(path)
        self.store.load()
        self._woken = threading.Event()
        self.store.start(self._woken.set)

    def keep(self, changes: list[Change]) -> None:
        position = self.store.append(changes, 1.0)
        while self.store.durable < position:
            assert self.store.failure is None
            self._woken.wait()
            self._woken.clear()

    def cpu(self) -> float:
        """Return the seconds of CPU that its writer has had."""
        assert self.store._writer is not None
        assert self.store._writer.ident is not None
        return time.clock_gettime(time.pthread_getcpuclockid(self.store._writer.ident))


def tasks(folder: Path, size: int, waiting: int, busy: bool) -> Mapping[str, float]:
    """Measure commits, each of the changes of so many tasks in all stages of their lives."""
    path = folder / "space.db"
    kept, number = Kept(path), 0
    kept.keep([put(each) for each in range(waiting)])
    kept.keep([(CLAIM, 1, 2, "", 30.0)])  # by now those are where they are to be
    with beside(busy):
        cpu, started = kept.cpu(), time.perf_counter()
        count = 0
        while time.perf_counter() < started + SECONDS:
            kept.keep(
                [
                    change
                    for each in range(number, number + size)
                    for change in stages(each, waiting)
                ]
            )
            number += size
            count += 1
        seconds, cpu = time.perf_counter() - started, kept.cpu() - cpu
    kept.store.close()
    path.unlink()
    name = name_of(size, waiting, busy)
    return {name: count / seconds, f"{name} cpu": 1e6 * cpu / number}


def put(task: int) -> Change:
    return (PUT, 3 * task + 1, ("task", "job-7", task, BODY), 1.0, math.inf)


def stages(task: int, waiting: int) -> Iterator[Change]:
    """Return a task written, an older one claimed, one confirmed, and a result taken."""
    id = 3 * task + 1
    yield put(task + waiting)
    yield (CLAIM, id, id + 1, "0123456789abcdef0123456789abcdef", 30.0)
    if task >= AT_WORK:
        id -= 3 * AT_WORK
        yield (GONE, id)
        yield (PUT, id + 2, ("result", "job-7", task, BODY), 1.0, math.inf)
    if task >= 2 * AT_WORK:
        yield (GONE, id + 2 - 3 * AT_WORK)


@contextmanager
def beside(busy: bool) -> Iterator[None]:
    """Keep another thread busy meanwhile, as the server's loop is under load."""
    over = threading.Event()

    def spin() -> None:
        while not over.is_set():
            pass

    spinner = threading.Thread(target=spin)
    if busy:
        spinner.start()
    try:
        yield
    finally:
        over.set()
        if busy:
            spinner.join()


def loads(folder: Path) -> None:
    """Measure how soon a store is open."""
    rows = []
    for count in LOADS:
        path = folder / f"{count}.db"
        kept, started = Kept(path), time.perf_counter()
        for first in range(0, count, 1_000):
            kept.keep([put(each) for each in range(first, first + 1_000)])
        written = time.perf_counter() - started
        kept.store.close()
        found = in_turn(partial(load, path, count), rounds=ROUNDS)["load"]
        wanted = goal(median(found), "<=", 1, "s") if count == LOADS[0] else ""
        size = f"{path.stat().st_size >> 20:,} MiB"
        rows.append(
            (
                f"{count:,} entries, {size}: 1,000 a commit",
                f"{count / written:,.0f} entries/s",
                "",
                "",
            )
        )
        rows.append((f"{count:,} entries: verified and loaded", figure(found, "s"), "", wanted))
    show("Opening a store", COMMAND, rows)


def load(path: Path, count: int) -> Mapping[str, float]:
    store, started = SqliteStore(path), time.perf_counter()
    assert len(list(store.load().entries)) == count
    seconds = time.perf_counter() - started
    store.close()
    return {"load": seconds}


if __name__ == "__main__":
    main()
