"""Jobs whose driver dies: another goes on, and repeats nothing."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from mapreduce import (
    InvalidJobError,
    JobCancelledError,
    JobHasDriverError,
    JobNotFoundError,
    MapReduceJob,
    attaching,
    collect,
    sum_values,
)
from mapreduce.engine.space import SpaceEngine
from mapreduce.engine.tenure import Tenure, driver_of
from mapreduce.records import Decoder
from tuplespace import MatchTimeoutError, RemoteSpace, TupleSpace, connect
from workers import folders

# Functions of this module travel by value, as those of a script do.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

ROOT = Path(__file__).resolve().parents[2]

#: Maps and reduces say what they have done; each map waits until it may.
JOB = """
import os, sys, time
from pathlib import Path
from mapreduce import MapReduceJob, KeepBlocks, TextFiles
from workers import counter

folder = Path(sys.argv[2])
maps, reduces, records = 8, 3, 2000

def wait_for(path):
    deadline = time.monotonic() + 20
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
    counter("records").add(len(split))
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
    counts: Counter[int] = Counter()
    for record in range(2000):
        counts[record % 17] += record
    return sorted(counts.items())


def flat(results: list[Any]) -> list[Any]:
    return sorted(pair for part in results for pair in part)


class Drivers:
    """Starts drivers as processes of their own, which say the id of their job."""

    def __init__(self, cluster: Any, folder: Path, eventually: Callable[..., Any]) -> None:
        self.cluster, self.folder, self._eventually = cluster, folder, eventually
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
        with connect(self.cluster.uri) as space:
            self._eventually(lambda: space.count(("ledger", job, int, bytes)))
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
        with connect(self.cluster.uri) as space:
            for _, job, _ in space.read_all(("job", None, None)):
                attaching.cancel(space, job)


@pytest.fixture
def drivers(standing_cluster: Any, tmp_path: Path, eventually: Callable[..., Any]) -> Any:
    folder = tmp_path / "told"
    folder.mkdir()
    drivers = Drivers(standing_cluster, folder, eventually)
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
        assert run.counters == {"records": 2000}
        eventually(lambda: nothing_is_left(space, job))


def test_reduces_that_are_done_and_a_job_that_is_all_done_are_not_run_again(
    drivers: Any, standing_cluster: Any, eventually: Callable[..., Any]
) -> None:
    # The driver stops as soon as it has all outcomes: before it has published anything.
    process, job = drivers.start(drive=DRIVE.replace("run = ", STOP_AT_THE_END + "run = "))
    drivers.let(*JOB_FIRSTS, "reduce")
    assert process.stdout.readline() == "at the end\n"
    process.kill()
    with connect(standing_cluster.uri) as space:
        run = MapReduceJob.attach(space, job)
        assert flat(run.result(30)) == expected()
        assert sorted(Counter(drivers.done()).values()) == [1] * 11
        eventually(lambda: nothing_is_left(space, job))


STOP_AT_THE_END = """
from mapreduce.outputs.results import Values
def stop(self):
    print("at the end", flush=True)
    time.sleep(60)
Values.finish = stop
"""


def test_a_driver_that_wakes_up_is_refused_and_changes_nothing(
    drivers: Any, standing_cluster: Any, eventually: Callable[..., Any]
) -> None:
    drive = DRIVE.replace(
        "job.submit(sys.argv[1])",
        "job.submit(SpaceEngine(connect(sys.argv[1]), owned=True, token_lease=1.0))",
    )
    drive = (
        "from mapreduce.engine.space import SpaceEngine\nfrom tuplespace import connect\n" + drive
    )
    process, job = drivers.start(drive=drive)
    drivers.let(*JOB_FIRSTS[:4])
    eventually(lambda: len(drivers.done()) == 4)
    process.send_signal(signal.SIGSTOP)
    with connect(standing_cluster.uri) as space:
        run = MapReduceJob.attach(space, job)
        process.send_signal(signal.SIGCONT)
        _, said = process.communicate(timeout=20)
        assert "JobSupersededError" in said
        assert f"({run._engine.driver})" in said
        assert space.count(("job", job, None)) == 1
        drivers.let(*JOB_FIRSTS, "reduce")
        assert flat(run.result(30)) == expected()
        assert sorted(Counter(drivers.done()).values()) == [1] * 11
        eventually(lambda: nothing_is_left(space, job))


