"""Jobs whose driver dies: another goes on, and repeats nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mapreduce import (
    InvalidJobError,
    JobCancelledError,
    JobHasDriverError,
    JobNotFoundError,
    JobSupersededError,
    MapReduceJob,
)
from mapreduce.engine.space import SpaceEngine
from tuplespace import connect

#: Maps and reduces say what they have done; each map waits until it may.
JOB = """
import os, sys, time
from pathlib import Path
from mapreduce import MapReduceJob, KeepBlocks, TextFiles

folder = Path(sys.argv[2])
maps, reduces, records = 8, 3, 2000

def wait_for(path):
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.005)

def say(name, folder=str(folder)):
    number = os.open(folder + "/done", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(number, (name + "\\n").encode())
    os.close(number)

def map_function(split, folder=str(folder)):
    split = list(split)
    first = min(split)
    wait_for(Path(folder, f"map-{first}"))
    out = [(record % 17, record) for record in split]
    say(f"map {first}")
    return out

def reduce_function(pairs, folder=str(folder)):
    counts = {}
    for key, value in pairs:
        counts[key] = counts.get(key, 0) + value
    wait_for(Path(folder, "reduce"))
    say(f"reduce {sorted(counts)}")
    return sorted(counts.items())

job = MapReduceJob(list(range(records)), map_function, reduce_function, map_tasks=maps,
                   reduce_tasks=reduces)
"""
DRIVE = """
run = job.submit(sys.argv[1])
print(run.id, flush=True)
results = run.result()
print("ended", flush=True)
"""
JOB_FIRSTS = [f"map-{2000 * number // 8}" for number in range(8)]


def expected() -> list[Any]:
    namespace: dict[str, Any] = {"sys": sys}
    counts: Counter[int] = Counter()
    for record in range(2000):
        counts[record % 17] += record
    del namespace
    return sorted(counts.items())


def flat(results: list[Any]) -> list[Any]:
    return sorted(pair for part in results for pair in part)


class Drivers:
    """Starts drivers as processes of their own, which say the id of their job."""

    def __init__(self, cluster: Any, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, more: str = "", drive: str = DRIVE) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-c", JOB + more + drive, self.cluster.uri, str(self.folder)],
            env=self.cluster.environment, text=True, stdout=subprocess.PIPE, stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        self._processes.append(process)
        assert process.stdout is not None
        job = process.stdout.readline().strip()
        assert job, process.communicate()[1]
        return process, job

    def let(self, *names: str) -> None:
        for name in names:
            (self.folder / name).touch()

    def done(self) -> list[str]:
        path = self.folder / "done"
        return path.read_text().splitlines() if path.exists() else []

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()


@pytest.fixture
def drivers(standing_cluster: Any, tmp_path: Path) -> Any:
    folder = tmp_path / "told"
    folder.mkdir()
    drivers = Drivers(standing_cluster, folder)
    yield drivers
    drivers.close()


def nothing_is_left(space: Any, job: str) -> bool:
    shapes = ("job", 1), ("task", 5), ("result", 3), ("ledger", 2), ("driver", 2)
    return not any(
        space.count((name, job, *[None] * more)) + len(space.claimed((name, job, *[None] * more)))
        for name, more in shapes
    )


def test_another_driver_goes_on_and_repeats_nothing(
    drivers: Any, standing_cluster: Any, eventually: Callable[..., Any]
) -> None:
    process, job = drivers.start()
    drivers.let(*JOB_FIRSTS[:4])
    eventually(lambda: len(drivers.done()) == 4)
    process.kill()
    with connect(standing_cluster.uri) as space:
        run = MapReduceJob.attach(space, job)
        assert run.id == job
        drivers.let(*JOB_FIRSTS, "reduce")

        assert flat(run.result(30)) == expected()

        assert sorted(Counter(drivers.done()).values()) == [1] * 11
        assert sum(run.report.tasks_by_worker.values()) == 11
        eventually(lambda: nothing_is_left(space, job))
