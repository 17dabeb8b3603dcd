"""MapReduceJob: what the user fills in and runs."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from mapreduce.attaching import attach
from mapreduce.checks import check_attribute, check_function
from mapreduce.combining import CombineFunction
from mapreduce.engine.embedded import EmbeddedEngine
from mapreduce.engine.interface import Engine
from mapreduce.engine.space import SpaceEngine
from mapreduce.errors import InvalidJobError
from mapreduce.external import run_program
from mapreduce.feeder import Planned
from mapreduce.grouping import by_key
from mapreduce.inputs.splits import (
    PlannedSplit,
    RecordSplit,
    Split,
    check_map_tasks,
    default_reduce_tasks,
    plan_splits,
)
from mapreduce.inputs.stream import Data, read_head, reduce_tasks_of_stream, splits_of_head
from mapreduce.options import FAIL, Options
from mapreduce.outputs.chained import KeepBlocks
from mapreduce.outputs.formats import Output
from mapreduce.outputs.results import ResultWork, results_of
from mapreduce.packing import Functions, pack
from mapreduce.partition import Partitioner, hash_partition
from mapreduce.phases import MapFunction, ReduceFunction
from mapreduce.plan import Plan
from mapreduce.ranges import range_partition
from mapreduce.run import JobRun
from mapreduce.sequential import run_sequential
from tuplespace.client import RemoteSpace
from tuplespace.connect import connect
from tuplespace.errors import InvalidArgumentError
from workers.sizes import parse_size

_ATTRIBUTES = [
    "data", "map", "reduce", "combine", "partition", "map_tasks", "reduce_tasks", "retries",
    "memory", "modules", "output", "task_timeout", "on_bad_task", "skip_bad_records",
    "backup_tasks", "priority",
]  # fmt: skip


class MapReduceJob:
    """A MapReduce job: data, functions, and how finely to divide it.

    Attributes:
        data: A list, an iterable, or `TextFiles`; elements that are a `Split` each are the
            splits. What is no list, tuple, range or mapping (a generator, say) is read while the job runs, in a
            thread of its own, with bounded memory. If it is no longer than 10,000 records and
            1 MiB, pickled, it is as good as a list; else its splits are of 2 MiB each, in files in
            this host's temporary folder until the job ends, because a map may have to run again.
            With `map_tasks` given, all of it is read before the first map begins.
        map: Gets one split's records, to go through once; returns pairs or a mapping.
        reduce: Gets one partition's pairs, to go through once; its return value is the result.
        combine: Gets one map task's pairs before they are partitioned; returns pairs. None: none.
        partition: Gets a key and R; returns 0..R-1. See also `range_partition`.
        map_tasks: M; None: from the data. reduce_tasks: R; None: from the data.
        retries: How often a task that raised is tried again.
        output: A directory or URL for one text file a partition, or a format, such as
            `PickleOutput`, or `KeepBlocks`; the result is then their paths, or the `Blocks`. None:
            the result is what reduce returned.
        task_timeout: Seconds that an attempt of a task may take; one that takes longer is ended, as if
            its worker had died. None: for ever.
        on_bad_task: What to do when a task has failed for good: "fail", or "skip", to go on
            without its output: a reduce's result is None, and it has no file. See
            `Report.skipped_tasks`.
        skip_bad_records: How many records (of a reduce: keys or pairs) of the whole job, on which
            a function raises or its worker dies, or that cannot be read, may be found and skipped;
            more fail the job. Best with `each` and `by_key`; for other functions they are searched
            for, in about log2(records) runs of the task for each. See `Report.skipped`.
        backup_tasks: Whether a task that takes more than 1.5 times the median of its phase is also run
            elsewhere, when workers idle and nothing waits; the first outcome wins.
        priority: The job's share of the workers' time, against other jobs' priorities: at 3 it gets
            three times as much as a job at 1 while both have tasks.
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
        output: str | os.PathLike[str] | Output | KeepBlocks | None = None,
        task_timeout: float | None = None, on_bad_task: str = FAIL, skip_bad_records: int = 0,
        backup_tasks: bool = True, priority: float = 1.0,
    ) -> None:  # fmt: skip
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
        self.task_timeout = task_timeout
        self.on_bad_task = on_bad_task
        self.skip_bad_records = skip_bad_records
        self.backup_tasks = backup_tasks
        self.priority = priority
        self._read_before = Data()

    def __setattr__(self, name: str, value: Any) -> None:
        check_attribute(self, name, _ATTRIBUTES)
        super().__setattr__(name, value)

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

    @staticmethod
    def attach(space: RemoteSpace | str | SpaceEngine, id: str) -> JobRun:
        """Go on with a job whose driver has died; blocks until that is certain, 20 s at most.

        No task that has ended is run again, as long as its blocks are there. The driver's own
        data, if it was more than 256 KiB a split, is on its host: attach there.

        Args:
            space: The job's, or its URI. id: The job's, as `JobRun.id` or `invoke status` tell it.

        Raises:
            JobNotFoundError: There is no such job. JobHasDriverError: Its driver is alive.
            InvalidJobError: Some of its data is out of reach; it names the first missing split.
            TupleSpaceError: No space, or it was lost.
        """
        if isinstance(space, str):
            return attach(SpaceEngine(connect(space), owned=True), id)
        return attach(SpaceEngine(space) if isinstance(space, RemoteSpace) else space, id)

    def submit(self, space: RemoteSpace | str | Engine | None = None, *, label: str = "") -> JobRun:
        """Start the job and return at once; see `run`.

        The job ends with its program. One that ends by itself cancels the jobs that it has not
        waited for, with a warning. One that is killed (SIGTERM too, unless it handles that) leaves
        its job on the workers until the lease of 10 minutes has ended, for `attach` to go on with;
        a private space goes at once.

        Args:
            space: See `run`. label: What `invoke status` calls the job; "": as the program is called.

        Raises:
            InvalidJobError, InputError: As `run`.
        """
        functions, engine = self._functions(), _engine(space)
        self._options()
        if space is None and isinstance(self.output, KeepBlocks):
            EmbeddedEngine.refuse_to_hold()
        iterator = self._open()
        job = secrets.token_hex(6)
        results = results_of(self.output, job)
        if iterator is None:
            splits = plan_splits(self.data, self.map_tasks)
            plan: Any = self._planned(splits, functions, results.work)
        else:
            # What cannot be pickled is refused before the first record is read.
            pack(functions, self.reduce_tasks or 1, results.work)
            plan = partial(self._read, iterator, functions, results.work)
        label = label or _program()
        if label and isinstance(plan, Planned):
            plan.description["label"] = label
        results.prepare()
        return JobRun(job, engine, plan, results, label)

    def run_sequential(self) -> list[Any]:
        """Run the job in this process, one task after the other: for tests and debuggers.

        Raises:
            InvalidJobError, InputError: As `run`. RecordFailedError: A user's function raised.
            JobFailedError: There are more bad records than it may skip.
        """
        functions, options = self._functions(), self._options()
        iterator = self._open()
        splits: Iterable[PlannedSplit]
        if iterator is None:
            splits = sample = plan_splits(self.data, self.map_tasks)
            reduce_tasks = self.reduce_tasks or default_reduce_tasks(len(sample))
        else:
            head = read_head(iterator)
            sample = plan_splits(head.records) if _needs_sample(functions.partition) else []
            splits = splits_of_head(head, self.map_tasks)
            reduce_tasks = self.reduce_tasks or reduce_tasks_of_stream(head, self.map_tasks)
        functions = _with_sample(functions, sample)
        results = results_of(self.output, secrets.token_hex(6))
        results.prepare()
        try:
            run_sequential(
                splits=splits, map=functions.map, reduce=functions.reduce,
                combine=functions.combine, partition=functions.partition,
                reduce_tasks=reduce_tasks, deliver=results.keep_here, skip=results.skip_here,
                options=options,
            )  # fmt: skip
            results.finish()
        except BaseException:
            results.abandon()
            raise
        return results.all()

    def _options(self) -> Options:
        return Options(
            self.retries, self.task_timeout, self.on_bad_task, self.skip_bad_records,
            self.backup_tasks, self.priority,
        ).check()  # fmt: skip

    def _open(self) -> Iterator[Any] | None:
        """Check what of the data and numbers can be checked; return what is to be read lazily."""
        if self.data is None:
            raise InvalidJobError("the job has no data; set job.data")
        check_map_tasks(self.map_tasks)
        R = self.reduce_tasks  # noqa: N806
        if R is not None and (type(R) is not int or R < 1):
            raise InvalidJobError(f"reduce_tasks (R) is an int >= 1, not {R!r}")
        return self._read_before.open(self.data)

    def _planned(
        self, splits: list[PlannedSplit], functions: Functions, result: ResultWork | None
    ) -> Planned:
        reduce_tasks = self.reduce_tasks or default_reduce_tasks(len(splits))
        options = self._options()
        description = _description(len(splits), reduce_tasks, options)
        if any(split.affinity for split in splits):
            description["affinity"] = True
        functions = _with_sample(functions, splits)
        records = splits[0].data if splits and isinstance(splits[0], RecordSplit) else ()
        work = pack(functions, reduce_tasks, result, records=records, splits=splits)
        return Planned(splits, work, Plan(len(splits), reduce_tasks, options), description)

    def _read(
        self, iterator: Iterator[Any], functions: Functions, result: ResultWork | None
    ) -> Planned:
        """Read the head of the data and plan the job."""
        head = read_head(iterator)
        if head.ended:
            return self._planned(plan_splits(head.records, self.map_tasks), functions, result)
        reduce_tasks = self.reduce_tasks or reduce_tasks_of_stream(head, self.map_tasks)
        options = self._options()
        description = _description(self.map_tasks or 0, reduce_tasks, options)
        if any(isinstance(record, Split) for record in head.records):
            description["affinity"] = True  # those of the others are not known yet
        if _needs_sample(functions.partition):
            functions = _with_sample(functions, plan_splits(head.records))
        work = pack(functions, reduce_tasks, result, records=head.records, splits=head.records)
        plan = Plan(0, reduce_tasks, options, more_maps=True)
        return Planned([], work, plan, description, head.rest, self.map_tasks)

    def _functions(self) -> Functions:
        """Return what the user filled in, checked."""
        if self.map is None or self.reduce is None:
            missing = "map" if self.map is None else "reduce"
            raise InvalidJobError(f"the job has no {missing} function; set job.{missing}")
        for name in ("map", "combine", "reduce", "partition"):
            if name != "combine" or self.combine is not None:
                check_function(name, getattr(self, name))
        if isinstance(self.modules, (str, ModuleType)):
            raise InvalidJobError(f"job.modules is a list of modules: write [{self.modules!r}]")
        try:
            memory = sys.maxsize if self.memory is None else parse_size(self.memory)
        except InvalidArgumentError as error:
            raise InvalidJobError(f"job.memory: {error}") from None
        partition = self.partition
        if partition is hash_partition and isinstance(self.reduce, by_key) and self.reduce.group:
            partition = _ByGroup(self.reduce.group)  # or a group would be in several partitions
        return Functions(
            _in_phase("map", self.map), _in_phase("combine", self.combine), partition,
            _in_phase("reduce", self.reduce), memory, tuple(self.modules),
        )  # fmt: skip


