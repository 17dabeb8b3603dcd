"""tinymr's style: a class with ``mapper`` and ``reducer``, called with the data.

tinymr (github.com/geowurster/tinymr) is MapReduce in memory, in a few hundred lines. `MemMapReduce` is that of
its release 0.1, with composite keys; `MapReduce` is that of its later versions. What its roadmap names is here
as well: a combiner, and intermediate data on disk, by a flag. Where it runs is said by ``space``: None is
this machine, in this process if `jobs` is 1; a URI, a space or an engine is the cluster behind it.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from inspect import isgeneratorfunction
from itertools import chain, islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, ClassVar, Final

import mapreduce
from mapreduce.errors import InvalidJobError, InvalidPairsError, shorten
from mapreduce.grouping import by_key, each
from mapreduce.inputs.sources import SplitSource
from mapreduce.inputs.splits import Split
from mapreduce.pairs import Pair, as_pairs
from mapreduce.styles.emitted import (
    Combine,
    ElementCountError,
    Gather,
    KeyCountError,
    Layout,
    MapItem,
    MapLike,
    Order,
    ReduceKey,
    ReduceThrough,
    Through,
)
from mapreduce.styles.running import check_options, run
from tuplespace.pickles import load_all
from tuplespace.resources import cores

if TYPE_CHECKING:
    from mapreduce.engine.interface import Engine
    from mapreduce.job import MapReduceJob
    from tuplespace.client import RemoteSpace

__all__ = [
    "ElementCountError", "KeyCountError", "MapReduce", "MemMapReduce", "Task", "popitems",
    "single_key_output",
]  # fmt: skip

_OURS: Final = ("data", "map", "reduce", "combine", "output")


class Task:
    """What both versions have. A subclass may set each of these, or make a property of it.

    Attributes:
        jobs: How many processes of this machine; None: one a core. map_jobs, reduce_jobs: The
            same of a phase; the larger counts.
        chunksize: How many items a map task gets; 1: as many as the job sees fit. map_chunksize: The
            same. reduce_chunksize: Has no effect: keys are dealt to partitions by their hash.
        threaded: Whether jobs are threads of this process. map_threaded, reduce_threaded: The
            same of a phase.
        on_disk: Whether data between the phases, and results, are kept on disk. map_on_disk: The data
            between: a key's values are then an iterator, not a list. reduce_on_disk: The results:
            ``output`` then gets an iterator. Both run on processes of this machine at least.
        memory: Bytes that a task may hold before it spills, as an int or a text like "64MB".
        sort_map_with_value, sort_map_reverse: Whether the values of a key are sorted by themselves too,
            and whether the largest come first. sort_reduce_with_value, sort_reduce_reverse: The
            same of what reducers emit.
        space: Where it runs, unless the call says so.
        combiner: None, or a method of a key and a list of some of its values, which emits tuples as
            ``mapper`` does, with the same key, in their place. It is called in a map task, once for each key
            there, or not at all.
    """

    jobs: Any = 1
    chunksize: Any = 1
    threaded: Any = False
    on_disk: Any = False
    memory: Any = None
    sort_map_with_value: Any = False
    sort_map_reverse: Any = False
    sort_reduce_with_value: Any = False
    sort_reduce_reverse: Any = False
    space: RemoteSpace | str | Engine | None = None
    combiner: Any = None

    map_layout: ClassVar[Any]
    reduce_layout: ClassVar[Any]

    map_jobs = reduce_jobs = property(lambda self: self.jobs)
    map_chunksize = reduce_chunksize = property(lambda self: self.chunksize)
    map_threaded = reduce_threaded = property(lambda self: self.threaded)
    map_on_disk = reduce_on_disk = property(lambda self: self.on_disk)

    def __getstate__(self) -> dict[str, Any]:
        # Where it runs is no business of the workers', and an engine could not go there.
        return {name: value for name, value in self.__dict__.items() if name != "space"}

    def mapper(self, item: Any) -> Any:
        """Emit tuples for one item of the data."""
        raise NotImplementedError(f"{type(self).__name__} has no mapper")

    def reducer(self, key: Any, values: Any) -> Any:
        """Emit tuples for a key and its values."""
        raise NotImplementedError(f"{type(self).__name__} has no reducer")

    def init_map(self) -> None:
        """Be called once, here, before the job begins; what it sets on ``self`` goes to the workers."""

    def init_reduce(self) -> None:
        """Be called once in each process that reduces, after all maps and before its first key."""

    def check_map_keys(self, keys: Any) -> None:
        """Raise if the first tuple that ``mapper`` emits, in each process, is wrong."""

    def check_reduce_keys(self, keys: Any) -> None:
        """Raise if the first tuple that ``reducer`` emits, in each process, is wrong."""

    @property
    def map_order(self) -> Order:
        """In what order ``reducer`` gets the values of a key."""
        return Order(bool(self.sort_map_with_value), bool(self.sort_map_reverse))

    def map_item(self, item: Any) -> Iterable[Any]:
        """Return the tuples that ``mapper`` emits for an item."""
        return as_pairs(self.mapper(item), self.mapper)

    def reduce_key(self, key: Any, values: Any) -> Iterable[Any]:
        """Return the tuples that ``reducer`` emits for a key."""
        return as_pairs(self.reducer(key, values), self.reducer)

    def _items(
        self, stream: Any, space: RemoteSpace | str | Engine | None, options: dict[str, Any],
        mapper_map: MapLike | None, reducer_map: MapLike | None, *, single: bool = False,
    ) -> dict[Any, Any] | Iterator[Pair]:  # fmt: skip
        """Run it; return each key with the list of its values, or with the first if `single`."""
        check_options(options, *_OURS)
        space = self.space if space is None else space
        on_disk = bool(self.map_on_disk or self.reduce_on_disk)
        here = mapper_map is not None or reducer_map is not None
        if here and (on_disk or space is not None):
            raise InvalidJobError(
                "threads, and functions like map, run in this process: leave out space and on_disk"
            )
        workers = 1 if here else max(_jobs(self.map_jobs), _jobs(self.reduce_jobs))
        in_process = space is None and workers == 1 and not on_disk
        self.init_map()
        options = {"memory": self.memory} | options
        job = mapreduce.MapReduceJob(_data(stream, 1 if in_process else self.map_chunksize))
        map_item, reduce_key = MapItem(self), ReduceKey(self, streams=bool(self.map_on_disk))
        job.map = Through(mapper_map, map_item) if mapper_map else each(map_item)
        if reducer_map:
            job.reduce = ReduceThrough(reducer_map, reduce_key)
        else:
            by = self.map_order if self.map_on_disk and self._sorts else False
            job.reduce = by_key(reduce_key, sort_values=by)
        job.combine = None if self.combiner is None else Combine(self)
        if in_process:
            job.reduce_tasks = 1  # keys come in the order of the data
            if mapper_map and isinstance(job.data, list):
                job.map_tasks = 1
        for name, value in options.items():
            setattr(job, name, value)
        order = Order(bool(self.sort_reduce_with_value), bool(self.sort_reduce_reverse))
        with ExitStack() as stack:
            if on_disk and space is None:
                from mapreduce.engine.embedded import EmbeddedEngine

                cluster = stack.enter_context(closing(EmbeddedEngine(processes=workers)))
                return self._run(job, cluster.another, order, options, workers, single)
            return self._run(job, lambda: space, order, options, workers, single)

    def _run(
        self, job: MapReduceJob, where: Callable[[], RemoteSpace | str | Engine | None],
        order: Order, options: dict[str, Any], workers: int, single: bool,
    ) -> dict[Any, Any] | Iterator[Pair]:  # fmt: skip
        if not self.reduce_on_disk:
            emitted = _flat(run(job, where(), workers))
            return _gathered(emitted, order, single)
        folder = tempfile.TemporaryDirectory(prefix="tuplemill-tinymr-")
        try:
            job.output = mapreduce.PickleOutput(f"{folder.name}/emitted")
            run(job, where())
            # A reducer may emit any key: those of all reducers have to be brought together.
            second = mapreduce.MapReduceJob(mapreduce.PickleFiles(f"{folder.name}/emitted"))
            second.map = each(itemgetter(1))
            second.reduce = by_key(Gather(single=single), sort_values=order)
            second.output = mapreduce.PickleOutput(f"{folder.name}/items")
            for name in options.keys() - {"partition", "map_tasks"}:
                setattr(second, name, options[name])
            paths = run(second, where())
        except BaseException:
            folder.cleanup()
            raise
        return _from_disk(paths, folder)

    @property
    def _sorts(self) -> bool:
        """Whether values may have to be sorted."""
        return True


class MemMapReduce(Task):
    """MapReduce as in tinymr 0.1; see `Task` for all that a subclass may set.

    ``mapper(item)`` yields tuples of `n_partition_keys` keys, `n_sort_keys` keys and a value. ``reducer(key,
    values)`` gets the value alone, sorted by the sort keys, and a key that is a tuple if it has
    several; it yields ``(key, value)``. A ``with`` statement calls ``close()`` at its end.

    Examples:
        >>> class WordCount(MemMapReduce):
        ...     def mapper(self, line):
        ...         for word in line.split():
        ...             yield word, 1
        ...
        ...     def reducer(self, word, counts):
        ...         yield word, sum(counts)
        ...
        ...     def output(self, items):
        ...         return dict(single_key_output(items))
        >>> sorted(WordCount()(["a rose", "is a rose"]).items())
        [('a', 2), ('is', 1), ('rose', 2)]
    """

    n_partition_keys: Any = 1
    n_sort_keys: Any = 0
    closed = False

    def __enter__(self) -> MemMapReduce:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True
        self.close()

    def close(self) -> None:
        """Let go of what was made in ``__init__`` or `init_map`."""

    @property
    def logger(self) -> logging.Logger:
        """One of the task's own, called ``tinymr-`` and its class."""
        return logging.getLogger(f"tinymr-{type(self).__name__}")

    def output(self, items: Iterator[Pair]) -> Any:
        """Make what the call returns of an iterator of keys with the lists of their values.

        Each is forgotten as it is handed out, so that memory falls; the last key comes first.
        """
        return items

    def __call__(
        self, stream: Iterable[Any], *, space: RemoteSpace | str | Engine | None = None,
        **options: Any,
    ) -> Any:  # fmt: skip
        """Run it and return what `output` makes of the results; blocks until it has ended.

        Args:
            stream: The items; a source such as `TextFiles` too. space: Where it runs; None: as
                the attribute says. options: Of `MapReduceJob`, such as retries or reduce_tasks.

        Raises:
            KeyCountError: A tuple has the wrong number of elements (on workers: JobFailedError).
            MapReduceError: As `MapReduceJob.run` and `MapReduceJob.run_sequential`.
        """
        with ExitStack() as stack:
            pools: list[MapLike | None] = []
            for threaded, jobs in (
                (self.map_threaded, self.map_jobs),
                (self.reduce_threaded, self.reduce_jobs),
            ):
                pools.append(
                    stack.enter_context(ThreadPoolExecutor(_jobs(jobs))).map if threaded else None
                )
            items = self._items(stream, space, options, *pools)
        return self.output(popitems(items) if isinstance(items, dict) else items)

    @property
    def map_layout(self) -> Layout:
        """What ``mapper`` emits."""
        length = self.n_partition_keys + self.n_sort_keys + 1
        refuse = partial(_miscounted, length, "map")
        return Layout(self.n_partition_keys, frozenset((length,)), refuse)

    @property
    def reduce_layout(self) -> Layout:
        """What ``reducer`` emits."""
        return Layout(1, frozenset((2,)), partial(_miscounted, 2, "reduce"))

    @property
    def _sorts(self) -> bool:
        return bool(self.n_sort_keys or self.sort_map_with_value)


