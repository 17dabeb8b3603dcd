"""The article on MapReduce with Rinda: its job, its example, and what it leaves to the reader."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from mapreduce import MapReduceJob, Split, each, partitioners, sum_values
from tuplespace import RemoteSpace

# Functions of this module travel by value, as those of a script do.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

LOG = [
    f'10.0.0.{n % 9} - - [21/Nov/2026:03:{n % 60:02}:00 +0000] "{verb} {path} HTTP/1.1" 200 {n}'
    for n, (verb, path) in enumerate(
        [("GET", "/index.html"), ("GET", "/feed.xml"), ("POST", "/index.html"), ("GET", "/logo.png"),
         ("GET", "/a/index.html")] * 13 + [("GET", "/feed.xml")] * 4
    )
]  # fmt: skip
ACCESS = re.compile(r"GET (\S+.(html|xml)) HTTP")


def url_count(data: Any) -> MapReduceJob:
    """The article's job: attributes, lambdas of chunks and of partitions, numbers."""
    job = MapReduceJob()
    job.data = data
    job.map_tasks = 4
    job.reduce_tasks = 2
    job.map = lambda lines: [(found[1], 1) for line in lines if (found := ACCESS.search(line))]
    job.partition = lambda key, R: key.count("/") % R

    def add_up(pairs: Any) -> dict[str, int]:
        counts: dict[str, int] = {}
        for url, count in pairs:
            counts[url] = counts.get(url, 0) + count
        return counts

    job.reduce = add_up
    return job


def test_the_articles_url_count_agrees_with_grep_sort_and_uniq(
    space: RemoteSpace, tmp_path: Path
) -> None:
    (tmp_path / "access.log").write_text("\n".join([*LOG, ""]))
    shell = r"grep -oE 'GET [^ ]+.(html|xml) HTTP' access.log | cut -d' ' -f2 | sort | uniq -c"
    counted = subprocess.run(shell, shell=True, cwd=tmp_path, capture_output=True, text=True)
    expected = {url: int(count) for count, url in map(str.split, counted.stdout.splitlines())}
    with (tmp_path / "access.log").open() as file:
        results = url_count(file).run(space)  # data: whatever gives lines, as in the article

    assert [type(result) for result in results] == [dict, dict]  # R values, as reduce returned them
    assert [{url.count("/") % 2 for url in result} for result in results] == [{0}, {1}]
    assert results[0] | results[1] == expected
    assert len(expected) == 3
    assert url_count(LOG).run_sequential() == results


def test_chunks_are_semi_even_and_the_lambda_runs_in_a_worker(
    space: RemoteSpace, standing_cluster: Any
) -> None:
    job = MapReduceJob(LOG, map_tasks=4, reduce_tasks=1)
    job.map = lambda lines: [(type(lines), (len(lines), os.getpid(), os.getppid()))]
    job.partition = lambda key, R: 0
    job.reduce = lambda pairs: [(*value, kind) for kind, value in pairs]

    [chunks] = job.run(space)

    assert [size for size, *_ in chunks] == [17, 17, 17, 18]
    assert {kind for *_, kind in chunks} == {list}
    [agent] = standing_cluster.agents[:1]
    assert {(pid, parent) for _, pid, parent, _ in chunks} <= {
        (pid, agent.pid) for pid in agent.workers
    }


def test_data_may_be_of_any_type_and_records_may_say_where_the_data_is(
    space: RemoteSpace, tmp_path: Path
) -> None:
    paths = []
    for number in range(3):
        paths.append(tmp_path / f"part{number}.log")
        paths[-1].write_text("\n".join(LOG[number::3]))

    def count_files(paths: Any) -> Any:
        for path in paths:
            with open(path) as file:  # in the worker
                yield from ((found[1], os.getpid()) for found in map(ACCESS.search, file) if found)

    job = MapReduceJob(paths, count_files, sum_values, reduce_tasks=1)
    job.reduce = lambda pairs: [(url, pid) for url, pid in pairs]
    [found] = job.run(space)

    assert sorted(url for url, _ in found) == sorted(
        match[1] for match in map(ACCESS.search, LOG) if match
    )
    assert os.getpid() not in {pid for _, pid in found}
    mixed = MapReduceJob([None, 7, ("a", [1]), {"b": 2}, b"c", Path("d")], reduce_tasks=1)
    mixed.map = each(lambda record: [(repr(record), record)])
    mixed.reduce = list
    assert mixed.run(space)[0] == [(repr(record), record) for record in mixed.data]


