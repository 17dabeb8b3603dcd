"""Reporting: what a driver tells of its job: `Progress` at any time, `Report` when a phase has ended."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nlargest

from mapreduce.burying import Described, worked_on
from mapreduce.pace import Pace
from mapreduce.plan import MAP, REDUCE, Plan
from mapreduce.report import PhaseReport, Progress, Report, TimedTask
from mapreduce.tally import Tally

_SLOWEST = 3


class Reporter:
    """That of one job; times are seconds of any one clock.

    Args:
        report: What it fills in. began: When the driver did.
    """

    def __init__(self, report: Report, began: float) -> None:
        self._report, self.began = report, began
        self._pace = Pace()
        self._phase = MAP
        #: How many maps were done, ordered and had failed, when they were reported.
        self._maps = (0, 0, 0)

    def progress(self, plan: Plan, notice: str, now: float) -> Progress:
        """Return how far the job is; at once, and for any thread."""
        done = plan.maps_done, plan.reduces_done  # before the totals, which only grow
        ended = bool(plan.results) and plan.done
        return Progress(
            done[0], len(plan.outputs), done[1], len(plan.results), plan.failed_attempts, notice,
            self._report.seconds or now - self.began, plan.volume.records, plan.volume.bytes,
            0.0 if ended else self._pace.seconds_left(now),
        )  # fmt: skip

    def look(self, plan: Plan, tally: Tally, splits: Sequence[Described], now: float) -> None:
        """See how far the plan is, now and then; when the maps are done, report of them."""
        if plan.more_maps:
            return  # nobody knows how many there will be
        phase = MAP if plan.maps_to_do else REDUCE
        if self._pace.is_due(phase, now):
            if phase == MAP:
                self._pace.note(phase, now, plan.maps_done, len(plan.outputs))
            else:
                self._pace.note(phase, now, *_reduced(plan))
        if phase == REDUCE != self._phase:
            self.fill(plan, tally, splits)
        self._phase = phase

    def fill(self, plan: Plan, tally: Tally, splits: Sequence[Described]) -> None:
        """Fill in all of the report that is known."""
        report, volume = self._report, plan.volume
        report.pairs, report.shuffle_bytes = volume.pairs, volume.bytes
        report.distant_bytes = volume.distant_bytes
        report.partitions = volume.partitions()
        maps = plan.maps_done, plan.ordered[MAP], plan.failed[MAP]
        if maps != self._maps:  # there may be many, and mostly nothing is new at the end
            self._maps, report.map = maps, _phase_report(MAP, plan, tally, splits)
            report.map.records, report.map.bytes = volume.records, volume.bytes
        report.reduce = _phase_report(REDUCE, plan, tally, splits)
        read = [
            each for each, result in zip(report.partitions, plan.results, strict=False)
            if result is not None
        ]  # fmt: skip
        report.reduce.records = sum(each.pairs for each in read)
        report.reduce.bytes = sum(each.bytes for each in read)


def _reduced(plan: Plan) -> tuple[int, int]:
    """Return how much of the reduces' work is done, and of how much: bytes, and one for each."""
    sizes = plan.volume.sizes
    done = sum(size for size, result in zip(sizes, plan.results, strict=True) if result is not None)
    return done + plan.reduces_done, sum(sizes) + len(sizes)


def _phase_report(phase: str, plan: Plan, tally: Tally, splits: Sequence[Described]) -> PhaseReport:
    times = list(tally.times(plan, phase))
    slowest = [
        TimedTask(phase, each.number, each.seconds, each.worker,
                  worked_on(splits, phase, each.number))
        for each in nlargest(_SLOWEST, times)
    ]  # fmt: skip
    seconds = sorted(each.seconds for each in times)
    middle = len(seconds) // 2
    median = (seconds[middle] + seconds[~middle]) / 2 if seconds else 0.0
    return PhaseReport(
        len(times), plan.ordered[phase], plan.failed[phase], sum(seconds), median, slowest
    )
