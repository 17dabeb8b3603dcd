"""The whole algorithm in one process: what a distributed run must give, byte for byte.

It knows no tasks, blocks or workers, so it is the oracle of the tests, and the place to set a
breakpoint in a map function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from mapreduce.combining import CombineFunction
from mapreduce.inputs.splits import PlannedSplit
from mapreduce.partition import Partitioner, hash_partition
from mapreduce.phases import (
    MapFunction,
    ReduceFunction,
    listed,
    run_map,
    run_reduce,
    same_reduction,
)


def run_sequential(
    *,
    splits: Iterable[PlannedSplit],
    map: MapFunction,
    reduce: ReduceFunction,
    combine: CombineFunction | None = None,
    partition: Partitioner = hash_partition,
    reduce_tasks: int,
    deliver: Callable[[int, Any], Any] | None = None,
) -> list[Any]:
    """Run a job here and now and return its R reduce results.

    Args:
        deliver: Told each partition's number and what its reduce returned, if that goes elsewhere.

    Raises:
        RecordFailedError: A function given to ``each`` or ``by_key`` raised; says on what, and
            where that came from. Whatever other user functions raise comes through as it is.
    """
    batches = [
        batch for split in splits for batch in run_map(split, map, combine, partition, reduce_tasks)
    ]
    merged = same_reduction(combine, reduce)
    return [
        run_reduce(
            number, reduce, [batch[number] for batch in batches], merged=merged,
            deliver=listed if deliver is None else partial(deliver, number),
        )
        for number in range(reduce_tasks)
    ]  # fmt: skip