@pytest.fixture(scope="module")
def _holders(_standing_cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two workers, each under a name of its own, that keep what they have loaded."""
    names = ["north", "south"]
    for name in names:
        folder = str(tmp_path_factory.mktemp(name))
        _standing_cluster.start_agent("--host", name, "--work-dir", folder, processes=1)
    return names


@pytest.fixture
def holders(standing_cluster: Any, _holders: list[str]) -> list[str]:
    return _holders


def test_one_job_loads_slices_and_the_next_finds_them_where_they_are(
    space: RemoteSpace, holders: list[str]
) -> None:
    places = {number: holders[number % 2] for number in range(6)}

    def load(number: int) -> Any:
        slices = sys.__dict__.setdefault("slices_of_the_article", {})
        slices[number] = LOG[number::6]  # from wherever it is slow to get
        return [(number, os.getpid())]

    def count(number: int) -> Any:
        for line in sys.__dict__["slices_of_the_article"][number]:  # it is there already
            if found := ACCESS.search(line):
                yield found[1], 1

    loading = MapReduceJob(
        [Split([n], affinity=name) for n, name in places.items()],
        reduce_tasks=1, backup_tasks=False,
    )  # fmt: skip
    loading.map, loading.reduce = each(load), lambda pairs: dict(pairs)
    [loaded] = loading.run(space)
    counting = MapReduceJob(
        [Split([n], affinity=name) for n, name in places.items()], reduce_tasks=1
    )
    counting.map, counting.reduce = each(count), sum_values

    assert dict(counting.run(space)[0]) == {"/index.html": 13, "/feed.xml": 17, "/a/index.html": 13}
    assert len(set(loaded.values())) == 2
    assert [loaded[n] == loaded[n % 2] for n in range(6)] == [True] * 6


DRIVER = """
import os, sys
from mapreduce import MapReduceJob

mine = int(sys.argv[2])
job = MapReduceJob()
job.data = range(mine, mine + 200)
job.map_tasks, job.reduce_tasks = 20, 3
job.map = lambda numbers: [(n % 3, (n, mine, os.getpid())) for n in numbers]
job.partition = lambda key, R: key
job.reduce = lambda pairs: sorted(value for _, value in pairs)
sys.stdin.readline()  # all of them at once
results = job.run(sys.argv[1])
assert [n for part in results for n, _, _ in part] == sorted(job.data, key=lambda n: (n % 3, n))
assert {whose for part in results for _, whose, _ in part} == {mine}
print(*sorted({pid for part in results for _, _, pid in part}))
"""


def test_drivers_share_one_space_and_its_workers_and_each_gets_its_own_results(
    run_python: Callable[..., subprocess.Popen[str]], standing_cluster: Any
) -> None:
    drivers = [run_python("-c", DRIVER, standing_cluster.uri, str(n)) for n in (3, 3_000)]
    for driver in drivers:
        driver.stdin.write("go\n")
        driver.stdin.flush()
    ended = [driver.communicate(timeout=40) for driver in drivers]

    assert [error for _, error in ended] == ["", ""]
    pids = {int(pid) for output, _ in ended for pid in output.split()}
    workers = {pid for agent in standing_cluster.agents for pid in agent.workers}
    assert pids <= workers
    assert pids


def test_the_ready_made_partitioners_stand_in_a_module() -> None:
    job = MapReduceJob(["http://a.org/1", "http://b.org/2", "http://a.org/3"], reduce_tasks=64)
    job.map = each(lambda url: [(url, 1)])
    job.reduce = lambda pairs: [url for url, _ in pairs]
    job.partition = partitioners.host_partition

    found = sorted(part for part in job.run_sequential() if part)

    assert found == [["http://a.org/1", "http://a.org/3"], ["http://b.org/2"]]