def test_a_job_whose_driver_lives_says_who_that_is(
    drivers: Any, standing_cluster: Any, eventually: Callable[..., Any]
) -> None:
    process, job = drivers.start()
    with connect(standing_cluster.uri) as space:
        with pytest.raises(JobHasDriverError, match=rf"{job} is driven by \S+/{process.pid}, "):
            attaching.attach(SpaceEngine(space), job, wait=0.2)
        drivers.let(*JOB_FIRSTS, "reduce")
        assert process.stdout.readline() == "ended\n"
        eventually(lambda: nothing_is_left(space, job))
        with pytest.raises(JobNotFoundError, match=f"no job {job!r}"):
            MapReduceJob.attach(space, job)


@pytest.mark.faults
def test_a_stream_that_was_read_goes_on_and_one_that_was_not_says_what_is_missing(
    drivers: Any, standing_cluster: Any, eventually: Callable[..., Any]
) -> None:
    stream = """
from mapreduce.inputs import stream as reading
reading.HEAD_RECORDS, reading.SPLIT_BYTES = 10, 2000
def read():
    for record in range(records):
        if record == 1500:
            wait_for(folder / "read on")
        yield record
job.data, job.map_tasks = read(), None
job.map = lambda split: map_function([0, *split][1:])
"""
    process, job = drivers.start(stream)
    with connect(standing_cluster.uri) as space:
        process.kill()
        with pytest.raises(
            InvalidJobError, match=r"and split \d+ was never read; run the job again"
        ):
            MapReduceJob.attach(space, job)
        assert space.count(("job", job, None)) == 1  # as it was
        attaching.cancel(space, job)
        eventually(lambda: nothing_is_left(space, job))

    drivers.let("read on")
    process, job = drivers.start(stream)
    with connect(standing_cluster.uri) as space:
        eventually(lambda: ended(space, standing_cluster.key, job))
        process.kill()
        run = MapReduceJob.attach(space, job)
        drivers.let(*(f"map-{number}" for number in range(2000)), "reduce")
        assert flat(run.result(30)) == expected()
        assert max(Counter(drivers.done()).values()) == 1


def events_of(space: Any, key: Any, job: str) -> list[Any]:
    return list(Decoder(job, key).feed(space.read_all(("ledger", job, int, bytes))))


def ended(space: Any, key: Any, job: str) -> bool:
    return ("end",) in events_of(space, key, job)


def test_large_splits_and_functions_are_on_the_disk_of_the_drivers_host(
    drivers: Any, standing_cluster: Any, eventually: Callable[..., Any]
) -> None:
    large = """
padding, inner = os.urandom(3_000_000), map_function
job.data = [(record, bytes([record % 256]) * 2000) for record in range(records)]
job.map = lambda split: inner([record for record, _ in split][: len(padding)])
"""
    process, job = drivers.start(large)
    drivers.let(*JOB_FIRSTS[:4])
    eventually(lambda: len(drivers.done()) == 4)
    process.kill()
    with connect(standing_cluster.uri) as space:
        assert sum(len(value[3]) for value in space.read_all(("ledger", job, int, bytes))) < 200_000
        with pytest.raises(
            InvalidJobError, match=r"cannot go on here: .*on host .* is out of reach"
        ):
            attaching.attach(SpaceEngine(space, host="elsewhere"), job)
        run = MapReduceJob.attach(space, job)
        drivers.let(*JOB_FIRSTS, "reduce")
        assert flat(run.result(30)) == expected()
        assert sorted(Counter(drivers.done()).values()) == [1] * 11


