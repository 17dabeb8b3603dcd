"""Stragglers: which tasks to run a second time, and which to tell the user of.

No I/O and no clock, so that a stopped worker is a list of looks. At the end of a phase, when workers
idle and nothing waits, a task that has run `BACKUP_FACTOR` times as long as the median of its phase
gets a backup task; the first outcome wins. A duplicate never takes the place of an ordinary task.

How long has a task run? The agents tell (`Running`). What if the agent itself is stopped, and
tells nothing? Once nothing waits every task under way must be claimed, so the time since we first
saw that is the least it can have run.

What is the median, while most have not ended? Of all tasks of the phase that have begun, taking
for those that run what they have run so far: an empty split that ends at once makes no stragglers
of all others. Of a phase of two, one done and one stuck, it is the one that is done. While none has
ended there is nothing to compare with, and a task is given `LONE_SECONDS`.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Container, Iterable
from typing import Final

from mapreduce.engine.interface import Load
from mapreduce.plan import MAP, Plan
from mapreduce.report import SlowTask

#: A task that takes so many times the median of its phase is run elsewhere, too.
BACKUP_FACTOR: Final = 1.5
#: And a task that takes so many times the median is reported.
SLOW_FACTOR: Final = 10.0
#: What is over sooner is not worth a look.
BACKUP_SECONDS: Final = 0.5
SLOW_SECONDS: Final = 1.0
#: When a task is run elsewhere while no task of its phase has ended.
LONE_SECONDS: Final = 60.0
#: Seconds between two looks, at the end of a phase and before.
END_LOOK_SECONDS: Final = 0.5
LOOK_SECONDS: Final = 1.0


_Teller = tuple[str, int, str, int]


class Stragglers:
    """Those of one job; times are seconds of any one clock.

    Args:
        plan: The job's, which is only read. backup: Whether its user wants backup tasks.
    """

    def __init__(self, plan: Plan, backup: bool = True) -> None:
        self._plan, self._backup = plan, backup
        self._finished: dict[str, array[float]] = {}
        self._look_at = -math.inf
        #: When each task that a worker is said to run began, and how long ago that was then.
        self._told: dict[_Teller, tuple[float, float]] = {}
        #: Since when, at the latest, each task under way runs, and its oldest attempt then.
        self._since: dict[tuple[str, int], tuple[int, float]] = {}
        self._backups: set[tuple[str, int]] = set()
        self._reported: set[tuple[str, int]] = set()

    def finished(self, phase: str, seconds: float) -> None:
        """Note that a task of this phase has ended well, after so many seconds."""
        self._finished.setdefault(phase, array("d")).append(seconds)

    def is_due(self, now: float) -> bool:
        """Say whether it is time for a look: there is something under way, and has been."""
        if not self._plan.under_way:
            self._look_at = -math.inf
        elif self._look_at == -math.inf:
            self._look_at = now + END_LOOK_SECONDS
        return now >= self._look_at > -math.inf

    def look(
        self,
        now: float,
        load: Load,
        aimed: Container[int] = (),
        held: Container[tuple[str, int]] = (),
    ) -> tuple[list[tuple[str, int]], list[SlowTask]]:
        """Return the tasks to back up now, by phase and number, and those to report.

        Args:
            now: The time. load: What the workers do. aimed: The maps that may wait for a certain
                worker, so that one that nobody is said to run need not have been claimed.
            held: The tasks that are not written yet.
        """
        self._look_at = now + (LOOK_SECONDS if load.waiting else END_LOOK_SECONDS)
        workers = self._take_in(now, load)
        ages = self._ages(now, load.waiting, workers, aimed, held)
        backups: list[tuple[float, tuple[str, int]]] = []
        slow = []
        for phase in {phase for phase, _ in ages}:
            mine = {task: age for task, age in ages.items() if task[0] == phase}
            if max(mine.values()) < BACKUP_SECONDS:
                continue
            finished = self._finished.get(phase)
            median = _median_low([*(finished or ()), *mine.values()]) if finished else math.inf
            limit = max(BACKUP_SECONDS, BACKUP_FACTOR * median) if finished else LONE_SECONDS
            backups += [
                (age, task) for task, age in mine.items()
                if age >= limit and len(self._plan.under_way[task]) == 1
            ]  # fmt: skip
            for task, age in mine.items():
                if age > max(SLOW_SECONDS, SLOW_FACTOR * median) and task not in self._reported:
                    self._reported.add(task)
                    slow.append(SlowTask(*task, age, median, workers.get(task, (0.0, ""))[1]))
        wanted = load.idle if self._backup and not load.waiting else 0
        chosen = [task for _, task in sorted(backups, reverse=True)[:wanted]]
        self._backups.update(chosen)
        return chosen, slow

    def _take_in(self, now: float, load: Load) -> dict[tuple[str, int], tuple[float, str]]:
        """Return when the tasks began that somebody is said to run, and who that is."""
        told: dict[_Teller, tuple[float, float]] = {}
        workers: dict[tuple[str, int], tuple[float, str]] = {}
        for each in load.running:
            key = each.agent, each.pid, each.phase, each.number
            began, said = self._told.get(key, (math.inf, math.inf))
            # What a stopped agent has said last stays as it is for a while; less than it has said
            # before is a second attempt.
            if each.seconds < said:
                began = now - each.seconds
            told[key] = began, each.seconds
            task = each.phase, each.number
            if task not in workers or began < workers[task][0]:
                workers[task] = began, f"{each.host}/{each.pid}"
        self._told = told
        return workers

    def _ages(
        self, now: float, waiting: bool, workers: dict[tuple[str, int], tuple[float, str]],
        aimed: Container[int], held: Container[tuple[str, int]],
    ) -> dict[tuple[str, int], float]:  # fmt: skip
        """Return how long each task under way has run, at least, of those that do run."""
        under_way = self._plan.under_way
        tasks: Iterable[tuple[str, int]] = under_way
        if waiting:
            # It may be any of those that we took for claimed, unless it is but a backup of ours.
            pending = any(len(under_way.get(task, ())) == 2 for task in self._backups)
            tasks = {*workers, *(self._since if pending else ())}.intersection(under_way)
        since = {}
        for task in tasks:
            if task in held:  # somebody may still be said to run the attempt before
                continue
            oldest = under_way[task][0]
            known = self._since.get(task)
            if task in workers:
                since[task] = oldest, workers[task][0]
            elif known is not None and known[0] == oldest:
                since[task] = known
            elif task[0] != MAP or task[1] not in aimed:
                since[task] = oldest, now
        self._since = since
        return {task: now - began for task, (_, began) in since.items()}


def _median_low(values: list[float]) -> float:
    # As in `statistics`, which every driver would import for this alone, at 10 ms.
    return sorted(values)[(len(values) - 1) // 2]
