"""What a worker does in a map task and in a reduce task: pure functions from pairs to pairs.

::

    records --map_split--> pairs --combined--> pairs --deal--> columns of up to R partitions
    columns of all maps, one partition --reduce_columns--> the partition's result

A partition's pairs travel as *columns*, a list of keys beside a list of values: they pickle twice
as fast as a list of pairs. Order is kept everywhere: pairs come out as the map function made them,
and reduce sees those of map 0 before those of map 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from mapreduce.columns import Columns, Dealt
from mapreduce.combining import CombineFunction, combined
from mapreduce.dealing import deal
from mapreduce.errors import RecordFailedError
from mapreduce.inputs.counted import Reading
from mapreduce.inputs.filesplit import OpenAt
from mapreduce.inputs.splits import PlannedSplit
from mapreduce.pairs import Pair, as_pairs, pairs_of_columns
from mapreduce.partition import Partitioner
from mapreduce.reductions import Reduction
from mapreduce.selecting import Selection

MapFunction = Callable[[Any], Iterable[Pair] | Mapping[Any, Any]]
ReduceFunction = Callable[[Iterable[Pair]], Any]


def run_map(
    split: PlannedSplit,
    map: MapFunction,
    combine: CombineFunction | None,
    partition: Partitioner,
    R: int,  # noqa: N803 - R, as in the paper
    open_at: OpenAt | None = None,
    selection: Selection | None = None,
    reading: Reading | None = None,
) -> Iterator[Dealt]:
    """Do a whole map task: one split in, R partitions out.

    Args:
        selection: Which records to leave out; None: none.
        reading: Notes how many records are read.

    Yields:
        The columns of partitions, see `deal`; more than once if the pairs are too many to hold them all.
        Those of a later batch come after those of an earlier one.

    Raises:
        RecordFailedError: A function given to ``each`` raised; says on what record, and where that
            came from. Whatever else the user's functions raise comes through as it is.
    """
    try:
        reading = reading or Reading()
        if selection is None:
            records = reading.of(split.records(open_at))
        else:
            records = reading.of(selection.records_of(split, open_at))
            map, records = selection.of_map(map, records)
        pairs = combined(combine, map_split(map, records))
        yield from deal(pairs, partition, R)
    except RecordFailedError as error:
        of_the_split = error.kind == "record" and error.position >= 0
        where = split.locate(error.position, open_at) if of_the_split else split.describe()
        raise error.at(where) from error.__cause__


def listed(result: Any) -> Any:
    """Return a generator's items as a list, since they have to travel; all else as it is."""
    return list(result) if isinstance(result, Iterator) else result


def run_reduce(
    number: int, reduce: ReduceFunction, columns: Iterable[Columns], *, merged: bool,
    deliver: Callable[[Any], Any] = listed, selection: Selection | None = None,
) -> Any:  # fmt: skip
    """Do a whole reduce task: one partition in, its result out; see `reduce_columns`.

    Args:
        deliver: Gets what reduce returned, and returns the task's own result.
        selection: Which keys and pairs to leave out; None: none.

    Raises:
        RecordFailedError: A function given to ``by_key`` raised; says on what key.
    """
    try:
        if selection is not None:
            reduce, columns = selection.of_reduce(reduce, columns)
        return deliver(reduce_columns(reduce, columns, merged=merged))
    except RecordFailedError as error:
        raise error.at(error.where or f"partition {number}") from error.__cause__


def map_split(map_function: MapFunction, records: Any) -> Iterator[Pair]:
    """Call the map function with the records of one split and return its pairs.

    Raises:
        InvalidPairsError: It returned neither an iterable nor a mapping.
    """
    return iter(as_pairs(map_function(records), map_function))


def reduce_columns(
    reduce: ReduceFunction, columns_in_map_order: Iterable[Columns], *, merged: bool = False
) -> Any:
    """Call reduce once, with all pairs of one partition as a one-pass iterable.

    Args:
        reduce: The reduce function.
        columns_in_map_order: The partition's columns from map 0, map 1, and so on.
        merged: Whether the pairs are partials of ``reduce`` itself; see ``same_reduction``.

    Returns:
        What reduce returned; it may be a generator that goes through the columns.
    """
    pairs = pairs_of_columns(columns_in_map_order)
    return reduce.merge(pairs) if merged and isinstance(reduce, Reduction) else reduce(pairs)


def same_reduction(combine: object, reduce: object) -> bool:
    """Say whether combine makes partials that reduce has to merge: one ready-made reduction."""
    return isinstance(combine, Reduction) and combine == reduce
