"""What a job tells of itself: against what was counted by hand from its data."""

from __future__ import annotations

import json
import math
import random
import statistics
import sys
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from mapreduce import (
    KeepBlocks,
    MapReduceJob,
    PickleFiles,
    PickleOutput,
    Split,
    TextFiles,
    attaching,
    by_key,
    each,
    hash_partition,
    sum_values,
)
from mapreduce.burying import failure_of
from mapreduce.engine.space import SpaceEngine
from mapreduce.errors import JobFailedError
from mapreduce.plan import MAP, REDUCE, Plan
from mapreduce.report import FailedAttempt, Partition, PhaseReport, Report, SlowTask, TimedTask
from mapreduce.shuffle import MapOutput, output_in, output_of
from mapreduce.tally import Tally
from mapreduce.volume import Volume
from tuplespace import RemoteSpace, connect
from tuplespace.pickles import dump
from workers.blocks import Frame, Location
from workers.task import ERROR, LOST, OK, Outcome

# Functions of this module travel by value, as those of a script do.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def space(standing_cluster: Any) -> Iterator[RemoteSpace]:
    with connect(standing_cluster.uri) as space:
        yield space


# -- partitions


def test_what_partitions_hold_is_added_up_and_taken_off_again() -> None:
    dice = random.Random(7)

    def made() -> tuple[MapOutput, list[int], list[int]]:
        parts = [
            [Frame(dice.randrange(9), dice.randrange(1 << 40), b"") for _ in range(dice.choice([0, 1, 1, 3]))]
            for _ in range(6)
        ]  # fmt: skip
        counts = [dice.randrange(1, 70_000) if part else 0 for part in parts]
        sizes = [sum(frame.length for frame in part) for part in parts]
        sparse = dice.randrange(2)
        listed = [number for number in range(6) if parts[number] or not sparse]
        output = output_of(
            [parts[number] for number in listed], sum(counts), None,
            counts=[counts[number] for number in listed], records=5,
            partitions=listed if sparse else None,
        )  # fmt: skip
        assert output_in(dump(output), 6) == output
        assert dict(output.parts({1, 4})) == {at: output.part(at) for at in (1, 4) if parts[at]}
        assert [output.part(number) for number in range(6)] == [
            [frame._replace(digest=bytes(16)) for frame in part] for part in parts
        ]
        assert output.size == sum(sizes)
        return output, counts, sizes

    all_made = [made() for _ in range(30)]
    volume = Volume()
    for output, _, _ in all_made[:20]:
        volume.add(output)
    assert volume.partitions() == []
    volume.divide([output for output, _, _ in all_made[:20]], 6)
    volume.remove(all_made[3][0])
    for output, _, _ in all_made[20:]:
        volume.add(output)
    left = all_made[:3] + all_made[4:]
    assert volume.partitions() == [
        Partition(number, sum(c[number] for _, c, _ in left), sum(s[number] for _, _, s in left))
        for number in range(6)
    ]
    assert volume.pairs == sum(sum(counts) for _, counts, _ in left)
    assert volume.bytes == sum(sum(sizes) for _, _, sizes in left)
    assert volume.records == 5 * 29


def test_an_output_of_an_older_release_counts_as_far_as_it_says() -> None:
    output = output_of([[Frame(0, 7, b"")], []], 3, None, b"content")
    old = MapOutput(*output[:6])
    assert output_in(dump(old), 2) == old
    volume = Volume()
    volume.add(old)
    volume.divide([old], 2)
    assert volume.partitions() == [Partition(0, 0, 7), Partition(1, 0, 0)]
    assert (volume.records, volume.pairs, volume.bytes) == (0, 3, 7)


@pytest.mark.parametrize("odd", [
    {"records": -1}, {"records": "7"}, {"records": math.nan}, {"records": True}, {"pairs": None},
    {"distant_bytes": 0.5}, {"counts": b"12"}, {"counts": [1, 2]}, {"frames": b"x" * 33},
    {"ends": [0, 99]}, {"frames": "text"}, {"ends": "ab"},
])  # fmt: skip
def test_an_output_with_odd_numbers_is_none(odd: dict[str, Any]) -> None:
    output = output_of([[Frame(0, 7, b"")], []], 3, None, b"content", [3, 0], 9)
    assert output_in(dump(output), 2) == output
    assert output_in(dump(output._replace(**odd)), 2) is None


@pytest.mark.parametrize("partitions", [
    [7], array("Q"), array("Q", [1, 2]), array("Q", [8]), array("d", [1.0]), array("b", [-1]),
])  # fmt: skip
def test_an_output_that_lists_partitions_which_there_are_not_is_none(partitions: Any) -> None:
    output = output_of([[Frame(0, 7, b"")]], 3, None, b"content", [3], 9, [7])
    assert output_in(dump(output), 8) == output
    assert output_in(dump(output), 7) is None
    assert output_in(dump(output._replace(partitions=partitions)), 8) is None
    two = output_of([[Frame(0, 7, b"")]] * 2, 3, None, b"content", partitions=[7, 7])
    assert output_in(dump(two), 8) is None


