"""The jobs of the chaos, and their driver: a process of its own, so that it can be killed.

Run as ``python chaos_jobs.py URI FOLDER KIND``. The job's id is in FOLDER/job once it runs, what it
has made in FOLDER/result-ID-PID once it has ended; the name of an error is added to FOLDER/errors.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from mapreduce import MapReduceJob, TextFiles, by_key, each, sum_values
from mapreduce.engine.space import SpaceEngine
from tuplespace import connect
from tuplespace.pickles import dump_plain
from workers import counter

KINDS = ("count", "stream", "bad records", "large", "files", "bad task")
LINES = 240
#: Of the lines, so many end no map: two raise alone; one takes its whole split with it.
UNCOUNTED = {"bad records": 2, "bad task": LINES // 8}
TEXTS = 3
#: Seconds that a line takes, so that there is time to strike.
_SLOW = 0.02
#: Results of the kind "large" are blocks.
_LARGE = 300_000
#: Seconds after which a driver that says nothing is succeeded.
_TOKEN_LEASE = 1.5
#: Seconds after which a job ends that no driver knows: the one that had submitted it died at once.
_LEASE = 20.0


def lines(kind: str) -> list[str]:
    return [f"{kind} {n} w{n * 7 % 53} w{n * 11 % 31} w{n % 17}" for n in range(LINES)]


def write_texts(folder: Path) -> None:
    """Write what the kind "count" reads."""
    folder.mkdir()
    each_of = LINES // TEXTS
    for n in range(TEXTS):
        part = lines("count")[n * each_of : (n + 1) * each_of]
        (folder / f"{n}.txt").write_text("".join(f"{line}\n" for line in part))


def job_of(kind: str, folder: Path, slow: float = 0.0) -> MapReduceJob:
    """Return the job of a kind.

    Args:
        folder: Its files go there, and the pids of its maps. slow: Seconds that a line takes.
    """

    def slow_total(key: str, values: Iterable[int]) -> int:
        time.sleep(slow / 4)
        return sum(values)

    def whole(pairs: Iterable[tuple[str, int]]) -> tuple[list[tuple[str, int]], bytes]:
        time.sleep(slow * 15)
        return sorted(sum_values(pairs)), bytes(_LARGE)

    data: Any = lines(kind)
    if kind == "count":
        data = TextFiles(str(folder.parent / "texts" / "*.txt"))
    if kind == "stream":
        data = iter(data)
    settings: dict[str, Any] = {
        "count": {"combine": by_key(lambda key, values: sum(values)), "priority": 3.0},
        "bad records": {"skip_bad_records": 3},
        "files": {"output": str(folder / "output")},
        "bad task": {"on_bad_task": "skip", "priority": 2.0},
    }.get(kind, {})
    if kind != "stream":
        settings["map_tasks"] = 8
    reduce = whole if kind == "large" else by_key(slow_total)
    return MapReduceJob(data, map_of(kind, folder, slow), reduce, reduce_tasks=3, **settings)


def map_of(kind: str, folder: Path, slow: float) -> Callable[[Iterable[str]], Any]:
    def words(line: str) -> list[tuple[str, int]]:
        if kind == "bad records" and number_of(line) in (17, 140):
            raise ValueError("a bad record")
        if slow:
            note(folder / "pids", str(os.getpid()))
            time.sleep(slow)
        counter("lines").add(1)
        return [(word, 1) for word in line.split()]

    def bad_task(split: Iterable[str]) -> Iterator[tuple[str, int]]:
        for line in split:
            if number_of(line) == LINES - 1:
                raise RuntimeError("a bad task")
            yield from words(line)

    return bad_task if kind == "bad task" else each(words)


def number_of(line: str) -> int:
    return int(line.split()[-4])


def made(kind: str, folder: Path, result: Any) -> bytes:
    """Return what a job has made, as bytes: its result, or its files."""
    if kind == "files":
        result = sorted((path.name, path.read_bytes()) for path in (folder / "output").iterdir())
    return dump_plain(result)


def note(path: Path, line: str) -> None:
    """Add a line to a file that several processes write."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


def main(uri: str, folder: Path, kind: str) -> None:
    started = folder / "job"
    space = connect(uri, retry_for=60)
    engine = SpaceEngine(space, owned=True, lease=_LEASE, token_lease=_TOKEN_LEASE)
    try:
        if started.exists():
            run = MapReduceJob.attach(engine, started.read_text())
        else:
            run = job_of(kind, folder, _SLOW).submit(engine)
            note(folder / "ids", run.id)
            draft = folder / f"draft-{os.getpid()}"
            draft.write_text(run.id)
            draft.rename(started)
        outcome = made(kind, folder, run.result()), dict(run.counters)
        draft = folder / f"draft-{os.getpid()}"
        draft.write_bytes(dump_plain(outcome))
        draft.rename(folder / f"result-{run.id}-{os.getpid()}")
    except Exception as error:
        note(folder / "errors", type(error).__name__)
        raise


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
