"""What user code counts: exactly once for each task that is done, whatever died on the way."""

from __future__ import annotations

import os
import pickle
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from mapreduce import JobFailedError, MapReduceJob, by_key, each
from mapreduce.engine.embedded import EmbeddedEngine
from tuplespace.errors import InvalidArgumentError
from workers import counter
from workers.counters import COUNTERS, NAME_LENGTH, counts, reset

cloudpickle.register_pickle_by_value(sys.modules[__name__])

KEPT = counter("kept")


def test_amounts_add_up_in_any_thread() -> None:
    reset()

    def count() -> None:
        for _ in range(20_000):
            counter("lines").add()
        counter("seconds").add(0.5)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert counts() == {"lines": 80_000, "seconds": 2.0}
    reset()
    assert counts() == {}


@pytest.mark.parametrize("amount", ["1", None, float("nan"), float("inf"), 1j, [1]])
def test_what_is_no_finite_number_cannot_be_counted(amount: Any) -> None:
    reset()
    with pytest.raises(InvalidArgumentError, match="finite ints and floats"):
        counter("x").add(amount)
    assert counts() == {}


def test_what_counts_as_an_int_becomes_one() -> None:
    reset()
    counter("x").add(True)
    assert counts() == {"x": 1}
    assert type(counts()["x"]) is int


@pytest.mark.parametrize("name", ["", "x" * (NAME_LENGTH + 1), 3, None, b"x"])
def test_a_name_is_a_short_str(name: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="a counter's name"):
        counter(name)


def test_too_many_names_are_refused_and_those_known_go_on() -> None:
    reset()
    for number in range(COUNTERS):
        counter(f"name {number}").add(1)
    with pytest.raises(InvalidArgumentError, match="200 counters at most"):
        counter("one more").add(1)
    counter("name 7").add(1)
    assert counts()["name 7"] == 2
    reset()


def test_a_counter_may_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(counter("x"))).name == "x"


def test_a_job_counts_what_its_maps_and_reduces_have_counted() -> None:
    def words(line: str) -> list[tuple[str, int]]:
        counter("lines").add()
        KEPT.add(0.25)
        return [(word, 1) for word in line.split()]

    def total(key: str, values: Any) -> int:
        counter("words").add()
        return sum(values)

    job = MapReduceJob(data=["a b", "b c", "c d", "a"] * 25, map=each(words), reduce=by_key(total))
    job.map_tasks, job.reduce_tasks = 7, 3
    run = job.submit(EmbeddedEngine(2))
    run.result(30)

    assert run.counters == {"lines": 100, "kept": 25.0, "words": 4}

    reset()
    job.run_sequential()
    assert counts() == {"lines": 100, "kept": 25.0, "words": 4}
    reset()


def once(folder: Path, name: str) -> bool:
    """For tasks: say whether this is the first time, over all processes."""
    try:
        (folder / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def test_attempts_that_fail_or_die_after_they_have_counted_do_not_count(tmp_path: Path) -> None:
    def work(numbers: Any) -> Any:
        for number in numbers:
            counter("seen").add()
            if number == 13 and once(tmp_path, "raised"):
                raise ValueError("after it has counted")
            if number == 57 and once(tmp_path, "killed"):
                os.kill(os.getpid(), signal.SIGKILL)
            yield number % 5, number

    def total(pairs: Any) -> int:
        pairs = list(pairs)
        counter("pairs").add(len(pairs))
        if once(tmp_path, "reduce raised"):
            raise ValueError("so has the reduce")
        return sum(value for _, value in pairs)

    job = MapReduceJob(data=list(range(100)), map=work, reduce=total, map_tasks=10, reduce_tasks=3)
    run = job.submit(EmbeddedEngine(2))

    assert sum(run.result(30)) == sum(range(100))
    assert run.progress().attempts_failed == 3
    assert run.counters == {"seen": 100, "pairs": 100}


def test_what_a_forked_process_counts_is_not_counted() -> None:
    def work(numbers: Any) -> Any:
        counter("parents").add()
        child = os.fork()
        if child == 0:
            counter("children").add()
            counter("parents").add(1000)
            os._exit(0)
        os.waitpid(child, 0)
        return [(number, 1) for number in numbers]

    job = MapReduceJob(data=[1, 2, 3], map=work, reduce=lambda pairs: len(list(pairs)))
    job.map_tasks, job.reduce_tasks = 3, 1
    run = job.submit(EmbeddedEngine(2))
    run.result(30)

    assert run.counters == {"parents": 3}


def test_to_count_too_much_fails_the_task_and_says_why() -> None:
    def work(numbers: Any) -> Any:
        for number in numbers:
            counter(f"number {number}").add()
        return []

    job = MapReduceJob(data=list(range(300)), map=work, reduce=list, map_tasks=1, retries=0)

    with pytest.raises(JobFailedError, match="200 counters at most"):
        job.run()


def test_a_script_may_count_in_its_lambdas(
    run_python: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from mapreduce import MapReduceJob, each, sum_values\n"
        "from workers import counter\n"
        "job = MapReduceJob(data=['a', '', 'b'])\n"
        "job.map = each(lambda line: [(line, 1)] if line else counter('empty').add() or [])\n"
        "job.reduce = sum_values\n"
        "run = job.submit()\n"
        "run.result()\n"
        "print(dict(run.counters))\n"
    )

    output, errors = run_python(str(script)).communicate(timeout=30)

    assert output == "{'empty': 1}\n", errors


@pytest.mark.faults
def test_an_output_that_is_lost_and_made_again_counts_once(tmp_path: Path) -> None:
    engine = EmbeddedEngine(1)
    blocks = engine.work_dir

    def work(numbers: Any) -> Any:
        for number in numbers:
            again = not once(tmp_path, f"map-{number}")
            counter("maps").add()
            counter("again").add(again)
            if not again:
                counter("first").add()
            for key in range(2):
                yield key, random.Random(number).randbytes(300_000)

    def total(pairs: Any) -> int:
        counter("pairs").add(sum(1 for _ in pairs))
        if once(tmp_path, "reduced"):
            lost = list(blocks.rglob("map-1*"))
            assert lost
            for path in lost:
                path.unlink()
        return 0

    job = MapReduceJob(data=[0, 1, 2], map=work, reduce=total, map_tasks=3, reduce_tasks=2)
    job.partition = lambda key, _: key
    run = job.submit(engine)
    run.result(30)

    assert run.counters == {"maps": 3, "again": 1, "first": 2, "pairs": 6}
