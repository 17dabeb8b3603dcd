"""Counters: what the user's code counts while a task runs; the driver adds up what tasks have counted.

::

    counter("bad lines").add(1)         in a map, combine or reduce function
    run.counters["bad lines"]           in the driver: of the tasks that are done, each once

The counts of an attempt travel in its outcome and nowhere else. What if the attempt fails, its
worker dies, a backup task is faster, or the output is lost and the task run again? Then its
outcome does not count, and neither do its counts.
"""

from __future__ import annotations

import math
import operator
import os
import threading
from functools import lru_cache
from typing import Any, Final

from tuplespace.errors import InvalidArgumentError

#: What a task may count, so that its outcome stays small: so many counters, of such names.
COUNTERS: Final = 200
NAME_LENGTH: Final = 200

Counts = dict[str, int | float]

_lock = threading.Lock()
_counts: Counts = {}


class TaskCounter:
    """One counter of the task that runs; made by `counter`. May be kept, and be pickled."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        if type(name) is not str or not 0 < len(name) <= NAME_LENGTH:
            raise InvalidArgumentError(
                f"a counter's name is a str of 1 to {NAME_LENGTH} characters, not {name!r:.80}"
            )
        self.name = name

    def __repr__(self) -> str:
        return f"counter({self.name!r})"

    def __reduce__(self) -> Any:
        return counter, (self.name,)

    def add(self, amount: float = 1) -> None:
        """Add to what the task has counted; for any thread of the task.

        A process that the task has started counts for itself, and nobody hears of it. A thread
        that outlives its task counts for the task that runs then.

        Raises:
            InvalidArgumentError: It is no finite int or float, or the task counts too much else.
        """
        if type(amount) is not int:
            amount = _number(amount)
        name = self.name
        with _lock:
            try:
                _counts[name] += amount
            except KeyError:
                _begin(name, amount)


def _begin(name: str, amount: float) -> None:
    if len(_counts) >= COUNTERS:
        raise InvalidArgumentError(
            f"a task has {COUNTERS} counters at most, and {name!r} would be one more; what has "
            "many values is a key: let map return pairs of it"
        )
    _counts[name] = amount


def _number(amount: Any) -> int | float:
    try:
        plain = float(amount) if isinstance(amount, float) else int(operator.index(amount))
    except TypeError:
        plain = math.nan
    if not math.isfinite(plain):
        raise InvalidArgumentError(f"a counter counts finite ints and floats, not {amount!r:.80}")
    return plain


@lru_cache(maxsize=1024)
def counter(name: str) -> TaskCounter:
    """Return the counter of this name, for functions that run in a task.

    Args:
        name: As it appears in `JobRun.counters`; at most 200 in a task, of 200 characters each.

    Raises:
        InvalidArgumentError: It is no such name.
    """
    return TaskCounter(name)


def counts() -> Counts:
    """Return what this process has counted: since its task began, or with none since its start.

    So `MapReduceJob.run_sequential`, which has no tasks, adds to what the whole program counts.
    """
    if not _counts:
        return {}
    with _lock:
        return dict(_counts)


def reset() -> None:
    """Begin to count for another task."""
    global _counts
    if _counts:
        with _lock:
            _counts = {}


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()  # another thread may have held it


os.register_at_fork(after_in_child=_after_fork)
