"""Jobs that are several jobs: who runs them, in what order, and how they end."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.steps import Steps, run_steps
from mapreduce import MapReduceJob, each, sum_values


def adding(number: int) -> MapReduceJob:
    return MapReduceJob([number], each(lambda n: [("sum", n)]), sum_values, reduce_tasks=1)


def chained(seen: list[Any]) -> Steps:
    """Three steps, each of which adds 1 to what the step before gave."""
    try:
        total = 0
        for _ in range(3):
            results = yield adding(total + 1)
            seen.append(results)
            total = results[0][0][1]
        return {"total": total}
    finally:
        seen.append("closed")


def test_a_single_job_is_run_once_and_its_results_come_back() -> None:
    job, ran = adding(5), []

    def run(step: MapReduceJob) -> list[Any]:
        ran.append(step)
        return step.run_sequential()

    assert run_steps(job, run) == [[("sum", 5)]]
    assert ran == [job]


def test_each_step_is_sent_its_results_and_the_generator_says_what_comes_of_it() -> None:
    seen: list[Any] = []

    assert run_steps(chained(seen), MapReduceJob.run_sequential) == {"total": 3}
    assert seen == [[[("sum", 1)]], [[("sum", 2)]], [[("sum", 3)]], "closed"]


def test_a_generator_that_yields_no_job_runs_none() -> None:
    def nothing() -> Steps:
        yield from ()
        return "nothing to do"

    def run(step: MapReduceJob) -> list[Any]:
        raise AssertionError("there is no step")

    assert run_steps(nothing(), run) == "nothing to do"


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(3)])
def test_what_ends_a_step_closes_the_generator_and_comes_through(error: BaseException) -> None:
    seen: list[Any] = []

    def run(step: MapReduceJob) -> list[Any]:
        if seen:
            raise error
        return step.run_sequential()

    with pytest.raises(type(error)) as raised:
        run_steps(chained(seen), run)

    assert raised.value is error
    assert seen == [[[("sum", 1)]], "closed"]


def test_what_the_generator_raises_comes_through() -> None:
    def failing() -> Steps:
        yield adding(1)
        raise LookupError("not what I wanted")

    with pytest.raises(LookupError, match="not what I wanted"):
        run_steps(failing(), MapReduceJob.run_sequential)


def test_a_step_that_runs_out_of_records_does_not_pass_for_the_end() -> None:
    seen: list[Any] = []

    def first_of_none(_: MapReduceJob) -> list[Any]:
        return next(iter(()))  # as a map function does that expects a header line

    with pytest.raises(StopIteration):
        run_steps(chained(seen), first_of_none)
    assert seen == ["closed"]
