"""Tally: what the tasks that are done took, and have counted (`workers.counter`): each once, whatever died."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from mapreduce.plan import MAP, REDUCE, Plan
from mapreduce.shuffle import MapOutput
from workers.task import OK, Outcome

#: What an outcome says it took is no more than this.
_LONGEST: Final = 1e9


class Tally:
    """Of one job."""

    def __init__(self) -> None:
        #: What the outcome has counted that has settled each task, if anything.
        self._counted: dict[tuple[str, int], dict[str, int | float]] = {}
        self._times = {MAP: _Times(), REDUCE: _Times()}

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
            self._times[outcome.phase].note(outcome)
        return settled and outcome.status == OK

    def times(self, plan: Plan, phase: str) -> Iterator[Timed]:
        """Yield what each task of a phase took that is done; of attempts, what the one took that counts."""
        settled = plan.outputs if phase == MAP else plan.results
        for timed in self._times[phase]:
            if settled[timed.number] is not None:
                yield timed

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


class Timed(NamedTuple):
    """What a task took. It sorts by the seconds."""

    seconds: float
    number: int
    worker: str


class _Times:
    """What the tasks of a phase took, and who ran them: 16 bytes for each, of which there may be many."""

    def __init__(self) -> None:
        self._seconds = array("d")  # NaN: it is not done
        self._who = array("Q")
        self._names: dict[str, int] = {}

    def note(self, outcome: Outcome) -> None:
        """Note what settled a task: if that was no success, it was not done."""
        missing = outcome.number + 1 - len(self._seconds)
        self._seconds.extend([math.nan] * missing)
        self._who.extend([0] * missing)
        sound = 0 <= outcome.seconds <= _LONGEST
        seconds = outcome.seconds if sound else 0.0
        self._seconds[outcome.number] = seconds if outcome.status == OK else math.nan
        self._who[outcome.number] = self._names.setdefault(outcome.worker, len(self._names))

    def __iter__(self) -> Iterator[Timed]:
        names = list(self._names)
        for number, (seconds, who) in enumerate(zip(self._seconds, self._who, strict=True)):
            if not math.isnan(seconds):
                yield Timed(seconds, number, names[who])