def _description(maps: int, reduces: int, options: Options) -> dict[str, Any]:
    """Return what the job's tuple says of it, to whoever looks and to the agents."""
    return {
        "maps": maps, "reduces": reduces, "priority": options.priority,
        "task_timeout": options.task_timeout,
    }  # fmt: skip


def _in_phase(phase: str, function: Any) -> Any:
    """Return a function of the job; a program reads, and says, another thing in each phase."""
    return function.in_phase(phase) if isinstance(function, run_program) else function


class _ByGroup:
    """Deals keys by what `by_key` groups them by."""

    def __init__(self, group: Callable[[Any], Any]) -> None:
        self._group = group

    def __call__(self, key: Any, R: int) -> int:  # noqa: N803
        return hash_partition(self._group(key), R)


def _needs_sample(partition: Partitioner) -> bool:
    return isinstance(partition, range_partition) and partition.needs_sample


def _with_sample(functions: Functions, splits: list[PlannedSplit]) -> Functions:
    """Let a range_partition that knows no keys yet take a sample of what map makes of these."""
    partition = functions.partition
    if isinstance(partition, range_partition) and partition.needs_sample:
        return functions._replace(partition=partition.sampled(splits, functions.map))
    return functions


def _program() -> str:
    """Return the name of the script that runs; "" if it is none."""
    name = Path(sys.argv[0]).name if sys.argv else ""
    return "" if name.startswith("-") else name


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
