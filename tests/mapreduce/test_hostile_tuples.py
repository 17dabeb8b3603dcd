"""What others write into the space, or a dead driver's ghost does, ends no job and changes no result."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mapreduce import JobHasDriverError, JobNotFoundError, MapReduceJob, attaching, sum_values
from mapreduce.engine.space import SpaceEngine
from mapreduce.engine.tenure import Tenure
from mapreduce.errors import JobSupersededError
from mapreduce.records import encode
from tuplespace import SpaceFullError, connect
from tuplespace.pickles import dump
from workers.blocks import Location
from workers.task import ANYWHERE, DIED, ERROR, LOST, OK, Outcome, Parcel, this_runtime

HUGE = 10**400
DEEP: Any = ()
for _ in range(20):
    DEEP = (DEEP,)
ODD = [None, True, -1, HUGE, math.nan, math.inf, "", "\udcff", b"\x80\x04junk", DEEP, {"x": HUGE}]


@pytest.fixture
def space(standing_cluster: Any) -> Iterator[Any]:
    with connect(standing_cluster.uri, retry_for=5) as space:
        yield space


def shapes_left(space: Any, job: str) -> list[str]:
    shapes = ("job", 1), ("task", 5), ("result", 3), ("ledger", 2), ("driver", 2)
    return [
        name for name, more in shapes
        if space.count((name, job, *[None] * more)) or space.claimed((name, job, *[None] * more))
    ]  # fmt: skip


def gated(folder: Path) -> MapReduceJob:
    """Return a job of 6 maps, of which 3 wait until the file "go" is there."""
    go = folder / "go"

    def count(split: Any) -> Any:
        import time

        for record in split:
            deadline = time.monotonic() + 30
            while record >= 3 and not go.exists() and time.monotonic() < deadline:
                time.sleep(0.005)
            yield record % 2, record

    return MapReduceJob(range(6), count, sum_values, map_tasks=6, reduce_tasks=2)


EXPECTED = [(0, 6), (1, 9)]


def flat(results: list[Any]) -> list[Any]:
    return sorted(pair for part in results for pair in part)


def deserted(space: Any, folder: Path, eventually: Callable[..., Any]) -> str:
    """Start a job, half of which is done, and take its driver away without a word."""
    run = gated(folder).submit(space_of_its_own(space))
    eventually(lambda: run.progress().map_done == 3)
    engine = run._engine
    assert isinstance(engine, SpaceEngine)
    eventually(lambda: not engine._tenure._taken_in)  # all that it knows is in the ledger
    engine._clear = lambda: None  # type: ignore[method-assign]  # as if it had been killed
    engine._tenure._stopped.set()
    engine._job = ""
    run._driver.cancelled.set()
    assert run.wait(10)
    engine.space.close()
    return run.id


def space_of_its_own(space: Any) -> SpaceEngine:
    return SpaceEngine(connect(space.uri))


def test_forged_records_tokens_and_tasks_keep_nobody_from_attaching(
    space: Any, standing_cluster: Any, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    job = deserted(space, tmp_path, eventually)
    [stale] = encode([("end",)], "another job", 0, standing_cluster.key)
    for serial in (-1, 0, 1, 2, HUGE):
        space.write(("ledger", job, serial, b"junk"))
        space.write(("ledger", job, serial, stale[3]))
    for odd in ODD:
        space.write(("ledger", job, odd, odd))
        space.write(("driver", job, odd, odd))
    forged = ("task", job, "map", 4, this_runtime(), "nowhere", b"forged")
    space.write(forged)
    claim = space.claim(forged, timeout=0)

    run = MapReduceJob.attach(space, job)
    (tmp_path / "go").touch()

    assert flat(run.result(30)) == EXPECTED
    assert sum(run.report.tasks_by_worker.values()) == 8
    claim.release()
    eventually(lambda: not shapes_left(space, job))


def test_a_forged_token_gives_nobody_a_job_whose_driver_is_alive(
    space: Any, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    run = gated(tmp_path).submit(space)
    eventually(lambda: run.progress().map_done == 3)
    space.write(("driver", run.id, HUGE, "nobody"))
    with connect(space.uri) as other, pytest.raises(JobHasDriverError):
        attaching.attach(SpaceEngine(other), run.id, wait=0.5)
    (tmp_path / "go").touch()
    assert flat(run.result(30)) == EXPECTED
    eventually(lambda: not shapes_left(space, run.id))


def test_signed_results_full_of_nonsense_and_replays_change_nothing(
    space: Any, standing_cluster: Any, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    job, key = gated(tmp_path), standing_cluster.key
    seen = space.notify("write", ("result", str, "map", int, bytes))
    run = job.submit(space)
    eventually(lambda: run.progress().map_done == 3)
    replays = [next(seen).tuple for _ in range(3)]
    seen.cancel()
    tuples = [*replays, *((name, "another", *rest) for name, _, *rest in replays)]
    plain = Outcome(run.id, "map", 5, 0, OK, "forger", 1, 0.5)
    for odd in ODD:
        place = Parcel(None, Location(odd, odd, odd), ((odd, odd, odd),))  # type: ignore[arg-type]
        tuples += [each.to_tuple(key) for each in (
            plain._replace(value=place),
            plain._replace(seconds=odd, value=Parcel(dump(1))),
            plain._replace(attempt=odd), plain._replace(status=odd),
            plain._replace(counters={"x": odd} if type(odd) is not float else {odd: 1}),
            plain._replace(phase="reduce", status=LOST, details={"maps": odd, "silent": odd}),
            plain._replace(number=0, status=ERROR, details=dict.fromkeys(
                ("message", "traceback", "position", "bound", "skipped", "record", "where"), odd)),
            plain._replace(number=1, status=DIED, details={"cause": odd, "message": odd}),
            plain._replace(phase=str(odd)[:9].encode("ascii", "replace").decode()),
        )]  # fmt: skip
    tuples += [("result", run.id, odd, odd, odd) for odd in ODD]
    space.write_many(tuples)
    eventually(lambda: not space.count(("result", run.id, str, int, bytes)))
    (tmp_path / "go").touch()

    assert flat(run.result(30)) == EXPECTED
    assert run.counters == Counter()
    assert sum(run.report.tasks_by_worker.values()) == 8
    eventually(lambda: not shapes_left(space, run.id))


@pytest.mark.parametrize("value", [b"", dump(7), b"\x80\x05cno_such_module\nname\n."])
def test_a_map_that_returned_no_output_of_one_has_failed_and_no_driver_dies_of_it(
    space: Any, standing_cluster: Any, tmp_path: Path, eventually: Callable[..., Any], value: bytes
) -> None:
    run = gated(tmp_path).submit(space)
    eventually(lambda: run.progress().map_done == 3)
    forged = Outcome(run.id, "map", 5, 0, OK, "forger", 1, 0.5, Parcel(value))
    space.write(forged.to_tuple(standing_cluster.key))
    eventually(lambda: run.progress().attempts_failed == 1)
    (tmp_path / "go").touch()

    assert flat(run.result(30)) == EXPECTED


def test_odd_tuples_under_the_names_of_others_harm_no_job(
    space: Any, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    run = gated(tmp_path).submit(space)
    eventually(lambda: run.progress().map_done == 3)
    handles = [space.write(("job", run.id, {"task_timeout": HUGE, "priority": HUGE}))]
    for odd in ODD:
        handles += space.write_many([
            ("running", "a", "h", HUGE, ((1, run.id, "map", 4, 1e300), (1, run.id, "map", odd, odd),
                                         (HUGE, run.id, "map", HUGE, math.nan), odd), odd),
            ("running", odd, odd, odd, odd, odd), ("running", "a", "h", 1, ()), ("worker", odd, odd, odd, odd),
            ("worker", "a", "h", this_runtime(), HUGE), ("blocks", odd, odd),
            ("blocks", "h", "not an address"), ("buried", run.id, odd, odd, odd),
            ("job", odd, odd), ("job", f"odd {len(handles)}", dict.fromkeys(
                ("priority", "task_timeout", "affinity", "kept", "label", "driver"), odd)),
            ("task", run.id, odd, odd, this_runtime(), ANYWHERE, odd),
        ])  # fmt: skip
    threading.Event().wait(1.2)  # all who look at such things have done so
    (tmp_path / "go").touch()
    try:
        assert flat(run.result(30)) == EXPECTED
    finally:
        for handle in handles:
            handle.cancel()


# -- ghosts


def test_a_job_that_ended_while_another_attached_is_no_job_any_more(
    space: Any, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    job = deserted(space, tmp_path, eventually)
    engine = space_of_its_own(space)
    engine.succeed(job, 5)
    attaching.cancel(space, job)
    with pytest.raises(JobNotFoundError):
        engine.go_on({})
    engine.leave()
    engine.space.close()
    eventually(lambda: not shapes_left(space, job))


def test_a_driver_that_slept_while_it_cleared_up_clears_nothing_of_its_successors(
    space: Any, tmp_path: Path, eventually: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asleep, awake = threading.Event(), threading.Event()
    usual = Tenure.end

    def end(self: Tenure) -> None:
        usual(self)
        if not asleep.is_set():
            asleep.set()
            self._stopped.set()
            self._claim.release()  # type: ignore[union-attr]  # as when its lease ends
            awake.wait(20)

    monkeypatch.setattr(Tenure, "end", end)
    run = gated(tmp_path).submit(space)
    eventually(lambda: run.progress().map_done == 3)
    threading.Thread(target=run.cancel, daemon=True).start()
    assert asleep.wait(10)
    with connect(space.uri) as other:
        successor = MapReduceJob.attach(other, run.id)
        awake.set()
        assert run.wait(15)
        (tmp_path / "go").touch()
        assert flat(successor.result(30)) == EXPECTED
    eventually(lambda: not shapes_left(space, run.id))


def test_a_job_for_whose_token_there_is_no_room_leaves_nothing(
    space: Any, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., Any]
) -> None:
    def no_room(self: Tenure) -> None:
        raise SpaceFullError("the space is full", 1, 1.0)

    monkeypatch.setattr(Tenure, "begin", no_room)
    run = MapReduceJob([1], lambda split: [], sum_values).submit(space)
    with pytest.raises(SpaceFullError):
        run.result(10)
    eventually(lambda: not shapes_left(space, run.id))


def test_of_two_that_attach_at_once_one_has_the_job(
    space: Any, tmp_path: Path, eventually: Callable[..., Any], background: Any
) -> None:
    job = deserted(space, tmp_path, eventually)
    spaces = [connect(space.uri) for _ in range(3)]
    calls = [background(MapReduceJob.attach, each, job) for each in spaces]
    runs = []
    for call in calls:
        try:
            runs.append(call.result(30))
        except (JobHasDriverError, JobSupersededError):
            pass
    (tmp_path / "go").touch()
    ended = []
    for run in runs:
        try:
            ended.append(flat(run.result(30)))
        except JobSupersededError:
            pass
    assert ended == [EXPECTED]
    for each in spaces:
        each.close()
    eventually(lambda: not shapes_left(space, job))
