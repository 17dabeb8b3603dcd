"""Our program: the same jobs as the peers', on a running space or embedded."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any
from zlib import crc32

import mapreduce
from benchmarks.peer_programs.program import Order, serve
from benchmarks.peer_programs.workload import burn, pairs_of_split, summary
from mapreduce import MapReduceJob, Split, TextFiles, by_key, each, sum_values
from mapreduce.engine.space import SpaceEngine
from mapreduce.errors import InvalidJobError
from tuplespace import RemoteSpace, connect


def start(order: Order) -> RemoteSpace:
    """Connect."""
    return connect(order.more["uri"], key_file=order.more["key_file"])


def run(job: MapReduceJob, space: RemoteSpace, order: Order) -> list[Any]:
    """Run a job and return its R results."""
    return job.run(SpaceEngine(space, work_dir=order.more["work_dir"]))


def words(space: RemoteSpace, order: Order) -> Any:
    """Count the words of a split at once."""
    job = MapReduceJob(data=TextFiles(order.paths))
    job.map = lambda lines: Counter(chain.from_iterable(map(str.split, lines)))
    job.reduce = sum_values
    return chain.from_iterable(run(job, space, order))


def lines(space: RemoteSpace, order: Order) -> Any:
    """Count the words line by line."""
    job = MapReduceJob(data=TextFiles(order.paths))
    job.map = each(lambda line: [(word, 1) for word in line.split()])
    job.combine = job.reduce = sum_values
    return chain.from_iterable(run(job, space, order))


def sort(space: RemoteSpace, order: Order) -> Path:
    """Sort records of 100 bytes to files."""
    # By name: what is not there yet is this row's absence, not a failure to import.
    files: Any = TextFiles
    job = MapReduceJob(data=files(order.paths, records=_named("fixed_length")(100)))
    job.map = lambda records: ((record[:10], record) for record in records)
    job.partition = _named("range_partition")()
    job.reduce = lambda pairs: [record for _, record in sorted(pairs)]
    vars(job)["output"] = _named("BytesOutput")(order.folder + "/sorted")
    run(job, space, order)
    return Path(order.folder) / "sorted"


def _named(name: str) -> Any:
    if not hasattr(mapreduce, name):
        raise InvalidJobError(f"{name} is not there yet")
    return getattr(mapreduce, name)


def group(space: RemoteSpace, order: Order) -> Any:
    """Group more than the workers may hold."""
    return _grouped(space, order, lambda key, values: summary(values))


def in_order(space: RemoteSpace, order: Order) -> Any:
    """The same, with a result that only one order of the values gives."""
    return _grouped(space, order, lambda key, values: _chained(values))


def _chained(values: Iterable[bytes]) -> tuple[int, int]:
    count = total = 0
    for value in values:
        count += 1
        total = crc32(value, total)
    return count, total


def _grouped(space: RemoteSpace, order: Order, function: Any) -> Any:
    count = order.pairs
    memory: dict[str, Any] = {"memory": order.memory} if order.memory else {}
    job = MapReduceJob(data=[Split([number]) for number in range(order.splits)], **memory)
    job.map = lambda numbers: chain.from_iterable(pairs_of_split(n, count) for n in numbers)
    job.reduce = by_key(function)
    job.reduce_tasks = 8
    return chain.from_iterable(run(job, space, order))


def compute(space: RemoteSpace, order: Order) -> Any:
    """Compute."""
    count = order.pairs
    job = MapReduceJob(data=list(range(order.splits)), map_tasks=order.splits, reduce_tasks=1)
    job.map = each(lambda number: [(number, burn(number, count))])
    job.reduce = sum_values
    return chain.from_iterable(run(job, space, order))


def no_op(space: RemoteSpace, order: Order) -> list[float]:
    """Map one thing and reduce it, again and again; return what each took."""
    return [_no_op(space, order, number) for number in range(order.pairs)]


def no_op_embedded(space: RemoteSpace, order: Order) -> list[float]:
    """The same, each time with a space and workers of its own."""
    return [_no_op(None, order, number) for number in range(order.pairs)]


def _no_op(space: RemoteSpace | None, order: Order, number: int) -> float:
    job = MapReduceJob(data=[number], map_tasks=1, reduce_tasks=1)
    job.map = lambda numbers: [(number, number) for number in numbers]
    job.reduce = list
    started = time.perf_counter()
    found = job.run() if space is None else run(job, space, order)
    assert found == [[(number, number)]]
    return time.perf_counter() - started


if __name__ == "__main__":
    serve(
        {"words": words, "lines": lines, "sort": sort, "group": group, "in_order": in_order,
         "compute": compute, "no_op": no_op, "no_op_embedded": no_op_embedded},
        start=start, stop=lambda space: space.close(),
    )  # fmt: skip
