"""Bad input to jobs: a clear error in the caller, and nothing lost or left behind."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from mapreduce import (
    InputError,
    InvalidJobError,
    JobFailedError,
    MapReduceJob,
    NoWorkersError,
    Split,
    TextFiles,
    collect,
    each,
    sum_values,
)
from tuplespace import RemoteSpace, SpaceUnreachableError, TupleSpace, connect
from workers.errors import ModuleNotShippableError
from workers.task import this_runtime

# Functions of this module travel by value, as those of a script do.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

words = each(lambda line: [(word, 1) for word in line.split()])


@pytest.fixture
def space(standing_cluster: Any) -> Iterator[RemoteSpace]:
    """A space with workers, where every failed job must leave nothing."""
    with connect(standing_cluster.uri) as space:
        yield space
        for template in (("job", None, None), ("task", *[None] * 6)):
            assert space.count(template) == 0


def job_of(**changes: Any) -> MapReduceJob:
    return MapReduceJob(
        **{"data": ["a b", "b"], "map": words, "reduce": sum_values, "retries": 0, **changes}
    )


def failure(space: RemoteSpace, **changes: Any) -> JobFailedError:
    with pytest.raises(JobFailedError) as caught:
        job_of(**changes).run(space)
    return caught.value


# --- the job itself -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"data": None}, "no data"),
        ({"data": "name"}, "TextFiles"),
        ({"data": 7}, "iterable"),
        ({"map": None}, "no map"),
        ({"reduce": None}, "no reduce"),
        ({"map": "word"}, "map is no function"),
        ({"combine": 3}, "combine is no function"),
        ({"partition": None}, "partition is no function"),
        ({"map_tasks": 0}, "map_tasks"),
        ({"map_tasks": "4"}, "map_tasks"),
        ({"map_tasks": 2.0}, "map_tasks"),
        ({"reduce_tasks": 0}, r"reduce_tasks \(R\)"),
        ({"reduce_tasks": -1}, r"reduce_tasks \(R\)"),
        ({"reduce_tasks": True}, r"reduce_tasks \(R\)"),
        ({"retries": -1}, "retries"),
        ({"data": [Split(1), 2]}, "Split"),
        ({"priority": 0}, "priority is a number > 0"),
        ({"task_timeout": -1}, "seconds > 0"),
        ({"on_bad_task": "bury"}, "on_bad_task"),
        ({"skip_bad_records": True}, "skip_bad_records"),
        ({"backup_tasks": 1}, "backup_tasks"),
    ],
)
def test_a_job_that_cannot_run_as_it_is_says_so_before_it_starts(
    changes: dict[str, Any], message: str
) -> None:
    for run in ("run", "submit", "run_sequential"):
        with pytest.raises(InvalidJobError, match=message):
            getattr(job_of(**changes), run)()


def test_an_option_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TypeError, match="redcue"):
        MapReduceJob(redcue=sum_values)


def test_a_space_in_this_process_cannot_run_a_job() -> None:
    with TupleSpace() as local, pytest.raises(InvalidJobError, match=r"connect\(\)"):
        job_of().run(local)
    with pytest.raises(InvalidJobError, match=r"connect\(\)"):
        job_of().run(object())


def test_a_space_that_is_not_there_is_named_within_five_seconds(key_file: Path) -> None:
    started = time.monotonic()

    with pytest.raises(SpaceUnreachableError, match=r"127\.0\.0\.1:9"):
        job_of().run("127.0.0.1:9")

    assert time.monotonic() - started < 5


def test_what_cannot_be_pickled_is_named_with_its_function() -> None:
    lock = threading.Lock()
    bad = {
        "map": lambda lines: [(lock, 1)],
        "combine": lambda pairs: [(lock, 1)],
        "partition": lambda key, R: lock,
        "reduce": lambda pairs: lock,
    }
    for name, function in bad.items():
        with pytest.raises(InvalidJobError, match=rf"the {name} function .*lock"):
            job_of(**{name: function}).run()


def test_a_record_that_cannot_be_pickled_is_found(space: RemoteSpace) -> None:
    with pytest.raises(InvalidJobError, match=r"split 1 .*records 1-1 of the data.*lock"):
        job_of(data=["a", threading.Lock()]).run(space)


def test_a_module_that_cannot_travel_is_named(space: RemoteSpace) -> None:
    with pytest.raises(ModuleNotShippableError, match="no_such_module"):
        job_of(modules=["no_such_module"]).run(space)


# --- files ----------------------------------------------------------------------------------------


def test_a_pattern_that_matches_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none/\*\*/\*\.txt"):
        job_of(data=TextFiles(f"{tmp_path}/none/**/*.txt")).run()


def test_a_file_that_vanishes_or_changes_after_the_plan_is_named(
    space: RemoteSpace, tmp_path: Path
) -> None:
    for number, spoil in enumerate((Path.unlink, lambda path: path.write_text("other\n"))):
        file = tmp_path / f"{number}.txt"
        file.write_text("some words\n")

        class Spoiled(TextFiles):
            def plan(self, *arguments: Any, file: Path = file, spoil: Any = spoil) -> Any:
                planned = super().plan(*arguments)
                spoil(file)
                return planned

        error = failure(space, data=Spoiled(str(file)))
        assert f"{number}.txt" in error.message
        assert "InputError" in error.message


def test_a_file_that_is_not_text_is_named_with_a_remedy(space: RemoteSpace, tmp_path: Path) -> None:
    (tmp_path / "image.txt").write_bytes(b"fine\n\xff\xfe\xfa\n")

    error = failure(space, data=TextFiles(str(tmp_path / "image.txt")))

    assert "image.txt" in error.message
    assert "errors=" in error.message
    assert "utf-8" in error.message


# --- functions that fail --------------------------------------------------------------------------


def test_a_map_that_raises_shows_record_place_and_remote_traceback(
    space: RemoteSpace, tmp_path: Path
) -> None:
    file = tmp_path / "numbers.txt"
    file.write_text("1\n2\nthree\n4\n")

    error = failure(space, data=TextFiles(str(file)), map=each(lambda line: [(int(line), 1)]))

    assert "ValueError: invalid literal" in error.message
    assert error.record == "'three'"
    assert error.where is not None
    assert error.where.endswith("numbers.txt, line 3")
    assert (error.phase, error.number) == ("map", 0)
    assert "test_bad_input.py" in error.remote_traceback
    assert "int(line)" in error.remote_traceback
    for part in ("map 0 failed on", "'three'", "line 3", "Traceback"):
        assert part in str(error)


def test_a_map_of_a_chunk_that_raises_shows_its_own_line(space: RemoteSpace) -> None:
    error = failure(space, map=lambda lines: [(line.nothing, 1) for line in lines])

    assert "AttributeError: 'str' object has no attribute 'nothing'" in error.message
    assert "line.nothing" in error.remote_traceback


def test_a_map_that_raises_late_in_a_generator_is_no_other(space: RemoteSpace) -> None:
    def late(lines: Any) -> Iterator[Any]:
        yield ("fine", 1)
        raise KeyError("late")

    assert "KeyError: 'late'" in failure(space, map=late).message


def test_a_combine_a_partition_and_a_reduce_that_raise_are_told_apart(space: RemoteSpace) -> None:
    def fail(*arguments: Any) -> Any:
        raise RuntimeError("no way")

    for name in ("combine", "partition", "reduce"):
        error = failure(space, **{name: fail})
        assert "RuntimeError: no way" in error.message
        assert error.phase == ("reduce" if name == "reduce" else "map")


def test_a_reduce_that_fails_on_a_key_names_it(space: RemoteSpace) -> None:
    from mapreduce import by_key

    error = failure(space, reduce=by_key(lambda key, values: 1 / 0 if key == "b" else 0))

    assert "ZeroDivisionError" in error.message
    assert error.record == "'b'"
    assert error.phase == "reduce"


def test_a_job_with_retries_fails_in_the_end_and_only_then(
    space: RemoteSpace, tmp_path: Path
) -> None:
    def fail(lines: Any) -> Any:
        (tmp_path / f"tried-{time.monotonic_ns()}").touch()
        raise OSError("still no disk")

    assert "still no disk" in failure(space, map=fail, map_tasks=1, retries=3).message
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize(
    "returned, message",
    [
        (None, "None"),
        (7, "7"),
        ("text", "'text'"),
        ([1, 2], "1"),
        ([("a", 1, 2)], "('a', 1, 2)"),
        ([None], "None"),
    ],
)
def test_a_map_that_returns_no_pairs_is_told_what_it_returned(
    returned: Any, message: str, space: RemoteSpace
) -> None:
    for function in (lambda lines: returned, each(lambda line: returned)):
        error = failure(space, map=function)
        assert "InvalidPairsError" in error.message
        assert message in error.message
        assert "pairs" in error.message


@pytest.mark.parametrize("answer", [3, -1, "0", None, 1.0, True, [0]])
def test_a_partitioner_that_names_no_partition_is_told_so(answer: Any, space: RemoteSpace) -> None:
    error = failure(space, partition=lambda key, R: answer, reduce_tasks=3)

    assert "PartitionError" in error.message
    assert repr(answer) in error.message
    assert "0..2" in error.message


@pytest.mark.parametrize("key", [["list"], {"set"}, {"dict": 1}, float("nan"), object(), lambda: 0])
def test_a_key_without_a_stable_hash_is_named(key: Any, space: RemoteSpace) -> None:
    error = failure(space, map=lambda lines: [(key, 1)])

    assert "UnstableKeyError" in error.message
    assert type(key).__name__ in error.message


def test_a_result_that_cannot_be_pickled_is_the_tasks_failure(space: RemoteSpace) -> None:
    def reduce(pairs: Any) -> Any:
        import threading

        return threading.Lock()

    error = failure(space, reduce=reduce)
    assert error.phase == "reduce"
    assert "lock" in error.message


def test_a_package_that_a_worker_lacks_is_named_with_its_host(space: RemoteSpace) -> None:
    def needs_a_package(lines: Any) -> Any:
        import no_such_package_at_all

        return no_such_package_at_all.pairs(lines)

    error = failure(space, map=needs_a_package)

    assert "'no_such_package_at_all'" in error.message
    assert repr(os.uname().nodename) in error.message
    assert "install" in error.message


def test_a_job_fails_without_waiting_for_its_other_tasks(
    space: RemoteSpace, tmp_path: Path
) -> None:
    def fail_or_wait(records: Any) -> Any:
        if records == [1]:
            raise ValueError("one bad apple")
        while not (tmp_path / "go").exists():
            time.sleep(0.005)
        return []

    error = failure(space, data=[0, 1], map=fail_or_wait, map_tasks=2)
    (tmp_path / "go").touch()

    assert "one bad apple" in error.message


# --- workers --------------------------------------------------------------------------------------


def test_workers_of_another_python_are_refused_by_name_of_both_versions(cluster: Any) -> None:
    with cluster.connect() as space:
        space.write(("worker", "old/1", "old", "cpython-3.9", 2))
        started = time.monotonic()

        with pytest.raises(NoWorkersError, match=r"cpython-3\.9") as caught:
            job_of().run(space)

        assert this_runtime() in str(caught.value)
        assert time.monotonic() - started < 5
        assert space.count(("task", *[None] * 6)) == 0


def test_without_workers_a_job_says_so_and_runs_when_one_comes(
    cluster: Any, eventually: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    job = job_of()
    started = time.monotonic()
    run = job.submit(cluster.connect())

    eventually(lambda: run.progress().notice)

    assert time.monotonic() - started < 5
    assert "invoke worker" in run.progress().notice
    assert "no workers yet" in caplog.text
    cluster.start_agent()
    assert run.result(20) == job.run_sequential()
    assert run.progress().notice == ""


@pytest.mark.faults
def test_when_the_space_comes_back_empty_the_job_says_so(
    cluster: Any, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    def begin(records: Any) -> Any:
        (tmp_path / "begun").touch()
        time.sleep(60)

    cluster.start_agent()
    run = job_of(map=begin).submit(cluster.connect())
    eventually((tmp_path / "begun").exists)
    cluster.kill_server()
    cluster.start_server()

    with pytest.raises(Exception, match="restarted without a store"):
        run.result(20)


def test_errors_of_jobs_survive_pickling(space: RemoteSpace) -> None:
    error = failure(space, map=each(lambda line: 1 / 0))

    again = cloudpickle.loads(cloudpickle.dumps(error))

    assert str(again) == str(error)
    assert again.record == error.record


def test_results_after_a_failed_job_are_those_of_the_next(space: RemoteSpace) -> None:
    failure(space, map=lambda lines: None)
    job = job_of(reduce=collect)

    assert job.run(space) == job.run_sequential()


def test_one_module_instead_of_a_list_of_them_is_refused() -> None:
    job = MapReduceJob([1], lambda records: [], lambda pairs: None, modules="helper")

    with pytest.raises(InvalidJobError, match=r"\['helper'\]"):
        job.submit("127.0.0.1:1")
