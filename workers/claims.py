"""What an agent claims of a space: tasks of live jobs, those that are aimed at it first."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from tuplespace import errors
from tuplespace.interface import Claim, Space
from tuplespace.template import OneOf
from workers.task import ANYWHERE, this_runtime

CLAIM_LEASE: Final = 30.0
#: Whoever has claimed the tuple of this name drives the job.
TOKEN: Final = "driver"  # noqa: S105  # no password
_CLEARED_AT_ONCE: Final = 1000


class Claims:
    """One agent's way to its tasks.

    Args:
        space: Where they are. name, host: The agent's own.
    """

    def __init__(self, space: Space, name: str, host: str) -> None:
        self._space, self._own_names = space, (name, host)
        self._aiming = False  # whether a live job says that some of its tasks have an affinity
        self._known_jobs: set[str] = set()  # some may have ended
        #: Those that are to be cleared up after when they have ended.
        self.served_jobs: set[str] = set()

    def claim(self, wanted: int) -> list[Claim]:
        """Wait for tasks and claim so many at most.

        Raises:
            TupleSpaceError: The space is away, or was lost.
        """
        return self._claim_own(wanted) or self._claim(wanted, None, ANYWHERE, *self._own_names)

    def _claim_own(self, wanted: int) -> list[Claim]:
        if self._aiming:
            with suppress(errors.MatchTimeoutError):
                return self._claim(wanted, 0.0, *self._own_names)
        return []

    def _claim(self, wanted: int, timeout: float | None, *affinities: str) -> list[Claim]:
        # With types: whatever else somebody writes under this name is no task, and no trouble.
        template = ("task", str, str, int, this_runtime(), OneOf(*affinities), bytes)
        return self._space.claim_many(template, wanted, lease=CLAIM_LEASE, timeout=timeout)

    def of_live_jobs(self, claims: list[Claim]) -> list[Claim]:
        """Return the claims whose jobs have a driver, and end the others' jobs.

        Raises:
            TupleSpaceError: The space is away, or was lost; the claims have been given back.
        """
        jobs = {claim.tuple[1] for claim in claims}
        if jobs <= self._known_jobs:
            return claims
        try:
            self.served_jobs |= jobs
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
        own = self._claim_own(len(others)) if others else []
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
        found = self._space.read_all(("job", str, dict))
        self._aiming = any(about.get("affinity") for *_, about in found)
        return {value[1] for value in found}


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
    for template in (tasks, results, ledger_of(job), (TOKEN, job, int, str)):
        with suppress(errors.MatchTimeoutError):
            while True:
                space.take_many(template, _CLEARED_AT_ONCE, timeout=0)
