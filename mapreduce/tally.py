"""Tally: what the user's code has counted (`workers.counter`), each task once, whatever died."""

from __future__ import annotations

import math
from collections import Counter

from mapreduce.plan import MAP, Plan
from mapreduce.shuffle import MapOutput
from workers.task import OK, Outcome


class Tally:
    """Of one job."""

    def __init__(self) -> None:
        #: What the outcome has counted that has settled each task, if anything.
        self._counted: dict[tuple[str, int], dict[str, int | float]] = {}

    def note(self, plan: Plan, outcome: Outcome, output: MapOutput | None) -> bool:
        """Take in an outcome that the plan has just decided on; it counts if it settled its task.

        Returns:
            Whether it did so well: a task that is skipped was not done.
        """
        task = (outcome.phase, outcome.number)
        if outcome.phase == MAP:
            settled = output is not None and plan.outputs[outcome.number] is output
        else:
            settled = plan.results[outcome.number] is outcome
        if settled:
            self._counted.pop(task, None)
            if outcome.counters:
                self._counted[task] = outcome.counters
        return settled and outcome.status == OK

    def sums(self, plan: Plan) -> Counter[str]:
        """Return the sums over the tasks that are done."""
        sums: Counter[str] = Counter()
        for (phase, number), counts in sorted(self._counted.items()):
            if (plan.outputs if phase == MAP else plan.results)[number] is not None:
                for name, count in counts.items():
                    try:
                        sums[name] += count  # type: ignore[assignment]  # or float
                    except OverflowError:  # an int that no float can hold, and a float
                        sums[name] = math.inf  # type: ignore[assignment]
        return sums
