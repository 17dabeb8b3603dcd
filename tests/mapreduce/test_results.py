"""Results: secured in the driver as they come, loaded one at a time, and nothing is left of them."""

from __future__ import annotations

import gc
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from mapreduce import JobFailedError, MapReduceJob, Split, collect
from tuplespace import RemoteSpace, connect
from tuplespace.security import make_key
from workers.blocks import FRAME_BYTES, Location
from workers.errors import BlockLostError
from workers.parcels import open_frames
from workers.workplace import Workplace

cloudpickle.register_pickle_by_value(sys.modules[__name__])

BIG = 3 * FRAME_BYTES


@pytest.fixture
def space(standing_cluster: Any) -> Iterator[RemoteSpace]:
    with connect(standing_cluster.uri) as space:
        yield space


def one_to_one(records: Any) -> list[Any]:
    return [(record, record) for record in records]


def job_of_big_results(**options: Any) -> MapReduceJob:
    settings: dict[str, Any] = {
        "reduce_tasks": 3, "partition": lambda key, R: key % R,
        "reduce": lambda pairs: [bytes([k]) * BIG for k, _ in pairs], **options,
    }  # fmt: skip
    return MapReduceJob([0, 1, 2, 3], one_to_one, **settings)


def folders(cluster: Any) -> list[Path]:
    return list(cluster.temporary.glob("tuplemill-*/results-*"))


