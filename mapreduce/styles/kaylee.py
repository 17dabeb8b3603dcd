"""Kaylee's style: a `Server` with ``mapfn``, ``reducefn`` and ``datafn``, and `Client` s that work for it.

Kaylee (github.com/sdiehl/kaylee) shows MapReduce on ZeroMQ in 500 lines. A program written for it runs
here with its import changed. Its server moves every value between map and reduce, as its
README says; here they go from worker to worker, and a dead worker's tasks are done by another.

As a command, ``python -m mapreduce.styles.kaylee [URI]`` is a client.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import mapreduce
from mapreduce.errors import InvalidJobError, MapReduceError, shorten
from mapreduce.grouping import by_key, each
from mapreduce.pairs import Pair
from mapreduce.styles.lazily import Lazily, Together, can_be_lazy, of_lists
from mapreduce.styles.ordering import keeping_places, numbered, placing
from mapreduce.styles.running import check_options, run
from tuplespace.errors import TupleSpaceError

if TYPE_CHECKING:
    from mapreduce.engine.interface import Engine
    from tuplespace.client import RemoteSpace
    from tuplespace.interface import Subscription

__all__ = ["Client", "Frame", "Server"]

logger = logging.getLogger(__name__)

_OURS: Final = ("data", "map", "reduce", "output")
_JOBS: Final = ("job", str, dict)
_RETRY_SECONDS: Final = 0.2


class Frame(bytes):
    """Bytes that ``datafn`` has yielded, as ``mapfn`` gets them; as a ZeroMQ frame it has `bytes`."""

    @property
    def bytes(self) -> bytes:
        """The bytes themselves."""
        return bytes(self)


class Server:
    """A MapReduce job, in Kaylee's words.

    Args:
        space: Where it runs, unless `connect` is told; see there. options: Any of `MapReduceJob` 's
            except data, map, reduce and output, such as retries, reduce_tasks or memory.

    Attributes:
        mapfn: Gets a key and a value of the data; yields (key, value) pairs.
        reducefn: Gets a key and an iterator of its values; returns the key's result.
        datafn: A function that yields the data, (key, value) pairs, and is read while the job runs.
            A value that is a memoryview, bytes or bytearray reaches ``mapfn`` as a `Frame`.
        data: Instead: a mapping of the data.

    Raises:
        InvalidJobError: There is no such option; it names the one that may be meant.

    Examples:
        >>> server = Server()
        >>> server.connect()
        >>> server.datafn = lambda: enumerate(["a rose", "is a rose"])
        >>> server.mapfn = lambda number, line: ((word, 1) for word in line.split())
        >>> server.reducefn = lambda word, counts: sum(counts)
        >>> server.start()
        >>> sorted(server.results().items())
        [('a', 2), ('is', 1), ('rose', 2)]
    """

    def __init__(self, space: RemoteSpace | str | Engine | None = None, **options: Any) -> None:
        check_options(options, *_OURS)
        self.mapfn: Callable[[Any, Any], Iterable[Pair]] | None = None
        self.reducefn: Callable[[Any, Iterator[Any]], Any] | None = None
        self.datafn: Callable[[], Iterable[Pair]] | None = None
        self.data: Mapping[Any, Any] | None = None
        self._space = space
        self._options = options
        self._results: dict[Any, Any] | None = None

    def connect(self, space: RemoteSpace | str | Engine | None = None) -> None:
        """Say where the job is to run; blocks for nothing, since `start` goes there.

        Args:
            space: A URI, a space or an engine: on that cluster. None: what the constructor got,
                else the space that $TUPLESPACE_URI names, else in this process.
        """
        self._space = space or self._space or os.environ.get("TUPLESPACE_URI") or None

    def start(self) -> None:
        """Run the job; blocks until it has ended, and may be called again.

        Raises:
            InvalidJobError: It cannot run as it was filled in. MapReduceError: It failed, see
                `MapReduceJob.run`, or `MapReduceJob.run_sequential` in this process.
            Exception: What ``datafn`` raised, as it is. TupleSpaceError: No space.
        """
        self._results = None
        options = self._options
        if self._space is None:
            options = {"reduce_tasks": 1} | options  # keys come in the order of the data
        # Of several partitions, keys come in that order by their places; a combine knows of none.
        placed = options.get("reduce_tasks") != 1 and options.get("combine") is None
        lazy = self._space is None and can_be_lazy(options)
        data: Any = self._records(placed=placed, lazy=lazy)
        mapfn: Any = _Map(_function(self, "mapfn"))
        reducefn = _function(self, "reducefn")
        job = mapreduce.MapReduceJob(Lazily(data) if lazy else data, **options)
        if lazy:
            job.map, job.reduce = Together(mapfn), by_key(of_lists(reducefn))
        else:
            job.map = each(placing(mapfn) if placed else mapfn)
            job.reduce = by_key(keeping_places(reducefn) if placed else reducefn)
        # A partition is None if it failed and on_bad_task="skip".
        pairs: Iterable[Pair] = chain.from_iterable(filter(None, run(job, self._space)))
        if placed:
            in_order = sorted(pairs, key=lambda pair: pair[1][0])
            pairs = ((key, result) for key, (_, result) in in_order)
        self._results = dict(pairs)

    def results(self) -> dict[Any, Any] | None:
        """Return what ``reducefn`` returned for each key; None until `start` has ended well."""
        return self._results

    def _records(self, *, placed: bool, lazy: bool) -> Iterable[Any]:
        if self.datafn is not None:
            data = _sendable(_function(self, "datafn"))
            return numbered(data) if placed else data
        if self.data is None:
            raise InvalidJobError("the server has no data: set server.datafn or server.data")
        if not isinstance(self.data, Mapping):
            raise InvalidJobError(f"server.data is a mapping, not {shorten(self.data)}")
        data = _sendable(self.data.items)
        if lazy:
            return data
        return list(numbered(data) if placed else data)


def _function(server: Server, name: str) -> Callable[..., Any]:
    function = getattr(server, name)
    if not callable(function):
        what = "missing" if function is None else f"no function: {shorten(function)}"
        raise InvalidJobError(f"server.{name} is {what}")
    return function  # type: ignore[no-any-return]


def _sendable(data: Callable[[], Iterable[Pair]]) -> Iterator[Pair]:
    """Yield the data; what shows a part of somebody's memory cannot travel, its bytes can."""
    pairs: Any = data()
    if not isinstance(pairs, Iterable):
        raise InvalidJobError(
            f"server.datafn returned {shorten(pairs)}: it yields the data, (key, value) pairs"
        )
    for number, item in enumerate(pairs):
        try:
            key, value = item
        except (TypeError, ValueError):
            raise InvalidJobError(
                f"the data are (key, value) pairs, but number {number} is {shorten(item)}"
            ) from None
        yield key, bytes(value) if isinstance(value, (memoryview, bytearray)) else value


