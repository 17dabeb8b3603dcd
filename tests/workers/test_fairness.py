"""Who runs what: nobody hoards while another idles, and an agent's own tasks go first."""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

import byhand
from mapreduce.engine.space import SpaceEngine
from tuplespace.pickles import dump, dump_data, load
from workers.task import ANYWHERE, OK, Task, this_runtime

# Functions of this module travel by value, as those of a script do.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


class Job:
    """Tasks of one phase, written and taken by hand.

    Args:
        engine: Carries them. about: What the job tuple says.
    """

    def __init__(self, engine: SpaceEngine, **about: Any) -> None:
        self._engine, self._written = engine, 0
        engine.open("j", about)

    def write(
        self, function: Callable[[Any], Any], *arguments: Any, affinity: str = ANYWHERE
    ) -> None:
        """Write a task for each argument, in one step."""
        pickled = dump(lambda argument, workplace, task: function(argument))
        code = self._engine.send("function", pickled, shared=True)
        first, self._written = self._written, self._written + len(arguments)
        self._engine.write(
            Task("j", "work", number, this_runtime(), affinity, 0, code,
                 self._engine.send("argument", dump_data(argument)))
            for number, argument in enumerate(arguments, first)
        )  # fmt: skip

    def results(self, count: int, within: float = 20.0) -> list[tuple[int, str, Any]]:
        """Return the next so many: number, worker, what the function returned."""
        outcomes: list[Any] = []
        deadline = time.monotonic() + within
        while len(outcomes) < count:
            outcomes += self._engine.outcomes(max(0.0, deadline - time.monotonic()))
            assert time.monotonic() < deadline, f"{len(outcomes)} of {count}"
        assert [outcome.status for outcome in outcomes] == [OK] * count
        return [(each.number, each.worker, load(each.value.content)) for each in outcomes]


@pytest.fixture
def new_job(cluster: Any) -> Iterator[Callable[..., Job]]:
    engines: list[SpaceEngine] = []

    def make(**about: Any) -> Job:
        engines.append(SpaceEngine(cluster.connect()))
        return Job(engines[-1], **about)

    yield make
    for engine in engines:
        engine.close()


def meet(folder: Path, count: int) -> Callable[[Any], Any]:
    """Return what a task does that ends when so many of its kind have begun."""

    def task(name: Any) -> None:
        (folder / f"begun-{name}").touch()
        deadline = time.monotonic() + 15
        while len(list(folder.glob("begun-*"))) < count:
            assert time.monotonic() < deadline, "the others have not begun"
            time.sleep(0.005)

    return task


def test_the_tasks_of_a_new_job_are_spread_over_all_workers(
    cluster: Any, new_job: Callable[..., Job], tmp_path: Path
) -> None:
    for host in ("east", "west"):
        cluster.start_agent("--host", host, processes=2)
    job = new_job()

    job.write(meet(tmp_path, 4), *range(4))

    assert len({worker for _, worker, _ in job.results(4)}) == 4


def test_what_was_claimed_ahead_goes_to_workers_that_idle(
    cluster: Any, new_job: Callable[..., Job], tmp_path: Path
) -> None:
    for host in ("east", "west"):
        cluster.start_agent("--host", host, processes=2)
    job = new_job()
    job.write(lambda n: n, *range(500))
    job.results(500)

    job.write(meet(tmp_path, 4), *range(4))  # all say these are short, too

    assert len({worker for _, worker, _ in job.results(4)}) == 4


def test_tasks_behind_a_long_one_are_given_back_and_those_before_it_answered(
    cluster: Any, new_job: Callable[..., Job], tmp_path: Path
) -> None:
    cluster.start_agent("--host", "east", processes=1)
    job = new_job()
    job.write(lambda n: n, *range(500))
    job.results(500)
    wait = meet(tmp_path, 2)

    job.write(lambda n: wait(n) if n == 20 else n, *range(60))
    before = job.results(20)
    with pytest.raises(AssertionError, match="0 of 1"):
        job.results(1, within=0.5)
    cluster.start_agent("--host", "west", processes=1)
    behind = job.results(39)
    (tmp_path / "begun-go").touch()

    assert sorted(number for number, *_ in before) == [*range(500, 520)]
    assert sorted(number for number, *_ in behind) == [*range(521, 560)]
    assert {worker.partition("/")[0] for _, worker, _ in behind} == {"west"}
    assert [number for number, *_ in job.results(1)] == [520]


