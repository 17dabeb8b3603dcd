"""Bad records in real jobs: what raises, what kills its worker, what cannot be read."""

from __future__ import annotations

import ctypes
import gzip
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.cli import program
from mapreduce import (
    JobFailedError,
    JobRun,
    KeepBlocks,
    MapReduceJob,
    Split,
    TextFiles,
    by_key,
    count_values,
    each,
    json_lines,
    sum_values,
)
from tuplespace import connect

Pairs = list[tuple[str, int]]


def words(line: str) -> Pairs:
    if "raises" in line:
        raise ValueError("this one raises")
    if "segfault" in line:
        ctypes.string_at(0)
    if "exits" in line:
        os._exit(3)
    return [(word, 1) for word in line.split()]


def words_of_lines(lines: Iterable[str]) -> Iterator[tuple[str, int]]:
    for line in lines:
        yield from words(line)


def lines_with(bad: dict[int, str], count: int = 300) -> list[str]:
    return [bad.get(number) or f"w{number % 7} v{number % 3}" for number in range(count)]


def is_good(line: str) -> bool:
    return not any(word in line for word in ("raises", "segfault", "exits"))


def job_on(data: Any, map: Any, **options: Any) -> MapReduceJob:
    options = {"reduce": sum_values, "map_tasks": 3, "reduce_tasks": 2} | options
    return MapReduceJob(data=data, map=map, **options)


def run(space: Any, job: MapReduceJob) -> tuple[JobRun, list[Any]]:
    submitted = job.submit(space)
    return submitted, submitted.result(60)


@pytest.fixture
def cluster_space(standing_cluster: Any) -> Iterator[Any]:
    with connect(standing_cluster.uri, key_file=str(standing_cluster.key_file)) as space:
        yield space


def expected_of(splits: list[list[str]], **options: Any) -> list[Any]:
    """Return what the job gives on these splits without their bad lines, in one process."""
    data = [Split([line for line in lines if is_good(line)]) for lines in splits]
    return job_on(data, each(words), **{**options, "map_tasks": None}).run_sequential()


def splits_of(lines: list[str], parts: int = 3) -> list[list[str]]:
    size = len(lines) // parts
    return [lines[at : at + size] for at in range(0, len(lines), size)]


# --- maps -----------------------------------------------------------------------------------------


MANY = {0: "raises", 120: "segfault", 121: "raises", 299: "exits"}


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        ("each", {0: "raises", 120: "segfault", 121: "raises"}),
        ("lambda over a list", {0: "raises", 299: "raises"}),
        ("generator", {121: "raises", 299: "exits"}),
        *[pytest.param(kind, MANY, marks=pytest.mark.faults)
          for kind in ("each", "lambda over a list", "generator")],
    ],
)  # fmt: skip
def test_records_that_raise_or_kill_are_found_and_skipped(
    cluster_space: Any, kind: str, bad: dict[int, str]
) -> None:
    lines = lines_with(bad)
    function: Any = {
        "each": each(words),
        "lambda over a list": lambda lines: [pair for line in lines for pair in words(line)],
        "generator": words_of_lines,
    }[kind]

    job = job_on(lines, function, retries=0, skip_bad_records=len(bad))
    finished, results = run(cluster_space, job)

    assert results == expected_of(splits_of(lines))
    skipped = finished.report.skipped
    assert [(one.phase, one.where, one.record) for one in skipped] == [
        ("map", f"record {number} of the data", repr(text)) for number, text in bad.items()
    ]
    for one in skipped:
        reason = {"'raises'": "this one raises", "'exits'": "exited with status 3"}
        assert reason.get(one.record, "SIGSEGV") in one.error


