"""Output: one file a partition, whole or not there at all, whatever dies on the way."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import cloudpickle
import pytest
from fsspec.core import url_to_fs
from pyarrow import parquet

from mapreduce import (
    BytesOutput,
    InvalidJobError,
    JobCancelledError,
    JobFailedError,
    JsonLinesOutput,
    MapReduceJob,
    OutputError,
    ParquetOutput,
    PickleOutput,
    TextFiles,
    TextOutput,
    collect,
    each,
    sum_values,
)
from mapreduce.outputs.committing import FileResults
from tuplespace import RemoteSpace, connect
from tuplespace.pickles import load_all

cloudpickle.register_pickle_by_value(sys.modules[__name__])

LINES = [f"the {'quick' if n % 3 else 'slow'} fox {n % 17} jumps over {n % 5}" for n in range(300)]
words = each(lambda line: [(word, 1) for word in line.split()])
Point = namedtuple("Point", "x y z")  # noqa: PYI024


@pytest.fixture
def space(standing_cluster: Any) -> Iterator[RemoteSpace]:
    with connect(standing_cluster.uri) as space:
        yield space


def word_count(output: Any, **options: Any) -> MapReduceJob:
    settings: dict[str, Any] = {
        "data": LINES,
        "map": words,
        "reduce": sum_values,
        "reduce_tasks": 4,
        **options,
    }
    return MapReduceJob(output=output, **settings)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


FORMATS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "a path": (str, sum_values),
    "text": (TextOutput, lambda pairs: dict(sum_values(pairs))),
    "text, packed": (lambda path: TextOutput(path, compress="gz"), sum_values),
    "JSON lines": (JsonLinesOutput, sum_values),
    "pickles": (
        PickleOutput, lambda pairs: (Fraction(len(key), 7) if n % 2 else [key, {key}] for key, n in sum_values(pairs)),
    ),
    "bytes": (BytesOutput, lambda pairs: (key.encode().ljust(9) for key, _ in pairs)),
}  # fmt: skip


@pytest.mark.parametrize("kind", FORMATS)
def test_workers_write_the_files_that_one_process_writes(
    space: RemoteSpace, tmp_path: Path, kind: str
) -> None:
    make, reduce = FORMATS[kind]
    paths = word_count(make(tmp_path / "many" / "out"), reduce=reduce).run(space)
    alone = word_count(make(tmp_path / "one"), reduce=reduce).run_sequential()

    suffix = {"a path": ".txt", "text": ".txt", "text, packed": ".txt.gz", "JSON lines": ".jsonl",
              "pickles": ".pickle", "bytes": ".bin"}[kind]  # fmt: skip
    names = [f"part-{number:05}{suffix}" for number in range(4)]
    assert paths == [str(tmp_path / "many" / "out" / name) for name in names]
    assert alone == [str(tmp_path / "one" / name) for name in names]
    found = contents(tmp_path / "many" / "out")
    assert found == contents(tmp_path / "one")
    assert set(found) == {*names, "_SUCCESS"}
    assert sum(map(len, found.values())) > 100


def write(output: Any, result: Any) -> bytes:
    """Return the file of a job whose only reduce returns this."""
    job = MapReduceJob([], lambda records: [], lambda pairs: result, reduce_tasks=1, output=output)
    return Path(job.run_sequential()[0]).read_bytes()


@pytest.mark.parametrize(
    "result, text",
    [
        ([("a", 1), ("b", (2, 3))], "a\t1\nb\t(2, 3)\n"),
        ({"key": None, "é": 1.5}, "key\tNone\né\t1.5\n"),
        (["one\ntwo", 3, (1, 2, 3)], "one\ntwo\n3\n(1, 2, 3)\n"),
        ((str(n) for n in range(2500)), "".join(f"{n}\n" for n in range(2500))),
        (7, "7\n"),
        ("a str is one item", "a str is one item\n"),
        ([], ""),
    ],
)
def test_text_is_an_item_a_line(tmp_path: Path, result: Any, text: str) -> None:
    assert write(tmp_path / "out", result).decode() == text


def test_packed_text_can_be_unpacked(tmp_path: Path) -> None:
    assert gzip.decompress(write(TextOutput(tmp_path / "out", compress="gz"), ["x"])) == b"x\n"


def test_json_lines_are_what_json_reads(tmp_path: Path) -> None:
    items = [("a", 1), {"b": [1.5, None]}, "c\nd"]
    lines = write(JsonLinesOutput(tmp_path / "out"), items).decode().splitlines()
    assert [json.loads(line) for line in lines] == [["a", 1], {"b": [1.5, None]}, "c\nd"]


def test_pickles_are_lists_of_items(tmp_path: Path) -> None:
    knot: list[Any] = []
    knot.append(knot)  # it contains itself
    data = write(PickleOutput(tmp_path / "out"), [Point(1, 2, 3), knot, *range(1500)])

    with io.BytesIO(data) as file:
        first, *more = load_all(file)
    assert first[0] == Point(1, 2, 3)
    assert first[1][0] is first[1]
    assert [*first[2:], *chain.from_iterable(more)] == list(range(1500))
    assert 1 < len(more) < 10


def test_bytes_stand_with_nothing_between_them(tmp_path: Path) -> None:
    records = [bytes([n % 256]) * 10 for n in range(3000)]
    assert write(BytesOutput(tmp_path / "out", ".dat"), iter(records)) == b"".join(records)
    assert (tmp_path / "out" / "part-00000.dat").exists()


@pytest.mark.parametrize(
    "kind, result, message",
    [
        (BytesOutput, [b"x", "text"], "BytesOutput writes bytes, not 'text'"),
        (BytesOutput, [("key", b"value")], r"not \('key', b'value'\)"),
        (JsonLinesOutput, [{1, 2}], "cannot be written as JSON"),
        (TextOutput, ["\udc80"], "no text that UTF-8 can hold"),
        (PickleOutput, [(n for n in "abc")], "an item cannot be pickled"),
        (TextOutput, None, "reduce returned None.*Is a `return` missing"),
    ],
)
def test_an_item_that_cannot_be_written_is_named(
    tmp_path: Path, kind: Any, result: Any, message: str
) -> None:
    with pytest.raises(OutputError, match=message):
        write(kind(tmp_path / "out"), result)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("output", [7, b"x", "", "a\0b", TextOutput])
def test_an_output_that_is_none_is_refused(output: Any) -> None:
    with pytest.raises(InvalidJobError, match="directory"):
        word_count(output).run_sequential()


@pytest.mark.parametrize("name", ["notes.txt", "_SUCCESS", "part-00000.txt"])
def test_a_directory_with_something_in_it_is_refused_before_anything_runs(
    space: RemoteSpace, tmp_path: Path, name: str
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).touch()
    job = word_count(tmp_path / "out", map=lambda lines: (tmp_path / "ran").touch())

    for run in (lambda: job.submit(space), job.run_sequential):
        with pytest.raises(InvalidJobError, match=f"not empty.*{name}"):
            run()

    assert os.listdir(tmp_path) == ["out"]
    assert os.listdir(tmp_path / "out") == [name]


def test_part_files_without_success_are_said_to_be_unfinished(tmp_path: Path) -> None:
    (tmp_path / "part-00000.txt").touch()
    with pytest.raises(InvalidJobError, match="no _SUCCESS, so the run that wrote it did not end"):
        word_count(tmp_path).run_sequential()


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidJobError, match="cannot write output"):
        word_count(tmp_path / "file" / "out").run_sequential()


def test_relative_paths_start_where_the_driver_is(
    space: RemoteSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = word_count("here/").run(space)
    assert paths[0] == str(tmp_path / "here" / "part-00000.txt")
    assert TextFiles("here/part-*").plan()


def test_the_output_of_one_job_is_the_input_of_another(space: RemoteSpace, tmp_path: Path) -> None:
    word_count(tmp_path / "counts").run(space)
    second = MapReduceJob(TextFiles(str(tmp_path / "counts" / "part-*")), reduce=collect)
    second.map = each(lambda line: [(int(line.split("\t")[1]), line.split("\t")[0])])
    second.reduce_tasks = 1

    [pairs] = second.run(space)

    plain = MapReduceJob(LINES, words, sum_values, reduce_tasks=1).run_sequential()[0]
    assert sorted((n, sorted(w)) for n, w in pairs) == sorted(
        (n, sorted(word for word, m in plain if m == n)) for n in {m for _, m in plain}
    )


def test_two_jobs_cannot_write_to_one_directory_at_once(tmp_path: Path) -> None:
    results = FileResults(TextOutput(tmp_path), "first")
    results.prepare()
    with pytest.raises(InvalidJobError, match=r"job first on host .* is writing to"):
        word_count(tmp_path).run_sequential()
    results.abandon()
    assert len(word_count(tmp_path).run_sequential()) == 4


def test_of_jobs_that_begin_at_once_in_a_new_directory_one_is_let_in(tmp_path: Path) -> None:
    for attempt in range(60):
        jobs = [
            FileResults(TextOutput(tmp_path / f"new{attempt}" / "out"), str(n)) for n in range(4)
        ]
        together, refused = Barrier(len(jobs)), []

        def begin(job: FileResults, together: Barrier = together, said: Any = refused) -> None:
            together.wait()
            try:
                job.prepare()
            except InvalidJobError as error:
                said.append(str(error))

        threads = [Thread(target=begin, args=[job]) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(refused) == len(jobs) - 1
        assert all("is writing to" in said and "unknown" not in said for said in refused)
        assert len(list((tmp_path / f"new{attempt}" / "out").glob(".tuplemill-*/owner"))) == 1
        for job in jobs:
            job.abandon()
        assert not list(tmp_path.rglob("owner"))


# --- failures: the directory is as it was ---------------------------------------------------------


def fail(pairs: Any) -> Any:
    yield "one"
    raise RuntimeError("no more")


@pytest.mark.parametrize("there", [True, False])
def test_a_job_that_fails_leaves_the_directory_as_it_was(
    space: RemoteSpace, tmp_path: Path, there: bool
) -> None:
    if there:
        (tmp_path / "new" / "out").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    job = word_count(tmp_path / "new" / "out", reduce=fail)

    with pytest.raises(JobFailedError, match="no more"):
        job.run(space)

    assert sorted(tmp_path.rglob("*")) == before


def test_a_job_that_is_cancelled_leaves_the_directory_as_it_was(
    space: RemoteSpace, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    def wait(pairs: Any) -> Any:
        yield "x" * 3_000_000
        (tmp_path / "begun").touch()
        signal.pause()

    run = word_count(tmp_path / "out", reduce=wait).submit(space)
    eventually((tmp_path / "begun").exists)
    aside = list((tmp_path / "out").glob(".tuplemill-*/part-*"))
    run.cancel()

    assert aside
    with pytest.raises(JobCancelledError):
        run.result(0)
    assert not (tmp_path / "out").exists()


@pytest.mark.faults
def test_a_worker_killed_while_it_writes_leaves_no_half_file(
    space: RemoteSpace, tmp_path: Path
) -> None:
    def die_once(pairs: Any) -> Any:
        yield from ("x" * 1000 for _ in range(100_000))
        if not (tmp_path / "died").exists():
            (tmp_path / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)

    paths = word_count(tmp_path / "out", reduce=die_once, reduce_tasks=1).run(space)

    assert Path(paths[0]).read_text() == ("x" * 1000 + "\n") * 100_000
    assert sorted(os.listdir(tmp_path / "out")) == ["_SUCCESS", "part-00000.txt"]


@pytest.mark.faults
def test_a_file_whose_writer_is_killed_before_it_says_so_is_written_again(
    space: RemoteSpace, tmp_path: Path
) -> None:
    class Deadly(TextOutput):
        def write_items(self, file: Any, items: Any) -> None:
            super().write_items(file, items)
            if not (tmp_path / "died").exists():
                file.close()
                (tmp_path / "died").touch()
                os.kill(os.getpid(), signal.SIGKILL)

    paths = word_count(Deadly(tmp_path / "out"), reduce_tasks=1).run(space)

    word_count(tmp_path / "one", reduce_tasks=1).run_sequential()
    assert (tmp_path / "died").exists()
    assert Path(paths[0]).read_text() == (tmp_path / "one" / "part-00000.txt").read_text()
    assert sorted(os.listdir(tmp_path / "out")) == ["_SUCCESS", "part-00000.txt"]


@pytest.mark.faults
def test_a_file_that_vanishes_before_the_job_has_ended_is_written_again(
    space: RemoteSpace, tmp_path: Path
) -> None:
    class Fleeting(TextOutput):
        def write_items(self, file: Any, items: Any) -> None:
            super().write_items(file, items)
            if not (tmp_path / "gone").exists():
                (tmp_path / "gone").touch()
                Path(file.name).write_text("cut")

    word_count(Fleeting(tmp_path / "out"), reduce_tasks=1).run(space)
    word_count(tmp_path / "one", reduce_tasks=1).run_sequential()

    assert (tmp_path / "gone").exists()
    assert contents(tmp_path / "out") == contents(tmp_path / "one")


KILLED = """
import signal, sys
from mapreduce import MapReduceJob

