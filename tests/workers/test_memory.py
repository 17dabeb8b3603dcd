"""What a worker process may use, and what happens to one that uses more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from mapreduce import JobFailedError, MapReduceJob, Split
from mapreduce.engine.embedded import EmbeddedEngine
from mapreduce.errors import InvalidJobError
from mapreduce.spilling.allowance import UNLIMITED, allowance
from tuplespace import RemoteSpace, connect
from tuplespace.errors import InvalidArgumentError
from tuplespace.resources import memory_allowed
from workers import Agent
from workers.memory import LEAST, data_share, family, memory_of, worker_limit

# Functions of this module travel by value, as those of a script do.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

MB = 10**6
LIMIT = 120 * MB
SMALL = "small"

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only the system can tell")


# --- limits ---------------------------------------------------------------------------------------


def test_by_default_the_workers_share_four_fifths_of_the_hosts_memory() -> None:
    assert worker_limit(None, 1) == int(0.8 * memory_allowed())
    assert worker_limit(None, 4) == int(0.8 * memory_allowed()) // 4
    assert worker_limit(None, 10**9) == LEAST


def test_a_limit_is_for_each_process_however_many_there_are() -> None:
    assert worker_limit("200MB", 1) == worker_limit("200MB", 64) == 200 * MB


@pytest.mark.parametrize("memory, complaint", [("1MB", "at least 64 MB"), ("lots", "no size")])
def test_a_limit_that_no_worker_can_keep_is_refused_at_once(memory: str, complaint: str) -> None:
    with pytest.raises(InvalidArgumentError, match=complaint):
        Agent(memory=memory)
    with pytest.raises(InvalidArgumentError, match=complaint):
        EmbeddedEngine(memory=memory)


def test_the_command_refuses_it_too(run_python: Callable[..., subprocess.Popen[str]]) -> None:
    for words in (["workers"], ["invoke", "worker"]):
        process = run_python("-m", *words, "--memory", "1MB")
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 1
        assert "at least 64 MB" in errors
        assert "Traceback" not in errors


def test_a_task_may_fill_about_half_of_what_the_fresh_worker_has_left() -> None:
    assert data_share(200 * MB, 30 * MB) == int(0.55 * 170 * MB)
    assert data_share(64 * MB, 60 * MB) == 8 << 20


# --- measuring ------------------------------------------------------------------------------------


def test_memory_counts_when_it_is_touched_and_until_it_is_freed() -> None:
    before = memory_of(os.getpid())
    held = bytearray(50 * MB)
    assert 49 * MB < memory_of(os.getpid()) - before < 60 * MB
    del held
    assert memory_of(os.getpid()) - before < 10 * MB


@on_linux
def test_pages_of_a_mapped_file_do_not_count(tmp_path: Path) -> None:
    with (tmp_path / "data").open("wb") as file:
        for _ in range(64):
            file.write(bytes(1 << 20))
    before = memory_of(os.getpid())

    assert read_mapped(tmp_path / "data", lambda: memory_of(os.getpid())) - before < 10 * MB


def read_mapped(path: Path, then: Callable[[], Any]) -> Any:
    """Map a file, touch each of its pages, and return what `then` gives while it is mapped."""
    import mmap

    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert sum(mapped[i] for i in range(0, len(mapped), 4096)) == 0
        return then()


@on_linux
def test_memory_made_to_be_shared_counts() -> None:
    import mmap

    before = memory_of(os.getpid())
    with mmap.mmap(-1, 32 << 20) as shared:
        for page in range(0, len(shared), 4096):
            shared[page] = 1
        assert memory_of(os.getpid()) - before > 31 << 20


FAMILY = """
import os, subprocess, sys
held = bytearray(60_000_000)
for _ in range(3):
    if os.fork() == 0:
        os.read(0, 1)
        os._exit(0)
