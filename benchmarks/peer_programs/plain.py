"""One plain process: the answer that all others must give, and the least a cluster must beat."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any
from zlib import crc32

from benchmarks.peer_programs.program import Order, serve
from benchmarks.peer_programs.workload import burn, pairs_of_split


def words(_: Any, order: Order) -> Counter[str]:
    """Count words as fast as Python can."""
    counts: Counter[str] = Counter()
    for path in order.paths:
        with open(path, encoding="utf-8", newline="\n") as file:
            counts.update(chain.from_iterable(map(str.split, file)))
    return counts


def lines(_: Any, order: Order) -> dict[str, int]:
    """Count words with a function of one line, as one would write it first."""

    def pairs(line: str) -> list[tuple[str, int]]:
        return [(word, 1) for word in line.split()]

    counts: defaultdict[str, int] = defaultdict(int)
    for path in order.paths:
        with open(path, encoding="utf-8", newline="\n") as file:
            for line in file:
                for word, one in pairs(line):
                    counts[word] += one
    return counts


def sort(_: Any, order: Order) -> Path:
    """Sort lines."""
    with open(order.paths[0], "rb") as file:
        records = file.readlines()
    records.sort()
    path = Path(order.folder) / "sorted"
    with path.open("wb") as output:
        output.writelines(records)
    return path


def group(_: Any, order: Order) -> Iterator[tuple[int, tuple[int, int]]]:
    """Group without keeping a value: only because it knows what will become of them."""
    counts: Counter[int] = Counter()
    totals: Counter[int] = Counter()
    for number in range(order.splits):
        for key, value in pairs_of_split(number, order.pairs):
            counts[key] += 1
            totals[key] += crc32(value)
    return ((key, (count, totals[key])) for key, count in counts.items())


def in_order(_: Any, order: Order) -> Iterator[tuple[int, tuple[int, int]]]:
    """Like `group`, but of the values in their order."""
    counts: Counter[int] = Counter()
    sums: Counter[int] = Counter()
    for number in range(order.splits):
        for key, value in pairs_of_split(number, order.pairs):
            counts[key] += 1
            sums[key] = crc32(value, sums[key])
    return ((key, (count, sums[key])) for key, count in counts.items())


def compute(_: Any, order: Order) -> list[tuple[int, int]]:
    """Compute."""
    return [(number, burn(number, order.pairs)) for number in range(order.splits)]


if __name__ == "__main__":
    serve({"words": words, "lines": lines, "sort": sort, "group": group, "in_order": in_order,
           "compute": compute})  # fmt: skip
