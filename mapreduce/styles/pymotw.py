"""SimpleMapReduce, as in "Implementing MapReduce with multiprocessing" of Python Module of the Week.

>>> mapper = SimpleMapReduce(
...     map_func=lambda line: [(word, 1) for word in line.split()],
...     reduce_func=lambda item: (item[0], sum(item[1])),
...     num_workers=1,
... )
>>> mapper(["to be or", "not to be"])
[('to', 2), ('be', 2), ('or', 1), ('not', 1)]
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sized
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any

from mapreduce.errors import InvalidJobError, InvalidPairsError, RecordFailedError, shorten
from mapreduce.grouping import by_key, each
from mapreduce.inputs.splits import Split
from mapreduce.pairs import Pair, as_pairs
from mapreduce.styles.ordering import (
    FILLED_IN,
    Numbered,
    gather,
    gathered,
    gathered_in_blocks,
    in_order,
    in_places,
    numbered,
)
from mapreduce.styles.running import TRY_AGAIN, check_options, run
from tuplespace.resources import cores

if TYPE_CHECKING:
    from mapreduce.engine.embedded import EmbeddedEngine
    from mapreduce.engine.interface import Engine
    from mapreduce.job import MapReduceJob
    from tuplespace.client import RemoteSpace

#: A subclass's instance goes to the workers; this of it stays here.
_STAYS = ("space", "options", "_cluster", "_end", "_starting")


class SimpleMapReduce:
    """Maps inputs and reduces what came of them, in worker processes; may be called many times.

    Args:
        map_func: Gets one input; returns (key, value) pairs: any iterable of them, or a mapping.
        reduce_func: Gets one pair of a key and the list of all its values.
        num_workers: How many worker processes of this machine; None: one a core. 1: this very
            process. They are started at the first call and stay for the next ones, until `close`, the
            end of a ``with`` block, or the end of the object.
        space: Where to run instead: a URI, a space or an engine, see `MapReduceJob.run`.
        options: Of `MapReduceJob`: retries, skip_bad_records, task_timeout, memory, ... Of them
            reduce_tasks is 1 for a subclass with a `partition` of its own, unless it is given.

    Raises:
        InvalidJobError: A function is none, num_workers no number from 1 on, or there is no such
            option.
    """

    def __init__(
        self, map_func: Callable[[Any], Any], reduce_func: Callable[[Any], Any],
        num_workers: int | None = None, *, space: RemoteSpace | str | Engine | None = None,
        **options: Any,
    ) -> None:  # fmt: skip
        for name, function in (("map_func", map_func), ("reduce_func", reduce_func)):
            if not callable(function):
                raise InvalidJobError(f"{name} is no function: {shorten(function)}")
        self.map_func = map_func
        self.reduce_func = reduce_func
        self.num_workers = _count("num_workers", cores() if num_workers is None else num_workers)
        self.space = space
        check_options(options, *FILLED_IN)
        self.options = options
        self._cluster: EmbeddedEngine | None = None
        self._end: Callable[[], object] | None = None
        self._starting = threading.Lock()

    def __call__(self, inputs: Iterable[Any], chunksize: int = 1) -> list[Any]:
        """Return what reduce_func returned for each key; blocks until all is done.

        Keys are in order of first appearance, whatever runs where; with a `partition` of its own,
        in the order it returned them.

        Args:
            inputs: What map_func gets, one by one; a generator is read while maps run.
            chunksize: How many inputs one map task gets.

        Raises:
            JobFailedError: A function raised, or killed its worker; RecordFailedError if it runs
                in this process. NoWorkersError, TupleSpaceError: As `MapReduceJob.run`.
        """
        job = self._job(inputs, _count("chunksize", chunksize))
        results = run(job, self._place(), self.num_workers)
        if self._has_own_partition:
            return [result for part in results for result in part or ()]
        return in_order(results)

    def _job(self, inputs: Iterable[Any], chunksize: int) -> MapReduceJob:
        """Return the job that this is."""
        from mapreduce.job import MapReduceJob  # workers import this module, and can do without

        splits = _splits(inputs, chunksize)
        again = self.options.keys() & TRY_AGAIN
        if self.space is None and self.num_workers == 1 and not again:  # in this process
            from mapreduce.styles.lazily import Lazily

            numbers = numbered(inputs) if self._has_own_partition else enumerate(inputs)
            job = MapReduceJob(Lazily(numbers), reduce_tasks=1)
        else:
            job = MapReduceJob(list(splits) if isinstance(inputs, Sized) else splits)
        for name, value in self.options.items():
            setattr(job, name, value)
        if self._has_own_partition:
            job.map = each(_Mapped(self.map_func))
            job.reduce = _Partitioned(self)
            job.reduce_tasks = self.options.get("reduce_tasks", 1)
            if job.reduce_tasks == 1:
                job.partition = _the_only_one  # keys may be of any type, as its partition() likes
        else:
            whole = _Gathered(self.map_func)
            job.map = each(whole) if again else whole.of_split
            job.reduce = by_key(in_places(_Reduced(self.reduce_func)))
            if job.reduce_tasks is None:
                job.reduce_tasks = _reduce_tasks(job.data)
        return job

    def partition(self, mapped_values: Iterable[Pair]) -> Iterable[tuple[Any, Any]]:
        """Return what reduce_func gets, one by one: pairs of a key and its values; to be overridden.

        It runs in a reduce task, once for each partition of the job.

        Args:
            mapped_values: All pairs, to go through once: with reduce_tasks=1, which is what a subclass
                gets that overrides this, those of all inputs, in order.
        """
        groups: dict[Any, list[Any]] = {}
        for key, value in mapped_values:
            groups.setdefault(key, []).append(value)
        return groups.items()

    def close(self) -> None:
        """End the worker processes of this machine; another call would start others."""
        with self._starting:
            self._cluster = None
            if self._end is not None:
                self._end()

    def __enter__(self) -> SimpleMapReduce:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in _STAYS}

    @property
    def _has_own_partition(self) -> bool:
        return getattr(self.partition, "__func__", None) is not SimpleMapReduce.partition

    def _place(self) -> RemoteSpace | str | Engine | None:
        """Return where the next job runs."""
        if self.space is not None or self.num_workers == 1:
            return self.space
        from mapreduce.engine.embedded import EmbeddedEngine

        with self._starting:
            if self._cluster is None:
                self._cluster = EmbeddedEngine(processes=self.num_workers)
                self._end = weakref.finalize(self, self._cluster.close)
            return self._cluster.another()


class _Mapped:
    """A map_func, as `each` takes it."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def __call__(self, input: Numbered) -> Iterable[Pair]:
        return as_pairs(self._function(input.record), self._function)