apart = subprocess.Popen([sys.executable, "-c", "held = bytearray(40_000_000); print(); input()"],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
apart.stdout.readline()
print("ready", flush=True)
os.read(0, 1)
"""


@on_linux
def test_a_family_counts_whole_but_what_it_shares_counts_once(
    run_python: Callable[..., subprocess.Popen[str]],
) -> None:
    process = run_python("-c", FAMILY)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"

    assert len(family(process.pid)) == 5
    assert memory_of(process.pid) > (4 * 60 + 40) * MB  # the quick sum
    assert (60 + 40) * MB < memory_of(process.pid, 150 * MB) < 140 * MB


def test_nobody_is_left_to_measure_after_a_process_has_ended(
    run_python: Callable[..., subprocess.Popen[str]],
) -> None:
    process = run_python("-c", "")
    process.wait(10)

    assert family(process.pid) == []
    assert memory_of(process.pid, 0) == 0


# --- tasks that use too much ----------------------------------------------------------------------


@pytest.fixture
def space(standing_cluster: Any) -> Iterator[RemoteSpace]:
    """A space with an agent whose two workers may use little, beside one whose may use more."""
    if len(standing_cluster.agents) == 1:
        standing_cluster.start_agent("--host", SMALL, "--memory", str(LIMIT))
    with connect(standing_cluster.uri) as space:
        yield space


def small(function: Callable[[Any], Any], *arguments: Any, **options: Any) -> MapReduceJob:
    """Return a job that calls a function in the small workers and collects what it returns."""
    return MapReduceJob(
        data=[Split([argument], affinity=SMALL) for argument in arguments],
        map=lambda records: [(n, function(n)) for n in records],
        reduce=list, reduce_tasks=1, **options,
    )  # fmt: skip


def fill(megabytes: int) -> int:
    """Fill so many MB in steps, as a task does that collects too much."""
    return len([bytearray(5 * MB) for _ in range(megabytes // 5)])


def fill_at_once(megabytes: int) -> int:
    return len(bytearray(megabytes * MB))


@pytest.mark.parametrize("use_too_much", [fill, fill_at_once])
def test_a_task_that_uses_too_much_is_ended_and_the_job_says_what_to_do(
    use_too_much: Callable[[int], int], space: RemoteSpace
) -> None:
    run = small(use_too_much, 2000, retries=0).submit(space)

    with pytest.raises(JobFailedError) as caught:
        run.result()

    message = str(caught.value)
    assert "map 0 failed on small/" in message
    assert "of the 120 MB that a worker process may have; raise --memory, or" in message
    assert 120 < int(message.partition("it used ")[2].split()[0]) < 1000
    assert run.progress().attempts_failed == 2
    # Whoever keeps within the limit is fine.
    assert small(use_too_much, 20).run(space)


def test_what_a_task_has_started_counts_and_ends_with_it(
    space: RemoteSpace, tmp_path: Path, alive: Callable[[int], bool],
    eventually: Callable[..., Any],
) -> None:  # fmt: skip
    code = f"import signal; held = bytearray({150 * MB}); signal.pause()"

    def start_and_wait(_: int) -> None:
        # In a session of its own, out of reach of a signal to the worker's process group.
        child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
        (tmp_path / str(child.pid)).touch()
        child.wait()

    with pytest.raises(JobFailedError, match="of the 120 MB that a worker process may have"):
        small(start_and_wait, 0).run(space)

    started = [int(path.name) for path in tmp_path.iterdir() if path.name.isdigit()]
    assert len(started) >= 2
    try:
        eventually(lambda: not any(map(alive, started)))
    finally:
        for pid in filter(alive, started):
            os.kill(pid, signal.SIGKILL)


@on_linux
def test_a_task_that_maps_a_big_file_is_left_alone(space: RemoteSpace, tmp_path: Path) -> None:
    with (tmp_path / "data").open("wb") as file:
        file.truncate(300 * MB)

    # Long enough for the watch to look some times.
    linger = lambda: threading.Event().wait(0.3)  # noqa: E731
    run = small(lambda path: read_mapped(Path(path), linger), str(tmp_path / "data")).submit(space)

    run.result()
    assert run.progress().attempts_failed == 0


def test_a_task_that_starts_programs_is_not_taken_for_two(space: RemoteSpace) -> None:
    def start_many(_: int) -> int:
        held = bytearray(
            70 * MB
        )  # a program begins in its parent's memory: that is 140 MB, in a way
        for _ in range(300):
            subprocess.run(["/bin/sh", "-c", ":"], check=True)
        return len(held)

    run = small(start_many, 0).submit(space)

    run.result()
    assert run.progress().attempts_failed == 0


def test_short_tasks_beside_one_that_uses_too_much_all_count_once(
    space: RemoteSpace, tmp_path: Path
) -> None:
    small(lambda n: n, *range(40)).run(space)

    def short_but_once(n: int) -> int:
        if n == 20 and not (tmp_path / "tried").exists():
            (tmp_path / "tried").touch()
            fill(2000)
        return n

    run = small(short_but_once, *range(40)).submit(space)

    assert run.result() == [[(n, n) for n in range(40)]]
    # In a group, or in a worker that has run others before, it is no task's death.
    assert run.progress().attempts_failed == 0


@pytest.mark.parametrize("megabytes, killed", [(24, False), (36, True)])
def test_what_earlier_tasks_have_left_in_a_worker_is_not_a_later_ones_fault(
    megabytes: int, killed: bool, space: RemoteSpace, standing_cluster: Any
) -> None:
    def leak(_: int) -> None:
        kept = sys.__dict__.setdefault("_kept_by_test", [])
        kept.append(bytearray(megabytes * MB))
        threading.Event().wait(0.1)  # so that the watch has seen it

    said = standing_cluster.agents[1].lines
    before = len(said)
    run = small(leak, *range(10)).submit(space)

    # Of 24 MB each, four leave a worker too full to be given a fifth. Of 36 MB each, the third is
    # too much: it runs again in a fresh worker, and costs no attempt.
    assert len(run.result()[0]) == 10
    assert any("was killed: it used" in line for line in said[before:]) == killed
    assert run.progress().attempts_failed == 0


# --- what a task may fill -------------------------------------------------------------------------


@pytest.mark.parametrize("memory, expected", [("2MB", 2 * MB), (3 * MB, 3 * MB)])
def test_the_jobs_memory_is_what_each_map_and_reduce_may_fill(
    memory: Any, expected: int, space: RemoteSpace
) -> None:
    job = small(lambda _: allowance().memory, 0, memory=memory)
    job.reduce = lambda pairs: (list(pairs), allowance().memory)

    assert job.run(space) == [([(0, expected)], expected)]
    assert job.run_sequential() == [([(0, UNLIMITED.memory)], UNLIMITED.memory)]


@pytest.mark.parametrize("memory", [None, "1TB"])
def test_but_not_more_than_the_worker_allows(memory: str | None, space: RemoteSpace) -> None:
    [[(_, filled)]] = small(lambda _: allowance().memory, 0, memory=memory).run(space)

    assert data_share(LIMIT, 60 * MB) < filled < data_share(LIMIT, 0)


@pytest.mark.parametrize("memory", ["much", 0, -1, 1.5, b"2MB"])
def test_a_jobs_memory_that_is_no_size_is_refused(memory: Any) -> None:
    job = MapReduceJob(data=[1], map=list, reduce=list, memory=memory)

    with pytest.raises(InvalidJobError, match=r"job\.memory: .* is no size of memory"):
        job.run()


@pytest.mark.faults
def test_an_embedded_run_takes_a_limit_too(key_file: Path) -> None:
    job = MapReduceJob(data=[0], map=lambda _: [(0, allowance().memory)], reduce=list)
    job.reduce_tasks = 1

    [[(_, filled)]] = job.run(EmbeddedEngine(1, memory="100MB"))

    assert filled < data_share(100 * MB, 0)


# --- the host -------------------------------------------------------------------------------------

PEAK = """
import resource
from mapreduce import MapReduceJob
from mapreduce.engine.embedded import EmbeddedEngine

def fill(_):
    kept = []
    {fill}
    return []

try:
    MapReduceJob(data=[0], map=fill, reduce=list).run(EmbeddedEngine(1, memory="300MB"))
except Exception as error:
    print("was killed" in str(error))
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""


@on_linux
@pytest.mark.faults
@pytest.mark.parametrize(
    "fill",
    ["for _ in range(200): kept.append(bytearray(50 << 20))", "kept.append(bytearray(10 << 30))"],
)
def test_a_task_that_wants_10_gb_is_ended_long_before_it_has_them(
    fill: str, run_python: Callable[..., subprocess.Popen[str]]
) -> None:
    output, errors = run_python("-c", PEAK.format(fill=fill)).communicate(timeout=50)

    killed, peak = output.split()
    assert killed == "True", errors
    assert 300 * MB < int(peak) < 1000 * MB  # 320 to 430 as a rule; the agent may be late
