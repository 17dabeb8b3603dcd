"""What the fault tests of MIT's course 6.5840 ask of a MapReduce, asked of this one.

Right results by an independent oracle, tasks that really run side by side, each task once if nothing
fails, output that is final when the first process ends, deaths that cost nothing. Random crashes on
every task: `test_schedules`. Lost outputs: `test_lost_outputs`.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from mapreduce import MapReduceJob, TextFiles, by_key, collect, each, stable_hash, sum_values
from mapreduce.plan import DEATHS
from tuplespace import RemoteSpace, connect

cloudpickle.register_pickle_by_value(sys.modules[__name__])

WORKERS = 4


@pytest.fixture
def space(standing_cluster: Any, eventually: Callable[..., Any]) -> Iterator[RemoteSpace]:
    """A space with two agents of two workers each."""
    if len(standing_cluster.agents) == 1:
        standing_cluster.start_agent()
    with connect(standing_cluster.uri) as space:
        yield space


@pytest.fixture
def books(tmp_path: Path) -> Path:
    """A folder of texts, some words in all of them and some in one."""
    folder = tmp_path / "books"
    folder.mkdir()
    chance = random.Random(7)
    for book in range(8):
        words = [f"w{chance.randrange(300)}" for _ in range(2000)] + [f"only{book}"] * 3
        lines = [" ".join(words[at : at + 9]) for at in range(0, len(words), 9)]
        (folder / f"book-{book}.txt").write_text("\n".join(lines) + "\n")
    return folder


def note(folder: Path, name: str) -> None:
    """For tasks: leave a file that nobody else leaves."""
    (folder / f"{name}-{time.monotonic_ns()}-{os.getpid()}").touch()


def wait_until(condition: Callable[[], bool], within: float = 20.0) -> None:
    """For tasks: wait until something holds."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "not so"
        time.sleep(0.005)


# --- without faults -------------------------------------------------------------------------------


def test_word_count_is_what_sort_and_uniq_count(space: RemoteSpace, books: Path) -> None:
    job = MapReduceJob(TextFiles(str(books / "*.txt")), map_tasks=8, reduce_tasks=5)
    job.map = each(lambda line: [(word, 1) for word in line.split()])
    job.reduce = by_key(lambda key, values: sum(values))

    results = job.run(space)

    assert results == job.run_sequential()
    counted = subprocess.run(
        "cat *.txt | tr ' ' '\\n' | LC_ALL=C sort | uniq -c",
        shell=True, cwd=books, capture_output=True, text=True, check=True,
    )  # fmt: skip
    expected = [line.split() for line in counted.stdout.splitlines()]
    found = sorted((word, count) for part in results for word, count in part)
    assert found == [(word, int(count)) for count, word in expected]


def test_an_index_is_what_a_database_groups(space: RemoteSpace, books: Path) -> None:
    job = MapReduceJob(sorted(books.iterdir()), map_tasks=8, reduce_tasks=5)
    job.map = each(lambda book: [(word, book.name) for word in set(book.read_text().split())])
    job.reduce = by_key(lambda word, names: sorted(names))

    results = job.run(space)

    assert sorted(map(sorted, results)) == sorted(map(sorted, job.run_sequential()))
    with sqlite3.connect(":memory:") as database:
        database.execute("create table places (word, book)")
        database.executemany(
            "insert into places values (?, ?)",
            ((w, book.name) for book in books.iterdir() for w in book.read_text().split()),
        )
        rows = database.execute("select distinct word, book from places order by word, book")
        expected: dict[str, list[str]] = {}
        for word, book in rows:
            expected.setdefault(word, []).append(book)
    database.close()
    assert {word: names for part in results for word, names in part} == expected


@pytest.mark.parametrize("phase", ["map", "reduce"])
def test_tasks_of_a_phase_run_side_by_side(phase: str, space: RemoteSpace, tmp_path: Path) -> None:
    # They meet: none can end before as many have begun as there are workers, of both agents.
    def meet() -> int:
        note(tmp_path, "here")
        wait_until(lambda: len(list(tmp_path.glob("here-*"))) >= WORKERS)
        return os.getpid()

    def reduce_function(pairs: Any) -> Any:
        return meet() if phase == "reduce" else [pid for _, pid in pairs]

    job = MapReduceJob(list(range(WORKERS)), map_tasks=WORKERS, reduce_tasks=WORKERS)
    job.map = each(lambda n: [(n, meet() if phase == "map" else 0)])
    job.reduce = reduce_function

    results = job.run(space)

    pids = results if phase == "reduce" else [pid for part in results for pid in part]
    assert len(set(pids)) == WORKERS


