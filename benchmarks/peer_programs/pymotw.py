"""SimpleMapReduce of Python Module of the Week, written anew from its description.

``SimpleMapReduce(map_func, reduce_func, num_workers)``; called with inputs it maps each of them in a
pool, collects the pairs by key in the calling process, and reduces each key in the pool.
"""

from __future__ import annotations

import multiprocessing
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

from benchmarks.peer_programs.program import Order, serve


class SimpleMapReduce:
    """A pool that maps and reduces."""

    def __init__(
        self, map_func: Callable[[Any], Any], reduce_func: Callable[[Any], Any],
        num_workers: int | None = None,
    ) -> None:  # fmt: skip
        self.map_func, self.reduce_func = map_func, reduce_func
        self.pool = multiprocessing.Pool(num_workers)

    def partition(self, pairs: Iterable[tuple[Any, Any]]) -> list[tuple[Any, list[Any]]]:
        """Collect the values of each key."""
        values: defaultdict[Any, list[Any]] = defaultdict(list)
        for key, value in pairs:
            values[key].append(value)
        return list(values.items())

    def __call__(self, inputs: Iterable[Any], chunksize: int = 1) -> list[Any]:
        """Map the inputs and return the list of what was reduced."""
        mapped = self.pool.map(self.map_func, inputs, chunksize=chunksize)
        return self.pool.map(self.reduce_func, self.partition(chain.from_iterable(mapped)))


def words_of(path: str) -> list[tuple[str, int]]:
    """Return a pair for each word of a file."""
    with open(path, encoding="utf-8", newline="\n") as file:
        return [(word, 1) for line in file for word in line.split()]


def total(item: tuple[str, list[int]]) -> tuple[str, int]:
    """Return a word with its count."""
    word, ones = item
    return word, sum(ones)


def lines(mapper: SimpleMapReduce, order: Order) -> list[tuple[str, int]]:
    """Count words."""
    counts: list[tuple[str, int]] = mapper(order.paths)
    return counts


if __name__ == "__main__":
    serve(
        {"lines": lines},
        start=lambda order: SimpleMapReduce(words_of, total, order.workers),
        stop=lambda mapper: mapper.pool.terminate(),
    )