@pytest.mark.parametrize("says_so", [True, False])
def test_an_agent_runs_its_own_tasks_first_if_the_job_says_there_are_any(
    cluster: Any, new_job: Callable[..., Job], says_so: bool
) -> None:
    job = new_job(**({"affinity": True} if says_so else {}))
    job.write(lambda _: time.monotonic_ns(), *range(10))
    job.write(lambda _: time.monotonic_ns(), *range(3), affinity="east")

    cluster.start_agent("--host", "east", processes=1)

    ran = [number for number, *_ in sorted(job.results(13), key=lambda result: result[2])]
    assert ran[:3] == ([10, 11, 12] if says_so else [0, 1, 2])
    job.write(lambda n: n, *range(5))  # and then those of anybody
    assert len(job.results(5)) == 5


# --- several jobs ---------------------------------------------------------------------------------


def written_down(log: Path, seconds: float) -> Callable[[Any], Any]:
    """Return what a task does that takes so long and leaves the name it is given in a log."""

    def task(name: str) -> None:
        time.sleep(seconds)
        with open(log, "a") as file:
            file.write(name)

    return task


@pytest.fixture
def hand_job(cluster: Any) -> Callable[..., byhand.Job]:
    return lambda **about: byhand.Job(cluster.connect(), cluster.key, **about)


@pytest.mark.parametrize("affinity", [ANYWHERE, "east"])
def test_a_job_that_comes_while_many_tasks_of_another_wait_gets_its_share_soon(
    cluster: Any, hand_job: Callable[..., byhand.Job], tmp_path: Path, affinity: str,
    eventually: Callable[..., Any],
) -> None:  # fmt: skip
    log = tmp_path / "log"
    log.touch()
    cluster.start_agent("--host", "east", processes=1)
    first = hand_job(affinity=bool(affinity))
    first.write(written_down(log, 0.002), *["a"] * 2000, affinity=affinity)
    eventually(lambda: log.stat().st_size > 50)

    second = hand_job()
    size = log.stat().st_size
    second.write(written_down(log, 0.008), *["b"] * 40)
    second.outcomes(40)

    order = log.read_text()
    assert order.count("b") == 40
    began, end = order.index("b"), order.rindex("b")
    # A task takes 2 ms at least: less than a second went by, and less than the first had.
    assert began - size < 400
    # They take a fourth of the time, or a third as the machine is busy, so there are as many to one.
    assert 40 * 1.7 < order[began:end].count("a") < 40 * 6
    assert end < 1500


def test_jobs_share_two_agents_by_priority(
    cluster: Any, hand_job: Callable[..., byhand.Job], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    jobs = {"a": hand_job(priority=3), "b": hand_job(priority=1), "c": hand_job(priority=1)}
    for name in "ab":
        jobs[name].write(written_down(log, 0.005), *[name] * 240)

    for host in ("east", "west"):
        cluster.start_agent("--host", host, processes=1)

    jobs["a"].outcomes(240)
    order = log.read_text()
    while_both = order[: order.rindex("a")]
    assert 3 * 0.8 < while_both.count("a") / while_both.count("b") < 3 * 1.25
    # And they alternate, as they are run.
    middle = len(while_both) // 2
    assert 0.6 < while_both[:middle].count("b") / while_both[middle:].count("b") < 1.7


@pytest.mark.faults
def test_uneven_tasks_are_balanced_between_two_agents(
    cluster: Any, new_job: Callable[..., Job]
) -> None:
    for host in ("east", "west"):
        cluster.start_agent("--host", host, processes=1)
    noise = random.Random(3)
    lengths = [noise.uniform(0.01, 0.09) for _ in range(160)]
    job = new_job()

    def sleep(seconds: float) -> tuple[float, float]:
        started = time.monotonic()
        time.sleep(seconds)
        return started, time.monotonic()

    job.write(sleep, *lengths)

    busy: Counter[str] = Counter()
    results = job.results(160)
    for _, worker, (start, end) in results:
        busy[worker] += end - start
    ideal = busy.total() / 2
    assert ideal / max(busy.values()) >= 0.95
    took = max(end for *_, (_, end) in results) - min(start for *_, (start, _) in results)
    assert ideal / took >= 0.85  # nearer 0.98 where nobody else uses the machine
