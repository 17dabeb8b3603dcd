"""What a map task and a reduce task call in the worker: the user's functions, set to work."""

from __future__ import annotations

from typing import Any, NamedTuple

from mapreduce.allowance import Allowance, allowed
from mapreduce.chained import BlockSplit
from mapreduce.phases import (
    CombineFunction,
    MapFunction,
    Partitioner,
    ReduceFunction,
    listed,
    run_map,
    run_reduce,
)
from mapreduce.results import ResultWork
from mapreduce.shuffle import MapOutput, Source, read_partition, write_partitions
from mapreduce.splits import PlannedSplit
from workers.task import Task
from workers.workplace import Workplace


class MapWork(NamedTuple):
    """A job's map task: one split in, one block file with R parts out."""

    map: MapFunction
    combine: CombineFunction | None
    partition: Partitioner
    reduce_tasks: int

    def __call__(self, split: PlannedSplit, workplace: Workplace, task: Task) -> MapOutput:
        """Run it; the blocks are whole when this returns."""
        if isinstance(split, BlockSplit):
            split = split.read_by(workplace)
        distant_before = workplace.distant_bytes()
        partitions = run_map(
            split, self.map, self.combine, self.partition, self.reduce_tasks, workplace.open_at
        )
        with workplace.block_file(task.job, f"map-{task.number}") as file:
            parts = tuple(write_partitions(file, partitions))
        pairs_in_all = sum(len(keys) for keys, _ in partitions)
        distant = workplace.distant_bytes() - distant_before
        return MapOutput(workplace.location(file.path), parts, pairs_in_all, distant)


class ReduceWork(NamedTuple):
    """A job's reduce task: one partition's blocks in, the reduce function's result out."""

    reduce: ReduceFunction
    merged: bool
    result: ResultWork | None = None

    def __call__(self, sources: list[Source], workplace: Workplace, task: Task) -> Any:
        """Run it."""
        columns = read_partition(sources, workplace)
        with workplace.scratch(task.job) as folder, allowed(Allowance(workplace.memory, folder)):
            return run_reduce(
                task.number, self.reduce, columns, merged=self.merged,
                deliver=lambda result: self._deliver(result, workplace, task),
            )  # fmt: skip

    def _deliver(self, result: Any, workplace: Workplace, task: Task) -> Any:
        if self.result is None:
            return listed(result)
        return self.result(result, workplace, task)
