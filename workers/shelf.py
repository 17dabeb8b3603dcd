"""The shelf: claimed tasks between the claimer, the feeders and the clerk of one agent.

::

    claimed --add--> waiting --next_group--> running --done--> answered --forget--> gone
                      |   ^                     |
         overdue, clear   '---- retry_alone ----'
                      v
                 given back

How much to claim: what the workers can start now, and at most PREFETCH_SECONDS of work more for
each, once a task of the phase has shown how long they take. Nothing here does I/O.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from tuplespace.interface import Claim

#: Work a worker may have waiting, in seconds and in tasks. What it costs to be without for the
#: time of a claim, against what others may want meanwhile.
PREFETCH_SECONDS: Final = 0.05
PREFETCH_TASKS: Final = 512
#: Work handed to a worker at once, in seconds and in tasks.
GROUP_SECONDS: Final = 0.002
GROUP_TASKS: Final = 256
#: A task that has waited this long was prefetched in error; others may be idle.
OVERDUE_SECONDS: Final = 0.5
_NEVER: Final = threading.Event()
#: The weight of the newest duration in the running mean.
_WEIGHT: Final = 0.2


class Errand:
    """A claimed task and what becomes of it here."""

    __slots__ = ("alone", "claim", "is_refused", "lost", "phase", "since", "value")

    def __init__(self, claim: Claim, now: float | None = None) -> None:
        self.claim = claim
        self.value: Any = claim.tuple
        self.phase = self.value[1:3]
        self.since = time.monotonic() if now is None else now
        self.alone = self.lost = self.is_refused = False


class Shelf:
    """What one agent has claimed. Thread-safe.

    Args:
        workers: How many processes it feeds.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        # One lock, and a condition for each kind of thread that waits: to wake one up costs more
        # than to run a short task.
        lock = self._lock = threading.Lock()
        self._room_made = threading.Condition(lock)
        self._work_came = threading.Condition(lock)
        self._run_ended = threading.Condition(lock)
        self._filled = threading.Condition(lock)
        self._waiting: deque[Errand] = deque()
        self._running: set[Errand] = set()
        self._answered: set[Errand] = set()
        self._means: dict[tuple[str, str], float] = {}
        self._seconds: dict[str, float] = {}  # of late, by job
        self._phase: tuple[str, str] | None = None
        self._idle = 0
        self._closed = self._hurried = False

    def wait_for_room(self) -> int:
        """Wait until more tasks are wanted and return how many; 0: closed."""
        with self._lock:
            while not self._closed:
                room = self._room()
                if room > 0:
                    return room
                self._room_made.wait()
            return 0

    def _room(self) -> int:
        room = self._idle - len(self._waiting)
        mean = self._means.get(self._phase) if self._phase else None
        if mean is not None:
            ahead = int(min(PREFETCH_TASKS, PREFETCH_SECONDS / max(mean, 1e-6)))
            # In large steps: a claim of one task costs as much as one of a hundred.
            more = self._workers * ahead - len(self._waiting)
            if more > self._workers * ahead // 2:
                room = max(room, more)
        return room

    def add(self, errands: list[Errand]) -> list[Errand]:
        """Put claimed tasks on the shelf; return those to give back at once.

        Of a phase nobody knows yet, each worker gets one.
        """
        with self._lock:
            surplus: list[Errand] = []
            room = max(1, self._idle - len(self._waiting))
            for errand in errands:
                self._phase = errand.phase
                if errand.phase in self._means:
                    self._waiting.append(errand)
                elif room > 0:
                    room -= 1
                    self._waiting.append(errand)
                else:
                    surplus.append(errand)
            if self._closed:
                surplus, self._waiting = [*surplus, *self._waiting], deque()
            self._work_came.notify(len(self._waiting))
            self._filled.notify_all()
            return surplus

    def next_group(self, ended: threading.Event = _NEVER) -> list[Errand] | None:
        """Wait for tasks and return those to send to one worker together; None: closed.

        Args:
            ended: Set when the worker has ended, and `look` called: then there are none for it.
        """
        with self._lock:
            if not self._waiting:
                self._idle += 1
                self._tell_of_room()
                try:
                    while not self._waiting and not self._closed and not ended.is_set():
                        self._work_came.wait()
                finally:
                    self._idle -= 1
            if self._closed:
                return None
            if ended.is_set():
                return []  # if it was us who was told of tasks: `look` tells all the others
            group = [self._waiting.popleft()]
            if not group[0].alone:
                mean = self._means.get(group[0].phase, GROUP_SECONDS)
                size = min(GROUP_TASKS, int(GROUP_SECONDS / max(mean, 1e-6)))
                size = min(size, 1 + len(self._waiting) // self._workers)
                while len(group) < size and self._waiting:
                    # A long task of another job would hold up the answers of those before it.
                    if self._waiting[0].alone or self._waiting[0].phase != group[0].phase:
                        break
                    group.append(self._waiting.popleft())
            self._running.update(group)
            self._tell_of_room()
            return group

    def look(self) -> None:
        """Have everybody who waits for tasks look whether its worker has ended."""
        with self._lock:
            self._work_came.notify_all()

    def _tell_of_room(self) -> None:
        if self._room() > 0:
            self._room_made.notify()

    def done(self, errands: list[Errand], seconds: Iterable[float] = ()) -> None:
        """Note that a worker has answered, each after so many seconds of work; (): it died of it."""
        with self._lock:
            self._running.difference_update(errands)
            self._answered.update(errands)
            total = 0.0
            for errand, each in zip(errands, seconds, strict=False):
                self._learn(errand.phase, each)
                total += each
            if total:
                self._note_seconds(errands[0].phase[0], total / len(errands))
            self._tell_of_room()
            self._tell_of_end()

    def _learn(self, phase: tuple[str, str], seconds: float) -> None:
        mean = self._means.get(phase)
        if mean is None:
            if len(self._means) > 100:
                self._means.clear()
            mean = seconds
        self._means[phase] = mean + _WEIGHT * (seconds - mean)

    def _note_seconds(self, job: str, seconds: float) -> None:
        known = self._seconds.get(job)
        if known is None:
            if len(self._seconds) > 100:
                self._seconds.clear()
            known = seconds
        self._seconds[job] = known + _WEIGHT * (seconds - known)

    def seconds_of(self, job: str) -> float | None:
        """Return how long tasks of this job take, as far as any have ended here of late."""
        with self._lock:
            return self._seconds.get(job)

    def _tell_of_end(self) -> None:
        if not self._running:
            self._run_ended.notify_all()

    def retry_alone(self, errands: list[Errand]) -> None:
        """Put tasks back of which one has ended its worker, each to be run by itself."""
        with self._lock:
            for errand in errands:
                errand.alone = True
            self._put_back(errands)

    def put_back(self, errands: list[Errand]) -> None:
        """Put tasks back that a worker has not started."""
        with self._lock:
            self._put_back(errands)

    def _put_back(self, errands: list[Errand]) -> None:
        self._running.difference_update(errands)
        self._waiting.extendleft(reversed(errands))
        self._work_came.notify(len(errands))
        self._tell_of_end()

    def drop(self, errands: list[Errand]) -> None:
        """Forget running tasks that end with their worker; their claims end with the session."""
        with self._lock:
            self._running.difference_update(errands)
            self._tell_of_end()

    def lose(self, errand: Errand) -> None:
        """Note that the claim has ended: do not start it; if it runs, its result is refused."""
        with self._lock:
            errand.lost = True
            if errand in self._waiting:
                self._waiting.remove(errand)
                self._tell_of_room()

    def forget(self, errands: Iterable[Errand]) -> None:
        """Forget tasks whose results have been confirmed."""
        with self._lock:
            self._answered.difference_update(errands)

    def held(self) -> list[Errand]:
        """Return all whose claims must be renewed."""
        with self._lock:
            return [*self._waiting, *self._running, *self._answered]

    def wait_held(self, timeout: float) -> None:
        """Wait while nothing is held, for at most `timeout` seconds; not if it is closed."""
        with self._lock:
            self._filled.wait_for(
                lambda: self._waiting or self._running or self._answered or self._closed, timeout
            )

    def overdue(self) -> list[Errand]:
        """Take off and return the tasks that have waited too long while the workers are busy."""
        with self._lock:
            limit = time.monotonic() - OVERDUE_SECONDS
            late = {e for e in self._waiting if e.since < limit and not e.alone}
            if late:
                self._waiting = deque(e for e in self._waiting if e not in late)
                for phase in {errand.phase for errand in late}:
                    self._learn(phase, OVERDUE_SECONDS)  # or we would claim them again at once
                self._tell_of_room()
            return list(late)

    @property
    def idle(self) -> int:
        """How many workers have nothing to do while nothing waits."""
        with self._lock:
            return max(0, self._idle - len(self._waiting))

    def clear(self) -> list[Errand]:
        """Take off and return all that waits."""
        with self._lock:
            waiting, self._waiting = list(self._waiting), deque()
            self._tell_of_room()
            return waiting

    def wait_idle(self, timeout: float) -> bool:
        """Wait until nothing runs; False if it still does after `timeout` seconds, or `hurry`."""
        with self._run_ended:
            self._run_ended.wait_for(lambda: not self._running or self._hurried, timeout)
            return not self._running

    def hurry(self) -> None:
        """Make whoever waits for what runs wait no longer."""
        with self._lock:
            self._hurried = True
            self._run_ended.notify_all()

    def close(self) -> None:
        """Make everybody who waits return."""
        with self._lock:
            self._closed = True
            self._room_made.notify_all()
            self._work_came.notify_all()
            self._filled.notify_all()
