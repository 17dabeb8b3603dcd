"""One of two workers is stopped in the middle of a job: how much longer that takes.

With backup tasks and without, against the same job undisturbed. A stopped agent's claims come back when
their lease of 30 s ends; a stopped worker process, whose agent goes on renewing them, never gives one back.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from statistics import median

from benchmarks.dispatch import children_of
from benchmarks.measure import figure, process, show, space_process
from mapreduce import MapReduceJob, count_values
from mapreduce.engine.space import SpaceEngine

ROUNDS = 3
TASKS, SECONDS = 40, 0.25


def slow_map(records: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Take a while for each record."""
    for record in records:
        time.sleep(SECONDS)
        yield record, 1


def run(victim: Callable[[int], int] | None, backup: bool) -> float:
    """Return how long the job took on two agents of a process each.

    Args:
        victim: Says which process to stop when half is done, given an agent's; None: nothing.
        backup: Whether it may have backup tasks.
    """
    with ExitStack() as stack:
        space, key_file, folder, _ = stack.enter_context(space_process())
        agents = [
            stack.enter_context(
                process("workers", "--space", space.uri, "--key-file", key_file,
                        "--processes", "1", "--work-dir", str(folder / "work"))
            )
            for _ in range(2)
        ]  # fmt: skip
        engine = SpaceEngine(space, work_dir=str(folder / "work"))
        while engine.slots() < len(agents):
            time.sleep(0.01)
        MapReduceJob(range(4), slow_map, count_values, map_tasks=4).run(space)
        job = MapReduceJob(
            range(TASKS), slow_map, count_values, map_tasks=TASKS, reduce_tasks=2,
            backup_tasks=backup,
        )  # fmt: skip
        started = time.monotonic()
        under_way = job.submit(engine)
        stopped = 0
        try:
            if victim is not None:
                while under_way.progress().map_done < TASKS / 2:
                    time.sleep(0.01)
                stopped = victim(agents[0].pid)
                os.kill(stopped, signal.SIGSTOP)
            found = under_way.result(120)
            seconds = time.monotonic() - started
        finally:
            under_way.cancel()
            if stopped:
                with suppress(ProcessLookupError):  # its agent has ended it
                    os.kill(stopped, signal.SIGCONT)
        assert sum(map(len, found)) == TASKS
    return seconds


def main() -> None:
    """Print the table."""

    def agent(pid: int) -> int:
        return pid

    def worker(pid: int) -> int:
        return children_of(pid)[0]

    calm, stopped_agent, stopped_worker = [], [], []
    for _ in range(ROUNDS):
        calm.append(run(None, True))
        stopped_agent.append(run(agent, True))
        stopped_worker.append(run(worker, True))
    without = [run(agent, False)]
    # From half on one worker does what is left.
    ideal = median(calm) + TASKS * SECONDS / 4

    def row(what: str, values: list[float]) -> tuple[str, str, str]:
        extra = median(values) - ideal
        return (
            what, figure(values, "s"),
            f"{median(values) / median(calm):.2f} x; {extra:+.1f} s to what one worker can do",
        )  # fmt: skip

    show(
        f"{TASKS} tasks of {SECONDS} s, two workers, one of them stopped when half is done",
        "invoke bench stragglers",
        [
            ("undisturbed", figure(calm, "s"), "1"),
            row("an agent stopped, with backup tasks", stopped_agent),
            row("an agent stopped, without: its claims' lease ends", without),
            row("a worker process stopped, with backup tasks", stopped_worker),
            ("a worker process stopped, without", "for ever", ""),
        ],
    )


if __name__ == "__main__":
    main()