folder = sys.argv[1]

def wait(pairs):
    yield "some"
    open(folder + "/begun", "w").close()
    signal.pause()

MapReduceJob([1], lambda records: [], wait, output=folder + "/out", reduce_tasks=1).run()
"""


@pytest.mark.faults
def test_the_next_run_clears_up_after_a_driver_that_was_killed(
    tmp_path: Path, run_python: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    process = run_python("-c", KILLED, str(tmp_path))
    eventually((tmp_path / "begun").exists, 20)
    [left] = (tmp_path / "out").iterdir()
    with pytest.raises(InvalidJobError, match="is writing to"):
        word_count(tmp_path / "out").run_sequential()

    process.kill()
    process.communicate()

    assert left.exists()
    word_count(tmp_path / "out").run_sequential()
    assert not left.exists()
    assert (tmp_path / "out" / "_SUCCESS").exists()


def test_what_a_driver_of_another_host_has_left_is_not_touched(tmp_path: Path) -> None:
    left = tmp_path / ".tuplemill-abc" / "owner"
    left.parent.mkdir()
    left.write_text("token\nelsewhere")
    with pytest.raises(
        InvalidJobError, match=r"job abc on host elsewhere .* delete \.tuplemill-abc"
    ):
        word_count(tmp_path).run_sequential()
    assert left.exists()


FULL = """
import sys
from mapreduce import MapReduceJob

