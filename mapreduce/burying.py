"""Burying: what the driver tells of bad records and of tasks that have failed for good.

::

    ("buried", job, phase, number, about)      leased for a day, for `invoke status`
        about: reason, traceback, worker, attempts, where, record: plain data
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

from mapreduce.engine.interface import Engine
from mapreduce.errors import JobFailedError
from mapreduce.outputs.results import Results
from mapreduce.plan import MAP, REDUCE, Plan
from mapreduce.report import FailedAttempt, Report, SkippedTask
from mapreduce.selecting import locate
from mapreduce.skipping import KEY, SkippedRecord, complaint
from workers.task import Outcome

logger = logging.getLogger(__name__)

_REASON: Final = 300


class Described(Protocol):
    """What can say what it is: one that is still here, or one of a ledger."""

    def describe(self) -> str:
        """See `PlannedSplit.describe`."""


def worked_on(splits: Sequence[Described], phase: str, number: int) -> str:
    """Say what a task is about."""
    return splits[number].describe() if phase == MAP else f"partition {number}"


def failure_of(outcome: Outcome) -> FailedAttempt:
    """Say why an attempt did not end well, in a line."""
    reason = " ".join(str(outcome.details.get("message") or outcome.status).split())
    return FailedAttempt(outcome.phase, outcome.number, outcome.worker, reason[:_REASON])


class Undertaker:
    """Tells what a plan has decided since it was asked last.

    Args:
        job: The job's id. report: Of the job. results: Do without those of skipped reduces.
    """

    def __init__(self, job: str, report: Report, results: Results) -> None:
        self._job, self._report, self._results = job, report, results
        self._splits: Sequence[Any] = ()
        self._told = 0

    def look(self, plan: Plan, engine: Engine, splits: Sequence[Described]) -> Outcome | None:
        """Tell what is new; after each outcome.

        Returns:
            What has ended the job; None: nothing has.
        """
        self._splits = splits
        failure = plan.failure
        if plan.options.skip_bad_records:
            self._report.skipped = [
                record if record.where else record._replace(where=self._about(record, failure))
                for record in plan.skipped_records()
            ]
            if failure is not None and plan.has_too_many_bad:
                message = complaint(plan.options.skip_bad_records, self._report.skipped, failure)
                failure = failure._replace(details={**failure.details, "message": message})
        for outcome in plan.buried[self._told :]:
            self._told += 1
            if outcome is plan.failure and failure is not None:
                self._bury(failure, plan, engine)
            else:
                self._skip(outcome, self._bury(outcome, plan, engine))
        return failure

    def _about(self, record: SkippedRecord, failure: Outcome | None) -> str:
        """Say where a record is of which nobody has told: its worker died of it."""
        if record.phase == MAP and failure is not None:  # else the attempt that skips it will tell
            with suppress(Exception):
                return locate(self._splits[record.number], record.position)
        whole = worked_on(self._splits, record.phase, record.number)
        return whole if record.kind == KEY else f"{record.kind} {record.position} of {whole}"

    def _bury(self, outcome: Outcome, plan: Plan, engine: Engine) -> SkippedTask:
        phase, number, details = outcome.phase, outcome.number, outcome.details
        where = details.get("where") or worked_on(self._splits, phase, number)
        reason = details.get("message", outcome.status)
        about = {
            "reason": reason, "traceback": details.get("traceback", ""), "worker": outcome.worker,
            "attempts": plan.attempts(phase, number), "where": where,
            "record": details.get("record"),
        }  # fmt: skip
        engine.bury(("buried", self._job, phase, number, about))
        return SkippedTask(phase, number, where, reason)

    def _skip(self, outcome: Outcome, task: SkippedTask) -> None:
        logger.warning("job %s goes on without %s %s: %s", self._job, *task[:2], task.reason)
        self._report.skipped_tasks.append(task)
        if outcome.phase == REDUCE:
            self._results.skip(outcome.number)


def job_failed(outcome: Outcome, what: str = "") -> JobFailedError:
    """Return the error of a job that an outcome has ended; `what` its task worked on."""
    details = outcome.details
    return JobFailedError(
        f"{outcome.phase} {outcome.number} failed on {outcome.worker}: "
        f"{details.get('message', outcome.status)}",
        details.get("traceback", ""), details.get("record"), details.get("where") or what,
        outcome.phase, outcome.number,
    )  # fmt: skip
