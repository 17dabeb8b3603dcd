"""MapReduceJob: what the user fills in and runs."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Iterable
from itertools import islice
from types import ModuleType
from typing import Any

from mapreduce.chained import KeepBlocks
from mapreduce.driver import JobRun, Work
from mapreduce.engine.embedded import EmbeddedEngine
from mapreduce.engine.interface import Engine
from mapreduce.engine.space import SpaceEngine
from mapreduce.errors import InvalidJobError
from mapreduce.filesplit import FileSplit
from mapreduce.outputs import Output
from mapreduce.partition import Partitioner, hash_partition
from mapreduce.phases import (
    CombineFunction,
    MapFunction,
    ReduceFunction,
    same_reduction,
)
from mapreduce.plan import Plan
from mapreduce.ranges import range_partition
from mapreduce.results import ResultWork, results_of
from mapreduce.sequential import run_sequential
from mapreduce.splits import (
    GivenSplit,
    PlannedSplit,
    RecordSplit,
    default_reduce_tasks,
    plan_splits,
)
from mapreduce.textfiles import TextFiles
from mapreduce.work import MapWork, ReduceWork
from tuplespace.client import RemoteSpace
from tuplespace.connect import connect
from tuplespace.errors import InvalidArgumentError
from tuplespace.pickles import dump
from workers.modules import collect_modules, is_installed
from workers.sizes import parse_size

_LATER = ("task_timeout", "on_bad_task", "skip_bad_records", "backup_tasks", "priority")


class MapReduceJob:
    """A MapReduce job: data, functions, and how finely to divide it.

    Attributes:
        data: A list, an iterable, or `TextFiles`; elements that are `Split` s are the splits.
        map: Gets one split's records, to go through once; returns pairs or a mapping.
        reduce: Gets one partition's pairs, to go through once; its return value is the result.
        combine: Gets one map task's pairs before they are partitioned; returns pairs. None: none.
        partition: Gets a key and R; returns 0..R-1. See also `range_partition`.
        map_tasks: M; None: from the data. reduce_tasks: R; None: from the data.
        retries: How often a task that raised is tried again.
        output: A directory or URL for one text file a partition, or a format, such as
            `PickleOutput`, or `KeepBlocks`; the result is then their paths, or the `Blocks`. None:
            the result is what reduce returned.
        memory: Bytes of data that one task may hold before it spills, as an int or a text like
            "200MB"; None, or more than that: as much as its worker allows.
        modules: More of your own modules that the functions need, by name or themselves.

    Source: Dean and Ghemawat, MapReduce (OSDI 2004), section 2; the attributes are those of the
    Rinda article's MapReduceJob.

    Examples:
        >>> from mapreduce import each, sum_values
        >>> job = MapReduceJob(data=["to be", "or not to be"])
        >>> job.map = each(lambda line: [(word, 1) for word in line.split()])
        >>> job.reduce = sum_values
        >>> job.reduce_tasks = 1
        >>> job.run_sequential()
        [[('to', 2), ('be', 2), ('or', 1), ('not', 1)]]
    """

    def __init__(
        self, data: Any = None, map: MapFunction | None = None,
        reduce: ReduceFunction | None = None, combine: CombineFunction | None = None,
        partition: Partitioner = hash_partition, map_tasks: int | None = None,
        reduce_tasks: int | None = None, *, retries: int = 1, memory: int | str | None = None,
        modules: Iterable[str | ModuleType] = (),
        output: str | os.PathLike[str] | Output | KeepBlocks | None = None, **options: Any,
    ) -> None:  # fmt: skip
        for name in options:
            if name in _LATER:
                raise InvalidJobError(f"the option {name} is not there yet")
            raise TypeError(f"MapReduceJob has no option {name!r}")
        self.data = data
        self.map = map
        self.reduce = reduce
        self.combine = combine
        self.partition = partition
        self.map_tasks = map_tasks
        self.reduce_tasks = reduce_tasks
        self.retries = retries
        self.memory = memory
        self.modules = modules
        self.output = output

    def run(self, space: RemoteSpace | str | Engine | None = None) -> list[Any]:
        """Run the job and return the list of R reduce results; blocks until it has ended.

        With `output`, the list is of the files' paths, or the result is a `Blocks`.

        Interrupted (Ctrl-C), it cancels the job first.

        Args:
            space: A space from `tuplespace.connect`, its URI, or an engine; None: a space server
                and one worker a core of this machine's own, for this job only.

        Raises:
            InvalidJobError: The job cannot run as it was filled in.
            InputError: A file is missing or no text. JobFailedError: A task failed for good.
            NoWorkersError: No worker can serve it. TupleSpaceError: No space, or it was lost.
        """
        run = self.submit(space)
        try:
            return run.result()
        except BaseException:
            run.cancel()
            raise

    def submit(self, space: RemoteSpace | str | Engine | None = None) -> JobRun:
        """Start the job and return at once; see `run`.

        Raises:
            InvalidJobError, InputError: As `run`.
        """
        splits, reduce_tasks = self._plan()
        map_function, reduce_function = self._functions()
        plan = Plan(len(splits), reduce_tasks, self.retries)
        job = secrets.token_hex(6)
        results = results_of(self.output, job, reduce_tasks)
        if space is None and isinstance(self.output, KeepBlocks):
            EmbeddedEngine.refuse_to_hold()
        work = self._pack(splits, map_function, reduce_function, reduce_tasks, results.work)
        description = {"maps": len(splits), "reduces": reduce_tasks}
        engine = _engine(space)
        results.prepare()
        return JobRun(job, engine, splits, work, plan, description, results)

    def run_sequential(self) -> list[Any]:
        """Run the job in this process, one task after the other: for tests and debuggers.

        Raises:
            InvalidJobError, InputError: As `run`. RecordFailedError: A user's function raised.
        """
        splits, reduce_tasks = self._plan()
        map_function, reduce_function = self._functions()
        results = results_of(self.output, secrets.token_hex(6), reduce_tasks)
        results.prepare()
        try:
            run_sequential(
                splits=splits, map=map_function, reduce=reduce_function, combine=self.combine,
                partition=self._partitioner(splits, map_function), reduce_tasks=reduce_tasks,
                deliver=results.keep_here,
            )  # fmt: skip
            results.finish()
        except BaseException:
            results.abandon()
            raise
        return results.all()

    def _plan(self) -> tuple[list[PlannedSplit], int]:
        if self.data is None:
            raise InvalidJobError("the job has no data; set job.data")
        splits = plan_splits(self.data, self.map_tasks)
        if self.reduce_tasks is None:
            return splits, default_reduce_tasks(splits)
        if type(self.reduce_tasks) is not int or self.reduce_tasks < 1:
            raise InvalidJobError(f"reduce_tasks (R) is an int >= 1, not {self.reduce_tasks!r}")
        return splits, self.reduce_tasks

    def _functions(self) -> tuple[MapFunction, ReduceFunction]:
        if self.map is None or self.reduce is None:
            missing = "map" if self.map is None else "reduce"
            raise InvalidJobError(f"the job has no {missing} function; set job.{missing}")
        for name in ("map", "reduce", "partition"):
            if not callable(getattr(self, name)):
                raise InvalidJobError(f"job.{name} is no function: {getattr(self, name)!r}")
        if self.combine is not None and not callable(self.combine):
            raise InvalidJobError(f"job.combine is no function: {self.combine!r}")
        if type(self.retries) is not int or self.retries < 0:
            raise InvalidJobError(f"job.retries is an int >= 0, not {self.retries!r}")
        if isinstance(self.modules, (str, ModuleType)):
            raise InvalidJobError(f"job.modules is a list of modules: write [{self.modules!r}]")
        self._memory()
        return self.map, self.reduce

    def _memory(self) -> int:
        try:
            return sys.maxsize if self.memory is None else parse_size(self.memory)
        except InvalidArgumentError as error:
            raise InvalidJobError(f"job.memory: {error}") from None

    def _pack(
        self, splits: list[PlannedSplit], map_function: MapFunction,
        reduce_function: ReduceFunction, reduce_tasks: int, result_work: ResultWork | None,
    ) -> Work:  # fmt: skip
        partition = self._partitioner(splits, map_function)
        memory, merged = self._memory(), same_reduction(self.combine, reduce_function)
        map_work = MapWork(map_function, self.combine, partition, reduce_tasks, memory)
        reduce_work = ReduceWork(reduce_function, merged, memory, result_work)
        try:
            pickled = dump(map_work), dump(reduce_work)
        except Exception as error:
            raise InvalidJobError(self._what_cannot_be_pickled(error)) from error
        modules = [*self.modules, *_modules_of_records(splits)]
        bundle = collect_modules(b"".join((*pickled, _pickled_readers(splits))), modules)
        return Work(*pickled, bundle.to_bytes() if bundle.digest else None)

    def _partitioner(self, splits: list[PlannedSplit], map_function: MapFunction) -> Partitioner:
        partition = self.partition
        if isinstance(partition, range_partition) and partition.needs_sample:
            return partition.sampled(splits, map_function)
        return partition

    def _what_cannot_be_pickled(self, error: Exception) -> str:
        for name in ("map", "combine", "partition", "reduce"):
            try:
                dump(getattr(self, name))
            except Exception as reason:  # noqa: BLE001  # pickling raises whatever it likes
                return (
                    f"the {name} function cannot be sent to a worker: {reason}; it, or something it "
                    "refers to, cannot be pickled: make such things (files, locks, connections) "
                    "inside the function"
                )
        return f"the job's functions cannot be sent to a worker: {error}"


def _modules_of_records(splits: list[PlannedSplit]) -> set[str]:
    """Return the user's own modules that define the types of the first records."""
    records = splits[0].data if splits and isinstance(splits[0], RecordSplit) else ()
    names = {type(record).__module__ for record in islice(records, 100)}
    return {name for name in names - {"__main__"} if not is_installed(name)}


def _pickled_readers(splits: list[PlannedSplit]) -> bytes:
    """Return what may name modules of the user's, beside the functions: the readers of records."""
    holders = (split.data if isinstance(split, GivenSplit) else split for split in splits)
    held = (FileSplit, TextFiles)
    readers = {id(each.reader): each.reader for each in holders if isinstance(each, held)}
    try:
        return dump(list(readers.values()))
    except Exception as error:
        raise InvalidJobError(f"records= cannot be sent to a worker: {error}") from error


def _engine(space: RemoteSpace | str | Engine | None) -> Callable[[], Engine]:
    if space is None:
        return EmbeddedEngine
    if isinstance(space, str):
        return lambda: SpaceEngine(connect(space), owned=True)
    if isinstance(space, RemoteSpace):
        return lambda: SpaceEngine(space)
    if all(hasattr(space, name) for name in ("open", "outcomes", "runtimes")):
        return lambda: space
    raise InvalidJobError(
        f"a job runs on a space from tuplespace.connect(), on its URI, or, with nothing given, on "
        f"workers of its own; no worker can reach {space!r}"
    )