class _Map:
    """Calls ``mapfn`` with a pair of the data, which is one record of the job."""

    def __init__(self, mapfn: Callable[[Any, Any], Iterable[Pair]]) -> None:
        self._mapfn = mapfn
        self.__qualname__ = getattr(mapfn, "__qualname__", repr(mapfn))  # for messages

    def __call__(self, record: Pair) -> Iterable[Pair]:
        key, value = record
        return self._mapfn(key, Frame(value) if type(value) is bytes else value)


class Client:
    """A worker: one process that runs tasks of whatever jobs its space has.

    It may be started before or after a server, and any number of times, on any machine.

    Args:
        until_done: Whether it ends once a job has ended and its space has no other, so that several
            servers can share their clients. False: only Ctrl-C or SIGTERM ends it, as that ends
            ``invoke worker``. options: More of `workers.serve.serve` 's, such as key_file.
    """

    def __init__(self, *, until_done: bool = True, **options: Any) -> None:
        self.until_done = until_done
        self._uri: str | None = None
        self._options = options

    def connect(self, space: str | None = None) -> None:
        """Say where the space is; blocks for nothing, since `start` goes there.

        Args:
            space: Its URI. None: as `tuplespace.connect` finds it: $TUPLESPACE_URI, this machine,
                the local network.
        """
        self._uri = space

    def start(self) -> None:
        """Work, in the main thread, until done, Ctrl-C or SIGTERM; waits for the space if need be.

        Raises:
            AuthenticationError: The key is not the space's.
            InvalidArgumentError: Several spaces answered on the local network; it names them.
        """
        from workers.serve import serve

        ended = threading.Event()
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        if self.until_done:
            threading.Thread(target=self._end_when_done, args=(ended,), daemon=True).start()
        options: dict[str, Any] = {"processes": 1} | self._options
        try:
            serve(self._uri, **options)
        finally:
            ended.set()
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _end_when_done(self, ended: threading.Event) -> None:
        """Stop working when a job has ended and the space has no other."""
        from tuplespace.connect import connect

        key_file = self._options.get("key_file")
        while not ended.is_set():
            try:
                with connect(self._uri, name=self._options.get("name"), key_file=key_file) as space:
                    _wait_until_done(space, space.notify(None, _JOBS))
            except TupleSpaceError as error:
                # The agent sees it as well, and tells its user.
                logger.debug("no news of jobs: %s", error)
                ended.wait(_RETRY_SECONDS)
            else:
                break
        if not ended.is_set():
            signal.raise_signal(signal.SIGTERM)  # as its user would end it


def _wait_until_done(space: RemoteSpace, news: Subscription) -> None:
    for _ in news:
        if not space.count(_JOBS):
            return


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m mapreduce.styles.kaylee", description="Work for Kaylee's servers."
    )
    parser.add_argument("uri", nargs="?", help="the space's; default: as invoke worker finds it")
    parser.add_argument(
        "--stay", action="store_true", help="go on when the last job has ended, until Ctrl-C"
    )
    options = parser.parse_args()
    client = Client(until_done=not options.stay)
    client.connect(options.uri)
    try:
        client.start()
    except (TupleSpaceError, MapReduceError) as error:
        sys.stderr.write(f"client: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
