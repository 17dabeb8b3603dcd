"""Shares: whose turn it is when several jobs have tasks for one agent.

No I/O and no clock. Each job has a *level*: the seconds of work it was given here, divided by its
priority. The job at the lowest level is next, so that while two jobs have tasks their shares of the
workers' time are as their priorities, however long the tasks of each are (stride scheduling).

What if a job comes, or has had no tasks for a while? It starts at the level at which the others
are now: nobody saves up. How long tasks of a job take is known once one has ended; until then
they count as GUESS_SECONDS, which is put right afterwards. A job without tasks is not asked
again for EMPTY_SECONDS.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

GUESS_SECONDS: Final = 0.1
EMPTY_SECONDS: Final = 0.25


@dataclass
class _Job:
    priority: float
    level: float
    rests: bool = True  # it has had no tasks when it was last asked, or was not asked yet
    ask_at: float = -math.inf
    guessed: int = 0  # how many tasks it was given of which nobody knew how long they take


class Shares:
    """The shares of one agent.

    Args:
        seconds_of: Says how long the tasks of a job take; None if nobody knows yet.
    """

    def __init__(self, seconds_of: Callable[[str], float | None]) -> None:
        self._seconds_of = seconds_of
        self._jobs: dict[str, _Job] = {}
        self._level = 0.0  # of the job served last, before it was

    def set_jobs(self, priorities: Mapping[str, float]) -> None:
        """Take in which jobs there are, and their priorities."""
        self._jobs = {
            name: self._jobs.get(name) or _Job(priority, self._level)
            for name, priority in priorities.items()
        }

    def turns(self, now: float) -> list[str]:
        """Return the jobs in the order in which to ask for their tasks."""
        for name, job in self._jobs.items():
            if job.guessed and (seconds := self._seconds_of(name)) is not None:
                job.level += job.guessed * (seconds - GUESS_SECONDS) / job.priority
                job.guessed = 0
        asked = [(self._start(job), name) for name, job in self._jobs.items() if job.ask_at <= now]
        return [name for _, name in sorted(asked)]

    def _start(self, job: _Job) -> float:
        return max(job.level, self._level) if job.rests else job.level

    def gave(self, name: str, tasks: int) -> None:
        """Note that a job was given so many turns at the workers."""
        job = self._jobs.get(name)
        if job is None:
            return
        job.level = self._start(job)
        job.rests, job.ask_at = False, -math.inf
        self._level = max(self._level, job.level)
        seconds = self._seconds_of(name)
        if seconds is None:
            job.guessed += tasks
            seconds = GUESS_SECONDS
        job.level += tasks * seconds / job.priority

    def had_none(self, name: str, now: float) -> None:
        """Note that a job had no task for us."""
        job = self._jobs[name]
        job.rests, job.ask_at = True, now + EMPTY_SECONDS
