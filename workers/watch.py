"""The watch: ends a worker process that uses more memory than it may, before the host suffers."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from workers.child import Child
from workers.memory import family, memory_of
from workers.sizes import in_words
from workers.task import MEMORY

#: Bytes a second that a task is taken to fill at most; so it is looked at again before it can have
#: filled what is left, but not more often than every _SHORTEST seconds.
_FASTEST: Final = 4e9
_SHORTEST: Final = 0.02
_LONGEST: Final = 0.25
#: At most this share of a core goes into looking.
_EFFORT: Final = 0.05
#: A worker that still holds this share of its limit when its task has ended leaves the next too little.
_FULL: Final = 0.8


class Watch:
    """Looks at running worker processes, as often as what they have left demands.

    Args:
        limit: Bytes that each may use. running: Returns those that run something.
        stopping: Set when there is no more need.
    """

    def __init__(
        self, limit: int, running: Callable[[], Iterable[Child]], stopping: threading.Event
    ) -> None:
        self._limit, self._running, self._stopping = limit, running, stopping

    def watch(self) -> None:
        """Look, until it is told to stop."""
        pause = _SHORTEST
        while not self._stopping.wait(pause):
            began = time.thread_time()
            pause = max(self._look(), (time.thread_time() - began) / _EFFORT)

    def is_full(self, child: Child) -> bool:
        """Say whether a worker that runs nothing holds so much that it had better be replaced."""
        full = _FULL * self._limit
        return child.memory > full and memory_of(child.pid, int(full)) > full

    def _look(self) -> float:
        """Look at all once; return when to look again, in seconds."""
        left = self._limit  # what a task has that starts right now
        for child in self._running():
            child.memory = memory_of(child.pid, self._limit)
            if child.memory > self._limit:
                self._end(child)
            else:
                left = min(left, self._limit - child.memory)
        return min(max(left / _FASTEST, _SHORTEST), _LONGEST)

    def _end(self, child: Child) -> None:
        descendants = family(child.pid)[1:]  # some may have left its process group
        child.kill(
            f"was killed: it used {in_words(child.memory)} of the {in_words(self._limit)} that a "
            "worker process may have; raise --memory, or give the job more map or reduce tasks",
            MEMORY,
        )
        for pid in descendants:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