class _Gathered(_Mapped):
    """The same, with the values of each key together."""

    def __call__(self, input: Numbered) -> Iterable[Pair]:
        return gathered(input.number, super().__call__(input))

    def of_split(self, inputs: Iterable[tuple[int, Any]]) -> Iterator[Pair]:
        """Return the pairs of many, a split of a job's."""
        return gathered_in_blocks(inputs, self._gather)

    def _gather(
        self, inputs: list[tuple[int, Any]], first: int, groups: dict[Any, list[Any]]
    ) -> None:
        function, position, input = self._function, first, None
        try:
            for position, (_, input) in enumerate(inputs, first):  # noqa: B007  # for the message
                returned = function(input)
                gather(groups, returned if type(returned) is list else as_pairs(returned, function))
        except InvalidPairsError:
            raise
        except Exception as error:
            raise RecordFailedError.on(input, position) from error


class _Reduced:
    """A reduce_func, as a function of a key and its values."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def __call__(self, key: Any, values: list[Any]) -> Any:
        return self._function((key, values))


class _Partitioned:
    """A reduce task with a user's `partition`."""

    def __init__(self, style: SimpleMapReduce) -> None:
        self._style = style

    def __call__(self, pairs: Iterable[Pair]) -> list[Any]:
        style = self._style
        return [style.reduce_func(item) for item in style.partition(pairs)]


def _the_only_one(*_: Any) -> int:
    return 0


def _splits(inputs: Iterable[Any], chunksize: int) -> Iterator[Split]:
    """Yield the inputs, `chunksize` a split."""
    iterator = numbered(inputs)
    while chunk := list(islice(iterator, chunksize)):
        yield Split(chunk)


def _count(name: str, value: Any) -> int:
    if type(value) is not int or value < 1:
        raise InvalidJobError(f"{name} is a whole number from 1 on, not {shorten(value)}")
    return value


def _reduce_tasks(data: Any) -> int:
    """Return R; inputs may be small, so how many they are does not tell how much data there is."""
    from mapreduce.inputs.splits import default_reduce_tasks
    from mapreduce.inputs.stream import STREAM_REDUCE_TASKS

    many = default_reduce_tasks(len(data)) if isinstance(data, list) else STREAM_REDUCE_TASKS
    return min(many, STREAM_REDUCE_TASKS)