# -- phases


def ended(order: Any, seconds: float, status: str = OK, worker: str = "h/1", **details: Any) -> Any:
    return Outcome("j", order.phase, order.number, order.attempt, status, worker, 1, seconds, None,
                   details)  # fmt: skip


def output(number: int, size: int = 10) -> MapOutput:
    frames = [[Frame(part, size + part, bytes([number, size]))] for part in range(2)]
    return output_of(frames, 4, Location("h", f"{number}-{size}", "u"), b"", [1, 3], 100)


def test_a_map_that_was_lost_and_ran_again_counts_once_as_it_went_the_second_time() -> None:
    plan, tally = Plan(2, 2), Tally()

    def take(outcome: Any, made: MapOutput | None = None) -> list[Any]:
        orders = plan.decide(outcome, made)
        tally.note(plan, outcome, made)
        return orders

    one, two = plan.start()
    take(ended(one, 9.0, worker="h/1"), output(0))
    reduces = take(ended(two, 2.0, worker="h/2"), output(1))
    assert (plan.maps_done, plan.volume.records, plan.volume.bytes) == (2, 200, 42)
    assert take(ended(reduces[0], 0.5), None) == []
    assert plan.reduces_done == 1

    [again] = take(ended(reduces[1], 0.1, LOST, maps=(0,)))
    assert (plan.maps_done, plan.volume.records, plan.volume.bytes) == (1, 100, 21)
    assert [timed.number for timed in tally.times(plan, MAP)] == [1]
    take(ended(again, 3.0, worker="h/3"), output(0, size=50))
    assert plan.volume.partitions() == [Partition(0, 2, 60), Partition(1, 6, 62)]
    assert plan.reduces_done == 0  # what it had read is another now
    assert [tuple(timed) for timed in tally.times(plan, MAP)] == [(3.0, 0, "h/3"), (2.0, 1, "h/2")]
    assert list(tally.times(plan, REDUCE)) == []
    assert (plan.ordered[MAP], plan.failed[MAP], plan.failed[REDUCE]) == (3, 0, 1)


def test_odd_seconds_make_no_odd_report() -> None:
    plan, tally = Plan(3, 1), Tally()
    for order, seconds in zip(plan.start(), (math.nan, -1.0, 1e300), strict=True):
        plan.decide(outcome := ended(order, seconds), made := output(order.number))
        tally.note(plan, outcome, made)
    assert [timed.seconds for timed in tally.times(plan, MAP)] == [0.0, 0.0, 0.0]


# -- jobs


def gated(folder: Path, **waiting: tuple[int, str]) -> Any:
    """Return what has a map or reduce task wait until a file is there, and says that it does."""

    def hold(phase: str, number: int, folder: str = str(folder)) -> None:
        import time
        from pathlib import Path

        at, name = waiting.get(phase, (-1, ""))
        deadline = time.monotonic() + 30
        if at == number:
            Path(folder, f"{name} begun").touch()
        while at == number and not Path(folder, name).exists() and time.monotonic() < deadline:
            time.sleep(0.002)

    return hold


def sevenths(hold: Any, folder: Path | None = None) -> MapReduceJob:
    """Return a job of 6 maps of 10 records each; its fifth raises once, if it has a folder."""
    said = str(folder)

    def map_tens(split: Any) -> Any:
        from pathlib import Path

        number = split[0] // 10
        hold("map", number)
        if number == 4 and said != "None" and not Path(said, "raised").exists():
            Path(said, "raised").touch()
            raise ValueError("once")
        return [(record % 7, "x" * record) for record in split if record % 3]

    def reduce(pairs: Any) -> Any:
        pairs = list(pairs)
        hold("reduce", len(pairs))
        return Counter(key for key, _ in pairs)

    return MapReduceJob(list(range(60)), map_tens, reduce, map_tasks=6, reduce_tasks=3,
                        backup_tasks=False)  # fmt: skip


PAIRS = [record for record in range(60) if record % 3]
#: How many pairs each partition has.
DEALT = Counter(hash_partition(record % 7, 3) for record in PAIRS)


def check_shuffle(report: Report) -> None:
    """Compare with what was dealt by hand."""
    assert [(each.number, each.pairs) for each in report.partitions] == [
        (number, DEALT[number]) for number in range(3)
    ]
    assert report.pairs == len(PAIRS) == report.reduce.records
    sizes = [each.bytes for each in report.partitions]
    assert sum(sizes) == report.shuffle_bytes == report.map.bytes
    for number, size in enumerate(sizes):  # the texts are most of it
        texts = sum(record for record in PAIRS if hash_partition(record % 7, 3) == number)
        assert texts < size < texts + 1000