def test_bad_lines_of_files_are_shown_with_file_and_byte(
    cluster_space: Any, tmp_path: Path
) -> None:
    lines = lines_with({5: "raises", 150: "raises ä", 280: "raises"}, 300)
    plain, packed = tmp_path / "a.txt", tmp_path / "b.txt.gz"
    plain.write_text("\n".join(lines) + "\n", encoding="utf-8")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    files = TextFiles([str(plain), str(packed)])

    finished, results = run(
        cluster_space, job_on(files, words_of_lines, map_tasks=5, skip_bad_records=6)
    )

    found = subprocess.run(
        ["grep", "-n", "-b", "-E", "raises", str(plain)],
        capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    places = [line.split(":")[:2] for line in found]
    assert len(places) == 3
    assert [one.where for one in finished.report.skipped] == [
        f"{path}, line {line}, byte {byte}" for path in (plain, packed) for line, byte in places
    ]
    good = [line for line in lines if is_good(line)]
    totals = [dict(part) for part in expected_of([good, good])]
    assert [dict(part) for part in results] == totals


def test_one_process_skips_the_same_records(cluster_space: Any) -> None:
    lines = lines_with({3: "raises", 250: "raises"})
    for function in (each(words), words_of_lines):
        job = job_on(lines, function, skip_bad_records=2)
        assert job.run_sequential() == run(cluster_space, job)[1] == expected_of(splits_of(lines))
        with pytest.raises(JobFailedError, match="more than 1 bad record: "):
            job_on(lines, function, skip_bad_records=1).run_sequential()


def test_a_record_is_to_blame_whichever_function_fails_on_it(cluster_space: Any) -> None:
    def refuses(key: str, R: int) -> int:
        if key == "odd":
            raise ValueError("no partition for this")
        return len(key) % R

    lines = lines_with({}, 60)
    lines[41] = "odd one"
    job = job_on(lines, each(words), partition=refuses, skip_bad_records=1, retries=0)
    finished, results = run(cluster_space, job)

    assert [one.where for one in finished.report.skipped] == ["record 41 of the data"]
    assert results == job.run_sequential()
    assert not any(key in ("odd", "one") for part in results for key, _ in part)

    mixed = [(number, "text" if number == 17 else 1) for number in range(40)]
    pairs = MapReduceJob(data=mixed, map=each(lambda record: [("sum", record[1])]))
    pairs.combine = pairs.reduce = sum_values
    pairs.map_tasks = pairs.reduce_tasks = 1
    pairs.skip_bad_records = 1
    finished, results = run(cluster_space, pairs)
    assert results == [[("sum", 39)]] == pairs.run_sequential()
    assert finished.report.skipped[0].record == "(17, 'text')"


def test_what_a_generator_has_yielded_before_it_raised_is_gone(cluster_space: Any) -> None:
    def pieces(number: int) -> Iterator[tuple[str, int]]:
        yield "seen", 1
        if number == 3:
            raise ValueError("half done")

    job = MapReduceJob(data=range(8), map=each(pieces), reduce=count_values, reduce_tasks=1)
    job.skip_bad_records, job.map_tasks = 1, 2

    assert run(cluster_space, job)[1] == [[("seen", 7)]] == job.run_sequential()


# --- what cannot be read --------------------------------------------------------------------------


def test_lines_that_cannot_be_read_are_skipped(cluster_space: Any, tmp_path: Path) -> None:
    lines = [b"good %d" % number for number in range(200)]
    lines[0], lines[111], lines[199] = b"\xff", b"caf\xe9 x", b"\x80 end"
    last = lines[-1]
    path = tmp_path / "latin.txt"
    path.write_bytes(b"\n".join(lines))
    for function in (each(words), words_of_lines):
        job = job_on(TextFiles(str(path)), function, skip_bad_records=3, retries=0)
        finished, results = run(cluster_space, job)

        assert results == job.run_sequential()
        assert dict(pair for part in results for pair in part)["good"] == 197
        offset = path.read_bytes().index(b"caf")
        assert [one.where for one in finished.report.skipped] == [
            f"{path}, line 1, byte 0", f"{path}, line 112, byte {offset}",
            f"{path}, line 200, byte {path.read_bytes().index(last)}",
        ]  # fmt: skip
        assert finished.report.skipped[1].record == r"b'caf\xe9 x'"
        assert "0xe9, its byte 3, is not utf-8" in finished.report.skipped[1].error


def test_lines_that_are_no_json_are_skipped(cluster_space: Any, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl.gz"
    lines = [json.dumps({"n": number}) for number in range(50)]
    lines[7], lines[30] = "{broken", ""
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    job = job_on(
        TextFiles(str(path), records=json_lines), each(lambda record: [("n", record["n"])])
    )
    job.skip_bad_records = 1

    finished, results = run(cluster_space, job)

    assert sum(value for part in results for _, value in part) == sum(range(50)) - 7 - 30
    assert results == job.run_sequential()
    [skipped] = finished.report.skipped
    at = "\n".join(lines).index("{broken")
    assert skipped.where == f"{path}, line 8, byte {at}"
    assert skipped.record == "'{broken'"


def test_a_broken_file_is_no_bad_record(cluster_space: Any, tmp_path: Path) -> None:
    path = tmp_path / "cut.txt.gz"
    packed = gzip.compress(os.urandom(1 << 16).hex().encode())
    path.write_bytes(packed[: len(packed) // 2])
    job = job_on(TextFiles(str(path)), words_of_lines, skip_bad_records=5, retries=1)

    submitted = job.submit(cluster_space)
    with pytest.raises(JobFailedError, match=r"cut\.txt\.gz"):
        submitted.result(60)
    assert submitted.report.skipped == []


# --- reduces --------------------------------------------------------------------------------------


def test_keys_that_raise_or_kill_are_skipped(cluster_space: Any) -> None:
    def total(key: str, values: Iterator[int]) -> int:
        if key == "w3":
            raise KeyError(key)
        if key == "v1" and not sort:
            os._exit(4)
        return sum(values)

    lines = lines_with({}, 90)
    for sort in (False, True):
        options = {"sort": sort}
        job = job_on(lines, each(words), reduce=by_key(total, **options), skip_bad_records=2)
        finished, results = run(cluster_space, job)

        bad = {"w3"} if sort else {"w3", "v1"}
        whole = job_on(lines, each(words), reduce=by_key(lambda _, v: sum(v), **options))
        assert results == [
            [pair for pair in part if pair[0] not in bad] for part in whole.run_sequential()
        ]
        found = {(one.phase, one.kind, one.record) for one in finished.report.skipped}
        assert found == {("reduce", "key", repr(key)) for key in bad}
        assert all(one.where.startswith("partition ") for one in finished.report.skipped)


def test_bad_pairs_of_a_plain_reduce_are_skipped_with_their_keys(cluster_space: Any) -> None:
    def largest(pairs: Iterable[tuple[str, int]]) -> list[Any]:
        return sorted((1000 // value, key) for key, value in pairs)[:3]

    data = [(f"k{number}", 0 if number in (12, 31) else number) for number in range(1, 40)]
    job = MapReduceJob(data=data, map=each(lambda pair: [pair]), reduce=largest, retries=0)
    job.map_tasks = job.reduce_tasks = 2
    job.skip_bad_records = 2

    finished, results = run(cluster_space, job)

    assert results == job.run_sequential()
    assert sorted(one.record for one in finished.report.skipped) == ["('k12', 0)", "('k31', 0)"]
    assert {one.kind for one in finished.report.skipped} == {"pair"}


# --- too many, and tasks that have failed for good ------------------------------------------------


def test_more_bad_records_than_may_be_fail_the_job_with_the_first_of_them(
    cluster_space: Any,
) -> None:
    lines = lines_with(dict.fromkeys(range(100, 180, 10), "raises"))
    submitted = job_on(lines, each(words), skip_bad_records=5).submit(cluster_space)
    with pytest.raises(JobFailedError) as failed:
        submitted.result(60)

    error = failed.value
    assert error.message.count("record ") >= 3
    assert "more than 5 bad records: record 100 of the data: 'raises' (ValueError" in error.message
    assert "this one raises" in error.remote_traceback
    assert len(submitted.report.skipped) == 6


@pytest.mark.parametrize("phase", ["map", "reduce"])
def test_a_job_may_go_on_without_tasks_that_fail(
    cluster_space: Any, tmp_path: Path, phase: str
) -> None:
    def fails(items: Iterable[Any]) -> Any:
        kept = list(items)
        if ("bad" if phase == "map" else ("bad", 1)) in kept:
            raise ValueError("spoilt")
        return [pair for line in kept for pair in words(line)] if phase == "map" else kept

    lines = lines_with({}, 60)
    lines[25] = "bad"
    job = job_on(lines, fails if phase == "map" else each(words), on_bad_task="skip", retries=0)
    if phase == "reduce":
        job.reduce = fails
    finished, results = run(cluster_space, job)

    assert results == job.run_sequential()
    [task] = finished.report.skipped_tasks
    assert (task.phase, task.reason) == (phase, "ValueError: spoilt")
    if phase == "map":
        good = lines[:20] + lines[40:]
        counts = dict(pair for part in results for pair in part)
        assert sum(counts.values()) == 2 * len(good)
    else:
        assert results.count(None) == 1
        job.output = str(tmp_path / "out")
        paths = run(cluster_space, job)[1]
        assert [path is None for path in paths] == [part is None for part in results]
        written = sorted(path.name for path in (tmp_path / "out").iterdir())
        assert written == sorted(["_SUCCESS", *(Path(path).name for path in paths if path)])
        assert f"part-0000{task.number}.txt" not in written
        job.output = str(tmp_path / "here")
        assert [path is None for path in job.run_sequential()] == [p is None for p in paths]


def test_a_task_that_failed_for_good_is_buried_and_shown(
    cluster_space: Any, capsys: pytest.CaptureFixture[str], standing_cluster: Any
) -> None:
    submitted = job_on(lines_with({130: "raises"}), each(words), retries=1).submit(cluster_space)
    with pytest.raises(JobFailedError):
        submitted.result(60)

    _, job, phase, number, about = cluster_space.read(("buried", submitted.id, *[None] * 3), 0)
    assert (job, phase, number) == (submitted.id, "map", 1)
    assert about["reason"] == "ValueError: this one raises"
    assert "Traceback" in about["traceback"]
    assert (about["attempts"], about["record"]) == (2, "'raises'")
    assert about["where"] == "record 130 of the data"
    assert "/" in about["worker"]
    program.run(f"tuplemill status --space {standing_cluster.uri}", exit=False)
    shown = capsys.readouterr().out
    assert "Buried tasks" in shown
    assert submitted.id in shown
    assert "this one raises" in shown


def test_a_chained_job_finds_nothing_where_a_reduce_was_skipped(cluster_space: Any) -> None:
    def fails(pairs: Iterable[Any]) -> Any:
        kept = list(pairs)
        if any(key == "w1" for key, _ in kept):
            raise ValueError("spoilt")
        return kept

    first = job_on(lines_with({}, 30), each(words), reduce=fails, on_bad_task="skip", retries=0)
    first.output = KeepBlocks()
    with run(cluster_space, first)[1] as kept:  # type: ignore[attr-defined]
        then = MapReduceJob(data=kept, map=each(lambda pair: [pair]), reduce=sum_values)
        then.reduce_tasks = 1
        [counts] = run(cluster_space, then)[1]

    assert counts
    assert "w1" not in dict(counts)


# --- faults ---------------------------------------------------------------------------------------


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["each", "stream", "by_key"])
def test_many_bad_records_of_all_kinds(cluster_space: Any, tmp_path: Path, kind: str) -> None:
    bad = {number: ("raises", "segfault", "exits")[number % 3] for number in range(40, 2000, 311)}
    lines = lines_with(bad, 2000)
    path = tmp_path / "a.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    map_function: Callable[..., Any] = words_of_lines if kind == "stream" else each(words)
    reduce = by_key(lambda key, values: sum(values)) if kind == "by_key" else sum_values
    job = job_on(TextFiles(str(path)), map_function, reduce=reduce, skip_bad_records=len(bad))

    finished, results = run(cluster_space, job)

    places = [
        one.where.partition(", line ")[2].partition(",")[0] for one in finished.report.skipped
    ]
    assert [int(place) - 1 for place in places] == sorted(bad)
    assert results == expected_of([lines], reduce=reduce)


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["each", "stream"])
def test_workers_killed_meanwhile_cost_no_good_record(
    cluster_space: Any, standing_cluster: Any, eventually: Callable[..., Any], kind: str
) -> None:
    agent = standing_cluster.agents[0]
    began = standing_cluster.folder / f"began-{kind}"

    def slow_words(line: str) -> Pairs:
        if line.startswith("slow"):
            with began.open("a") as file:  # the test kills whoever is here
                file.write(f"{os.getpid()} {line}\n")
            threading.Event().wait(0.3)
        return words(line)

    lines = lines_with(
        {7: "raises", 250: "segfault", **{n: f"slow{n}" for n in range(20, 300, 40)}}
    )
    slow: Any = each(slow_words)
    if kind == "stream":
        slow = lambda lines: (pair for line in lines for pair in slow_words(line))  # noqa: E731
    submitted = job_on(lines, slow, map_tasks=2, skip_bad_records=10).submit(cluster_space)
    killed: dict[str, int] = {}

    def others() -> list[tuple[str, int]]:
        """Who is at a record that has cost no worker its life yet; a second death would make it bad."""
        noted = [line.split() for line in began.read_text().splitlines()] if began.exists() else []
        here = [(line, int(pid)) for pid, line in noted if int(pid) in agent.workers]
        return [
            (line, pid) for line, pid in here if line not in killed and pid not in killed.values()
        ]

    while len(killed) < 3:
        line, pid = eventually(others, 30)[-1]
        killed[line] = pid
        os.kill(pid, signal.SIGKILL)
    results = submitted.result(60)

    assert [one.record for one in submitted.report.skipped] == ["'raises'", "'segfault'"]
    assert results == expected_of([lines[:150], lines[150:]])


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["each", "stream"])
def test_a_record_that_hangs_is_skipped(cluster_space: Any, kind: str) -> None:
    def stuck_words(line: str) -> Pairs:
        if line == "hangs":
            threading.Event().wait(600)
        return words(line)

    lines = lines_with({130: "hangs"})
    function: Any = each(stuck_words)
    if kind == "stream":
        function = lambda lines: (pair for line in lines for pair in stuck_words(line))  # noqa: E731
    job = job_on(lines, function, skip_bad_records=1, task_timeout=1.0)

    finished, results = run(cluster_space, job)

    assert [one.where for one in finished.report.skipped] == ["record 130 of the data"]
    assert "task_timeout" in finished.report.skipped[0].error
    whole = lines_with({})
    expected = [[*whole[:100]], [*whole[100:130], *whole[131:200]], [*whole[200:]]]
    assert results == expected_of(expected)
