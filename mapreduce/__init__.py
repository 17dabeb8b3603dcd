"""MapReduce on a tuple space: lambdas in, results out, whatever dies on the way.

>>> job = MapReduceJob(data=["a rose", "is a rose"], reduce=sum_values, reduce_tasks=1)
>>> job.map = each(lambda line: [(word, 1) for word in line.split()])
>>> job.run_sequential()
[[('a', 2), ('rose', 2), ('is', 1)]]
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mapreduce.errors import (
    InputError,
    InvalidJobError,
    InvalidPairsError,
    JobCancelledError,
    JobFailedError,
    JobHasDriverError,
    JobNotFoundError,
    JobSupersededError,
    LedgerError,
    MapReduceError,
    NoWorkersError,
    OutputError,
    PartitionError,
    ProgramFailedError,
    RecordFailedError,
    UnstableKeyError,
)
from mapreduce.grouping import by_key, each
from mapreduce.inputs.picklefiles import PickleFiles
from mapreduce.inputs.readers import fixed_length, whole_file
from mapreduce.inputs.splits import Split
from mapreduce.inputs.textfiles import TextFiles
from mapreduce.inputs.textlines import json_lines
from mapreduce.outputs.chained import Blocks, KeepBlocks
from mapreduce.outputs.formats import BytesOutput, JsonLinesOutput, PickleOutput, TextOutput
from mapreduce.outputs.parquet import ParquetOutput
from mapreduce.partition import hash_partition, stable_hash
from mapreduce.ranges import range_partition
from mapreduce.reductions import collect, count_values, max_value, min_value, sum_values, top
from mapreduce.report import (
    FailedAttempt,
    Partition,
    PhaseReport,
    Progress,
    Report,
    SkippedTask,
    SlowTask,
    TimedTask,
)
from mapreduce.skipping import SkippedRecord

if TYPE_CHECKING:
    from mapreduce.external import run_program
    from mapreduce.job import MapReduceJob
    from mapreduce.run import JobRun

__all__ = [
    # The job
    "JobRun", "MapReduceJob",
    # What it tells
    "FailedAttempt", "Partition", "PhaseReport", "Progress", "Report", "SkippedRecord", "SkippedTask",
    "SlowTask", "TimedTask",
    # Its data
    "Blocks", "PickleFiles", "Split", "TextFiles", "fixed_length", "json_lines", "whole_file",
    # Its results
    "BytesOutput", "JsonLinesOutput", "KeepBlocks", "ParquetOutput", "PickleOutput", "TextOutput",
    # Its functions
    "by_key", "collect", "count_values", "each", "hash_partition", "max_value", "min_value",
    "range_partition", "run_program", "stable_hash", "sum_values", "top",
    # Errors
    "InputError", "InvalidJobError", "InvalidPairsError", "JobCancelledError", "JobFailedError",
    "JobHasDriverError", "JobNotFoundError", "JobSupersededError", "LedgerError", "MapReduceError",
    "NoWorkersError", "OutputError", "PartitionError", "ProgramFailedError", "RecordFailedError",
    "UnstableKeyError",
]  # fmt: skip


#: What only drivers need, or few jobs, and where it is. A worker process imports this package for what
#: its tasks call, and can do without the rest: that would be half of the time it takes.
_ON_DEMAND = {"JobRun": "mapreduce.run", "MapReduceJob": "mapreduce.job",
                "run_program": "mapreduce.external"}  # fmt: skip


def __getattr__(name: str) -> Any:
    module = _ON_DEMAND.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(module), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_DEMAND})
