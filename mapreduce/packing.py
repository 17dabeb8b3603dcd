"""Packing: what the user filled in, as the bytes that a job's workers need."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from types import ModuleType
from typing import Any, NamedTuple

from mapreduce.combining import CombineFunction
from mapreduce.errors import InvalidJobError
from mapreduce.inputs.filesplit import FileSplit
from mapreduce.inputs.splits import GivenSplit, Split
from mapreduce.inputs.textfiles import TextFiles
from mapreduce.outputs.results import ResultWork
from mapreduce.partition import Partitioner
from mapreduce.phases import MapFunction, ReduceFunction, same_reduction
from mapreduce.work import MapWork, ReduceWork
from tuplespace.pickles import dump
from workers.modules import collect_modules, is_installed

_RECORDS_LOOKED_AT = 100


class Functions(NamedTuple):
    """What the user fills in, checked.

    Attributes:
        map, combine, partition, reduce: See `MapReduceJob`. memory: Bytes one task may hold.
        modules: More modules of the user's that must travel.
    """

    map: MapFunction
    combine: CombineFunction | None
    partition: Partitioner
    reduce: ReduceFunction
    memory: int
    modules: tuple[str | ModuleType, ...] = ()


@dataclass(frozen=True)
class Work:
    """What a job's workers need, pickled once.

    Attributes:
        map, reduce: The phases' functions, pickled. bundle: The user's modules, packed; None: none.
    """

    map: bytes
    reduce: bytes
    bundle: bytes | None


def pack(
    functions: Functions, reduce_tasks: int, result: ResultWork | None, *,
    records: Iterable[Any] = (), splits: Iterable[Any] = (),
) -> Work:  # fmt: skip
    """Pickle the functions, and the user's own modules that they, records and readers need.

    Args:
        functions: They. reduce_tasks: R. result: What reduces do with their results.
        records: Some of the data. splits: Its splits, planned or the user's own, or some of them.

    Raises:
        InvalidJobError: Something cannot be pickled; says which of them, and why.
        ModuleNotShippableError: A module has no source to send.
    """
    merged = same_reduction(functions.combine, functions.reduce)
    map_work = MapWork(
        functions.map, functions.combine, functions.partition, reduce_tasks, functions.memory
    )
    reduce_work = ReduceWork(functions.reduce, merged, functions.memory, result)
    try:
        pickled = dump(map_work), dump(reduce_work)
    except Exception as error:
        raise InvalidJobError(_what_cannot_be_pickled(functions, error)) from error
    modules = [*functions.modules, *_modules_of_records(records)]
    bundle = collect_modules(b"".join((*pickled, _pickled_readers(splits))), modules)
    return Work(*pickled, bundle.to_bytes() if bundle.digest else None)


def _what_cannot_be_pickled(functions: Functions, error: Exception) -> str:
    for name in ("map", "combine", "partition", "reduce"):
        try:
            dump(getattr(functions, name))
        except Exception as reason:  # noqa: BLE001  # pickling raises whatever it likes
            return (
                f"the {name} function cannot be sent to a worker: {reason}; it, or something it "
                "refers to, cannot be pickled: make such things (files, locks, connections) "
                "inside the function"
            )
    return f"the job's functions cannot be sent to a worker: {error}"


def _modules_of_records(records: Iterable[Any]) -> set[str]:
    """Return the user's own modules that define the types of the first records."""
    names = {type(record).__module__ for record in islice(records, _RECORDS_LOOKED_AT)}
    return {name for name in names - {"__main__"} if not is_installed(name)}


def _pickled_readers(splits: Iterable[Any]) -> bytes:
    """Return what may name modules of the user's, beside the functions: the readers of records."""
    holders = (split.data if isinstance(split, (GivenSplit, Split)) else split for split in splits)
    held = (FileSplit, TextFiles)
    readers = {id(each.reader): each.reader for each in holders if isinstance(each, held)}
    try:
        return dump(list(readers.values()))
    except Exception as error:
        raise InvalidJobError(f"records= cannot be sent to a worker: {error}") from error
