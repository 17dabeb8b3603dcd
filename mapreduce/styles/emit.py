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

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mapreduce.errors import InvalidJobError, OutputError, shorten
from mapreduce.grouping import by_key, each
from mapreduce.partition import stable_hash
from mapreduce.styles.emitting import Here, Mapper, Reducer, running
from mapreduce.styles.ordering import FILLED_IN, in_order, in_places, numbered
from mapreduce.styles.running import TRY_AGAIN, check_options
from mapreduce.styles.sharing import shared
from tuplespace.resources import cores

if TYPE_CHECKING:
    from mapreduce.engine.interface import Engine
    from mapreduce.job import MapReduceJob
    from tuplespace.client import RemoteSpace

__all__ = ["MapReduce"]

_MAPPER: Final = "emit_intermediate"
_REDUCER: Final = "emit"
#: An instance that functions refer to goes to the workers; this of it stays here.
_STAYS = ("space", "options", "_intermediate", "_result")
_LOOKS: Final = frozenset({"intermediate", "result"})


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
        call = running.get()
        if call is not None and call.here and call.groups is not None:
            values = dict(values)
            call.groups.clear()
            call.groups.update(values)
        else:
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
        call = running.get()
        if call is not None and call.here and call.items is not None:
            call.items[:] = values  # where what is emitted next goes
        else:
            self._result = values

    def emit_intermediate(self, key: Any, value: Any) -> None:
        """Hand a pair to the reducer of its key; for a mapper.

        Raises:
            UnstableKeyError: The key is a list, say. InvalidJobError: No mapper is running.
        """
        call = running.get()
        if call is None or call.groups is None:
            raise _misplaced(_MAPPER)
        groups = call.groups
        try:
            values = groups.get(key)
        except TypeError:
            stable_hash(key)  # says it better
            raise
        if values is not None:
            values.append(value)
            return
        if type(key) is not str:
            stable_hash(key)  # refuses here, where the record is known, what no worker could deal
        groups[key] = [value]

    def emit(self, value: Any) -> None:
        """Add a value to the result; for a reducer, and in one process for a mapper too.

        Raises:
            InvalidJobError: No reducer is running.
        """
        call = running.get()
        if call is None or call.items is None:
            raise _misplaced(_REDUCER)
        call.items.append(value)

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
        from mapreduce.styles.telling import run_and_tell  # workers can do without

        if isinstance(data, (str, bytes)):
            raise InvalidJobError(f"execute() takes an open file: write open({shorten(data)})")
        for name, function in (("mapper", mapper), ("reducer", reducer)):
            if not callable(function):
                raise InvalidJobError(f"the {name} is no function: {shorten(function)}")
        space = self.space if _given.space is None else _given.space
        workers, note = self._workers_for(mapper, reducer, space)
        # What a script took hold of before its first job, as `found = mr.result`, it has hold of.
        groups = {} if self._intermediate is None or self._intermediate else self._intermediate
        items = [] if self._result is None or self._result else self._result
        self._intermediate, self._result = None, items
        source = getattr(data, "name", None)
        whole = Mapper(mapper, source if isinstance(source, str) else "the data")
        here = None
        if space is not None or workers > 1:
            note = note and f"{note}, and each worker has its own"
        elif not self._tries_again:
            here = Here(whole, reducer, groups, items, one_by_one=bool(note))
            self._intermediate = groups
        job = self._job(data, whole, reducer, here)
        emitted = in_order(run_and_tell(job, space, workers, note))
        if here is None:
            items.extend(value for values in emitted for value in values)
        sys.stdout.writelines([f"{_json(value)}\n" for value in self.result])
        sys.stdout.flush()

    def _workers_for(
        self, mapper: Callable[..., Any], reducer: Callable[..., Any], space: Any
    ) -> tuple[int, str]:
        """Return how many workers there are to be, and what the functions share; empty: nothing."""
        theirs = self._intermediate, self._result
        note = shared([mapper], MapReduce, _LOOKS | {_REDUCER}, theirs)
        note = note or shared([reducer], MapReduce, _LOOKS, theirs)
        workers = _given.num_workers or self.num_workers
        if workers is None:
            if space is not None:
                _refuse_silent(mapper, reducer, theirs)
            workers = 1 if note and space is None else cores()
        return workers, note

    @property
    def _tries_again(self) -> bool:
        return bool(self.options.keys() & TRY_AGAIN)

    def _job(
        self, data: Iterable[str | bytes], whole: Mapper, reducer: Callable[..., Any],
        here: Here | None,
    ) -> MapReduceJob:  # fmt: skip
        """Return the job; `here` is what it does in one process that tries nothing again."""
        from mapreduce.job import MapReduceJob  # workers can do without
        from mapreduce.styles.lazily import Lazily

        if here is not None:
            job = MapReduceJob(Lazily(enumerate(data, 1)), map=here.map, reduce=here.reduce)
        else:
            lines = numbered(data, 1) if self._tries_again else enumerate(data, 1)
            job = MapReduceJob(list(lines) if isinstance(data, Sized) else lines)
            job.map = each(whole.of_line) if self._tries_again else whole
            job.reduce = by_key(in_places(Reducer(reducer)))
        for option, value in self.options.items():
            setattr(job, option, value)
        if here is not None:
            job.reduce_tasks = 1
        return job

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in _STAYS}


def _refuse_silent(
    mapper: Callable[..., Any], reducer: Callable[..., Any], theirs: tuple[Any, Any]
) -> None:
    """Refuse what workers would do wrong without a word; what is emitted or looked at in vain they say."""
    what = shared([mapper, reducer], MapReduce, frozenset(), theirs)
    if what:
        raise InvalidJobError(
            f"{what}, and each worker would have its own: leave out space, and it runs in this process; "
            "or if that is right, as for a cache, say so by num_workers: MapReduce(2, space=...)"
        )


def _misplaced(verb: str) -> InvalidJobError:
    whose = "mapper" if verb == _MAPPER else "reducer"
    return InvalidJobError(f"{verb}() is for the {whose}, and for its own thread")


def _check_seen(values: Any, name: str) -> None:
    call = running.get()
    if values is None or (call is not None and not call.here):
        raise InvalidJobError(
            f"{name} is where all runs in one process: write MapReduce(num_workers=1), without "
            f"{' and '.join(sorted(TRY_AGAIN))}"
        )


def _json(value: Any) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise OutputError(f"what was emitted has no JSON: {error}: {shorten(value)}") from error
