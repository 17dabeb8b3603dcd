"""Chained jobs: what one job leaves, on disks or in files, is the data of the next."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from history.forwarder import Forwarder
from mapreduce import (
    Blocks,
    InputError,
    InvalidJobError,
    JobFailedError,
    KeepBlocks,
    MapReduceJob,
    PickleFiles,
    PickleOutput,
    collect,
    each,
    sum_values,
)
from mapreduce.inputs.splits import plan_splits
from tuplespace import RemoteSpace, connect

cloudpickle.register_pickle_by_value(sys.modules[__name__])

LINES = [f"the {'quick' if n % 3 else 'slow'} fox {n % 17} jumps over {n % 5}" for n in range(300)]
words = each(lambda line: [(word, 1) for word in line.split()])
by_count = each(lambda pair: [(pair[1], pair[0])])


@pytest.fixture
def space(standing_cluster: Any) -> Iterator[RemoteSpace]:
    with connect(standing_cluster.uri) as space:
        yield space


def counts(output: Any = None) -> MapReduceJob:
    return MapReduceJob(LINES, words, sum_values, reduce_tasks=4, output=output)


def turned(data: Any) -> MapReduceJob:
    return MapReduceJob(data, by_count, collect, reduce_tasks=2)


@pytest.fixture
def expected() -> list[Any]:
    """What the two jobs in turn give in one process."""
    return turned([pair for part in counts().run_sequential() for pair in part]).run_sequential()


def kept_files(cluster: Any) -> list[Path]:
    return [path for path in block_files(cluster) if path.parent.name.endswith("-kept")]


def block_files(cluster: Any) -> list[Path]:
    return [
        Path(folder, name)
        for folder, _, names in os.walk(cluster.temporary)  # unlike rglob, it bears the sweep
        for name in names
        if name.endswith(".blocks")
    ]


# --- blocks ---------------------------------------------------------------------------------------


def test_blocks_of_one_job_are_the_data_of_another(
    space: RemoteSpace, standing_cluster: Any, expected: list[Any], eventually: Callable[..., Any]
) -> None:
    with counts(KeepBlocks()).run(space) as blocks:  # type: ignore[attr-defined]
        assert isinstance(blocks, Blocks)
        assert len(blocks) == len(kept_files(standing_cluster)) == 4
        second = turned(blocks).submit(space)
        assert second.result(30) == expected
        assert second.progress().map_total == 4
        assert turned(blocks).run(space) == expected
    third = turned(counts(KeepBlocks()).run(space)).submit(space)  # who else holds the blocks?
    gc.collect()
    assert third.result(30) == expected
    del second, third

    eventually(lambda: kept_files(standing_cluster) == [])
    with pytest.raises(InvalidJobError, match=f"blocks of job {blocks.job} are deleted"):
        turned(blocks).run(space)


def test_only_the_kept_blocks_outlive_their_job(
    space: RemoteSpace, standing_cluster: Any, eventually: Callable[..., Any]
) -> None:
    blocks = counts(KeepBlocks()).run(space)

    eventually(  # once the agent has swept
        lambda: len(block_files(standing_cluster)) == len(kept_files(standing_cluster))
    )
    assert len(kept_files(standing_cluster)) == len(blocks)
    assert space.read_all(("job", None, None)) == [("job", f"{blocks.job}-kept", {"kept": True})]  # type: ignore[attr-defined]

    del blocks
    gc.collect()
    assert space.count(("job", None, None)) == 0


def test_a_partition_is_read_frame_by_frame(space: RemoteSpace) -> None:
    first = MapReduceJob([0, 1], each(lambda n: [(n, n)]), reduce_tasks=2, output=KeepBlocks())
    first.partition = lambda key, R: key
    first.reduce = lambda pairs: (bytes(1000) for _ in pairs for _ in range(30_000))
    with first.run(space) as blocks:  # type: ignore[attr-defined]
        assert [kept.items for kept in blocks] == [30_000] * 2
        assert all(len(kept.frames) >= 4 for kept in blocks)
        count = MapReduceJob(blocks, lambda records: [("n", sum(map(len, records)))], sum_values)
        count.reduce_tasks = 1
        assert count.run(space) == [[("n", 60_000_000)]]


def test_in_one_process_blocks_are_splits(expected: list[Any]) -> None:
    blocks = counts(KeepBlocks()).run_sequential()
    second = turned(blocks)
    assert second.run_sequential() == expected
    assert len(plan_splits(blocks)) == 4


def test_blocks_need_workers_that_stay(space: RemoteSpace) -> None:
    with pytest.raises(InvalidJobError, match=r"run it on a space, or .*PickleOutput"):
        counts(KeepBlocks()).submit()
    with counts(KeepBlocks()).run(space) as blocks:  # type: ignore[attr-defined]
        with pytest.raises(InvalidJobError, match="only workers can read"):
            turned(blocks).run_sequential()
        job = turned(blocks)
        job.map_tasks = 7
        with pytest.raises(InvalidJobError, match=r"4 partitions .* map_tasks cannot be 7"):
            job.run(space)


def test_a_job_that_fails_keeps_no_blocks(space: RemoteSpace, standing_cluster: Any) -> None:
    job = counts(KeepBlocks())
    job.reduce = lambda pairs: None
    with pytest.raises(JobFailedError, match="reduce returned None"):
        job.run(space)
    assert space.count(("job", None, None)) == 0


def test_blocks_that_are_gone_say_which_job_to_run_again(
    space: RemoteSpace, standing_cluster: Any
) -> None:
    with counts(KeepBlocks()).run(space) as blocks:  # type: ignore[attr-defined]
        Path(blocks[2].location.path).unlink()
        with pytest.raises(
            JobFailedError,
            match=f"partition 2 of job {blocks.job} is gone: run job {blocks.job} again",
        ):
            turned(blocks).run(space)


def test_a_host_with_blocks_that_is_away_for_a_moment_costs_no_attempt(
    space: RemoteSpace, forward: Callable[[int], Forwarder], expected: list[Any],
    eventually: Callable[..., Any],
) -> None:  # fmt: skip
    with counts(KeepBlocks()).run(space) as blocks:  # type: ignore[attr-defined]
        location = blocks[2].location
        name, _, port = location.uri.rpartition(":")
        forwarder = forward(int(port))
        forwarder.refuse = True
        away = location._replace(host="away", uri=f"{name}:{forwarder.port}")
        blocks[2] = blocks[2]._replace(location=away)
        job = turned(blocks)
        job.retries = 0

        run = job.submit(space)
        eventually(lambda: run.progress().attempts_failed >= 2)
        forwarder.refuse = False

        assert run.result(30) == expected


@pytest.mark.faults
def test_each_partition_is_mapped_where_it_lies(cluster: Any, tmp_path: Path) -> None:
    for host in ("east", "west"):
        cluster.start_agent("--host", host, "--work-dir", str(tmp_path / host))
    space = cluster.connect()
    job = MapReduceJob(list(range(40)), each(lambda n: [(n, n)]), output=KeepBlocks())
    job.partition, job.reduce_tasks = (lambda key, R: key), 40
    seen = tmp_path / "seen"
    seen.mkdir()

    def reduce(pairs: Any) -> list[int]:
        (seen / str(os.getppid())).touch()
        while len(os.listdir(seen)) < 2:  # until both agents have one
            os.sched_yield()
        return [os.getpid() for _ in pairs for _ in range(1000)]

    job.reduce = reduce
    first = job.submit(space)
    with first.result(30) as blocks:  # type: ignore[attr-defined]
        second = MapReduceJob(blocks, lambda pids: {(pid, os.getpid()): 1 for pid in pids})
        second.reduce, second.reduce_tasks = sum_values, 1
        run = second.submit(space)
        [pairs] = run.result(30)

    workers = {*first.report.tasks_by_worker, *run.report.tasks_by_worker}
    hosts = {int(name.split("/")[1]): name.split("/")[0] for name in workers}
    assert {hosts[made] for (made, _), _ in pairs} == {"east", "west"}
    assert all(hosts[made] == hosts[read] for (made, read), _ in pairs)


@pytest.mark.faults
def test_the_death_of_a_host_with_blocks_fails_the_next_job(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mapreduce.plan.LOSSES", 3)  # else it tries for a minute
    east = cluster.start_agent("--host", "east", "--work-dir", str(tmp_path / "east"))
    space = cluster.connect()
    blocks = counts(KeepBlocks()).run(space)
    cluster.start_agent("--host", "west", "--work-dir", str(tmp_path / "west"))
    east.kill()
    assert space.take(("worker", None, "east", None, None), timeout=20)

    with pytest.raises(JobFailedError, match=f"run job {blocks.job} again"):
        turned(blocks).run(space)


@pytest.mark.faults
def test_letting_go_of_blocks_does_not_wait_for_a_space_that_is_away(cluster: Any) -> None:
    cluster.start_agent()
    blocks = counts(KeepBlocks()).run(cluster.connect())
    cluster.kill_server()
    began = time.monotonic()
    del blocks
    gc.collect()
    assert time.monotonic() - began < 1.5


LEAVES = """
import sys
from mapreduce import KeepBlocks, MapReduceJob
blocks = MapReduceJob([1], lambda r: [(1, 1)], lambda p: [1], output=KeepBlocks()).run(sys.argv[1])
print(len(blocks), blocks.job)
"""


@pytest.mark.faults
def test_blocks_go_when_the_process_ends(
    cluster: Any, run_python: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    cluster.start_agent()
    output, error = run_python("-c", LEAVES, cluster.uri).communicate(timeout=30)
    assert (output[:2], error) == ("1 ", "")
    assert cluster.connect().count(("job", None, None)) == 0
    eventually(lambda: kept_files(cluster) == [])


# --- files of pickles -----------------------------------------------------------------------------


def test_pickled_output_is_the_data_of_another_job(
    space: RemoteSpace, tmp_path: Path, expected: list[Any]
) -> None:
    output = PickleOutput(tmp_path / "counts")
    counts(output).run(space)

    for data in (output, PickleFiles(tmp_path / "counts"), PickleFiles([tmp_path / "counts/p*"])):
        assert turned(data).run_sequential() == expected
    assert turned(output).run(space) == expected
    for map_tasks in (1, 3, 9):
        splits = plan_splits(output, map_tasks)
        assert len(splits) == map_tasks
        assert [pair for split in splits for pair in split.records()] == [
            pair for part in counts().run_sequential() for pair in part
        ]


def test_files_that_are_no_pickles_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are no pickled files"):
        turned(PickleFiles(tmp_path)).run_sequential()
    path = tmp_path / "some.pickle"
    path.write_bytes(pickle.dumps({"no": "list"}))
    with pytest.raises(InputError, match=r"some\.pickle holds no pickled lists"):
        turned(PickleFiles(tmp_path)).run_sequential()
    path.write_bytes(b"text")
    with pytest.raises(InputError, match=r"some\.pickle cannot be unpickled here"):
        turned(PickleFiles(path)).run_sequential()
    path.write_bytes(pickle.dumps([1]))
    [split] = plan_splits(PickleFiles(path))
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(InputError, match=r"some\.pickle has vanished or changed"):
        list(split.records())


def test_a_pickle_file_that_was_cut_short_is_no_shorter_file(tmp_path: Path) -> None:
    output = PickleOutput(tmp_path)
    MapReduceJob(
        [1], lambda records: [], lambda pairs: [b"y" * 70_000] * 40, reduce_tasks=1, output=output
    ).run_sequential()
    path = tmp_path / "part-00000.pickle"
    whole = path.read_bytes()
    for cut in (1, 2, 11, 12, 100, 70_000, 80_000, len(whole) - 70_000, len(whole) - 1):
        path.write_bytes(whole[:cut])
        [split] = plan_splits(output)
        with pytest.raises(InputError, match=r"part-00000\.pickle cannot be unpickled here"):
            list(split.records())


def test_the_pickles_of_a_job_that_did_not_end_well_are_no_data(tmp_path: Path) -> None:
    counts(PickleOutput(tmp_path)).run_sequential()
    (tmp_path / "_SUCCESS").unlink()
    with pytest.raises(InputError, match=r"no _SUCCESS in .* run it again, or give PickleFiles"):
        turned(PickleOutput(tmp_path)).run_sequential()
    assert len(plan_splits(PickleFiles(tmp_path))) == 4


def test_pickles_that_only_the_driver_has_are_read_through_it(
    remote: RemoteSpace, key_file: Path, tmp_path: Path, expected: list[Any]
) -> None:
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets us make no mount namespaces")
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    command = f"mount -t tmpfs none {hidden} && exec {sys.executable} -m workers --embedded "
    command += f"--space {remote.uri} --key-file {key_file} --processes 1 --host far "
    command += f"--work-dir {tmp_path / 'far-work'}"
    with subprocess.Popen(
        ["unshare", "-m", "sh", "-c", command], stdin=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as agent:
        remote.read(("worker", None, "far", None, None), timeout=20)
        counts(PickleOutput(hidden)).run_sequential()
        run = turned(PickleOutput(hidden)).submit(remote)
        assert run.result(30) == expected
        assert run.report.distant_bytes > 0
        assert agent.stdin is not None
        agent.stdin.close()
        assert agent.wait(10) == 0
