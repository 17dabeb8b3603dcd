"""The outbox: a driver's tasks on their way into the space, and those it has there."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain, islice
from typing import Any, Final

from mapreduce.engine.private import Private
from mapreduce.engine.tenure import Tenure
from tuplespace import errors
from tuplespace.client import RemoteSpace
from tuplespace.entry import WEIGHT_UNIT, weight_of
from tuplespace.interface import Handle
from workers.task import Outcome, Task

_BATCH_TASKS: Final = 256
_BATCH_BYTES: Final = 4 << 20


class Outbox:
    """One driver's; for any thread.

    Args:
        space: Where to. tenure: Writes there.

    Attributes:
        lock: Held while something is written.
    """

    def __init__(self, space: RemoteSpace, tenure: Tenure | Private) -> None:
        self._space, self._key, self.tenure = space, space.key, tenure
        # Two threads write the tasks of a stream; neither does once the end clears up.
        self.lock = threading.RLock()
        self._interrupted = threading.Event()
        #: Tasks for which the space has no room yet.
        self._backlog: deque[Iterator[Task]] = deque()
        #: Of the tasks written that have had no outcome, by phase, number and attempt.
        self._handles: dict[tuple[str, int, int], Handle] = {}

    def interrupt(self) -> None:
        """See `Engine.interrupt`."""
        self._interrupted.set()

    def write(self, tasks: Iterable[Task]) -> None:
        """See `Engine.write`."""
        with self.lock:
            if self._backlog:
                self._backlog.append(iter(tasks))
            else:
                self._write(iter(tasks))

    def write_backlog(self) -> bool:
        """Write what the space had no room for; return whether there was, or still is, any."""
        if not self._backlog:
            return False
        with self.lock:
            waiting, self._backlog = self._backlog, deque()
            for tasks in waiting:
                self.write(tasks)
        return True

    def _write(self, tasks: Iterator[Task]) -> None:
        most = _BATCH_TASKS
        while not self._interrupted.is_set():
            batch, size = [], 0
            for task in islice(tasks, most):
                batch.append(task)
                size += task.size
                if size >= _BATCH_BYTES:
                    break
            if not batch:
                return
            try:
                handles = self.tenure.write([task.to_tuple(self._key) for task in batch])
            except errors.SpaceFullError:
                tasks = chain(batch, tasks)
                if len(batch) == 1:
                    self._check_size(batch[0].to_tuple(self._key))
                    self._backlog.appendleft(tasks)
                    return
                most = len(batch) // 2  # there may never be room for all of them at once
            else:
                names = ((task.phase, task.number, task.attempt) for task in batch)
                self._handles.update(zip(names, handles, strict=True))

    def _check_size(self, value: tuple[Any, ...]) -> None:
        """Raise TupleTooLargeError if there is no room for this task even in an empty space."""
        limit = self._space.status()["limits"].get("bytes")
        size = weight_of(value) * WEIGHT_UNIT
        if limit is not None and size > limit:
            raise errors.TupleTooLargeError(
                f"{value[2]} {value[3]} takes {size:,} bytes as a task, and the whole space takes "
                f"{limit:,}: start it with a larger --limit bytes="
            )

    def ended(self, outcome: Outcome) -> None:
        """Note that this attempt has ended."""
        self._handles.pop((outcome.phase, outcome.number, outcome.attempt), None)

    def withdraw(self, job: str, phase: str, number: int, attempt: int) -> None:
        """See `Engine.withdraw`."""
        handle = self._handles.pop((phase, number, attempt), None)
        # Claimed or not: who runs it learns of it when the claim is renewed.
        if handle is not None and handle.cancel():
            return
        with suppress(errors.MatchTimeoutError):  # it was lifted, perhaps, and still waits
            self._space.take(("task", job, phase, number, *[None] * 3), timeout=0)
