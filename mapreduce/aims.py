"""Aims: the tasks that wait for one worker or host, and when each may run anywhere.

No I/O and no clock, so that a busy and an absent host are lists::

    add --> waits --look: nobody of that name after GRACE_SECONDS, or it has waited long enough--> due
              ^                                                                                     |
              '--------------- missed: a worker has it; it may come back ---------------------------'
"""

from __future__ import annotations

import math
import threading
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from workers.task import Task

#: How long a worker of the right name may take to register.
GRACE_SECONDS: Final = 1.5
_LOOK_SECONDS: Final = 2.0


@dataclass
class _Aim:
    task: Task
    grace_end: float
    deadline: float
    look_at: float
    misses: int = 0


class Aims:
    """Those of one job. Thread-safe; times are seconds of any one clock."""

    def __init__(self) -> None:
        self._aims: dict[int, _Aim] = {}
        self._lifted: set[int] = set()
        self._lock = threading.Lock()
        self._look_at = math.inf

    def __bool__(self) -> bool:
        return bool(self._aims)

    def __contains__(self, number: object) -> bool:
        """Say whether this map may wait for the place it is aimed at."""
        return number in self._aims

    def give_up(self, number: int) -> None:
        """Note that the place this map is aimed at is gone: its next attempt may run anywhere."""
        self._lifted.add(number)

    def is_lifted(self, number: int) -> bool:
        """Say whether this map has been let run anywhere: it is not aimed again."""
        return number in self._lifted

    def add(self, task: Task, wait: float, now: float) -> None:
        """Note that a task is written that is aimed, and how long it may wait."""
        with self._lock:
            grace_end = now + GRACE_SECONDS
            aim = _Aim(task, grace_end, now + wait, min(grace_end, now + wait))
            self._aims[task.number] = aim
            self._look_at = min(self._look_at, aim.look_at)

    def settle(self, number: int) -> None:
        """Note that an attempt at this map has ended."""
        with self._lock:
            self._aims.pop(number, None)
            if not self._aims:
                self._look_at = math.inf

    def seconds_left(self, now: float) -> float:
        """Return how long it is until the next `look`; infinity if there is nothing to look at."""
        return max(0.0, self._look_at - now)

    def look(self, now: float, places: AbstractSet[str]) -> list[Task]:
        """Return the tasks to lift now, of which `lifted` or `missed` is to be told.

        Args:
            places: The names of all workers and their hosts.
        """
        with self._lock:
            due = []
            for aim in self._aims.values():
                if aim.look_at > now:
                    continue
                absent = aim.task.affinity not in places and now >= aim.grace_end
                if now >= aim.deadline or (absent and aim.deadline < math.inf):
                    due.append(aim.task)
                aim.look_at = now + _LOOK_SECONDS
                if aim.deadline > now:
                    aim.look_at = min(aim.look_at, aim.deadline)
            self._look_at = min((aim.look_at for aim in self._aims.values()), default=math.inf)
            return due

    def lifted(self, task: Task) -> None:
        """Note that it may run anywhere now."""
        self._lifted.add(task.number)
        self.settle(task.number)

    def missed(self, task: Task, now: float) -> None:
        """Note that it did not wait: some worker has it. Should that one die, it waits again."""
        with self._lock:
            aim = self._aims.get(task.number)
            if aim is not None:
                aim.misses += 1
                aim.look_at = now + min(_LOOK_SECONDS * 2**aim.misses, 30.0)

    def without_worker(self, places: AbstractSet[str]) -> str:
        """Return the name of a place that a task waits for and that has no worker; else ""."""
        with self._lock:
            wanted = (aim.task.affinity for aim in self._aims.values())
            return next((place for place in wanted if place not in places), "")
