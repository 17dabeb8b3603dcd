"""MapReduceJob: what the user fills in and runs."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from types import ModuleType
from typing import Any

from mapreduce.combining import CombineFunction
from mapreduce.driver import JobRun, Work
from mapreduce.engine.embedded import EmbeddedEngine
from mapreduce.engine.interface import Engine
from mapreduce.engine.space import SpaceEngine
from mapreduce.errors import InvalidJobError
from mapreduce.feeder import Planned
from mapreduce.filesplit import FileSplit
from mapreduce.partition import Partitioner, hash_partition
from mapreduce.phases import (
    MapFunction,
    ReduceFunction,
    same_reduction,
)
from mapreduce.plan import Plan
from mapreduce.sequential import run_sequential
from mapreduce.splits import (
    GivenSplit,
    PlannedSplit,
    RecordSplit,
    Split,
    check_map_tasks,
    default_reduce_tasks,
    plan_splits,
)
from mapreduce.stream import Data, read_head, reduce_tasks_of_stream, splits_of_head
from mapreduce.textfiles import TextFiles
from mapreduce.work import MapWork, ReduceWork
from tuplespace.client import RemoteSpace
from tuplespace.connect import connect
from tuplespace.errors import InvalidArgumentError
from tuplespace.pickles import dump
from workers.modules import collect_modules, is_installed
from workers.sizes import parse_size

Functions = tuple[MapFunction, ReduceFunction]

_LATER = ("task_timeout", "on_bad_task", "skip_bad_records", "backup_tasks", "priority", "output")


class MapReduceJob:
    """A MapReduce job: data, functions, and how finely to divide it.

    Attributes:
        data: A list, an iterable, or `TextFiles`; elements that are `Split` s are the splits. What is
            no list, tuple, range or mapping (a generator, say) is read while the job runs, in a
            thread of its own, with bounded memory. If it is no longer than 10,000 records and
            1 MiB, pickled, it is as good as a list; else its splits are of 2 MiB each, in files in
            this host's temporary folder until the job ends, because a map may have to run again.
            With `map_tasks` given, all of it is read before the first map begins.
        map: Gets one split's records, to go through once; returns pairs or a mapping.
        reduce: Gets one partition's pairs, to go through once; its return value is the result.
        combine: Gets one map task's pairs before they are partitioned; returns pairs. None: none.
        partition: Gets a key and R; returns 0..R-1.
        map_tasks: M; None: from the data. reduce_tasks: R; None: from the data.
        retries: How often a task that raised is tried again.
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
        modules: Iterable[str | ModuleType] = (), **options: Any,
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
        self._read_before = Data()

    def run(self, space: RemoteSpace | str | Engine | None = None) -> list[Any]:
        """Run the job and return the list of R reduce results; blocks until it has ended.

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
        functions, engine = self._functions(), _engine(space)
        iterator = self._open()
        if iterator is None:
            splits = plan_splits(self.data, self.map_tasks)
            plan: Any = self._planned(splits, functions)
        else:
            # What cannot be pickled is refused before the first record is read.
            self._pack([], functions, self.reduce_tasks or 1)
            plan = partial(self._read, iterator, functions)
        return JobRun(secrets.token_hex(6), engine, plan)

    def run_sequential(self) -> list[Any]:
        """Run the job in this process, one task after the other: for tests and debuggers.

        Raises:
            InvalidJobError, InputError: As `run`. RecordFailedError: A user's function raised.
        """
        map_function, reduce_function = self._functions()
        iterator = self._open()
        splits: Iterable[PlannedSplit]
        if iterator is None:
            splits = planned = plan_splits(self.data, self.map_tasks)
            reduce_tasks = self.reduce_tasks or default_reduce_tasks(planned)
        else:
            head = read_head(iterator)
            splits = splits_of_head(head, self.map_tasks)
            reduce_tasks = self.reduce_tasks or reduce_tasks_of_stream(head, self.map_tasks)
        return run_sequential(
            splits=splits, map=map_function, reduce=reduce_function, combine=self.combine,
            partition=self.partition, reduce_tasks=reduce_tasks,
        )  # fmt: skip

    def _open(self) -> Iterator[Any] | None:
        """Check what of the data and numbers can be checked; return what is to be read lazily."""
        if self.data is None:
            raise InvalidJobError("the job has no data; set job.data")
        check_map_tasks(self.map_tasks)
        R = self.reduce_tasks  # noqa: N806
        if R is not None and (type(R) is not int or R < 1):
            raise InvalidJobError(f"reduce_tasks (R) is an int >= 1, not {R!r}")
        return self._read_before.open(self.data)

    def _planned(self, splits: list[PlannedSplit], functions: Functions) -> Planned:
        reduce_tasks = self.reduce_tasks or default_reduce_tasks(splits)
        description: dict[str, Any] = {"maps": len(splits), "reduces": reduce_tasks}
        if any(split.affinity for split in splits):
            description["affinity"] = True
        records = splits[0].data if splits and isinstance(splits[0], RecordSplit) else ()
        work = self._pack(records, functions, reduce_tasks, splits)
        return Planned(splits, work, Plan(len(splits), reduce_tasks, self.retries), description)

    def _read(self, iterator: Iterator[Any], functions: Functions) -> Planned:
        """Read the head of the data and plan the job."""
        head = read_head(iterator)
        if head.ended:
            return self._planned(plan_splits(head.records, self.map_tasks), functions)
        reduce_tasks = self.reduce_tasks or reduce_tasks_of_stream(head, self.map_tasks)
        description: dict[str, Any] = {"maps": self.map_tasks or 0, "reduces": reduce_tasks}
        if any(isinstance(record, Split) for record in head.records):
            description["affinity"] = True  # those of the others are not known yet
        work = self._pack(head.records, functions, reduce_tasks, head.records)
        plan = Plan(0, reduce_tasks, self.retries, more_maps=True)
        return Planned([], work, plan, description, head.rest, self.map_tasks)

    def _functions(self) -> Functions:
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
        self, records: Iterable[Any], functions: Functions, reduce_tasks: int,
        splits: Iterable[Any] = (),
    ) -> Work:  # fmt: skip
        map_function, reduce_function = functions
        memory, merged = self._memory(), same_reduction(self.combine, reduce_function)
        map_work = MapWork(map_function, self.combine, self.partition, reduce_tasks, memory)
        reduce_work = ReduceWork(reduce_function, merged, memory)
        try:
            pickled = dump(map_work), dump(reduce_work)
        except Exception as error:
            raise InvalidJobError(self._what_cannot_be_pickled(error)) from error
        modules = [*self.modules, *_modules_of_records(records)]
        bundle = collect_modules(b"".join((*pickled, _pickled_readers(splits))), modules)
        return Work(*pickled, bundle.to_bytes() if bundle.digest else None)

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


def _modules_of_records(records: Iterable[Any]) -> set[str]:
    """Return the user's own modules that define the types of the first records."""
    names = {type(record).__module__ for record in islice(records, 100)}
    return {name for name in names - {"__main__"} if not is_installed(name)}


def _pickled_readers(splits: Iterable[Any]) -> bytes:
    """Return what may name modules of the user's, beside the functions: the readers of records."""
    holders = (split.data if isinstance(split, (GivenSplit, Split)) else split for split in splits)
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