def _neither(keys: Any) -> ElementCountError:
    return ElementCountError(
        f"expected (key, value) or (key, sort, value), got {shorten(keys)}: mapper and reducer "
        "return one such tuple, or yield many"
    )


class MapReduce(Task):
    """MapReduce as in tinymr today; see `Task` for all that a subclass may set.

    ``mapper(item)`` returns one tuple, ``(key, value)`` or ``(key, sort, value)``, or yields many.
    ``reducer(key, values)`` gets a list, sorted by ``sort`` if there is such; it returns one tuple, or
    yields many.

    Examples:
        >>> class WordCount(MapReduce):
        ...     def mapper(self, line):
        ...         for word in line.split():
        ...             yield word, 1
        ...
        ...     def reducer(self, word, counts):
        ...         return word, sum(counts)
        >>> WordCount()(["a rose", "is a rose"])
        {'a': 2, 'rose': 2, 'is': 1}
    """

    map_layout = reduce_layout = Layout(1, frozenset((2, 3)), _neither)

    def output(self, mapping: Any) -> Any:
        """Make what the call returns of the results.

        Args:
            mapping: A dict of keys with their values: each the one that reducers which return have
                returned (of several, the first), or the list of those they have yielded. With
                `reduce_on_disk`: an iterator of such pairs.
        """
        return mapping

    def __call__(
        self, sequence: Iterable[Any], map: MapLike | None = None,
        mapper_map: MapLike | None = None, reducer_map: MapLike | None = None, *,
        space: RemoteSpace | str | Engine | None = None, **options: Any,
    ) -> Any:  # fmt: skip
        """Run it and return what `output` makes of the results; blocks until it has ended.

        Args:
            sequence: The items; a source such as `TextFiles` too.
            map: Both of the next two. mapper_map: What calls ``mapper``, in this process, instead of
                the builtin map: a pool's ``map``, say; reducer_map: the same for ``reducer``.
            space: Where it runs; None: as the attribute says. options: Of `MapReduceJob`, such
                as retries or reduce_tasks.

        Raises:
            ElementCountError: A tuple has neither 2 elements nor 3 (on workers: JobFailedError).
            MapReduceError: As `MapReduceJob.run` and `MapReduceJob.run_sequential`.
        """
        single = not isgeneratorfunction(self.reducer)
        mapper_map, reducer_map = mapper_map or map, reducer_map or map
        if mapper_map is None and self.map_threaded:
            raise InvalidJobError("give mapper_map a thread pool's map instead of map_threaded")
        return self.output(
            self._items(sequence, space, options, mapper_map, reducer_map, single=single)
        )

    def map_item(self, item: Any) -> Iterable[Any]:
        """Return the tuples that ``mapper`` emits for an item."""
        emitted = self.mapper(item)
        return (emitted,) if isinstance(emitted, tuple) else as_pairs(emitted, self.mapper)

    def reduce_key(self, key: Any, values: Any) -> Iterable[Any]:
        """Return the tuples that ``reducer`` emits for a key."""
        emitted = self.reducer(key, values)
        if isinstance(emitted, tuple):
            return (emitted,)
        if isgeneratorfunction(self.reducer):
            return emitted  # type: ignore[no-any-return]
        raise InvalidPairsError(
            f"{type(self).__name__}.reducer returned {shorten(emitted)}: it returns one tuple, or "
            "yields many"
        )


