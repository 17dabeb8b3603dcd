"""The watch: ends a worker process that uses more memory than it may, or more time."""

from __future__ import annotations

import math
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
#: How long it does not look at all while there is nothing to look at.
_REST_SECONDS: Final = 5.0
#: At most this share of a core goes into looking.
_EFFORT: Final = 0.05
#: A worker that still holds this share of its limit when its task has ended leaves the next too little.
_FULL: Final = 0.8
#: A worker that has been asked to give back what it has not begun does so within this time.
_RECALL_SECONDS: Final = 0.5


class Watch:
    """Looks at running worker processes, as often as what they have left demands.

    Args:
        limit: Bytes that each may use. timeout: Returns the seconds that a task of a job may
            take, None if there is no limit. running: Returns those that run something.
        rest: Waits for so many seconds at most, as long as there is nothing to run.
        ended: Set when there is no more need.
    """

    def __init__(
        self, limit: int, timeout: Callable[[str], float | None],
        running: Callable[[], Iterable[Child]], rest: Callable[[float], None],
        ended: threading.Event,
    ) -> None:  # fmt: skip
        self._limit, self._timeout, self._running, self._ended = limit, timeout, running, ended
        self._rest = rest

    def watch(self) -> None:
        """Look, until it is told to stop."""
        pause = _SHORTEST
        while not self._ended.wait(pause):
            self._rest(_REST_SECONDS)
            began = time.thread_time()
            pause = max(self._look(), (time.thread_time() - began) / _EFFORT)

    def is_full(self, child: Child) -> bool:
        """Say whether a worker that runs nothing holds so much that it had better be replaced."""
        full = _FULL * self._limit
        return child.memory > full and memory_of(child.pid, int(full)) > full

    def _look(self) -> float:
        """Look at all once; return when to look again, in seconds."""
        left = self._limit  # what a task has that starts right now
        soonest = _LONGEST
        for child in self._running():
            soonest = min(soonest, self._seconds_left(child))
            child.memory = memory_of(child.pid, self._limit)
            if child.memory > self._limit:
                self._end(child)
            else:
                left = min(left, self._limit - child.memory)
        return max(min(left / _FASTEST, soonest), _SHORTEST)

    def _seconds_left(self, child: Child) -> float:
        """End a worker whose task has run too long; return how long others still may."""
        hand = child.in_hand
        # Which task it is that runs is not known while the worker does not answer to a recall: it
        # is no innocent one that holds the GIL. They are run again one by one, and at no cost.
        limits = [limit for task in hand.tasks if (limit := self._timeout(task[0])) is not None]
        if not limits:
            return math.inf
        left = hand.since + min(limits) - time.monotonic()
        if left < 0 and (len(hand.tasks) == 1 or left < -_RECALL_SECONDS):
            child.overran(hand, min(limits))
        return left

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