def test_a_job_whose_space_was_away_for_too_long_is_left_as_it_was_and_resumed(
    drivers: Any, standing_cluster: Any, eventually: Callable[..., Any]
) -> None:
    out = drivers.folder / "out"
    engine = "SpaceEngine(connect(sys.argv[1], retry_for=1), owned=True, token_lease=1.0)"
    imports = (
        "from mapreduce.engine.space import SpaceEngine\nfrom tuplespace import connect\n"
        f"job.output = {str(out)!r}\n"
    )
    process, job = drivers.start(imports, DRIVE.replace("sys.argv[1])", f"{engine})"))
    drivers.let(*JOB_FIRSTS[:4])
    eventually(lambda: len(drivers.done()) == 4)
    standing_cluster.server.send_signal(signal.SIGSTOP)
    try:
        _, said = process.communicate(timeout=20)
    finally:
        standing_cluster.server.send_signal(signal.SIGCONT)
    assert f"`invoke resume {job}` goes on with it" in said

    with connect(standing_cluster.uri) as space:
        run = MapReduceJob.attach(space, job)
        drivers.let(*JOB_FIRSTS, "reduce")
        assert len(run.result(30)) == 3
    assert sorted(os.listdir(out)) == ["_SUCCESS", *(f"part-0000{n}.txt" for n in range(3))]
    assert sorted(Counter(drivers.done()).values()) == [1] * 11


def test_output_files_are_finished_once_by_the_driver_that_has_the_job(
    drivers: Any, standing_cluster: Any, eventually: Callable[..., Any]
) -> None:
    out = drivers.folder / "out"
    stop = STOP_AT_THE_END.replace(
        "results import Values", "committing import FileResults as Values"
    )
    process, job = drivers.start(f"{stop}job.output = {str(out)!r}\n")
    drivers.let(*JOB_FIRSTS, "reduce")
    assert process.stdout.readline() == "at the end\n"
    assert list(out.glob("part-*")) == []
    process.kill()
    with connect(standing_cluster.uri) as space:
        assert MapReduceJob.attach(space, job).result(30) == sorted(map(str, out.glob("part-*")))
        eventually(lambda: nothing_is_left(space, job))
    assert sorted(os.listdir(out)) == ["_SUCCESS", *(f"part-0000{n}.txt" for n in range(3))]
    assert sorted(Counter(drivers.done()).values()) == [1] * 11


@pytest.mark.faults
@pytest.mark.parametrize("moment", ["move", "open", "remove"])
def test_a_driver_killed_while_it_publishes_is_succeeded(
    drivers: Any, standing_cluster: Any, moment: str
) -> None:
    out = drivers.folder / "out"
    # In the middle of the renames, before _SUCCESS, and after it.
    die = f"""
from mapreduce.outputs.committing import FileResults
from mapreduce.outputs.folders import LocalFolder
usual, calls, finish = LocalFolder.{moment}, [], FileResults.finish
def die(self, *arguments):
    calls.append(arguments)
    if len(calls) == {2 if moment == "move" else 1}:
        print("dead", flush=True)
        os.kill(os.getpid(), 9)
    return usual(self, *arguments)
def finish_and_die(self):
    LocalFolder.{moment} = die
    finish(self)
FileResults.finish = finish_and_die
job.output = {str(out)!r}
"""
    process, job = drivers.start(die)
    drivers.let(*JOB_FIRSTS, "reduce")
    assert process.stdout.readline() == "dead\n"
    process.wait(10)
    with connect(standing_cluster.uri) as space:
        assert MapReduceJob.attach(space, job).result(30) == sorted(map(str, out.glob("part-*")))
    assert sorted(os.listdir(out)) == ["_SUCCESS", *(f"part-0000{n}.txt" for n in range(3))]
    assert sorted(Counter(drivers.done()).values()) == [1] * 11


