"""Calls of functions that emit: what they may do, where it goes, and how a job is made of them.

On workers, a mapper's pairs go out in blocks, each key once in a block with all its values there and
its place; see `mapreduce.styles.ordering`. In one process all of them are in one dict already, and the
reducer gets them from there.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from itertools import islice
from operator import length_hint
from typing import Any, NamedTuple

from mapreduce.errors import InputError, RecordFailedError
from mapreduce.pairs import Pair
from mapreduce.styles.ordering import gathered_in_blocks
from mapreduce.weights import FIRST_BLOCK_PAIRS, next_block_pairs
from workers import counter
from workers.counters import TaskCounter

Line = tuple[int, str | bytes]
"""A line and its number, from 1 on."""


class Running(NamedTuple):
    """A call of a mapper or reducer.

    Attributes:
        groups: Where a mapper's pairs go; None: it must not emit any.
        items: Where goes what is emitted at last; None: it must not be.
        here: Whether all calls are in this process, and see what all have emitted.
    """

    groups: dict[Any, list[Any]] | None
    items: list[Any] | None
    here: bool


#: The call that runs in this thread.
running: ContextVar[Running | None] = ContextVar("running", default=None)


class Mapper:
    """A mapper, as the map of a job on workers: of a whole split.

    Args:
        function: The user's. source: What the lines are of, for messages.
    """

    def __init__(self, function: Callable[[Any], Any], source: str) -> None:
        self._function = function
        self._source = source

    def __call__(self, lines: Iterable[Line]) -> Iterator[Pair]:
        """Yield each key of each block with what was gathered of it there.

        Raises:
            RecordFailedError: A line is no JSON, or the function raised.
        """
        return gathered_in_blocks(lines, self._gather)

    def _gather(self, lines: list[Line], first: int, groups: dict[Any, list[Any]]) -> None:
        self.emit_from(lines, first, Running(groups, None, here=False))

    def of_line(self, line: Line) -> list[Pair]:
        """Return the pairs of one line, each for itself: for `each`."""
        groups: dict[Any, list[Any]] = {}
        token = running.set(Running(groups, None, here=False))
        try:
            _done("Mapper").add(self._call(iter((line,))))
        finally:
            running.reset(token)
        return [(key, (line[0], at, values)) for at, (key, values) in enumerate(groups.items())]

    def emit_from(self, lines: list[Line], first: int, call: Running) -> None:
        """Call the function for each of some lines, of which the first is record `first`."""
        iterator = iter(lines)
        token = running.set(call)
        try:
            done = self._call(iterator)
        except Exception as error:
            at = len(lines) - length_hint(iterator) - 1
            raise RecordFailedError.on(lines[at][1], first + at) from error
        finally:
            running.reset(token)
        _done("Mapper").add(done)

    def _call(self, lines: Iterator[Line]) -> int:
        """Call the function for each line; return for how many, which excludes empty ones."""
        function, loads, done = self._function, json.loads, 0
        for number, line in lines:
            try:
                record = loads(line)
            except ValueError as error:
                if not line.strip():
                    continue
                raise InputError(f"{self._source}, line {number}: is no JSON: {error}") from None
            except RecursionError:
                raise InputError(
                    f"{self._source}, line {number}: its lists and objects are nested too deep to be "
                    "read: make it flatter, or leave it out"
                ) from None
            function(record)
            done += 1
        return done


class Reducer:
    """A reducer, as a function of a key and its values that returns what it emits."""

    def __init__(self, function: Callable[[Any, list[Any]], Any]) -> None:
        self._function = function

    def __call__(self, key: Any, values: list[Any]) -> list[Any]:
        """Call it."""
        items: list[Any] = []
        token = running.set(Running(None, items, here=False))
        try:
            self._function(key, values)
        finally:
            running.reset(token)
        _done("Reducer").add()
        return items


class Here:
    """Both functions of a job that runs in this process, all of it in one split and one partition.

    Attributes:
        groups: The values of each key that the mapper has emitted so far. items: What is emitted at last.
    """

    def __init__(
        self, mapper: Mapper, reducer: Callable[[Any, list[Any]], Any],
        groups: dict[Any, list[Any]], items: list[Any], *, one_by_one: bool,
    ) -> None:  # fmt: skip
        # Whoever reads the data in its mapper as well gets the line after its own.
        self._most = 1 if one_by_one else None
        self._mapper, self._reducer = mapper, reducer
        self.groups, self.items = groups, items

    def map(self, lines: Iterable[Line]) -> tuple[()]:
        """Call the mapper for all lines; there are no pairs to be moved."""
        call = Running(self.groups, self.items, here=True)
        lines, first, wanted = iter(lines), 0, self._most or FIRST_BLOCK_PAIRS
        while some := list(islice(lines, wanted)):
            self._mapper.emit_from(some, first, call)
            first += len(some)
            wanted = self._most or next_block_pairs(some)
        return ()

    def reduce(self, _: Iterable[Pair]) -> None:
        """Call the reducer for all keys."""
        function, position = self._reducer, 0
        groups = self.groups
        key = None
        token = running.set(Running(None, self.items, here=True))
        try:
            for position, key in enumerate(list(groups)):  # noqa: B007  # for the message
                function(key, groups[key])  # which an earlier call may have changed
        except Exception as error:
            raise RecordFailedError.on(key, position, kind="key") from error
        finally:
            running.reset(token)
        _done("Reducer").add(position + 1 if groups else 0)


@functools.cache
def _done(role: str) -> TaskCounter:
    """Return what counts the work of this process, by the name that it has in progress lines."""
    return counter(f"{role} ({os.uname().nodename}/{os.getpid()})")
