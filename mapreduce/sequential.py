"""The whole algorithm in one process: what a distributed run must give, byte for byte.

It knows no blocks or workers, so it is the oracle of the tests, and the place to set a breakpoint
in a map function. Tasks it knows only as far as bad ones may be skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from mapreduce.columns import Columns, Dealt
from mapreduce.combining import CombineFunction
from mapreduce.errors import JobFailedError
from mapreduce.inputs.splits import PlannedSplit
from mapreduce.options import SKIP, Options
from mapreduce.partition import Partitioner, hash_partition
from mapreduce.phases import (
    MapFunction,
    ReduceFunction,
    listed,
    run_map,
    run_reduce,
    same_reduction,
)
from mapreduce.selecting import Selection
from mapreduce.skipping import Skipping, complaint
from workers.errors import summary, traceback_of
from workers.task import ERROR, OK, Outcome
from workers.tracking import blank_page

_MAP, _REDUCE = "map", "reduce"


def run_sequential(
    *,
    splits: Iterable[PlannedSplit],
    map: MapFunction,
    reduce: ReduceFunction,
    combine: CombineFunction | None = None,
    partition: Partitioner = hash_partition,
    reduce_tasks: int,
    deliver: Callable[[int, Any], Any] | None = None,
    skip: Callable[[int], None] = lambda number: None,
    options: Options = Options(),
) -> list[Any]:
    """Run a job here and now and return its R reduce results.

    Args:
        deliver: Told each partition's number and what its reduce returned, if that goes elsewhere.
        skip: Told the number of each partition whose reduce is skipped; its result is None.
        options: Of them `skip_bad_records`, where functions raise, and `on_bad_task` matter here.

    Raises:
        RecordFailedError: A function given to ``each`` or ``by_key`` raised; says on what, and
            where that came from. Whatever other user functions raise comes through as it is.
        JobFailedError: More records are bad than may be skipped.
    """
    tasks = _Tasks(options)

    def map_task(split: PlannedSplit, selection: Selection | None) -> list[Dealt]:
        return list(run_map(split, map, combine, partition, reduce_tasks, selection=selection))

    held: list[list[Columns]] = [[] for _ in range(reduce_tasks)]
    for number, split in enumerate(splits):
        for batch in tasks.run(_MAP, number, partial(map_task, split)) or []:
            for at, columns in batch.items():
                held[at].append(columns)
    merged = same_reduction(combine, reduce)

    def reduce_task(number: int, selection: Selection | None) -> Any:
        delivered = listed if deliver is None else partial(deliver, number)
        if selection is not None and selection.is_probe:
            delivered = listed
        return run_reduce(
            number, reduce, held[number], merged=merged, deliver=delivered, selection=selection
        )

    results = []
    for number in range(reduce_tasks):
        results.append(tasks.run(_REDUCE, number, partial(reduce_task, number)))
        if (_REDUCE, number) in tasks.skipped:
            skip(number)
    return results


class _Tasks:
    """Runs tasks, one after the other, and leaves out what may be left out.

    Attributes:
        skipped: Those that have failed for good.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._skipping = Skipping(options.skip_bad_records)
        self.skipped: set[tuple[str, int]] = set()

    def run(self, phase: str, number: int, run: Callable[[Selection | None], Any]) -> Any:
        """Return what a task returns; None if it is skipped."""
        try:
            if not self._options.skip_bad_records:
                return run(None)
            return self._without_bad_records((phase, number), run)
        except JobFailedError:
            raise
        except Exception:
            if self._options.on_bad_task != SKIP:
                raise
            self.skipped.add((phase, number))
            return None

    def _without_bad_records(
        self, task: tuple[str, int], run: Callable[[Selection | None], Any]
    ) -> Any:
        skipping, attempt, failure = self._skipping, 0, None
        skipping.track(task)
        while True:
            outcome = Outcome("", *task, attempt, OK, "", 0, 0.0)
            options = skipping.options(task, attempt)
            selection, value = Selection(options, blank_page()), None
            try:
                value = run(selection)
            except (Exception, SystemExit) as error:  # noqa: BLE001  # raised at the end
                failure = failure if selection.is_probe else error
                details = {"message": summary(error), "traceback": traceback_of(error)}
                details |= getattr(error, "outcome_details", {})
                outcome = outcome._replace(status=ERROR, details=details)
            facts = selection.facts(task[1], failed=outcome.status == ERROR)
            outcome = outcome._replace(details=outcome.details | facts)
            if outcome.status == ERROR:
                verdict = skipping.failed(task, outcome)
            elif selection.is_probe:
                verdict = skipping.passed(task, outcome)
            else:
                verdict = skipping.done(task, outcome)
            if skipping.exceeded:
                trace = outcome.details.get("traceback", "")
                raise JobFailedError(
                    complaint(self._options.skip_bad_records, skipping.records(), outcome), trace,
                    phase=task[0], number=task[1],
                ) from failure  # fmt: skip
            if outcome.status == OK and not selection.is_probe:
                return value
            if verdict.counts is not None:
                assert failure is not None
                raise failure
            attempt += 1