def test_kept_blocks_are_there_for_the_next_job(
    drivers: Any, standing_cluster: Any, eventually: Callable[..., Any]
) -> None:
    process, job = drivers.start("job.output = KeepBlocks()\n")
    drivers.let(*JOB_FIRSTS[:4])
    eventually(lambda: len(drivers.done()) == 4)
    process.kill()
    with connect(standing_cluster.uri) as space:
        run = MapReduceJob.attach(space, job)
        drivers.let(*JOB_FIRSTS, "reduce")
        with run.result(30) as blocks:
            again = MapReduceJob(blocks, list, collect, reduce_tasks=1).run(space)
            assert sorted((key, value[0]) for key, value in again[0]) == expected()
        eventually(lambda: space.count(("job", None, None)) == 0)


def test_a_live_driver_hears_that_its_job_was_cancelled_elsewhere(
    standing_cluster: Any, eventually: Callable[..., Any], background: Any
) -> None:
    with connect(standing_cluster.uri) as space, connect(standing_cluster.uri) as other:
        run = MapReduceJob([1], lambda split: time.sleep(60), sum_values).submit(space)
        eventually(lambda: space.claimed(("task", run.id, *[None] * 5)))
        assert attaching.cancel(other, run.id) == f"{socket.gethostname()}/{os.getpid()}"
        with pytest.raises(JobCancelledError, match="from elsewhere"):
            run.result(3)
        eventually(lambda: nothing_is_left(space, run.id))


@pytest.mark.faults
def test_a_job_without_a_driver_is_cleared_up_when_its_lease_ends_blocks_included(
    drivers: Any, standing_cluster: Any, eventually: Callable[..., Any]
) -> None:
    more = """
from mapreduce.engine.space import SpaceEngine
from tuplespace import MatchTimeoutError, TupleSpace, connect
job.data = [(record, bytes([record % 256]) * 2000) for record in range(records)]
job.map = lambda split: map_function([record for record, _ in split])
"""
    drive = DRIVE.replace("sys.argv[1]", "SpaceEngine(connect(sys.argv[1]), lease=3.0)")
    process, job = drivers.start(more, drive)
    drivers.let(*JOB_FIRSTS[:2])
    eventually(lambda: len(drivers.done()) == 2)
    root = standing_cluster.temporary
    [folder] = [path for path in root.rglob(job) if path.is_dir()]
    assert len(list(folder.glob("map-*-argument-*.blocks"))) == 8
    process.kill()
    process.wait()
    with connect(standing_cluster.uri) as space:
        assert space.count(("job", job, None)) == 1
        assert space.count(("ledger", job, int, bytes)) > 0
        eventually(lambda: nothing_is_left(space, job), within=15)
        eventually(lambda: not folder.exists())


def test_a_folder_of_a_job_outlives_its_driver_but_not_for_ever(tmp_path: Path) -> None:
    folders.occupy(tmp_path / "space").close()
    folder = tmp_path / "space" / "job"
    folder.mkdir()
    folders.keep_for(folder, 60)
    folders.remove_deserted(tmp_path)
    assert folder.exists()
    folders.keep_for(folder, -1)
    folders.remove_deserted(tmp_path)
    assert not folder.exists()


def test_the_next_driver_deletes_what_a_killed_one_has_left_where_no_agent_is(
    remote: RemoteSpace, tmp_path: Path
) -> None:
    folders.occupy(tmp_path / "left").close()
    with folders.occupy(tmp_path / "in use"):
        SpaceEngine(remote, work_dir=str(tmp_path)).close()
        assert (tmp_path / "in use").exists()
        assert not (tmp_path / "left").exists()