many = lambda pairs: ("x" * 1000 for _ in range(1000))
try:
    MapReduceJob([1], lambda records: [], many, output=sys.argv[1], reduce_tasks=1).run()
except Exception as error:
    print(type(error).__name__, str(error).splitlines()[0])
import os
print(os.listdir(sys.argv[1]))
"""


def namespaces() -> None:
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets us make no mount namespaces")


@pytest.mark.faults
def test_a_full_disk_fails_the_job_and_says_so(tmp_path: Path) -> None:
    namespaces()
    command = 'mount -t tmpfs -o size=200k none "$1" && exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", command, "sh", str(tmp_path), sys.executable, FULL],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True, text=True, timeout=50, check=True,
    )  # fmt: skip

    said, left = done.stdout.splitlines()
    assert said.startswith("JobFailedError reduce 0 failed on")
    assert f"cannot write {tmp_path}/.tuplemill-" in said
    assert said.endswith("No space left on device")
    assert left == "[]"


# --- workers that do not see the directory --------------------------------------------------------


@pytest.fixture
def hidden(remote: RemoteSpace, key_file: Path, tmp_path: Path) -> Iterator[Path]:
    """Yield a folder; all workers see another one in its place."""
    namespaces()
    folder = tmp_path / "hidden"
    folder.mkdir()
    command = f"mount -t tmpfs none {folder} && exec {sys.executable} -m workers --embedded "
    command += f"--space {remote.uri} --key-file {key_file} --processes 2 --host far "
    command += f"--work-dir {tmp_path / 'far-work'}"
    with subprocess.Popen(
        ["unshare", "-m", "sh", "-c", command], stdin=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as agent:
        remote.read(("worker", None, "far", None, None), timeout=20)
        yield folder
        assert agent.stdin is not None
        agent.stdin.close()
        assert agent.wait(10) == 0


def test_files_of_workers_elsewhere_come_to_the_driver(
    hidden: Path, remote: RemoteSpace, tmp_path: Path
) -> None:
    def long(pairs: Any) -> Any:
        keys = sorted({key for key, _ in pairs})
        return (f"{key} {n} {'x' * 1000}" for key in keys for n in range(1000))

    paths = word_count(hidden, reduce=long).run(remote)
    word_count(tmp_path / "one", reduce=long).run_sequential()

    assert Path(paths[0]).stat().st_size > 5_000_000
    assert contents(hidden) == contents(tmp_path / "one")


def test_parquet_of_workers_elsewhere_comes_to_the_driver(
    hidden: Path, remote: RemoteSpace
) -> None:
    rows = [(f"key {n}", n) for n in range(120_000)]
    job = MapReduceJob([rows], lambda records: [], lambda pairs: iter(rows), reduce_tasks=1)
    job.output = ParquetOutput(hidden)
    job.run(remote)
    table = parquet.read_table(hidden)
    assert list(zip(*table.to_pydict().values(), strict=True)) == rows


def test_a_folder_of_the_same_name_with_another_token_is_not_the_drivers(
    tmp_path: Path,
) -> None:
    results = FileResults(TextOutput(tmp_path), "job")
    results.prepare()
    file = results.work.open_aside("x")
    assert file is not None
    file.close()
    assert results.work._replace(token="0" * 32).open_aside("y") is None
    results.abandon()


# --- Parquet --------------------------------------------------------------------------------------


def test_parquet_has_the_pairs_in_columns_whatever_partitions_are_empty(
    space: RemoteSpace, tmp_path: Path
) -> None:
    job = word_count(ParquetOutput(tmp_path / "many"), data=["a b", "b"], reduce_tasks=5)
    job.run(space)
    job.output = ParquetOutput(tmp_path / "one")
    job.run_sequential()

    table = parquet.read_table(tmp_path / "many")
    assert sorted(zip(*table.to_pydict().values(), strict=True)) == [("a", 1), ("b", 2)]
    assert table.schema.names == ["key", "value"]
    assert [parquet.read_table(path).num_rows for path in (tmp_path / "many").glob("part-*")].count(
        0
    ) >= 3
    assert contents(tmp_path / "many") == contents(tmp_path / "one")


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InvalidJobError, match=r"pip install 'tuplemill\[arrow\]'"):
        word_count(ParquetOutput(tmp_path / "out")).submit()
    assert not (tmp_path / "out").exists()


# --- URLs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [str, PickleOutput, ParquetOutput])
def test_a_url_gets_the_same_files(space: RemoteSpace, tmp_path: Path, make: Any) -> None:
    url = f"file://{tmp_path}/far/out"
    paths = word_count(make(url)).run(space)
    alone = word_count(make(tmp_path / "one")).run_sequential()

    assert paths == [f"{url}/{Path(path).name}" for path in alone]
    assert contents(tmp_path / "far" / "out") == contents(tmp_path / "one")
    for run in (lambda: word_count(make(url)).submit(space), word_count(make(url)).run_sequential):
        with pytest.raises(InvalidJobError, match="not empty"):
            run()


def test_a_url_that_workers_cannot_reach_is_written_by_the_driver(
    space: RemoteSpace, tmp_path: Path
) -> None:
    url = "memory://tuplemill/out"  # each process has a memory of its own
    system, base = url_to_fs(url)
    try:
        word_count(url).run(space)
        found = {path.rpartition("/")[2]: system.cat(path) for path in system.find(base)}
    finally:
        system.rm(base, recursive=True)
    word_count(tmp_path / "one").run_sequential()
    assert found == contents(tmp_path / "one")


def test_a_job_that_fails_leaves_a_url_as_it_was(space: RemoteSpace, tmp_path: Path) -> None:
    with pytest.raises(JobFailedError, match="no more"):
        word_count(f"file://{tmp_path}/out", reduce=fail).run(space)
    assert os.listdir(tmp_path) == []


def test_what_is_left_at_a_url_is_said(tmp_path: Path) -> None:
    left = tmp_path / ".tuplemill-abc" / "owner"
    left.parent.mkdir()
    left.write_text("token\nelsewhere")
    with pytest.raises(InvalidJobError, match=r"delete \.tuplemill-abc there"):
        word_count(f"file://{tmp_path}").run_sequential()


def test_a_url_that_nobody_knows_is_refused() -> None:
    with pytest.raises(InvalidJobError, match=r"the output nosuch://.* cannot be used"):
        word_count("nosuch://bucket/out").submit()


def test_a_url_without_fsspec_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(InvalidJobError, match=r"pip install 'tuplemill\[remote\]'"):
        word_count("s3://bucket/out").submit()
