"""No-op tasks a second with two workers: what it costs to hand work out at all."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from statistics import median

from benchmarks.measure import ROUNDS, figure, process, rates, ratio, show, space_server
from tuplespace import RemoteSpace
from tuplespace.pickles import dump, dump_data, load
from tuplespace.security import Key
from workers.task import ANYWHERE, OK, Outcome, Parcel, Task, this_runtime

TASKS = 20_000
SINGLES = 200
JOB = "bench"


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


def main() -> None:
    """Print the table."""
    with (
        space_server() as (space, key_file, folder),
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
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()