def test_the_command_line_resumes_and_cancels(
    drivers: Any, standing_cluster: Any, eventually: Callable[..., Any]
) -> None:
    def invoke(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "invoke", *words, "--space", standing_cluster.uri],
            capture_output=True, text=True, env=standing_cluster.environment, cwd=ROOT,
            timeout=30, check=False,
        )  # fmt: skip

    a_step = DRIVE.replace("sys.argv[1]", 'sys.argv[1], label="chain, step 1"')
    process, job = drivers.start(drive=a_step)
    eventually(lambda: (drivers.let(JOB_FIRSTS[0]), drivers.done())[1])
    process.kill()
    with connect(standing_cluster.uri) as space:
        eventually(lambda: not driver_of(space, job))
        drivers.let(*JOB_FIRSTS, "reduce")
        eventually(lambda: space.count(("result", job, str, int, bytes)) >= 3)
    whole = f"none: run chain again (invoke resume {job}: this step alone)"
    assert whole in invoke("status").stdout
    resumed = invoke("resume", job)
    assert resumed.returncode == 0, resumed.stderr
    assert re.search(rf"job {job} goes on: .*, and \d more results lie in", resumed.stderr)
    assert "it is one step of chain: what it makes is shown, and no other step" in resumed.stderr
    assert "11 tasks on 2 workers, 0 failed attempts" in resumed.stderr
    assert sorted(Counter(drivers.done()).values()) == [1] * 11

    for path in drivers.folder.glob("map-*"):
        path.unlink()
    process, job = drivers.start()
    cancelled = invoke("cancel", job)
    assert (cancelled.returncode, cancelled.stderr) == (0, "")
    assert f"job {job} is cancelled; its driver" in cancelled.stdout
    assert "cancelled from elsewhere" in process.communicate(timeout=10)[1]
    for verb in ("cancel", "resume"):
        again = invoke(verb, job)
        assert again.returncode == 1
        assert again.stderr.startswith(f"error: there is no job {job!r}")


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(12))
def test_a_driver_killed_at_any_moment_is_succeeded_by_another(
    drivers: Any, standing_cluster: Any, seed: int
) -> None:
    # Ever later: when so many tuples of the job, of whatever kind, have been written.
    [process, job], moment = drivers.start(), 9 + seed
    with connect(standing_cluster.uri) as space:
        written = 0
        drivers.let(*JOB_FIRSTS, "reduce")
        while process.poll() is None and written < moment:
            written = len(events_of(space, standing_cluster.key, job)) + space.count(
                ("result", job, *[None] * 3)
            )
            if space.count(("job", job, None)) == 0:
                break
        process.kill()
        process.wait()
        try:
            run = MapReduceJob.attach(space, job)
        except JobNotFoundError:
            assert len(drivers.done()) == 11
            return
        assert flat(run.result(30)) == expected()
        assert sorted(Counter(drivers.done()).values()) == [1] * 11
        assert sum(run.report.tasks_by_worker.values()) == 11


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(3))
def test_a_job_survives_one_driver_after_the_other(
    drivers: Any, standing_cluster: Any, eventually: Callable[..., Any], seed: int
) -> None:
    process, job = drivers.start()
    drivers.let(JOB_FIRSTS[0])
    eventually(lambda: len(drivers.done()) == 1)
    process.kill()
    follow = """
run = MapReduceJob.attach(sys.argv[1], (folder / "id").read_text())
print(run.id, flush=True)
run.result()
"""
    (drivers.folder / "id").write_text(job)
    for number in range(1, 4):
        process, again = drivers.start(drive=follow)
        assert again == job
        drivers.let(JOB_FIRSTS[number])
        eventually(lambda least=number + 1: len(drivers.done()) >= least)
        process.kill()
    with connect(standing_cluster.uri) as space:
        drivers.let(*JOB_FIRSTS, "reduce")
        run = MapReduceJob.attach(space, job)
        assert flat(run.result(30)) == expected()
        assert sorted(Counter(drivers.done()).values()) == [1] * 11


class Drowsy(TupleSpace):
    """A space whose client falls asleep when it has claimed a token, for longer than its lease."""

    def claimed(self, template: Any) -> Any:
        time.sleep(0.4)
        return super().claimed(template)


def test_who_falls_asleep_while_it_takes_a_job_over_has_not_got_it() -> None:
    with Drowsy() as space:
        space.write(("driver", "a-job", 0, "host/1"))
        with pytest.raises(MatchTimeoutError, match="lost again"):
            Tenure(space, b"key", "a-job", "host/2", lease=0.1).succeed(timeout=0.0)
        assert space.take(("driver", "a-job", None, None), timeout=1) == (
            "driver",
            "a-job",
            0,
            "host/1",
        )