def popitems(dictionary: dict[Any, Any]) -> Iterator[Pair]:
    """Yield what is in a dict, the last first, and take it out, so that memory falls."""
    while dictionary:
        yield dictionary.popitem()


def single_key_output(items: Iterable[tuple[Any, Iterable[Any]]]) -> Iterator[Pair]:
    """Yield each key with the first of its values: for an ``output`` whose keys have one each."""
    for key, values in items:
        yield key, next(iter(values))


def _miscounted(expected: int, phase: str, keys: Any) -> KeyCountError:
    count = len(keys) if isinstance(keys, (tuple, list)) else 1
    return KeyCountError(
        f"Expected {expected} keys from the {phase} phase, not {count} - first keys: {shorten(keys)}"
    )


def _jobs(wanted: int | None) -> int:
    if wanted is not None and (type(wanted) is not int or wanted < 1):
        raise InvalidJobError(f"jobs is an int >= 1, or None for one a core, not {wanted!r}")
    return wanted or cores()


def _data(stream: Any, chunksize: int) -> Any:
    """Return the job's data: what iterating over the stream gives."""
    if isinstance(stream, (SplitSource, str)):
        return stream
    if isinstance(stream, Mapping):
        stream = list(stream)
    elif hasattr(stream, "readline"):
        stream = (line for line in stream)  # a file can be read again, once it is rewound
    if chunksize == 1:
        return stream
    if type(chunksize) is not int or chunksize < 1:
        raise InvalidJobError(f"chunksize is an int >= 1, not {chunksize!r}")
    items = iter(stream)
    return (Split(chunk) for chunk in iter(lambda: list(islice(items, chunksize)), []))


def _flat(partitions: list[Any]) -> Iterator[Pair]:
    """Yield what reducers have emitted; a partition is None if it failed and that may be."""
    for _, emitted in chain.from_iterable(filter(None, partitions)):
        yield from emitted


def _gathered(emitted: Iterator[Pair], order: Order, single: bool) -> dict[Any, Any]:
    gathered: dict[Any, Any] = {}
    for key, value in emitted:
        gathered.setdefault(key, []).append(value)
    for key, values in gathered.items():
        in_order = order.applied(values)
        gathered[key] = in_order[0] if single else in_order
    return gathered


def _from_disk(paths: list[str | None], folder: tempfile.TemporaryDirectory[str]) -> Iterator[Pair]:
    """Yield keys with their values out of files, which go with the last of them, or with the iterator."""
    with folder:
        for path in filter(None, paths):
            with open(path, "rb") as file:
                for batch in load_all(file):
                    yield from batch
