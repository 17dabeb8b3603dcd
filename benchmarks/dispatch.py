"""No-op tasks a second with two workers: what it costs to hand work out at all."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import count as numbers
from pathlib import Path
from statistics import median

from benchmarks.measure import ROUNDS, figure, process, rates, ratio, show, space_process
from mapreduce.engine.space import SpaceEngine
from tuplespace import RemoteSpace, connect
from tuplespace.pickles import dump, dump_data, load
from tuplespace.security import Key
from workers.task import ANYWHERE, OK, Outcome, Parcel, Task, this_runtime

TASKS = 20_000
SINGLES = 200
JOB = "bench"
CLOSURE_BYTES, CLOSURE_TASKS = 8 << 20, 100


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


def cpu_row(space: RemoteSpace, processes: Mapping[str, Sequence[int]]) -> tuple[str, str, str]:
    """Measure what a task costs each process, which other users of the machine change less."""
    figures: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        before = {name: cpu_seconds(pids) for name, pids in processes.items()}
        run_tasks(space, space.key, TASKS)
        for name, pids in processes.items():
            spent = cpu_seconds(pids) - before[name]
            figures.setdefault(name, []).append(spent / TASKS * 1e6)
    middle = {name: median(each) for name, each in figures.items()}
    parts = ", ".join(f"{name} {micros:.1f}" for name, micros in middle.items())
    return "processor time a task", f"{sum(middle.values()):.0f} us", parts


def main() -> None:
    """Print the table."""
    with (
        space_process() as (space, key_file, folder, server),
        process("workers", "--space", space.uri, "--key-file", key_file, "--processes", "2",
                "--work-dir", str(folder / "work")) as agent,
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
        processes = {"driver": [os.getpid()], "space": [server], "agent": [agent.pid],
                     "workers": children_of(agent.pid)}  # fmt: skip
        cpu = [cpu_row(space, processes)] if sys.platform == "linux" else []
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
            *cpu,
            ("ProcessPoolExecutor(2), 100 tasks with a closure of 8 MB",
             figure(peers_closure, "tasks/s"), "1"),
            ("the same on a space", figure(ours_closure, "tasks/s"),
             f"{ratio(ours_closure, peers_closure):.1f} x"),
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()
