"""What a map task and a reduce task call in the worker: the user's functions, set to work."""

from __future__ import annotations

from typing import Any, NamedTuple

from mapreduce.errors import RecordFailedError
from mapreduce.phases import (
    CombineFunction,
    MapFunction,
    Partitioner,
    ReduceFunction,
    combine_pairs,
    map_split,
    partition_pairs,
    reduce_columns,
)
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
        distant_before = workplace.distant_bytes()
        try:
            pairs = combine_pairs(
                self.combine, map_split(self.map, split.records(workplace.open_at))
            )
            partitions = partition_pairs(pairs, self.partition, self.reduce_tasks)
        except RecordFailedError as error:
            of_the_split = error.kind == "record" and error.position >= 0
            where = (
                split.locate(error.position, workplace.open_at)
                if of_the_split
                else split.describe()
            )
            raise error.at(where) from error.__cause__
        with workplace.block_file(task.job, f"map-{task.number}") as file:
            parts = tuple(write_partitions(file, partitions))
        pairs_in_all = sum(len(keys) for keys, _ in partitions)
        distant = workplace.distant_bytes() - distant_before
        return MapOutput(workplace.location(file.path), parts, pairs_in_all, distant)


class ReduceWork(NamedTuple):
    """A job's reduce task: one partition's blocks in, the reduce function's result out."""

    reduce: ReduceFunction
    merged: bool

    def __call__(self, sources: list[Source], workplace: Workplace, task: Task) -> Any:
        """Run it."""
        columns = read_partition(sources, workplace)
        try:
            return reduce_columns(self.reduce, columns, merged=self.merged)
        except RecordFailedError as error:
            raise error.at(error.where or f"partition {task.number}") from error.__cause__