def test_without_faults_each_task_runs_once(space: RemoteSpace, tmp_path: Path) -> None:
    # Some take so much longer than others that their agents look idle, or busy, for long.
    def map_function(n: int) -> list[tuple[int, int]]:
        note(tmp_path, f"map{n}")
        time.sleep(0.6 if n % 20 == 7 else 0.005)
        return [(key, n) for key in range(50)]

    def reduce_function(pairs: Any) -> Any:
        keys = {key for key, _ in pairs}
        note(tmp_path, f"reduce{stable_hash(min(keys)) % 6}")
        time.sleep(0.6 if 0 in keys else 0.005)
        return sorted(keys)

    job = MapReduceJob(list(range(40)), each(map_function), reduce_function, map_tasks=40)
    job.reduce_tasks, job.backup_tasks = 6, False

    results = job.run(space)

    assert sorted(key for part in results for key in part) == [*range(50)]
    ran = Counter(path.name.partition("-")[0] for path in tmp_path.glob("*-*"))
    assert ran == dict.fromkeys(
        [*(f"map{n}" for n in range(40)), *(f"reduce{n}" for n in range(6))], 1
    )


FILES = """
import sys, time
from mapreduce import MapReduceJob, each, stable_hash

def reduce(pairs):
    found = sorted(key for key, _ in pairs)
    time.sleep(0.3 * (stable_hash(found[0]) % 4))
    return found

job = MapReduceJob(list(range(20000)), each(lambda n: [(n, 1)]), reduce, map_tasks=4)
job.reduce_tasks, job.output = 4, sys.argv[2]
job.run(sys.argv[1])
"""


def test_files_are_final_when_the_first_process_ends(
    space: RemoteSpace, standing_cluster: Any, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    seen: dict[str, set[bytes]] = {}

    def look() -> None:
        for path in output.glob("[!.]*"):
            seen.setdefault(path.name, set()).add(path.read_bytes())

    command = [sys.executable, "-c", FILES, space.uri, str(output)]
    with subprocess.Popen(command, env=standing_cluster.environment) as driver:
        while driver.poll() is None:
            look()
    assert driver.returncode == 0
    final = {path.name: path.read_bytes() for path in output.iterdir()}
    look()

    # Nobody ever saw half a file, nothing came later, and nothing temporary is left.
    assert seen == {name: {content} for name, content in final.items()}
    assert {name for name in final if name.startswith(("_", "."))} == {"_SUCCESS"}
    lines = b"".join(final.values()).split()
    assert sorted(map(int, lines)) == [*range(20000)]


# --- deaths ---------------------------------------------------------------------------------------


@pytest.mark.faults
def test_the_death_of_an_agent_in_the_middle_of_a_job_changes_nothing(
    cluster: Any, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    first, second = cluster.start_agent(), cluster.start_agent()
    job = MapReduceJob(list(range(200)), map_tasks=40, reduce_tasks=4)

    def slow_map(records: Any) -> list[Any]:
        (tmp_path / f"begun-{os.getppid()}-{time.monotonic_ns()}").touch()
        time.sleep(0.02)
        return [(n % 10, n) for n in records]

    job.map, job.reduce = slow_map, collect
    run = job.submit(cluster.connect())
    eventually(lambda: list(tmp_path.glob(f"begun-{first.pid}-*")))
    first.kill()

    job.map = lambda records: [(n % 10, n) for n in records]
    assert run.result(30) == job.run_sequential()
    assert list(tmp_path.glob(f"begun-{second.pid}-*"))


@pytest.mark.faults
def test_a_map_that_kills_its_worker_fails_its_job_and_no_other(space: RemoteSpace) -> None:
    killer = MapReduceJob(list(range(40)), map_tasks=40, reduce_tasks=2, reduce=sum_values)
    killer.map = each(lambda n: os._exit(9) if n == 17 else [(n % 5, n)])
    run = killer.submit(space)
    other = MapReduceJob([f"a b{n}" for n in range(500)], reduce=sum_values, map_tasks=20)
    other.map = each(lambda line: [(word, 1) for word in line.split()])

    assert other.run(space) == other.run_sequential()
    with pytest.raises(Exception, match=r"map 17 .*exited with status 9"):
        run.result(30)


@pytest.mark.faults
def test_a_worker_that_dies_now_and_then_costs_nothing(space: RemoteSpace, tmp_path: Path) -> None:
    def die_once(n: int) -> list[Any]:
        if n % 10 == 3 and not (tmp_path / str(n)).exists():
            (tmp_path / str(n)).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return [(n % 5, n)]

    job = MapReduceJob(list(range(40)), each(die_once), sum_values, map_tasks=40)
    result = job.run(space)

    job.map = each(lambda n: [(n % 5, n)])
    assert result == job.run_sequential()


@pytest.mark.faults
def test_the_deaths_of_agents_cost_the_task_they_ran_no_attempt(
    cluster: Any, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    # More of them than a task may cause deaths of workers.
    def map_function(n: int) -> list[Any]:
        note(tmp_path, f"begun-{n}")
        wait_until((tmp_path / "go").exists)
        return [(n, n)]

    job = MapReduceJob(
        [1, 2], each(map_function), sum_values, map_tasks=2, reduce_tasks=1, retries=0
    )
    run = job.submit(cluster.connect())
    for deaths in range(DEATHS + 2):
        agent = cluster.start_agent(ready=False)
        eventually(lambda wanted=2 * deaths + 2: len(list(tmp_path.glob("begun-*"))) >= wanted, 15)
        agent.kill()
    (tmp_path / "go").touch()
    cluster.start_agent()

    assert run.result(30) == [[(1, 1), (2, 2)]]
    assert run.progress().attempts_failed == 0
