"""Jobs, end to end, on real processes: what comes out is what one process would give."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from mapreduce import (
    JobCancelledError,
    MapReduceJob,
    Split,
    TextFiles,
    by_key,
    collect,
    count_values,
    each,
    max_value,
    stable_hash,
    sum_values,
    top,
)
from mapreduce.engine.embedded import EmbeddedEngine
from tuplespace import RemoteSpace, connect
from tuplespace.pickles import dump
from workers.folders import occupy_new, remove_deserted
from workers.task import ERROR, LOST, OK, Outcome, Parcel

# Functions of this module travel by value, as those of a script do.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

LINES = [f"the {'quick' if n % 3 else 'slow'} fox {n % 17} jumps\tover {n % 5}" for n in range(500)]
words = each(lambda line: [(word, 1) for word in line.split()])
total = by_key(lambda key, values: sum(values))


@pytest.fixture
def space(standing_cluster: Any) -> Iterator[RemoteSpace]:
    with connect(standing_cluster.uri) as space:
        yield space


def wait_for_file(path: Path, within: float = 30.0) -> None:
    """For tasks: wait until somebody makes a file."""
    deadline = time.monotonic() + within
    while not path.exists():
        assert time.monotonic() < deadline, f"no {path}"
        time.sleep(0.005)


def say_and_wait(folder: Path) -> Any:
    """Return a map that says it has begun and ends when it is told to."""

    def map_function(records: Any) -> list[Any]:
        records = list(records)
        (folder / f"begun-{records[0] if records else 'none'}-{os.getpid()}").touch()
        wait_for_file(folder / "go")
        return [(record, os.getpid()) for record in records]

    return map_function


def nothing_of_a_job_is_left(space: RemoteSpace) -> bool:
    return not any(
        space.count(template)
        for template in (("job", None, None), ("task", *[None] * 6), ("result", *[None] * 4))
    )


# --- the same as in one process -------------------------------------------------------------------

JOBS: dict[str, dict[str, Any]] = {
    "word count": {"data": LINES, "map": words, "reduce": total},
    "the same, combined": {"data": LINES, "map": words, "reduce": total, "combine": total},
    "the same, ready-made": {
        "data": LINES, "map": words, "reduce": sum_values, "combine": sum_values,
    },
    "a chunk at a time": {
        "data": LINES,
        "map": lambda lines: Counter(word for line in lines for word in line.split()),
        "reduce": sum_values,
    },
    "a dict from the whole partition": {
        "data": LINES, "map": words, "reduce": lambda pairs: dict(Counter(k for k, _ in pairs)),
    },
    "generators all the way": {
        "data": LINES,
        "map": lambda lines: ((word, line) for line in lines for word in line.split()),
        "combine": lambda pairs: (pair for pair in pairs if pair[0] != "fox"),
        "reduce": lambda pairs: (f"{key}={value}" for key, value in pairs),
    },
    "one reduce": {"data": LINES, "map": words, "reduce": collect, "reduce_tasks": 1},
    "more maps than records": {
        "data": LINES[:3], "map": words, "reduce": total, "map_tasks": 9, "reduce_tasks": 5,
    },
    "one map": {"data": LINES, "map": words, "reduce": total, "map_tasks": 1},
    "its own partitioner": {
        "data": LINES, "map": words, "reduce": count_values, "reduce_tasks": 3,
        "partition": lambda key, R: len(key) % R,
    },
    "all to one partition": {
        "data": LINES, "map": words, "reduce": lambda pairs: len(list(pairs)), "reduce_tasks": 4,
        "partition": lambda key, R: R - 1,
    },
    "no pairs at all": {"data": LINES, "map": lambda lines: [], "reduce": lambda p: list(p)},
    "no data": {"data": [], "map": words, "reduce": total, "reduce_tasks": 3},
    "no data, many maps": {
        "data": [], "map": words, "reduce": total, "map_tasks": 4, "reduce_tasks": 2,
    },
    "None as a result": {"data": LINES, "map": words, "reduce": lambda pairs: None},
    "keys of many kinds": {
        "data": [(1, 2.5), "x", b"x", None, True, 1.0, (("a", 1), frozenset({3})), -(10**30)] * 3,
        "map": each(lambda record: [(record, 1)]),
        "reduce": total,
    },
    "a range": {"data": range(1000), "map": each(lambda n: [(n % 7, n)]), "reduce": max_value},
    "a mapping": {"data": {"a": 1, "b": 2}, "map": each(lambda r: [r]), "reduce": collect},
    "splits of the user": {
        "data": [Split([1, 2, 3]), Split("abc"), Split(())],
        "map": lambda given: [(str(item), 1) for item in given], "reduce": total,
    },
    "the largest": {"data": LINES, "map": words, "reduce": top(3)},
    "values as they came": {
        "data": LINES, "map": each(lambda line: [(line.split()[1], line)]), "reduce": collect,
    },
    "a record of 3 MB": {
        "data": ["x" * 3_000_000, "y"], "map": each(lambda text: [(text[0], text)]),
        "reduce": by_key(lambda key, values: [len(value) for value in values]),
    },
    "results of 3 MB": {
        "data": [1, 2], "map": each(lambda n: [(n, n)]),
        "reduce": lambda pairs: [b"r" * 3_000_000 for _ in pairs], "reduce_tasks": 3,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", JOBS)
def test_a_job_gives_what_one_process_would(name: str, space: RemoteSpace) -> None:
    job = MapReduceJob(**JOBS[name])

    assert job.run(space) == job.run_sequential()
    assert nothing_of_a_job_is_left(space)


def test_text_files_give_what_one_process_would(space: RemoteSpace, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text("\n".join(LINES) * (number + 1))
    job = MapReduceJob(TextFiles(str(tmp_path / "*.txt")), words, sum_values, map_tasks=7)

    assert job.run(space) == job.run_sequential()


def test_the_space_may_be_named_or_given_or_private(standing_cluster: Any) -> None:
    job = MapReduceJob(LINES, words, total)
    expected = job.run_sequential()

    assert job.run(standing_cluster.uri) == expected
    assert job.run() == expected


def test_a_map_of_a_chunk_is_called_once_a_split_with_a_list(space: RemoteSpace) -> None:
    job = MapReduceJob(list(range(10)), map_tasks=3, reduce_tasks=1)
    job.map = lambda records: [(type(records).__name__, records)]
    job.reduce = collect

    assert job.run(space) == [[("list", [[0, 1, 2], [3, 4, 5], [6, 7, 8, 9]])]]


def test_data_that_can_be_read_once_only_is_read_once(space: RemoteSpace) -> None:
    job = MapReduceJob((n for n in range(100)), each(lambda n: [(n % 2, n)]), sum_values)

    assert sorted(pair for part in job.run(space) for pair in part) == [(0, 2450), (1, 2500)]


def test_partitions_are_those_of_the_stable_hash(space: RemoteSpace) -> None:
    job = MapReduceJob(LINES, words, by_key(lambda key, values: os.getpid()), reduce_tasks=5)

    for number, part in enumerate(job.run(space)):
        assert {stable_hash(key) % 5 for key, _ in part} <= {number}


def test_user_code_runs_in_worker_processes(space: RemoteSpace, standing_cluster: Any) -> None:
    job = MapReduceJob(list(range(8)), reduce_tasks=2)
    job.map = each(lambda n: [(n, os.getpid())])
    job.combine = lambda pairs: [(key, {value, os.getpid()}) for key, value in pairs]
    job.reduce = lambda pairs: {pid for _, pids in pairs for pid in pids} | {os.getpid()}

    pids = set().union(*job.run(space))

    assert pids <= set(standing_cluster.agents[0].workers)


def test_many_small_jobs_leave_nothing_behind(
    space: RemoteSpace, standing_cluster: Any, eventually: Callable[..., Any]
) -> None:
    job = MapReduceJob(LINES[:20], words, total, map_tasks=2, reduce_tasks=2)
    expected = job.run(space)
    threads, files = threading.active_count(), len(os.listdir("/dev/fd"))

    for _ in range(30):
        assert job.run(space) == expected

    assert nothing_of_a_job_is_left(space)
    assert threading.active_count() <= threads + 2
    eventually(lambda: len(os.listdir("/dev/fd")) <= files + 4)
    temporary = standing_cluster.temporary
    eventually(lambda: not list(temporary.glob("tuplemill-*/*/*/*.blocks")))


def test_two_jobs_at_once_do_not_mix(space: RemoteSpace) -> None:
    def make(factor: int) -> MapReduceJob:
        return MapReduceJob(
            list(range(400)), each(lambda n: [(n % 7, n * factor)]), sum_values, map_tasks=20
        )

    jobs = [make(factor) for factor in (1, 10, 100)]
    runs = [job.submit(space) for job in jobs]

    for job, run in zip(jobs, runs, strict=True):
        assert run.result(30) == job.run_sequential()


def test_closures_and_splits_bigger_than_a_tuple_travel(space: RemoteSpace) -> None:
    table = os.urandom(18_000_000)
    job = MapReduceJob([Split(os.urandom(17_000_000)), Split(b"small")], reduce_tasks=1)
    job.map = lambda data: [(len(data), len(table))]
    job.reduce = lambda pairs: (sorted(pairs), len(table))

    both = [(5, len(table)), (17_000_000, len(table))]
    assert job.run(space) == [(both, len(table))]


# --- the user's own modules -----------------------------------------------------------------------


def test_own_modules_travel_and_an_edit_reaches_the_next_job(
    space: RemoteSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    results = []
    for version in (1, 2):
        (tmp_path / "my_words.py").write_text(
            f"from my_version import VERSION\ndef pairs(line):\n    return [(VERSION, {version})]\n"
        )
        (tmp_path / "my_version.py").write_text(f"VERSION = 'v{version}'\n")
        for name in ("my_words", "my_version"):
            sys.modules.pop(name, None)
        import my_words

        job = MapReduceJob(["a line"], each(my_words.pairs), collect, reduce_tasks=1)
        results.append(job.run(space))

    assert results == [[[("v1", [1])]], [[("v2", [2])]]]


def test_records_of_own_classes_travel_with_their_module(
    space: RemoteSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_record.py").write_text(
        "from dataclasses import dataclass\n@dataclass\nclass Visit:\n    page: str\n"
    )
    import my_record

    job = MapReduceJob([my_record.Visit("a"), my_record.Visit("b"), my_record.Visit("a")])
    job.map = each(lambda visit: [(visit.page, 1)])
    job.reduce, job.reduce_tasks = sum_values, 1

    assert job.run(space) == [[("a", 2), ("b", 1)]]


# --- a job on its way -----------------------------------------------------------------------------


def test_a_job_tells_how_far_it_is(
    space: RemoteSpace, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    job = MapReduceJob([1, 2], say_and_wait(tmp_path), collect, map_tasks=2, reduce_tasks=3)
    run = job.submit(space)
    eventually(lambda: len(list(tmp_path.glob("begun-*"))) == 2)

    progress = run.progress()
    assert (progress.map_done, progress.map_total) == (0, 2)
    assert (progress.reduce_done, progress.reduce_total) == (0, 3)
    with pytest.raises(TimeoutError):
        run.result(timeout=0.01)
    (tmp_path / "go").touch()

    assert len(run.result(timeout=20)) == 3
    progress = run.progress()
    assert (progress.map_done, progress.reduce_done, progress.attempts_failed) == (2, 3, 0)
    assert list(run.iter_results()) == run.result()
    assert sum(run.report.tasks_by_worker.values()) == 5
    assert run.report.pairs == 2
    assert run.report.seconds > 0


def test_a_cancelled_job_leaves_nothing(
    space: RemoteSpace, standing_cluster: Any, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    run = MapReduceJob(list(range(50)), say_and_wait(tmp_path), collect, map_tasks=50).submit(space)
    eventually(lambda: len(list(tmp_path.glob("begun-*"))) == 2)

    run.cancel()

    with pytest.raises(JobCancelledError):
        run.result(0)
    assert space.count(("job", None, None)) == 0
    (tmp_path / "go").touch()
    eventually(lambda: nothing_of_a_job_is_left(space))
    assert len(list(tmp_path.glob("begun-*"))) <= 4
    run.cancel()


@pytest.mark.faults
def test_a_cancelled_job_that_would_never_end_lets_go_of_the_workers(
    space: RemoteSpace, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    def for_ever(records: Any) -> Any:
        (tmp_path / f"begun-{os.getpid()}").touch()
        while True:
            pass

    run = MapReduceJob([1, 2, 3, 4], for_ever, collect, map_tasks=4).submit(space)
    eventually(lambda: len(list(tmp_path.glob("begun-*"))) == 2)
    run.cancel()

    job = MapReduceJob(LINES, words, sum_values)
    assert job.submit(space).result(20) == job.run_sequential()
    eventually(lambda: nothing_of_a_job_is_left(space))
    assert len(list(tmp_path.glob("begun-*"))) == 2


def test_results_that_come_after_the_end_of_their_job_are_cleared_away(
    space: RemoteSpace, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    run = MapReduceJob([1, 2], say_and_wait(tmp_path), collect, map_tasks=2).submit(space)
    eventually(lambda: len(list(tmp_path.glob("begun-*"))) == 2)
    run.cancel()

    (tmp_path / "go").touch()

    eventually(lambda: nothing_of_a_job_is_left(space))


def test_a_task_that_fails_is_tried_again(space: RemoteSpace, tmp_path: Path) -> None:
    def fail_once(records: Any) -> Any:
        try:
            (tmp_path / "tried").mkdir()
        except FileExistsError:
            return [(record, 1) for record in records]
        raise ConnectionError("the weather")

    run = MapReduceJob([1], fail_once, sum_values, retries=1, reduce_tasks=1).submit(space)

    assert run.result(20) == [[(1, 1)]]
    assert run.progress().attempts_failed == 1


# --- the shuffle ----------------------------------------------------------------------------------


def test_neither_space_nor_driver_carries_the_pairs(
    cluster: Any, eventually: Callable[..., Any], tmp_path: Path
) -> None:
    cluster.start_agent()
    with cluster.connect() as space:
        results = space.notify("write", ("result", *[None] * 4))
        job = MapReduceJob(list(range(4)), map_tasks=4, reduce_tasks=2)
        job.map = lambda records: ((n, os.urandom(1000)) for n in range(2500))
        job.reduce = lambda pairs: sum(len(value) for _, value in pairs)

        run = job.submit(space)

        assert sum(run.result(30)) == 4 * 2_500_000
        assert run.report.shuffle_bytes > 10_000_000
        sizes = [len(results.next(timeout=5).tuple[-1]) for _ in range(6)]
        assert sum(sizes) < 30_000
        results.cancel()


def test_reducers_on_another_host_fetch_from_the_block_server(
    cluster: Any, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    cluster.start_agent("--host", "east", "--work-dir", str(tmp_path / "east"), processes=1)
    cluster.start_agent("--host", "west", "--work-dir", str(tmp_path / "west"), processes=1)
    hosts = {agent.pid: name for agent, name in zip(cluster.agents, ("east", "west"), strict=True)}
    job = MapReduceJob([Split("e", affinity="east"), Split("w", affinity="west")], reduce_tasks=6)
    job.map = lambda name: [(n, (name, os.getppid(), "x" * 1000)) for n in range(3000)]
    job.reduce = lambda pairs: (os.getppid(), [(key, value[:2]) for key, value in pairs])

    results = job.run(cluster.connect())

    pairs = [pair for _, part in results for pair in part]
    assert sorted(key for key, _ in pairs) == sorted([*range(3000)] * 2)
    assert {(name, hosts[pid]) for _, (name, pid) in pairs} == {("e", "east"), ("w", "west")}


# --- embedded -------------------------------------------------------------------------------------

SCRIPT = """
import sys, time
from mapreduce import MapReduceJob, by_key