def test_a_job_reports_its_phases_tasks_and_partitions_while_it_runs_and_at_the_end(
    space: RemoteSpace, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    last = max(DEALT.values())
    hold = gated(tmp_path, map=(2, "map"), reduce=(last, "reduce"))
    run = sevenths(hold, tmp_path).submit(space)
    seen = []

    def is_so(condition: Callable[[Any], Any]) -> bool:
        seen.append(run.progress())
        return bool(condition(seen[-1]))

    def let_go_of_the_slowest(phase: str) -> None:
        eventually((tmp_path / f"{phase} begun").exists)
        passed = run.progress().seconds  # no other has taken longer
        eventually(lambda: is_so(lambda progress: progress.seconds > 2 * passed))
        (tmp_path / phase).touch()

    eventually(lambda: is_so(lambda progress: progress.map_done == 5))
    assert (seen[-1].records, seen[-1].attempts_failed, seen[-1].reduce_done) == (50, 1, 0)
    assert seen[-1].shuffle_bytes > 0
    assert seen[-1].seconds_left > 0
    assert (run.report.map, run.report.partitions) == (PhaseReport(), [])
    let_go_of_the_slowest("map")

    waiting = 3 - sum(count == last for count in DEALT.values())
    eventually(lambda: is_so(lambda progress: progress.reduce_done == waiting))
    eventually(lambda: run.report.partitions)
    assert (run.report.map.tasks, run.report.reduce.tasks, run.report.seconds) == (6, 0, 0.0)
    let_go_of_the_slowest("reduce")
    results = run.result(30)

    assert sum(results, Counter()) == Counter(record % 7 for record in PAIRS)
    report = run.report
    check_shuffle(report)
    assert report.map.records == 60
    assert (report.map.tasks, report.map.attempts, report.map.failed) == (6, 7, 1)
    (failure,) = report.failed
    assert failure[:2] == (MAP, 4)
    assert failure.worker
    assert failure.reason == "ValueError: once"
    assert (report.reduce.tasks, report.reduce.attempts, report.reduce.failed) == (3, 3, 0)
    assert report.reduce.bytes == report.shuffle_bytes
    slowest = report.map.slowest
    assert [len(slowest), slowest[0][:2], slowest[0].what] == [
        3,
        (MAP, 2),
        "records 20-29 of the data",
    ]
    assert slowest == sorted(slowest, key=lambda timed: -timed.seconds)
    assert {timed.worker for timed in slowest} <= {*report.tasks_by_worker}
    assert 0 < report.map.median < slowest[0].seconds < report.map.seconds < 2 * report.seconds
    assert DEALT[report.reduce.slowest[0].number] == last
    assert report.reduce.slowest[0].what == f"partition {report.reduce.slowest[0].number}"
    assert report.reduce.median == statistics.median(
        timed.seconds for timed in report.reduce.slowest
    )

    is_so(lambda progress: True)
    assert seen[-1].seconds == report.seconds
    assert (seen[-1].map_done, seen[-1].reduce_done, seen[-1].seconds_left) == (6, 3, 0.0)
    assert (seen[-1].records, seen[-1].shuffle_bytes) == (60, report.shuffle_bytes)
    for before, after in pairwise(seen):
        for name in ("map_done", "reduce_done", "records", "shuffle_bytes", "seconds"):
            assert getattr(before, name) <= getattr(after, name)
        assert (after.map_total, after.reduce_total) == (6, 3)


def test_a_driver_that_takes_a_job_over_reports_what_was_done_before(
    standing_cluster: Any, space: RemoteSpace, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    engine = SpaceEngine(connect(standing_cluster.uri))
    run = sevenths(gated(tmp_path, map=(2, "map")), tmp_path).submit(engine)
    eventually(lambda: run.progress().map_done == 5)
    before = run.progress()
    eventually(lambda: not engine._tenure._taken_in)  # type: ignore[union-attr]  # all is in the ledger
    engine._clear = lambda: None  # type: ignore[method-assign]  # as if it had been killed
    engine._tenure._stopped.set()  # type: ignore[union-attr]
    engine._job = ""
    run._driver.cancelled.set()
    assert run.wait(10)
    engine.space.close()
    assert (run.report.map.tasks, run.report.map.attempts, run.report.map.failed) == (5, 7, 1)

    heir = attaching.attach(SpaceEngine(space), run.id)
    progress = heir.progress()
    assert (progress.map_done, progress.records, progress.shuffle_bytes) == (
        5, 50, before.shuffle_bytes,
    )  # fmt: skip
    eventually(lambda: heir.progress().seconds > run.report.seconds)
    (tmp_path / "map").touch()
    heir.result(30)
    report = heir.report
    check_shuffle(report)
    assert (report.map.tasks, report.map.attempts, report.map.failed) == (6, 7, 1)
    assert (report.map.records, report.map.slowest[0].number) == (60, 2)
    assert report.map.slowest[0].what == "records 20-29 of the data"
    earlier = {timed.number: timed for timed in run.report.map.slowest}
    assert {timed.number: timed for timed in report.map.slowest[1:]}.items() <= earlier.items()


def test_records_are_counted_wherever_they_lie(space: RemoteSpace, tmp_path: Path) -> None:
    def read(data: Any, **options: Any) -> tuple[Any, Report]:
        function = options.pop("map", each(lambda record: [(str(record)[-1], 1)]))
        run = MapReduceJob(data, function, sum_values, **options).submit(space)
        return run.result(30), run.report

    kept, report = read((f"{n} {n % 9}" for n in range(12_345)), output=KeepBlocks())
    with kept:
        assert (report.map.records, report.map.tasks) == (12_345, 1)
        assert read(kept)[1].map.records == 9
    paths, report = read(range(100), map_tasks=7, output=PickleOutput(tmp_path / "out"))
    assert (report.map.records, report.pairs, len(paths)) == (100, 100, 7)
    assert read(PickleFiles(paths))[1].map.records == 10
    (tmp_path / "lines").write_text("a\n" * 500)
    _, report = read(TextFiles(tmp_path / "lines"), map_tasks=3, skip_bad_records=1, map=each(
        lambda line: [(line, 1)]), combine=sum_values)  # fmt: skip
    assert (report.map.records, report.pairs) == (500, 3)
    locators = [Split(str(tmp_path / "lines"))] * 2
    _, report = read(locators, map=lambda path: [(line, 1) for line in open(path)])  # noqa: SIM115
    assert (report.map.records, report.pairs) == (2, 1000)


def test_a_job_that_failed_reports_what_it_came_to(space: RemoteSpace) -> None:
    def fail(split: Any) -> Any:
        raise ValueError("always")

    run = MapReduceJob([1], fail, by_key(lambda key, values: 0), retries=2).submit(space)
    with pytest.raises(JobFailedError):
        run.result(30)
    assert run.report.map == PhaseReport(0, 3, 3)
    assert run.report.reduce == PhaseReport()
    assert run.progress().seconds_left is None
    assert run.progress().seconds == run.report.seconds > 0


def test_of_many_failures_the_last_are_kept() -> None:
    report = Report()
    for number in range(50):
        report.note_failure(FailedAttempt(MAP, number, "h/1", "ValueError: no"))

    assert [each.number for each in report.failed] == list(range(30, 50))


def test_why_an_attempt_failed_stands_in_a_line() -> None:
    told = failure_of(
        Outcome(
            "j", MAP, 3, 0, ERROR, "h/1", 1, 0.1, details={"message": "ValueError:\n  no\n" * 999}
        )
    )

    assert told[:3] == (MAP, 3, "h/1")
    assert told.reason.startswith("ValueError: no ValueError: no ")
    assert len(told.reason) == 300
    assert failure_of(Outcome("j", MAP, 3, 0, LOST, "h/1", 1, 0.1)).reason == LOST


@pytest.mark.parametrize(
    ("program", "label", "called"),
    [("~/jobs/count.py", "", "count.py"), ("-c", "", ""), ("count.py", "mine", "mine")],
)
def test_a_job_is_called_as_its_program_is_unless_it_is_told(
    program: str, label: str, called: str, space: RemoteSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [program])
    run = MapReduceJob([1], lambda records: [(1, 1)], sum_values).submit(space, label=label)

    run.result(30)
    assert run.label == called


def test_a_report_is_plain_data_for_json() -> None:
    report = Report(seconds=1.5, pairs=9)
    report.tasks_by_worker["h/1"] = 3
    report.slow_tasks.append(SlowTask(MAP, 1, 2.5, math.inf, "h/1", "\udcff"))
    report.map.slowest.append(TimedTask(MAP, 1, 2.5, "h/1"))
    report.partitions = [Partition(number, 1, number % 25) for number in range(100)]

    told = json.loads(json.dumps(report.as_dict(), allow_nan=False))

    assert (told["seconds"], told["tasks_by_worker"]) == (1.5, {"h/1": 3})
    assert told["slow_tasks"][0]["median"] is None
    assert told["map"]["slowest"] == [
        {"phase": "map", "number": 1, "seconds": 2.5, "worker": "h/1", "what": ""}
    ]
    partitions = told["partitions"]
    assert (partitions["count"], partitions["pairs"], partitions["bytes"]) == (100, 100, 1200)
    assert [each["number"] for each in partitions["worst"][:5]] == [24, 49, 74, 99, 23]
    assert len(partitions["worst"]) == 20
