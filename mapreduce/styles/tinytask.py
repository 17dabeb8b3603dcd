"""What both versions of tinymr have, and how the one job behind them is made and run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import closing, contextmanager
from itertools import chain, islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, ClassVar, Final

import mapreduce
from mapreduce.errors import InvalidJobError
from mapreduce.grouping import by_key, each
from mapreduce.inputs.sources import SplitSource
from mapreduce.inputs.splits import Split
from mapreduce.inputs.stream import STREAM_REDUCE_TASKS
from mapreduce.pairs import Pair, as_pairs
from mapreduce.styles.lazily import can_be_lazy, lazily, of_lists
from mapreduce.styles.ordering import keeping_places, numbered, placing
from mapreduce.styles.running import check_options, run
from mapreduce.styles.tinytuples import (
    Combine,
    Gather,
    MapItem,
    MapLike,
    Order,
    Placed,
    ReduceKey,
    ReduceThrough,
    Through,
    emitted_of,
)
from tuplespace.pickles import load_all
from tuplespace.resources import cores

if TYPE_CHECKING:
    from mapreduce.engine.interface import Engine
    from mapreduce.job import MapReduceJob
    from tuplespace.client import RemoteSpace

_OURS: Final = ("data", "map", "reduce", "combine", "output")


class _As:
    """An attribute that is as another one, until it is set itself."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, task: object, owner: type) -> Any:
        return self if task is None else getattr(task, self._name)


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
        closed: Whether a ``with`` block of it has ended.
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
    closed = False

    _map_layout: ClassVar[Any]
    _reduce_layout: ClassVar[Any]
    #: What it is refused without, with its arguments; in 0.1, wrong pairs come before a missing reducer.
    _required: ClassVar[dict[str, str]] = {"mapper": "item"}

    map_jobs: Any = _As("jobs")
    reduce_jobs: Any = _As("jobs")
    map_chunksize: Any = _As("chunksize")
    reduce_chunksize: Any = _As("chunksize")
    map_threaded: Any = _As("threaded")
    reduce_threaded: Any = _As("threaded")
    map_on_disk: Any = _As("on_disk")
    reduce_on_disk: Any = _As("on_disk")

    def __getstate__(self) -> dict[str, Any]:
        # Where it runs is no business of the workers', and an engine could not go there.
        return {name: value for name, value in self.__dict__.items() if name != "space"}

    def mapper(self, item: Any) -> Any:
        """Emit tuples for one item of the data."""
        raise NotImplementedError(f"{type(self).__name__} has no mapper")

    def reducer(self, key: Any, values: Any) -> Any:
        """Emit tuples for a key and its values."""
        raise NotImplementedError(f"{type(self).__name__} has no reducer")

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True
        self.close()

    def close(self) -> None:
        """Be called at the end of a ``with`` block; let go of what was made in ``__init__`` or `init_map`."""

    def init_map(self) -> None:
        """Be called once, here, before the job begins; what it sets on ``self`` goes to the workers."""

    def init_reduce(self) -> None:
        """Be called once in each process that reduces, after all maps and before its first key."""

    def check_map_keys(self, keys: Any) -> None:
        """Raise if the first tuple that ``mapper`` emits, in each process, is wrong."""

    def check_reduce_keys(self, keys: Any) -> None:
        """Raise if the first tuple that ``reducer`` emits, in each process, is wrong."""

    @property
    def _map_order(self) -> Order:
        """In what order ``reducer`` gets the values of a key."""
        return Order(bool(self.sort_map_with_value), bool(self.sort_map_reverse))

    def _map_item(self, item: Any) -> Iterable[Any]:
        """Return the tuples that ``mapper`` emits for an item."""
        return as_pairs(self.mapper(item), self.mapper)

    def _reduce_key(self, key: Any, values: Any) -> Iterable[Any]:
        """Return the tuples that ``reducer`` emits for a key."""
        return as_pairs(self.reducer(key, values), self.reducer)

    def _run_job(
        self, stream: Any, space: RemoteSpace | str | Engine | None, options: dict[str, Any],
        mapper_map: MapLike | None, reducer_map: MapLike | None, *, single: bool = False,
    ) -> dict[Any, Any] | Iterator[Pair]:  # fmt: skip
        """Run it; return each key with the list of its values, or with the first if `single`."""
        check_options(options, *_OURS)
        for name, arguments in self._required.items():
            if getattr(getattr(self, name), "__func__", None) is getattr(Task, name):
                raise InvalidJobError(
                    f"{type(self).__name__} has no {name}: define {name}(self, {arguments})"
                )
        space = self.space if space is None else space
        on_disk = bool(self.map_on_disk or self.reduce_on_disk)
        here = mapper_map is not None or reducer_map is not None
        if here and (on_disk or space is not None):
            raise InvalidJobError(
                "threads, and functions like map, run in this process: leave out space and on_disk"
            )
        workers = 1 if here else max(jobs_of(self.map_jobs), jobs_of(self.reduce_jobs))
        in_process = space is None and workers == 1 and not on_disk
        self.init_map()
        options = {"memory": self.memory} | options
        # In one process with one reduce task, keys come in the order of the data as it is.
        placed = not here and not (in_process and options.get("reduce_tasks", 1) == 1)
        lazy = None
        if in_process and not here and self.combiner is None and can_be_lazy(options):
            lazy, stream = lazily(stream)
        job = mapreduce.MapReduceJob(
            lazy or _data(stream, 1 if in_process else self.map_chunksize, in_places=placed)
        )
        job.map, job.reduce = self._functions(mapper_map, reducer_map, placed, lazy is not None)
        job.combine = None if self.combiner is None else Combine(self, placed=placed)
        if in_process:
            job.reduce_tasks = 1
            if mapper_map and isinstance(job.data, list):
                job.map_tasks = 1
        elif self.map_chunksize != 1:
            # Chunks may be small: how many they are does not tell how much data there is.
            job.reduce_tasks = STREAM_REDUCE_TASKS
        for name, value in options.items():
            setattr(job, name, value)
        order = Order(bool(self.sort_reduce_with_value), bool(self.sort_reduce_reverse))
        with self._place(space, workers, on_disk=on_disk) as where:
            return self._run_there(job, where, order, options, workers, single, placed)

    def _functions(
        self, mapper_map: MapLike | None, reducer_map: MapLike | None, placed: bool, lazy: bool,
    ) -> tuple[Any, Any]:  # fmt: skip
        """Return the job's map and its reduce."""
        map_item: Any = MapItem(self)
        reduce_key = ReduceKey(self, streams=bool(self.map_on_disk))
        if lazy:
            checker = getattr(self.check_map_keys, "__func__", None)
            together = map_item.of_all(looks=checker is not Task.check_map_keys)
            return together, by_key(of_lists(reduce_key))
        if mapper_map:
            maps: Any = Through(mapper_map, map_item)
        else:
            maps = each(placing(map_item) if placed else map_item)
        if reducer_map:
            return maps, ReduceThrough(reducer_map, reduce_key)
        by = Placed(self._map_order) if self.map_on_disk and self._sorts else False
        reduces = by_key(keeping_places(reduce_key) if placed else reduce_key, sort_values=by)
        return maps, reduces

    @contextmanager
    def _place(
        self, space: RemoteSpace | str | Engine | None, workers: int, *, on_disk: bool
    ) -> Iterator[Callable[[], RemoteSpace | str | Engine | None]]:
        """Give what says where the first of its jobs runs, and where the second."""
        engine: Any = space
        if on_disk and space is None:
            from mapreduce.engine.embedded import EmbeddedEngine

            engine = EmbeddedEngine(processes=workers)
        elif not self.reduce_on_disk or not hasattr(space, "outcomes"):
            yield lambda: space
            return
        if not hasattr(engine, "another"):
            raise InvalidJobError("reduce_on_disk takes two jobs: give a space, no engine for one")
        with closing(engine):
            yield engine.another

    def _run_there(
        self, job: MapReduceJob, where: Callable[[], RemoteSpace | str | Engine | None],
        order: Order, options: dict[str, Any], workers: int, single: bool, placed: bool,
    ) -> dict[Any, Any] | Iterator[Pair]:  # fmt: skip
        if not self.reduce_on_disk:
            emitted = _flat(run(job, where(), workers), placed)
            return _gathered(emitted, order, single)
        folder = tempfile.TemporaryDirectory(prefix="tuplemill-tinymr-")
        try:
            job.output = mapreduce.PickleOutput(f"{folder.name}/emitted")
            run(job, where())
            # A reducer may emit any key: those of all reducers have to be brought together.
            second = mapreduce.MapReduceJob(mapreduce.PickleFiles(f"{folder.name}/emitted"))
            second.map = each(emitted_of)
            gather = keeping_places(Gather(single=single))
            second.reduce = by_key(gather, sort_values=Placed(order))
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


