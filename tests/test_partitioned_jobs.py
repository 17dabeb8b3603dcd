"""A worker's machine is cut off in the middle of a job: the job ends with the right result, each result once."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from pathlib import Path

import cloudpickle
import pytest

from history.network import CUTS, Network, NoNamespacesError
from mapreduce import MapReduceJob, each
from tuplespace import connect

cloudpickle.register_pickle_by_value(sys.modules[__name__])

LINES = [f"word{number % 97} word{number % 89}" for number in range(400)]
COUNTS = Counter(word for line in LINES for word in line.split())


@pytest.fixture
def network():
    try:
        with Network("space", "near", "far") as network:
            yield network
    except NoNamespacesError:
        pytest.skip("this machine lets us make no network namespaces")


@pytest.fixture
def machines(network, cluster):
    """Serve the space on a host of its own; start an agent with a folder of its own on each of two others."""
    cluster.kill_server()
    cluster.port = 0
    with network.inside("space"):
        cluster.start_server("--host", network.address["space"])

    def start(lease):
        for host in ("near", "far"):
            (cluster.folder / host).mkdir()
            with network.inside(host):
                options = f"--claim-lease {lease} --host {host} --work-dir {cluster.folder / host}"
                cluster.start_agent(*options.split(), processes=1)
        return cluster

    return start


def counting(folder: Path, seconds: float, width: int):
    """Return a job that counts words, notes where it maps, and makes pairs as wide as told."""

    def map_line(line):
        descriptor = os.open(folder / "ran", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(descriptor, f"{os.uname().nodename} {os.getpid()}\n".encode())
        os.close(descriptor)
        time.sleep(seconds)
        return [(word, b"x" * width) for word in line.split()]

    job = MapReduceJob(data=LINES, map=each(map_line))
    job.reduce = lambda pairs: dict(Counter(word for word, _ in pairs))
    job.map_tasks, job.reduce_tasks = 40, 3
    job.backup_tasks = False  # they would hide a claim that is not given to another
    return job


def ran(folder):
    path = folder / "ran"
    return Counter(path.read_text().split("\n")[:-1]) if path.exists() else Counter()


@pytest.mark.parametrize(
    ("cut", "seconds", "width"),
    [
        pytest.param("cable", 1.2, 1, marks=pytest.mark.faults),
        *(pytest.param(cut, 5.0, width, marks=[pytest.mark.faults, pytest.mark.timeout(120)])
          for cut in CUTS for width in (1, 20_000)),
    ],
)  # fmt: skip
def test_a_worker_that_was_cut_off_in_a_job_comes_back_and_every_result_counts_once(
    network, machines, eventually, tmp_path, cut, seconds, width
):
    cluster = machines(lease=30)
    job = counting(tmp_path, seconds=0.015, width=width)
    with network.inside("space"), connect(cluster.uri, key_file=cluster.key_file) as space:
        run = job.submit(space)
        eventually(lambda: len(ran(tmp_path)) == 2 and run.progress().map_done >= 4, 20)
        CUTS[cut](network, "far")
        time.sleep(seconds)
        network.mend("far")
        results = run.result(60)
        ends_well(job, run, space, results)


@pytest.mark.faults
@pytest.mark.timeout(120)
@pytest.mark.parametrize("width", [1, 20_000])
@pytest.mark.parametrize("cut", CUTS)
def test_a_job_goes_on_without_a_worker_that_is_cut_off_for_good(
    network, machines, eventually, tmp_path, cut, width
):
    cluster = machines(lease=1.5)
    job = counting(tmp_path, seconds=0.015, width=width)
    with network.inside("space"), connect(cluster.uri, key_file=cluster.key_file) as space:
        run = job.submit(space)
        eventually(lambda: len(ran(tmp_path)) == 2 and run.progress().map_done >= 4, 20)
        CUTS[cut](network, "far")
        results = run.result(25 if width == 1 else 60)
        ends_well(job, run, space, results)


def ends_well(job, run, space, results):
    assert len(results) == 3
    assert sum(map(Counter, results), Counter()) == COUNTS
    assert sum(map(len, results)) == len(COUNTS)
    assert results == job_of_one_process(job)
    assert space.count(("result", run.id, *[None] * 3)) == 0


def job_of_one_process(job):
    fresh = MapReduceJob(data=LINES, map=each(lambda line: [(word, b"") for word in line.split()]))
    fresh.reduce, fresh.map_tasks, fresh.reduce_tasks = job.reduce, 40, 3
    return fresh.run_sequential()
