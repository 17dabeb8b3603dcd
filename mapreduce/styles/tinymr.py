"""tinymr's style: a class with ``mapper`` and ``reducer``, called with the data.

tinymr (github.com/geowurster/tinymr) is MapReduce in memory, in a few hundred lines. `MemMapReduce` is that of
its release 0.1, with composite keys; `MapReduce` is that of its later versions. What its roadmap names is here
as well: a combiner, and intermediate data on disk, by a flag. Where it runs is said by ``space``: None is
this machine, in this process if `jobs` is 1; a URI, a space or an engine is the cluster behind it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from inspect import isgeneratorfunction
from typing import TYPE_CHECKING, Any, ClassVar

from mapreduce.errors import InvalidJobError, InvalidPairsError, shorten
from mapreduce.pairs import Pair, as_pairs
from mapreduce.styles.tinytask import Task, jobs_of
from mapreduce.styles.tinytuples import (
    ElementCountError,
    KeyCountError,
    Layout,
    MapLike,
)

if TYPE_CHECKING:
    from mapreduce.engine.interface import Engine
    from tuplespace.client import RemoteSpace

__all__ = [
    "ElementCountError", "KeyCountError", "MapReduce", "MemMapReduce", "Task", "popitems",
    "single_key_output",
]  # fmt: skip


class MemMapReduce(Task):
    """MapReduce as in tinymr 0.1; see `Task` for all that a subclass may set.

    ``mapper(item)`` yields tuples of `n_partition_keys` keys, `n_sort_keys` keys and a value. ``reducer(key,
    values)`` gets the value alone, sorted by the sort keys, and a key that is a tuple if it has
    several; it yields ``(key, value)``.

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
                    stack.enter_context(ThreadPoolExecutor(jobs_of(jobs))).map if threaded else None
                )
            items = self._run_job(stream, space, options, *pools)
        return self.output(popitems(items) if isinstance(items, dict) else items)

    @property
    def _map_layout(self) -> Layout:
        """What ``mapper`` emits."""
        length = self.n_partition_keys + self.n_sort_keys + 1
        refuse = partial(_miscounted, length, "map")
        return Layout(self.n_partition_keys, frozenset((length,)), refuse)

    @property
    def _reduce_layout(self) -> Layout:
        """What ``reducer`` emits."""
        return Layout(1, frozenset((2,)), partial(_miscounted, 2, "reduce"))

    @property
    def _sorts(self) -> bool:
        return bool(self.n_sort_keys or self.sort_map_with_value)


def _neither(method: str, keys: Any) -> ElementCountError:
    return ElementCountError(
        f"expected (key, value) or (key, sort, value) of {method}, got {shorten(keys)}: return one "
        "such tuple, or yield many"
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

    _required: ClassVar[dict[str, str]] = {"mapper": "item", "reducer": "key, values"}
    _map_layout = Layout(1, frozenset((2, 3)), partial(_neither, "mapper"))
    _reduce_layout = Layout(1, frozenset((2, 3)), partial(_neither, "reducer"))

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
        if self.map_threaded or self.reduce_threaded:
            raise InvalidJobError("instead of threaded, give map= the map of a thread pool")
        return self.output(
            self._run_job(sequence, space, options, mapper_map, reducer_map, single=single)
        )

    def _map_item(self, item: Any) -> Iterable[Any]:
        """Return the tuples that ``mapper`` emits for an item."""
        emitted = self.mapper(item)
        return (emitted,) if isinstance(emitted, tuple) else as_pairs(emitted, self.mapper)

    def _reduce_key(self, key: Any, values: Any) -> Iterable[Any]:
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
