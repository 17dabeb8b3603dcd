"""The style of the Data Science course on Coursera, and of pymapr: functions that emit.

A script of the course runs with its first line changed, or unchanged by ``tuplemill emit script.py books.json``::

    import sys
    import mapreduce.styles.emit as MapReduce

    mr = MapReduce.MapReduce()


    def mapper(record):
        for word in record[1].split():
            mr.emit_intermediate(word, 1)


    def reducer(key, list_of_values):
        mr.emit((key, sum(list_of_values)))


    mr.execute(open(sys.argv[1]), mapper, reducer)

The functions refer to the script's own ``mr``, of which a worker has a copy. So what is emitted belongs
to the call that runs, and not to an object; in one process it is to be seen in ``mr`` as well.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mapreduce.errors import InputError, InvalidJobError, OutputError, shorten
from mapreduce.grouping import by_key, each
from mapreduce.pairs import Pair
from mapreduce.partition import stable_hash
from mapreduce.styles.ordering import (
    FILLED_IN,
    Numbered,
    gathered,
    in_order,
    in_places,
    numbered,
)
from mapreduce.styles.running import check_options
from mapreduce.styles.sharing import shared
from tuplespace.resources import cores
from workers import counter
from workers.counters import TaskCounter

if TYPE_CHECKING:
    from mapreduce.engine.interface import Engine
    from tuplespace.client import RemoteSpace

__all__ = ["MapReduce"]

_MAPPER: Final = "emit_intermediate"
_REDUCER: Final = "emit"
#: With these, a record may be mapped several times.
_TRY_AGAIN: Final = frozenset({"skip_bad_records", "on_bad_task"})
#: An instance that functions refer to goes to the workers; this of it stays here.
_STAYS = ("space", "options", "_intermediate", "_result")
_LOOKS: Final = frozenset({"intermediate", "result"})


class _Seen(NamedTuple):
    """What has been emitted so far, for functions that look at it."""

    intermediate: dict[Any, list[Any]]
    result: list[Any]


class _Running(NamedTuple):
    """A call of a mapper or reducer.

    Attributes:
        verb: What it may do. items: What it has emitted. seen: What all calls have, in one process.
    """

    verb: str
    items: list[Any]
    seen: _Seen | None


_running: ContextVar[_Running | None] = ContextVar("running", default=None)


class Place(NamedTuple):
    """Where jobs run; see `MapReduce`."""

    space: RemoteSpace | str | Engine | None = None
    num_workers: int | None = None


_given = Place()


@contextmanager
def running_at(place: Place) -> Iterator[None]:
    """Let all jobs of the block run there, wherever else they would: for the command line."""
    global _given
    before, _given = _given, place
    try:
        yield
    finally:
        _given = before


class MapReduce:
    """Runs a mapper and a reducer that emit over lines of JSON.

    Args:
        num_workers: How many worker processes of this machine; None: one a core. 1: this very
            process, where None runs it too if functions share more than they emit (see
            `mapreduce.styles.sharing`).
        space: Where to run instead: a URI, a space or an engine, see `MapReduceJob.run`.
        options: Of `MapReduceJob`: reduce_tasks (on workers), retries, skip_bad_records, task_timeout, ...

    Raises:
        InvalidJobError: num_workers is no number from 1 on, or there is no such option.
    """

    # A worker's copy has neither.
    _intermediate: dict[Any, list[Any]] | None = None
    _result: list[Any] | None = None

    def __init__(
        self, num_workers: int | None = None, *, space: RemoteSpace | str | Engine | None = None,
        **options: Any,
    ) -> None:  # fmt: skip
        if num_workers is not None and (type(num_workers) is not int or num_workers < 1):
            raise InvalidJobError(
                f"num_workers is a whole number from 1 on, not {shorten(num_workers)}"
            )
        self.num_workers = num_workers
        self.space = space
        check_options(options, *FILLED_IN)
        self.options = options
        self._intermediate = {}
        self._result = []

    @property
    def intermediate(self) -> dict[Any, list[Any]]:
        """The values of each key that mappers have emitted so far, if all runs in this process.

        Raises:
            InvalidJobError: It does not.
        """
        _check_seen(self._intermediate, "intermediate")
        return self._intermediate  # type: ignore[return-value]

    @intermediate.setter
    def intermediate(self, values: dict[Any, list[Any]]) -> None:
        self._intermediate = values

    @property
    def result(self) -> list[Any]:
        """What was emitted in the last `execute`, in order; also while it runs, in this process.

        Raises:
            InvalidJobError: A worker asks.
        """
        _check_seen(self._result, "result")
        return self._result  # type: ignore[return-value]

    @result.setter
    def result(self, values: list[Any]) -> None:
        self._result = values

    def emit_intermediate(self, key: Any, value: Any) -> None:
        """Hand a pair to the reducer of its key; for a mapper.

        Raises:
            UnstableKeyError: The key is a list, say. InvalidJobError: No mapper is running.
        """
        try:
            hash(key)
        except TypeError:
            stable_hash(key)  # says it better, and where the key was emitted
            raise
        running = _running_as(_MAPPER)
        running.items.append((key, value))
        if running.seen is not None:
            running.seen.intermediate.setdefault(key, []).append(value)

    def emit(self, value: Any) -> None:
        """Add a value to the result; for a reducer, and in one process for a mapper too.

        Raises:
            InvalidJobError: No reducer is running.
        """
        running = _running.get()
        if running is None or running.seen is None:
            _running_as(_REDUCER).items.append(value)
        else:
            running.seen.result.append(value)

    def execute(
        self, data: Iterable[str | bytes], mapper: Callable[[Any], Any],
        reducer: Callable[[Any, list[Any]], Any],
    ) -> None:  # fmt: skip
        """Run the job and print what the reducer emitted, each a line of JSON; blocks until then.

        The lines are in the order that one process gives: keys as they appeared first. Progress goes
        to stderr. Nothing is printed on stdout if anything fails.

        Args:
            data: An open file, or any other iterable of lines, read while maps run; empty lines are
                skipped.
            mapper: Gets what is in a line. reducer: Gets a key and the list of all its values.

        Raises:
            JobFailedError: A function raised, a line is no JSON, or a worker died once too often;
                RecordFailedError if it runs in this process.
            OutputError: What was emitted has no JSON.
            InvalidJobError, NoWorkersError, TupleSpaceError: As `MapReduceJob.run`.
        """
        # Workers import this module for what is below, and can do without these.
        from mapreduce.job import MapReduceJob
        from mapreduce.styles.telling import run_and_tell

        if isinstance(data, (str, bytes)):
            raise InvalidJobError(f"execute() takes an open file: write open({shorten(data)})")
        for name, function in (("mapper", mapper), ("reducer", reducer)):
            if not callable(function):
                raise InvalidJobError(f"the {name} is no function: {shorten(function)}")
        source = getattr(data, "name", None)
        lines = (line for line in numbered(data, 1) if line.record.strip())
        job = MapReduceJob(list(lines) if isinstance(data, Sized) else lines)
        space = self.space if _given.space is None else _given.space
        workers = _given.num_workers or self.num_workers
        note = shared([mapper], MapReduce, _LOOKS | {_REDUCER})
        note = note or shared([reducer], MapReduce, _LOOKS)
        if workers is None:
            workers = 1 if note and space is None else cores()
        self._intermediate, self._result = None, []
        for option, value in self.options.items():
            setattr(job, option, value)
        seen = None
        if space is not None or workers > 1:
            note = note and f"{note}, and each worker has its own"
        elif not self.options.keys() & _TRY_AGAIN:
            seen = _Seen({}, self._result)
            self._intermediate = seen.intermediate
            job.reduce_tasks = 1  # keys come in the order of the data
        name = source if isinstance(source, str) else "the data"
        job.map = each(_Mapper(mapper, name, seen))
        job.reduce = by_key(in_places(_Reducer(reducer, seen)))
        emitted = in_order(run_and_tell(job, space, workers, note))
        if seen is None:
            self._result = [value for values in emitted for value in values]
        sys.stdout.writelines([f"{_json(value)}\n" for value in self.result])
        sys.stdout.flush()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in _STAYS}


class _Mapper:
    """A mapper, as `each` takes it."""

    def __init__(self, function: Callable[[Any], Any], source: str, seen: _Seen | None) -> None:
        self._function = function
        self._source = source
        self._seen = seen

    def __call__(self, line: Numbered) -> Iterable[Pair]:
        try:
            record = json.loads(line.record)
        except ValueError as error:
            raise InputError(f"{self._source}, line {line.number}: is no JSON: {error}") from None
        pairs = _emitted(_Running(_MAPPER, [], self._seen), self._function, record)
        _done("Mapper").add()
        return gathered(line.number, pairs)


class _Reducer:
    """A reducer, as a function that returns what it emits."""

    def __init__(self, function: Callable[[Any, list[Any]], Any], seen: _Seen | None) -> None:
        self._function = function
        self._seen = seen

    def __call__(self, key: Any, values: list[Any]) -> list[Any]:
        emitted = _emitted(_Running(_REDUCER, [], self._seen), self._function, key, values)
        _done("Reducer").add()
        return emitted


@functools.cache
def _done(role: str) -> TaskCounter:
    """Return what counts the work of this process, by the name that it has in progress lines."""
    return counter(f"{role} ({os.uname().nodename}/{os.getpid()})")


def _emitted(running: _Running, function: Callable[..., Any], *args: Any) -> list[Any]:
    """Call a mapper or reducer; return what it emitted."""
    token = _running.set(running)
    try:
        function(*args)
    finally:
        _running.reset(token)
    return running.items


def _running_as(verb: str) -> _Running:
    """Return the call that runs."""
    running = _running.get()
    if running is None or running.verb != verb:
        whose = "mapper" if verb == _MAPPER else "reducer"
        raise InvalidJobError(f"{verb}() is for the {whose}, and for its own thread")
    return running


def _check_seen(values: Any, name: str) -> None:
    running = _running.get()
    if values is None or (running is not None and running.seen is None):
        raise InvalidJobError(
            f"{name} is where all runs in one process: write MapReduce(num_workers=1), without "
            f"{' and '.join(sorted(_TRY_AGAIN))}"
        )


def _json(value: Any) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise OutputError(f"what was emitted has no JSON: {error}: {shorten(value)}") from error
