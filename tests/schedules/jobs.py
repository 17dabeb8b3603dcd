"""The jobs of the schedules: what they compute follows from their kind, whatever the dice say."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from mapreduce import MapReduceJob, Split, by_key, stable_hash
from schedules.dice import Dice

MAPS = 8
REDUCES = 3
_LINES = 150
#: Results of the kind "large" are blocks, and no longer fit into a tuple.
_LARGE = 300_000
KINDS = ("word count", "index", "large", "files")


def texts() -> list[list[str]]:
    """Return the lines of each split; more than travels with an outcome."""
    chance = random.Random(0)
    words = [f"word-{chance.randrange(10**9)}" for _ in range(900)]
    return [
        [" ".join(chance.choices(words, k=8)) for _ in range(_LINES)] for _ in range(MAPS)
    ]  # fmt: skip


def job_of(kind: str, dice: Dice, output: Path) -> MapReduceJob:
    """Return a job whose tasks roll these dice.

    Args:
        kind: One of KINDS. output: Where files go, if it makes any.
    """
    pairs_of, reduce = _FUNCTIONS[kind]

    def map_function(split: tuple[int, list[str]]) -> Iterator[Any]:
        number, lines = split
        attempt = dice.attempt("map", number)
        attempt.reach("begin")
        for place, line in enumerate(lines):
            if place == len(lines) // 2:
                attempt.reach("middle")
            yield from pairs_of(number, line)
        attempt.reach("end")

    def reduce_function(pairs: Any) -> Any:
        pairs = iter(pairs)
        first = next(pairs)
        attempt = dice.attempt("reduce", stable_hash(first[0]) % REDUCES)
        attempt.reach("begin")
        second = next(pairs)
        attempt.reach("middle")
        result = reduce(chain([first, second], pairs))
        attempt.reach("end")
        return result

    job = MapReduceJob([Split((number, lines)) for number, lines in enumerate(texts())])
    job.map, job.reduce, job.reduce_tasks = map_function, reduce_function, REDUCES
    job.retries = 2  # so often the dice may let a task raise
    if kind == "word count":
        job.combine = by_key(lambda key, values: sum(values))
    if kind == "files":
        job.output = str(output)
    return job


def _ones(number: int, line: str) -> list[tuple[str, int]]:
    return [(word, 1) for word in line.split()]


def _places(number: int, line: str) -> list[tuple[str, tuple[int, int]]]:
    return [(word, (number, place)) for place, word in enumerate(line.split())]


_total = by_key(lambda key, values: sum(values))


def _index(pairs: Any) -> list[tuple[str, list[tuple[int, int]]]]:
    found: dict[str, list[tuple[int, int]]] = {}
    for word, place in pairs:
        found.setdefault(word, []).append(place)
    return [(word, sorted(set(places))) for word, places in found.items()]


def _large(pairs: Any) -> tuple[list[Any], bytes]:
    return _total(pairs), bytes(_LARGE)


_FUNCTIONS: dict[str, tuple[Callable[[int, str], list[Any]], Callable[[Any], Any]]] = {
    "word count": (_ones, _total), "index": (_places, _index), "large": (_ones, _large),
    "files": (_ones, _total),
}  # fmt: skip
