"""The whole algorithm in one process: what a distributed run must give, byte for byte.

It knows no tasks, blocks or workers, so it is the oracle of the tests, and the place to set a
breakpoint in a map function.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mapreduce.errors import RecordFailedError
from mapreduce.partition import hash_partition
from mapreduce.phases import (
    Columns,
    CombineFunction,
    MapFunction,
    Partitioner,
    ReduceFunction,
    combine_pairs,
    map_split,
    partition_pairs,
    reduce_columns,
    same_reduction,
)
from mapreduce.splits import PlannedSplit


def run_sequential(
    *,
    splits: Sequence[PlannedSplit],
    map: MapFunction,
    reduce: ReduceFunction,
    combine: CombineFunction | None = None,
    partition: Partitioner = hash_partition,
    reduce_tasks: int,
) -> list[Any]:
    """Run a job here and now and return its R reduce results.

    Raises:
        RecordFailedError: A function given to ``each`` or ``by_key`` raised; says on what, and
            where that came from. Whatever other user functions raise comes through as it is.
    """
    outputs = [_run_map(split, map, combine, partition, reduce_tasks) for split in splits]
    merged = same_reduction(combine, reduce)
    return [
        _run_reduce(number, [output[number] for output in outputs], reduce, merged)
        for number in range(reduce_tasks)
    ]


def _run_map(
    split: PlannedSplit,
    map_function: MapFunction,
    combine: CombineFunction | None,
    partition: Partitioner,
    reduce_tasks: int,
) -> list[Columns]:
    try:
        pairs = combine_pairs(combine, map_split(map_function, split.records()))
        return partition_pairs(pairs, partition, reduce_tasks)
    except RecordFailedError as error:
        of_the_split = error.kind == "record" and error.position >= 0
        where = split.locate(error.position) if of_the_split else split.describe()
        raise error.at(where) from error.__cause__


def _run_reduce(
    number: int,
    columns: list[Columns],
    reduce: ReduceFunction,
    merged: bool,
) -> Any:
    try:
        return reduce_columns(reduce, columns, merged=merged)
    except RecordFailedError as error:
        raise error.at(error.where or f"partition {number}") from error.__cause__