def test_a_big_result_travels_in_frames_and_comes_back_whole(
    tmp_path: Path, key_file: Path
) -> None:
    place = Workplace("w", "here", tmp_path, "", make_key(key_file))
    value = [os.urandom(1000) for _ in range(10_000)]

    parcel = place.send("job", "big", value)

    assert parcel.content is None
    assert [frame.length for frame in parcel.frames[:-1]] == [FRAME_BYTES] * 2
    assert 0 < parcel.frames[-1].length < FRAME_BYTES
    assert parcel.location is not None
    with open_frames(Path(parcel.location.path), parcel.frames) as file:
        assert pickle.load(file) == value
    assert pickle.loads(place.receive(parcel)) == value
    place.secure(parcel, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == Path(parcel.location.path).read_bytes()
    place.secure(parcel, tmp_path / "link", link=True)
    assert (tmp_path / "link").samefile(parcel.location.path)
    assert list((tmp_path / "job").glob("*.draft")) == []


def test_a_damaged_frame_is_not_unpickled(tmp_path: Path, key_file: Path) -> None:
    place = Workplace("w", "here", tmp_path, "", make_key(key_file))
    parcel = place.send("job", "big", b"x" * BIG)
    assert parcel.location is not None
    with open(parcel.location.path, "r+b") as file:
        file.seek(FRAME_BYTES + 7)
        file.write(b"y")

    with open_frames(Path(parcel.location.path), parcel.frames) as opened:
        assert len(opened.read(FRAME_BYTES)) == FRAME_BYTES
        with pytest.raises(BlockLostError, match="is damaged"):
            opened.read(1)


def test_results_outlive_the_workers_blocks(
    space: RemoteSpace, standing_cluster: Any, eventually: Callable[..., Any]
) -> None:
    run = job_of_big_results().submit(space)
    assert run.wait(30)
    folders = standing_cluster.temporary / f"tuplemill-{os.getuid()}" / space.space_id
    eventually(lambda: not (folders / run.id).exists())

    iterator = run.iter_results()
    assert next(iterator) == [b"\0" * BIG, b"\3" * BIG]
    assert [value[0][:1] for value in run.iter_results()] == [b"\0", b"\1", b"\2"]
    assert list(iterator) == [[b"\1" * BIG], [b"\2" * BIG]]
    assert run.result() is run.result()
    assert run.result() == job_of_big_results().run_sequential()


def test_results_of_an_embedded_run_outlive_it(standing_cluster: Any) -> None:
    run = job_of_big_results().submit()
    assert [value[0][:1] for value in run.iter_results()] == [b"\0", b"\1", b"\2"]
    assert run.result(30) == job_of_big_results().run_sequential()


def test_results_of_another_host_come_frame_by_frame(
    cluster: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cluster.start_agent("--host", "elsewhere", "--work-dir", str(tmp_path / "far"))
    read: list[int] = []
    pieces = Workplace.pieces

    def watched(self: Any, parcel: Any) -> Iterator[bytes]:
        for piece in pieces(self, parcel):
            read.append(len(piece))
            yield piece

    monkeypatch.setattr(Workplace, "pieces", watched)

    result = job_of_big_results().run(cluster.connect())

    assert result == job_of_big_results().run_sequential()
    assert len(read) >= 12
    assert max(read) == FRAME_BYTES


def test_nothing_is_left_once_the_run_is_forgotten(
    space: RemoteSpace, standing_cluster: Any, eventually: Callable[..., Any]
) -> None:
    run = job_of_big_results().submit(space)
    assert run.wait(30)
    assert len(folders(standing_cluster)) == 1

    del run

    # The driver's thread may hold it for a moment more.
    eventually(lambda: gc.collect() >= 0 and not folders(standing_cluster))


def test_a_job_that_fails_leaves_no_results(
    space: RemoteSpace, standing_cluster: Any, eventually: Callable[..., Any], tmp_path: Path
) -> None:
    def reduce(pairs: Any) -> Any:
        [(key, _)] = pairs
        if key == 2:
            while not (tmp_path / "fail").exists():
                os.sched_yield()
            raise RuntimeError("no")
        return b"x" * BIG

    run = MapReduceJob([0, 1, 2], one_to_one, reduce, reduce_tasks=3,
                       partition=lambda key, R: key, retries=0).submit(space)  # fmt: skip
    eventually(lambda: run.progress().reduce_done == 2)
    eventually(lambda: folders(standing_cluster))
    (tmp_path / "fail").touch()

    with pytest.raises(JobFailedError):
        run.result(30)
    assert folders(standing_cluster) == []


LEAVES = """
import os, signal, sys
from mapreduce import MapReduceJob

job = MapReduceJob([1], lambda records: [(1, 1)], lambda pairs: b"x" * 5_000_000, reduce_tasks=1)
run = job.submit(sys.argv[1])
run.wait()
print(len(os.listdir(sys.argv[2])), flush=True)
if sys.argv[3] == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.faults
@pytest.mark.parametrize("end", ["exit", "kill"])
def test_nothing_is_left_when_the_process_ends(
    cluster: Any, run_python: Callable[..., Any], eventually: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch, end: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("TMPDIR", str(cluster.temporary))
    cluster.start_agent()
    process = run_python("-c", LEAVES, cluster.uri, str(cluster.temporary), end)
    output, error = process.communicate(timeout=30)

    assert (output, error) == ("1\n", "")
    if end == "exit":
        assert folders(cluster) == []
    eventually(lambda: folders(cluster) == [])  # an agent sweeps what a killed driver leaves


@pytest.mark.faults
def test_a_result_that_is_gone_before_it_is_secured_is_made_again(
    space: RemoteSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secure = Workplace.secure
    lost: list[Location] = []

    def lose_one(self: Any, parcel: Any, path: Path, *, link: bool = False) -> None:
        if not lost:
            lost.append(parcel.location)
            Path(parcel.location.path).unlink()
        secure(self, parcel, path, link=link)

    monkeypatch.setattr(Workplace, "secure", lose_one)
    ran = tmp_path

    def reduce(pairs: Any) -> Any:
        number = len(list(ran.iterdir()))
        (ran / f"{number}-{os.getpid()}-{os.urandom(4).hex()}").touch()
        return [bytes([k]) * BIG for k, _ in pairs]

    result = job_of_big_results(reduce=reduce).run(space)

    assert len(list(ran.iterdir())) == 4
    assert result == job_of_big_results().run_sequential()


@pytest.mark.faults
def test_results_that_are_always_gone_fail_the_job(
    space: RemoteSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(self: Any, parcel: Any, path: Path, *, link: bool = False) -> None:
        raise BlockLostError("swept away")

    monkeypatch.setattr(Workplace, "secure", lose)
    job = MapReduceJob([Split(1)], lambda record: [(1, 1)], lambda pairs: b"x" * 300_000)
    with pytest.raises(JobFailedError, match=r"reduce 0 failed .*swept away"):
        job.run(space)


def test_small_results_make_no_folder(space: RemoteSpace, standing_cluster: Any) -> None:
    run = MapReduceJob(list(range(100)), one_to_one, collect).submit(space)
    assert run.result(20)
    assert list(run.iter_results()) == run.result()
    assert folders(standing_cluster) == []
