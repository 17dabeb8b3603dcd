"""What an agent claims of a space: tasks of live jobs in turn, those that are aimed at it first."""

from __future__ import annotations

import math
import time
from collections import Counter
from contextlib import suppress
from typing import Any, Final

from tuplespace import errors
from tuplespace.interface import Claim, Space
from tuplespace.template import OneOf
from workers.shares import Shares
from workers.shelf import PREFETCH_SECONDS, Shelf
from workers.task import ANYWHERE, this_runtime, timeouts_in

CLAIM_LEASE: Final = 30.0
#: How soon an agent that is busy hears of a new job.
_LOOK_SECONDS: Final = 0.5
#: Of the priorities.
_LEAST: Final = 1e-6
#: Whoever has claimed the tuple of this name drives the job.
TOKEN: Final = "driver"  # noqa: S105  # no password
_CLEARED_AT_ONCE: Final = 1000


class Claims:
    """One agent's way to its tasks.

    Args:
        space: Where they are. name, host: The agent's own.
        shelf: Where they go; says how long the tasks of a job take.
        lease: Of a claim, in seconds.
    """

    def __init__(
        self, space: Space, name: str, host: str, shelf: Shelf,
        lease: float = CLAIM_LEASE,
    ) -> None:  # fmt: skip
        self._space, self._own_names, self._lease = space, (name, host), lease
        self._seconds_of = shelf.seconds_of
        self._shares = Shares(shelf.seconds_of)
        self._jobs: dict[str, dict[str, Any]] = {}  # what the live ones say
        self._known_jobs: set[str] = set()  # to the claimer; some may have ended
        self._look_at = 0.0
        #: Those that are to be cleared up after when they have ended.
        self.served_jobs: set[str] = set()
        #: Seconds that a task of a live job may take, if there is a limit.
        self.timeouts: dict[str, float] = {}

    def claim(self, wanted: int) -> list[Claim]:
        """Wait for tasks and claim so many at most; of several jobs, of the one whose turn it is.

        Raises:
            TupleSpaceError: The space is away, or was lost.
        """
        now = time.monotonic()
        if self._known_jobs and now >= self._look_at:
            self._known_jobs = self.live_jobs()
        jobs = {job: about for job, about in self._jobs.items() if not about.get("kept")}
        if len(jobs) < 2:
            return self._claim_own(wanted, None) or self._claim_any(wanted)
        self._shares.set_jobs({job: _priority(about) for job, about in jobs.items()})
        # Those that just had no task are not asked, but one that has one by now is served.
        claims = self._claim_in_turn(wanted, now, jobs) or self._claim_any(1)
        for job, count in Counter(claim.tuple[1] for claim in claims).items():
            self._shares.gave(job, count)
        return claims

    def _claim_in_turn(
        self, wanted: int, now: float, jobs: dict[str, dict[str, Any]]
    ) -> list[Claim]:
        for job in self._shares.turns(now):
            seconds = self._seconds_of(job)
            turn = 1 if seconds is None else max(1, int(PREFETCH_SECONDS / max(seconds, 1e-6)))
            count = min(wanted, turn)
            claims = self._claim_own(count, job) if jobs[job].get("affinity") else []
            if claims := claims or self._claim_at_once(count, job, ANYWHERE):
                return claims
            self._shares.had_none(job, now)
        return []

    def _claim_own(self, wanted: int, job: str | None) -> list[Claim]:
        """Claim what is aimed at this agent, of one job or any, if there is something."""
        if not any(about.get("affinity") for about in self._jobs.values()):
            return []
        return self._claim_at_once(wanted, job, *self._own_names)

    def _claim_any(self, wanted: int) -> list[Claim]:
        return self._claim(wanted, None, None, ANYWHERE, *self._own_names)

    def _claim_at_once(self, wanted: int, job: str | None, *affinities: str) -> list[Claim]:
        with suppress(errors.MatchTimeoutError):
            return self._claim(wanted, 0.0, job, *affinities)
        return []

    def _claim(
        self, wanted: int, timeout: float | None, job: str | None, *affinities: str
    ) -> list[Claim]:
        # With types: whatever else somebody writes under this name is no task, and no trouble.
        template = ("task", job or str, str, int, this_runtime(), OneOf(*affinities), bytes)
        return self._space.claim_many(template, wanted, lease=self._lease, timeout=timeout)

    def of_live_jobs(self, claims: list[Claim]) -> list[Claim]:
        """Return the claims whose jobs have a driver, and end the others' jobs.

        Raises:
            TupleSpaceError: The space is away, or was lost; the claims have been given back.
        """
        jobs = {claim.tuple[1] for claim in claims}
        self.served_jobs |= jobs
        if jobs <= self._known_jobs:
            return claims
        try:
            self._known_jobs = known = self.live_jobs()
            for job in jobs - known:
                dead = [claim for claim in claims if claim.tuple[1] == job]
                self._space.confirm_many([(claim, ()) for claim in dead])
                clear_job(self._space, job)
            return self._own_first([claim for claim in claims if claim.tuple[1] in known])
        except errors.TupleSpaceError:
            self.release(claims)
            raise

    def _own_first(self, claims: list[Claim]) -> list[Claim]:
        """Give some of these back for tasks that are aimed at us, if there are any.

        For the first claims of a job: only then do we know that it aims its tasks.
        """
        others = [claim for claim in claims if claim.tuple[5] == ANYWHERE]
        own = self._claim_own(len(others), None) if others else []
        back = set(others[len(others) - len(own) :])
        self.release(list(back))
        return [*own, *(claim for claim in claims if claim not in back)]

    def release(self, claims: list[Claim]) -> None:
        """Give claims back, if the space is there; else they end with the session."""
        if claims:
            with suppress(errors.TupleSpaceError):
                self._space.release_many(claims)

    def live_jobs(self) -> set[str]:
        """Return the jobs that have a driver."""
        self._look_at = time.monotonic() + _LOOK_SECONDS
        found = self._space.read_all(("job", str, dict))
        self.timeouts = timeouts_in(found)
        self._jobs = {job: about for _, job, about in found}
        return set(self._jobs)


def _priority(about: dict[str, Any]) -> float:
    value = about.get("priority")
    if isinstance(value, (int, float)) and 0 < value < math.inf:
        return min(max(value, _LEAST), 1 / _LEAST)
    return 1.0


def deserted_jobs(space: Space) -> set[str]:
    """Return the jobs that have nobody to drive them; some may wait to be resumed.

    Raises:
        TupleSpaceError: The space is away, or was lost.
    """
    return {value[1] for value in space.read_all((TOKEN, str, int, str))}


def ledger_of(job: str) -> tuple[Any, ...]:
    """Return the template of the tuples of a job's ledger."""
    return ("ledger", job, int, bytes)


def clear_job(space: Space, job: str) -> None:
    """Remove the tuples of a job: tasks first, so that nobody begins another; its token last.

    Raises:
        TupleSpaceError: The space is away, or was lost.
    """
    tasks: tuple[Any, ...] = ("task", job, *[None] * 5)
    results: tuple[Any, ...] = ("result", job, *[None] * 3)
    # Of any types: what somebody else has written under these names goes, too.
    for template in (tasks, results, ("ledger", job, None, None), (TOKEN, job, None, None)):
        with suppress(errors.MatchTimeoutError):
            while True:
                space.take_many(template, _CLEARED_AT_ONCE, timeout=0)
