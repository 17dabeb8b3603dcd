"""What a map task and a reduce task call in the worker: the user's functions, set to work."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from mapreduce.combining import CombineFunction
from mapreduce.inputs.counted import Reading
from mapreduce.inputs.splits import PlannedSplit
from mapreduce.outputs.results import ResultWork
from mapreduce.partition import Partitioner
from mapreduce.phases import (
    MapFunction,
    ReduceFunction,
    listed,
    run_map,
    run_reduce,
)
from mapreduce.selecting import Selection
from mapreduce.shuffle import MapOutput, Source, read_partition, try_output, write_output
from mapreduce.spilling.allowance import Allowance, allowed
from workers.task import Task
from workers.workplace import Workplace


class MapWork(NamedTuple):
    """A job's map task: one split in, one block file with R parts out.

    Attributes:
        memory: Bytes that one task may hold, if the worker allows more; see `MapReduceJob`.
    """

    map: MapFunction
    combine: CombineFunction | None
    partition: Partitioner
    reduce_tasks: int
    memory: int = sys.maxsize

    def __call__(self, split: PlannedSplit, workplace: Workplace, task: Task) -> MapOutput:
        """Run it; the blocks are whole when this returns."""
        reading = Reading()
        split = split.at_home(task.options.get("home", "")).read_by(workplace)
        distant_before = workplace.distant_bytes()
        name = f"map-{task.number}"
        with _allowed(self.memory, workplace, task), _selected(workplace, task) as selection:
            batches = run_map(
                split, self.map, self.combine, self.partition, self.reduce_tasks,
                workplace.open_at, selection, reading,
            )  # fmt: skip
            if selection is not None and selection.is_probe:
                return try_output(batches, self.reduce_tasks)
            output = write_output(batches, self.reduce_tasks, workplace, task.job, name)
        distant = workplace.distant_bytes() - distant_before
        return output._replace(records=reading.records, distant_bytes=distant)


class ReduceWork(NamedTuple):
    """A job's reduce task: one partition's blocks in, the reduce function's result out.

    Attributes:
        memory: As in `MapWork`.
    """

    reduce: ReduceFunction
    merged: bool
    memory: int = sys.maxsize
    result: ResultWork | None = None

    def __call__(self, sources: list[Source], workplace: Workplace, task: Task) -> Any:
        """Run it."""
        columns = read_partition(sources, workplace)
        deliver: Callable[[Any], Any] = exhaust
        with _allowed(self.memory, workplace, task), _selected(workplace, task) as selection:
            if selection is None or not selection.is_probe:
                deliver = partial(self._deliver, workplace=workplace, task=task)
            return run_reduce(
                task.number, self.reduce, columns, merged=self.merged, deliver=deliver,
                selection=selection,
            )  # fmt: skip

    def _deliver(self, result: Any, workplace: Workplace, task: Task) -> Any:
        if self.result is None:
            return listed(result)
        return self.result(result, workplace, task)


def exhaust(result: Any) -> None:
    """Have a probe's result made, and forget it."""
    if isinstance(result, Iterator):
        deque(result, 0)


@contextmanager
def _selected(workplace: Workplace, task: Task) -> Iterator[Selection | None]:
    """Give what a task is to leave out, if it has been told; its outcome says what that was."""
    if not task.options.get("selects"):
        yield None
        return
    with workplace.track(task.job) as page:
        selection = Selection(task.options, page)
        try:
            yield selection
        except BaseException:
            workplace.notes.update(selection.facts(task.number, failed=True))
            raise
        workplace.notes.update(selection.facts(task.number, failed=False))


@contextmanager
def _allowed(memory: int, workplace: Workplace, task: Task) -> Iterator[None]:
    """Let a task of a job hold what both the job and the worker allow."""
    memory = min(memory, workplace.memory)
    with workplace.scratch(task.job) as folder, allowed(Allowance(memory, folder)):
        yield