def helper(word):
    return word.upper()

job = MapReduceJob(data=["a b", "b c"], reduce_tasks=1)
job.map = lambda lines: [(helper(word), 1) for line in lines for word in line.split()]
job.reduce = by_key(lambda key, values: sum(values))
print(job.run())
"""

ENDLESS = """
import pathlib, sys, time
from mapreduce import MapReduceJob, collect

folder = sys.argv[1]

def begin(records):
    pathlib.Path(folder, "begun").touch()
    time.sleep(600)

try:
    MapReduceJob(data=[1, 2], map=begin, reduce=collect).run()
except KeyboardInterrupt:
    print("interrupted")
"""

EXPECTED = "[[('A', 1), ('B', 2), ('C', 1)]]"


@pytest.fixture
def script(
    tmp_path: Path, run_python: Callable[..., subprocess.Popen[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., subprocess.Popen[str]]:  # fmt: skip
    """Return what starts a script whose temporary files are all in one folder."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    return lambda *arguments: run_python(*arguments, cwd=tmp_path)


def leftovers(folder: Path) -> list[Path]:
    return list((folder / "tmp").glob("tuplemill-run-*"))


def test_a_script_without_a_main_guard_runs_a_job(
    script: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    (tmp_path / "job.py").write_text(SCRIPT)

    output, error = script("job.py").communicate(timeout=30)

    assert (output.strip(), error) == (EXPECTED, "")
    assert leftovers(tmp_path) == []


def test_a_script_from_standard_input_runs_a_job(
    script: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    output, error = script("-").communicate(SCRIPT, timeout=30)

    assert (output.strip(), error) == (EXPECTED, "")
    assert leftovers(tmp_path) == []


def test_an_embedded_run_removes_what_a_dead_one_has_left_and_keeps_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = tmp_path / f"tuplemill-run-{socket.gethostname()}-left"
    elsewhere = tmp_path / "tuplemill-run-another.host-left"  # whose locks we may not see
    for folder in (left, elsewhere):
        folder.mkdir()
        occupy_new(folder).close()

    with closing(EmbeddedEngine(processes=1)) as engine:
        assert not left.exists()
        assert elsewhere.exists()
        remove_deserted(tmp_path)
        assert (engine.work_dir.parent / "cluster.key").exists()


@pytest.mark.faults
def test_a_job_whose_caller_is_killed_leaves_nothing(
    script: Callable[..., subprocess.Popen[str]], tmp_path: Path, eventually: Callable[..., Any],
    below: Callable[[int], dict[int, str]], alive: Callable[[int], bool],
) -> None:  # fmt: skip
    process = script("-c", ENDLESS, str(tmp_path))
    eventually((tmp_path / "begun").exists, 20)
    children = below(process.pid)
    assert len(children) >= 3

    process.kill()

    eventually(lambda: not any(map(alive, children)))
    eventually(lambda: leftovers(tmp_path) == [])


@pytest.mark.faults
def test_the_next_run_removes_what_a_caller_has_left_that_was_killed_with_its_agent(
    script: Callable[..., subprocess.Popen[str]], tmp_path: Path, eventually: Callable[..., Any],
    below: Callable[[int], dict[int, str]], alive: Callable[[int], bool],
) -> None:  # fmt: skip
    process = script("-c", ENDLESS, str(tmp_path))
    eventually((tmp_path / "begun").exists, 20)
    children = below(process.pid)
    for pid in (process.pid, *children):
        os.kill(pid, signal.SIGSTOP)  # so that nobody hears of another's death
    for pid in (process.pid, *children):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not any(map(alive, children)))
    [left] = leftovers(tmp_path)

    output, error = script("-").communicate(SCRIPT, timeout=30)

    assert (output.strip(), error) == (EXPECTED, "")
    assert not left.exists()
    assert leftovers(tmp_path) == []


@pytest.mark.faults
def test_a_caller_that_is_killed_while_its_workers_start_leaves_nothing(
    script: Callable[..., subprocess.Popen[str]], tmp_path: Path, eventually: Callable[..., Any],
    below: Callable[[int], dict[int, str]], alive: Callable[[int], bool],
) -> None:  # fmt: skip
    process = script("-c", ENDLESS, str(tmp_path))
    children = eventually(lambda: below(process.pid))
    eventually(lambda: leftovers(tmp_path) != [])

    process.kill()

    eventually(lambda: not any(map(alive, children)))
    eventually(lambda: leftovers(tmp_path) == [])


@pytest.mark.faults
def test_an_interrupted_job_leaves_nothing(
    script: Callable[..., subprocess.Popen[str]], tmp_path: Path, eventually: Callable[..., Any],
    below: Callable[[int], dict[int, str]], alive: Callable[[int], bool],
) -> None:  # fmt: skip
    process = script("-c", ENDLESS, str(tmp_path))
    eventually((tmp_path / "begun").exists, 20)
    children = below(process.pid)

    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    output, error = process.communicate(timeout=10)

    assert (output, error, process.returncode) == ("interrupted\n", "", 0)
    assert time.monotonic() - started < 5
    assert not any(map(alive, children))
    assert leftovers(tmp_path) == []


@pytest.mark.faults
def test_an_interrupted_job_on_a_space_leaves_nothing_there(
    cluster: Any, run_python: Callable[..., subprocess.Popen[str]], tmp_path: Path,
    eventually: Callable[..., Any],
) -> None:  # fmt: skip
    cluster.start_agent()
    space = cluster.connect()
    program = ENDLESS.replace(".run()", f".run({cluster.uri!r})")
    process = run_python("-c", program, str(tmp_path))
    eventually((tmp_path / "begun").exists, 20)

    process.send_signal(signal.SIGINT)

    assert process.communicate(timeout=10) == ("interrupted\n", "")
    assert space.count(("job", None, None)) == 0
    assert space.count(("task", *[None] * 6)) == 0


# --- results that are none ------------------------------------------------------------------------


def test_forged_and_odd_results_are_dropped_and_the_job_goes_on(
    space: RemoteSpace, standing_cluster: Any, tmp_path: Path, eventually: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    job = MapReduceJob([1, 2], say_and_wait(tmp_path), count_values, map_tasks=2, reduce_tasks=1)
    run = job.submit(space)
    eventually(lambda: len(list(tmp_path.glob("begun-*"))) == 2)
    for odd in (b"junk", None, object(), 7):
        space.write(("result", run.id, "map", 0, odd))
    space.write(("result", run.id, ["map"], {}, b"junk"))
    good = Outcome(run.id, "map", 0, 0, OK, "h/1", 1, 0.0)
    for forged in (
        good, good._replace(number=99), good._replace(number=-1, status=ERROR),
        good._replace(phase="zzz", status=ERROR), good._replace(attempt=3, status=ERROR),
        good._replace(status=LOST, details={"maps": (99,)}),
    ):  # fmt: skip
        space.write(forged.to_tuple(standing_cluster.key))
    eventually(lambda: len([line for line in caplog.messages if "drops a result" in line]) >= 7)
    (tmp_path / "go").touch()

    assert run.result(20) == [[(1, 1), (2, 1)]]
    assert run.progress().attempts_failed == 0
    eventually(lambda: nothing_of_a_job_is_left(space))


def test_a_map_whose_value_is_no_output_is_an_attempt_that_failed(
    space: RemoteSpace, standing_cluster: Any, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    job = MapReduceJob([1], say_and_wait(tmp_path), count_values, map_tasks=1, reduce_tasks=1)
    run = job.submit(space)
    eventually(lambda: len(list(tmp_path.glob("begun-*"))) == 1)
    odd = Outcome(run.id, "map", 0, 0, OK, "h/1", 1, 0.0, Parcel(dump(5)))
    space.write(odd.to_tuple(standing_cluster.key))
    eventually(lambda: run.progress().attempts_failed == 1)
    (tmp_path / "go").touch()

    assert run.result(20) == [[(1, 1)]]


UNWAITED = """
import os, sys, time
from mapreduce import MapReduceJob, collect

runs = [MapReduceJob([1, 2, 3], lambda r, f=sys.argv[2]: (open(f + "/begun", "w"), time.sleep(600)),
                     collect, map_tasks=3).submit(sys.argv[1]) for _ in range(2)]
while not os.path.exists(sys.argv[2] + "/begun"):
    time.sleep(0.01)
if not os.fork():
    sys.exit(3)  # no run of its own: it cancels none
assert os.waitstatus_to_exitcode(os.wait()[1]) == 3
assert not any(run.wait(0.6) for run in runs)
print(*(run.id for run in runs))
"""


def test_a_program_that_ends_takes_its_unfinished_jobs_with_it(
    cluster: Any, run_python: Callable[..., subprocess.Popen[str]], tmp_path: Path,
    eventually: Callable[..., Any],
) -> None:  # fmt: skip
    cluster.start_agent()
    space = cluster.connect()
    process = run_python("-c", UNWAITED, cluster.uri, str(tmp_path))

    output, error = process.communicate(timeout=20)

    assert process.returncode == 0, error
    jobs = output.split()
    assert len(jobs) == 2
    assert "Traceback" not in error
    for job in jobs:
        assert f"job {job} was cancelled because its program ended" in error
        assert space.count(("job", job, None)) == 0
    eventually(lambda: nothing_of_a_job_is_left(space))
