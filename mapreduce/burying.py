"""Burying: what the driver tells of bad records and of tasks that have failed for good.

::

    ("buried", job, phase, number, about)      leased for a day, for `invoke status`
        about: reason, traceback, worker, attempts, where, record: plain data
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from mapreduce.engine.interface import Engine
from mapreduce.outputs.results import Results
from mapreduce.plan import REDUCE, Plan
from mapreduce.report import Report, SkippedTask
from workers.task import Outcome

logger = logging.getLogger(__name__)


class Undertaker:
    """Tells what a plan has decided since it was asked last.

    Args:
        job: The job's id. report: Of the job. results: Do without those of skipped reduces.
        worked_on: Says what the task of a phase and number works on.
    """

    def __init__(
        self, job: str, report: Report, results: Results, worked_on: Callable[[str, int], str]
    ) -> None:
        self._job, self._report, self._results = job, report, results
        self._worked_on = worked_on
        self._told = 0

    def look(self, plan: Plan, engine: Engine) -> None:
        """Tell what is new; after each outcome."""
        if plan.skips_records:
            self._report.skipped = [
                record if record.where else record._replace(where=self._about(record))
                for record in plan.skipped_records()
            ]
        for outcome in plan.buried[self._told :]:
            self._told += 1
            self._bury(outcome, plan, engine)

    def _about(self, record: Any) -> str:
        whole = self._worked_on(record.phase, record.number)
        return whole if record.kind == "key" else f"{record.kind} {record.position} of {whole}"

    def _bury(self, outcome: Outcome, plan: Plan, engine: Engine) -> None:
        phase, number, details = outcome.phase, outcome.number, outcome.details
        where = self._worked_on(phase, number)
        reason = details.get("message", outcome.status)
        engine.bury((
            "buried", self._job, phase, number,
            {
                "reason": reason, "traceback": details.get("traceback", ""),
                "worker": outcome.worker, "attempts": plan.attempts(phase, number),
                "where": details.get("where") or where, "record": details.get("record"),
            },
        ))  # fmt: skip
        if outcome is plan.failure:
            return
        logger.warning("job %s goes on without %s %s: %s", self._job, phase, number, reason)
        self._report.skipped_tasks.append(SkippedTask(phase, number, where, reason))
        if phase == REDUCE:
            self._results.skip(number)