def jobs_of(wanted: int | None) -> int:
    """Return how many jobs are wanted; None: one a core.

    Raises:
        InvalidJobError: That is no number of jobs.
    """
    if wanted is not None and (type(wanted) is not int or wanted < 1):
        raise InvalidJobError(f"jobs is an int >= 1, or None for one a core, not {wanted!r}")
    return wanted or cores()


def _data(stream: Any, chunksize: int, *, in_places: bool) -> Any:
    """Return the job's data: what iterating over the stream gives, numbered if they need places."""
    if isinstance(stream, (SplitSource, str)):
        return stream
    if isinstance(stream, Mapping):
        stream = list(stream)
    elif hasattr(stream, "readline"):
        stream = (line for line in stream)  # a file can be read again, once it is rewound
    if in_places and not _has_splits(stream):
        records = numbered(stream)
        stream = list(records) if isinstance(stream, Sized) else records
    if chunksize == 1:
        return stream
    if type(chunksize) is not int or chunksize < 1:
        raise InvalidJobError(f"chunksize is an int >= 1, not {chunksize!r}")
    items = iter(stream)
    return (Split(chunk) for chunk in iter(lambda: list(islice(items, chunksize)), []))


def _has_splits(stream: Any) -> bool:
    return isinstance(stream, (list, tuple)) and any(isinstance(item, Split) for item in stream)


def _flat(partitions: list[Any], placed: bool) -> Iterator[Pair]:
    """Yield what reducers have emitted, in the order of their keys' places.

    A partition is None if it failed and that may be.
    """
    results: Iterable[Any] = (result for _, result in chain.from_iterable(filter(None, partitions)))
    if placed:
        results = (emitted for _, emitted in sorted(results, key=itemgetter(0)))
    return chain.from_iterable(results)


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
                    for key, (_, values) in batch:
                        yield key, values
