"""What a map task and a reduce task call in the worker: the user's functions, set to work."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from mapreduce.combining import CombineFunction
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
from mapreduce.shuffle import MapOutput, Source, read_partition, write_output
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
        split = split.at_home(task.options.get("home", "")).read_by(workplace)
        distant_before = workplace.distant_bytes()
        batches = run_map(
            split, self.map, self.combine, self.partition, self.reduce_tasks, workplace.open_at
        )
        name = f"map-{task.number}"
        with _allowed(self.memory, workplace, task):
            output = write_output(batches, self.reduce_tasks, workplace, task.job, name)
        return output._replace(distant_bytes=workplace.distant_bytes() - distant_before)


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
        with _allowed(self.memory, workplace, task):
            return run_reduce(
                task.number, self.reduce, columns, merged=self.merged,
                deliver=lambda result: self._deliver(result, workplace, task),
            )  # fmt: skip

    def _deliver(self, result: Any, workplace: Workplace, task: Task) -> Any:
        if self.result is None:
            return listed(result)
        return self.result(result, workplace, task)


@contextmanager
def _allowed(memory: int, workplace: Workplace, task: Task) -> Iterator[None]:
    """Let a task of a job hold what both the job and the worker allow."""
    memory = min(memory, workplace.memory)
    with workplace.scratch(task.job) as folder, allowed(Allowance(memory, folder)):
        yield
