"""No-op tasks a second with two workers: what it costs to hand work out at all.

As bare tuples, which nobody drives; and as the maps of a job, whose driver plans them and keeps a
ledger. On a space in memory, and on one in a file beside what the disk itself does. How long it all
takes depends on who else uses the machine; the processor's time a task, hardly.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count as numbers
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.measure import (
    ROUNDS,
    Work,
    figure,
    goal,
    in_turn,
    process,
    rates,
    ratio,
    show,
    space_process,
    timed,
)
from mapreduce import MapReduceJob
from mapreduce.engine.space import SpaceEngine
from tuplespace import RemoteSpace, connect
from tuplespace.pickles import dump, dump_data, load
from tuplespace.security import Key
from workers.task import ANYWHERE, OK, Outcome, Parcel, Task, this_runtime

TASKS = 20_000
SINGLES = 200
JOB = "bench"
CLOSURE_BYTES, CLOSURE_TASKS = 8 << 20, 100
SYNCS, SYNC_BYTES = 200, 16 << 10
JOBS = 20


def no_op(argument: object, *_: object) -> object:
    """Return the argument."""
    return argument


def run_tasks(space: RemoteSpace, key: Key, count: int) -> None:
    """Write tasks as tuples, take all their results, and check them."""
    function = Parcel(dump(no_op))
    runtime = this_runtime()
    for start in range(0, count, 256):
        space.write_many(
            Task(JOB, "noop", number, runtime, ANYWHERE, 0, function,
                 Parcel(dump_data(number))).to_tuple(key)
            for number in range(start, min(start + 256, count))
        )  # fmt: skip
    found: set[object] = set()
    while len(found) < count:
        for value in space.take_many(("result", JOB, None, None, None), 1000, timeout=30):
            outcome = Outcome.from_tuple(value, key)
            assert outcome.status == OK, outcome
            assert outcome.value is not None
            found.add(load(outcome.value.content or b""))
    assert found == set(range(count))


def add_length(data: bytes, argument: int, *_: object) -> int:
    """Return a number that only one who has the data knows."""
    return len(data) + argument


def run_closure(space: RemoteSpace, key_file: str, work_dir: Path, job: str) -> None:
    """Run tasks that all have the same big closure, new to the workers, and check them."""
    engine = SpaceEngine(connect(space.uri, key_file=key_file), owned=True, work_dir=str(work_dir))
    try:
        engine.open(job, {})
        code = engine.send("f", dump(partial(add_length, os.urandom(CLOSURE_BYTES))), shared=True)
        engine.write(
            Task(job, "closure", number, this_runtime(), ANYWHERE, 0, code,
                 Parcel(dump_data(number)))
            for number in range(CLOSURE_TASKS)
        )  # fmt: skip
        found: set[object] = set()
        while len(found) < CLOSURE_TASKS:
            for outcome in engine.outcomes(30):
                assert outcome.value is not None, outcome
                found.add(load(engine.receive(outcome.value)))
        assert found == set(range(CLOSURE_BYTES, CLOSURE_BYTES + CLOSURE_TASKS))
    finally:
        engine.close()


def cpu_seconds(pids: Sequence[int]) -> float:
    """Return what these processes have had of the processors so far; Linux only."""
    ticks = 0
    for pid in pids:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(words[11]) + int(words[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def children_of(pid: int) -> list[int]:
    """Return the process ids of its children."""
    words = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, check=True).stdout
    pairs = [line.split() for line in words.splitlines()]
    return [int(child) for child, parent in pairs if int(parent) == pid]


def show_kept() -> None:
    """Print the table of a space in memory and one in a file, with and without a driver."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=disk())))
        light = stack.enter_context(cluster())
        kept = stack.enter_context(cluster("--store", str(folder / "space")))
        raw = os.open(folder / "raw", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        stack.callback(os.close, raw)

        def sync() -> None:
            for _ in range(SYNCS):
                os.write(raw, bytes(SYNC_BYTES))
                os.fdatasync(raw)

        found = in_turn(
            timed("raw", SYNCS, sync), *light.works("light"), *kept.works("kept"), rounds=ROUNDS
        )

    def cost(name: str) -> str:
        if f"{name} driver" not in found:  # not on Linux
            return ""
        each = {who: median(found[f"{name} {who}"]) for who in light.processes()}
        parts = ", ".join(f"{who} {micros:.1f}" for who, micros in each.items())
        return f"{sum(each.values()):.0f} us a task: {parts}"

    rows = [(f"the disk: append {SYNC_BYTES >> 10} KiB and fdatasync",
             figure(found["raw"], "/s"), "", "")]  # fmt: skip
    for name, where, rate, wait in (("light", "in memory", 60_000, 0.5),
                                    ("kept", "in a file", 30_000, 1.5)):  # fmt: skip
        tuples, one = found[f"{name} tuples"], found[f"{name} one"]
        rows += [
            (f"tasks as tuples, {where}", figure(tuples, "tasks/s"), cost(f"{name} tuples"),
             goal(median(tuples), ">=", rate, "tasks/s")),
            (f"maps of a job, {where}", figure(found[f"{name} job"], "tasks/s"),
             cost(f"{name} job"), ""),
            (f"one task, end to end, p50, {where}", f"{median(one):.2f} ms", "",
             goal(median(one), "<=", wait, "ms")),
            (f"a job of two maps and a reduce, p50, {where}",
             f"{median(found[f'{name} no-op']):.1f} ms", "", ""),
        ]  # fmt: skip
    show("What a space in a file and a driver cost a no-op task", "invoke bench dispatch", rows)


class Cluster(NamedTuple):
    """A space and an agent with two workers, processes of their own."""

    space: RemoteSpace
    server: int
    agent: int

    def processes(self) -> dict[str, list[int]]:
        """Return the process ids of all who take part."""
        return {"driver": [os.getpid()], "space": [self.server], "agent": [self.agent],
                "workers": children_of(self.agent)}  # fmt: skip

    def works(self, name: str) -> list[Work]:
        """Return what measures it, under this name."""
        space = self.space
        return [
            self.spent(f"{name} tuples", TASKS, lambda: run_tasks(space, space.key, TASKS)),
            self.spent(f"{name} job", TASKS, lambda: run_job(space, TASKS)),
            waits(f"{name} one", SINGLES, lambda: run_tasks(space, space.key, 1)),
            waits(f"{name} no-op", JOBS, lambda: run_job(space, 2)),
        ]

    def spent(self, name: str, count: int, work: Callable[[], object]) -> Work:
        """Return what measures a work: how many a second, and what each costs each process."""

        def measure() -> dict[str, float]:
            processes = self.processes() if sys.platform == "linux" else {}
            before = {who: cpu_seconds(pids) for who, pids in processes.items()}
            found = dict(timed(name, count, work)())
            for who, pids in processes.items():
                found[f"{name} {who}"] = (cpu_seconds(pids) - before[who]) / count * 1e6
            return found

        return measure


@contextmanager
def cluster(*options: str) -> Iterator[Cluster]:
    """Start a space, with these options, and an agent; there is a job for tasks without a driver."""
    with (
        space_process(*options) as (space, key_file, folder, server),
        process("workers", "--space", space.uri, "--key-file", key_file, "--processes", "2",
                "--work-dir", str(folder / "work")) as agent,
    ):  # fmt: skip
        space.write(("job", JOB, {}))
        space.read(("worker", *[None] * 4), timeout=30)
        run_tasks(space, space.key, 100)
        yield Cluster(space, server, agent.pid)


def run_job(space: RemoteSpace, maps: int) -> None:
    """Run a job of so many maps that do nothing, and one reduce."""
    job = MapReduceJob(
        data=range(maps), map=lambda _: [], reduce=lambda _: None, map_tasks=maps, reduce_tasks=1
    )
    assert job.run(space) == [None]


def waits(name: str, count: int, work: Callable[[], object]) -> Work:
    """Return what measures a work, so many times one after the other: its median, in ms."""

    def measure() -> dict[str, float]:
        times = []
        for _ in range(count):
            started = time.perf_counter()
            work()
            times.append((time.perf_counter() - started) * 1e3)
        return {name: median(times)}

    return measure


def disk() -> str:
    """Return a folder that is on a disk: the temporary one is often in memory."""
    return os.environ.get("BENCH_FOLDER") or os.getcwd()


def main() -> None:
    """Print the tables."""
    show_peers()
    show_kept()


def show_peers() -> None:
    """Print the table of tasks as tuples beside ProcessPoolExecutor's."""
    with (
        space_process() as (space, key_file, folder, _),
        process("workers", "--space", space.uri, "--key-file", key_file, "--processes", "2",
                "--work-dir", str(folder / "work")),
        ProcessPoolExecutor(2) as pool,
    ):  # fmt: skip
        space.write(("job", JOB, {}))
        space.read(("worker", *[None] * 4), timeout=30)

        def ours() -> None:
            run_tasks(space, space.key, TASKS)

        def peer(chunk: int) -> None:
            assert list(pool.map(no_op, range(TASKS), chunksize=chunk)) == list(range(TASKS))

        ours_rate, one, many = rates(ROUNDS, TASKS, ours, lambda: peer(1), lambda: peer(64))
        singles, peers = [], []
        for number in range(SINGLES):
            started = time.perf_counter()
            run_tasks(space, space.key, 1)
            singles.append(time.perf_counter() - started)
            started = time.perf_counter()
            pool.submit(no_op, number).result()
            peers.append(time.perf_counter() - started)
        jobs = (f"closure-{number}" for number in numbers())

        def closure() -> None:
            run_closure(space, key_file, folder / "work", next(jobs))

        def peer_closure() -> None:
            function = partial(add_length, os.urandom(CLOSURE_BYTES))
            first, *_ = pool.map(function, range(CLOSURE_TASKS))
            assert first == CLOSURE_BYTES

        ours_closure, peers_closure = rates(3, CLOSURE_TASKS, closure, peer_closure)
    show(
        "No-op tasks as signed tuples, two workers, batches of up to 256",
        "invoke bench dispatch",
        [
            ("ProcessPoolExecutor(2), chunksize 1", figure(one, "tasks/s"), "1"),
            ("ProcessPoolExecutor(2), chunksize 64", figure(many, "tasks/s"),
             f"{ratio(many, one):.2f} x chunksize 1"),
            ("tasks on a space", figure(ours_rate, "tasks/s"),
             f"{ratio(ours_rate, one):.2f} x chunksize 1, {ratio(ours_rate, many):.2f} x 64"),
            ("one task, end to end, p50", f"{median(singles) * 1e3:.2f} ms",
             f"{median(singles) / median(peers):.1f} x ProcessPoolExecutor's "
             f"{median(peers) * 1e3:.2f} ms"),
            ("ProcessPoolExecutor(2), 100 tasks with a closure of 8 MB",
             figure(peers_closure, "tasks/s"), "1"),
            ("the same on a space", figure(ours_closure, "tasks/s"),
             f"{ratio(ours_closure, peers_closure):.1f} x"),
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()
