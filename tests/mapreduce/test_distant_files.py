"""Input files that only the driver's host has: workers read them through its block server."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from history.forwarder import Forwarder
from mapreduce import (
    JobFailedError,
    MapReduceJob,
    PickleFiles,
    PickleOutput,
    TextFiles,
    collect,
    each,
    fixed_length,
    json_lines,
    stable_hash,
    sum_values,
    whole_file,
)
from mapreduce.engine.space import SpaceEngine
from tuplespace import RemoteSpace, connect

# A worker in a mount namespace of its own sees an empty folder where the driver has its files.
HIDE = "mount -t tmpfs none {folder} && exec {python} -m workers --embedded {options}"


@pytest.fixture
def far_worker(remote: RemoteSpace, key_file: Path, tmp_path: Path) -> Iterator[Path]:
    """Start a worker on what is as good as another host; yield a folder it cannot see into."""
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets us make no mount namespaces")
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    options = f"--space {remote.uri} --key-file {key_file} --processes 2 --host far "
    options += f"--work-dir {tmp_path / 'far-work'}"
    command = HIDE.format(folder=hidden, python=sys.executable, options=options)
    with subprocess.Popen(
        ["unshare", "-m", "sh", "-c", command], stdin=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as agent:
        remote.read(("worker", None, "far", None, None), timeout=20)
        yield hidden
        assert agent.stdin is not None
        agent.stdin.close()
        assert agent.wait(10) == 0


def count_words(paths: list[str], **options: str) -> MapReduceJob:
    job = MapReduceJob(data=TextFiles(paths, **options))
    job.map = each(lambda line: [(word, 1) for word in line.split()])
    job.combine = job.reduce = sum_values
    return job


def test_a_worker_without_the_files_reads_them_through_the_driver(
    far_worker: Path, remote: RemoteSpace
) -> None:
    lines = [f"word{number % 97} of line{number % 13}\r\n" for number in range(60_000)]
    (far_worker / "a.txt").write_text("".join(lines), newline="")
    with gzip.open(far_worker / "b.txt.gz", "wt") as file:
        file.writelines(lines[:1000])
    job = count_words([str(far_worker / "*.txt"), str(far_worker / "*.gz")])

    run = job.submit(remote)
    results = run.result(30)

    plain = Counter(word for line in [*lines, *lines[:1000]] for word in line.split())
    assert dict(pair for partition in results for pair in partition) == plain
    assert results == job.run_sequential()
    assert run.report.distant_bytes >= (far_worker / "a.txt").stat().st_size


@pytest.mark.parametrize("kind", ["json", "fixed", "whole", "function", "zst"])
def test_every_kind_of_record_is_read_through_the_driver(
    far_worker: Path, remote: RemoteSpace, kind: str
) -> None:
    content = b"".join(b"[%06d]\n" % (number + 100_000) for number in range(300_000))
    path = far_worker / ("x.zst" if kind == "zst" else "x.bin")
    path.write_bytes(zstandard.compress(content) if kind == "zst" else content)
    reader: Any = {
        "json": json_lines, "fixed": fixed_length(9), "whole": whole_file, "zst": None,
        "function": lambda file: [file.name, *iter(lambda: file.read(90), b"")],
    }[kind]  # fmt: skip
    job = MapReduceJob(data=TextFiles(path, records=reader), map_tasks=3, reduce=collect)
    job.map = lambda records: [(stable_hash(repr(list(records))), 1)]

    run = job.submit(remote)

    assert run.result(30) == job.run_sequential()
    assert run.report.distant_bytes >= path.stat().st_size


class Forwarded(SpaceEngine):
    """Its block server is reached through a forwarder."""

    forward: Callable[[int], Forwarder]
    forwarder: Forwarder

    def share(self, paths: Collection[str]) -> str:
        name, _, port = super().share(paths).rpartition(":")
        self.forwarder = self.forward(int(port))
        self.forwarder.refuse = True
        return f"{name}:{self.forwarder.port}"


@pytest.mark.parametrize("kind", ["text", "pickled"])
def test_a_map_that_cannot_reach_the_drivers_host_for_a_while_loses_no_attempt(
    far_worker: Path, space_server: Any, kind: str, eventually: Callable[..., Any],
    forward: Callable[[int], Forwarder],
) -> None:  # fmt: skip
    if kind == "text":
        (far_worker / "a.txt").write_text("a b\nb\n")
        job = count_words([str(far_worker / "a.txt")])
    else:
        job = MapReduceJob([("a", 1), ("b", 2)], list, sum_values, map_tasks=1, reduce_tasks=1)
        job.output = PickleOutput(far_worker / "out")
        job.run_sequential()
        job = MapReduceJob(PickleFiles(far_worker / "out"), list, sum_values)
    job.retries = 0
    engine = Forwarded(connect(space_server.uri, retry_for=5), owned=True)
    engine.forward = forward  # type: ignore[method-assign]

    run = job.submit(engine)
    eventually(lambda: run.progress().attempts_failed >= 2)
    engine.forwarder.refuse = False

    assert dict(pair for partition in run.result(30) for pair in partition) == {"a": 1, "b": 2}


def test_a_worker_with_the_files_reads_its_own(
    far_worker: Path, remote: RemoteSpace, tmp_path: Path
) -> None:
    (tmp_path / "seen.txt").write_text("seen by both\n" * 100)

    run = count_words([str(tmp_path / "seen.txt")]).submit(remote)
    run.result(30)

    assert run.report.distant_bytes == 0


def test_a_failing_record_of_a_distant_file_is_named_with_its_line(
    far_worker: Path, remote: RemoteSpace
) -> None:
    (far_worker / "numbers.txt").write_text("1\n2\nthree\n")
    job = MapReduceJob(data=TextFiles(str(far_worker / "numbers.txt")), reduce=sum_values)
    job.map = each(lambda line: [(int(line), 1)])

    with pytest.raises(JobFailedError, match="invalid literal") as failed:
        job.submit(remote).result(30)

    assert failed.value.record == "'three'"
    assert failed.value.where == f"{far_worker / 'numbers.txt'}, line 3"


def test_a_distant_file_that_has_changed_is_refused(
    far_worker: Path, remote: RemoteSpace, background: Callable[..., object]
) -> None:
    path = far_worker / "changing.txt"
    path.write_text("as planned\n")
    files = TextFiles(str(path))
    job = MapReduceJob(data=files, reduce=sum_values, retries=0)
    job.map = each(lambda line: [(line, 1)])
    splits = files.plan()
    path.write_text("changed since it was planned\n")
    files.plan = lambda map_tasks=None: splits  # type: ignore[method-assign]

    with pytest.raises(JobFailedError, match="has changed since the job was planned"):
        job.submit(remote).result(30)
