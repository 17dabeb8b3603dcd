r"""K-means: which clusters do points fall into? A job for each round.

Lloyd's algorithm ("Least squares quantization in PCM", 1982): each point belongs to the centre that
is nearest to it, each centre moves to the mean of its points, and again, until none moves. The input
is a point a line: its coordinates with commas, semicolons or blanks between them.

1. *The points*, once: the lines are read, and equal points become one, with its number. They stay on
   the workers' disks, ``KeepBlocks()``, and are the data of all other steps.
2. *The start.* A sample of the points, the ``top`` of their hashes, goes to the driver. The least of them
   is the first centre, and each next one the point that is farthest from the centres so far.
3. *A round.* The centres are in the closure of *map*, which adds up the points of its split by centre:
   a few sums leave each map task, however many points there are. *Reduce* adds up those sums.

Nothing is left to chance: the same points have the same start wherever they are, and the same job
gives the same centres, byte for byte. But a sum of sums of floats depends, in its last digits, on how
the data is cut: with another M or R the centres may differ by some 1e-12 of their size, and a point that
is as near to two of them may fall to the other. ``page_rank`` shows how that is avoided, and what it costs.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from math import dist, fsum, inf

from jobs.errors import JobOptionsError
from jobs.samples.points import write_points as sample
from jobs.steps import Steps
from mapreduce import (
    InputError,
    KeepBlocks,
    MapReduceJob,
    TextFiles,
    by_key,
    each,
    stable_hash,
    sum_values,
    top,
)

__all__ = ["COLUMNS", "TITLE", "job", "sample", "table"]

TITLE = "Clusters, the largest first"
COLUMNS = ("points", "centre")

Point = tuple[float, ...]
Counted = tuple[Point, int]

_LARGEST = 1e100  # so that no sum of them is infinite
_SAMPLES = 100  # for each cluster, to choose the start from
_SEPARATOR = re.compile(r"\s*[,;]\s*|\s+")


def job(paths: str | Sequence[str], *, clusters: int = 4, rounds: int = 20) -> Steps:
    """Return the steps that find the clusters of the points in the files at these paths or globs.

    Args:
        clusters: How many; fewer if there are fewer different points. rounds: The most there are.

    Raises:
        JobOptionsError: One of them is less than 1.
    """
    if clusters < 1 or rounds < 1:
        raise JobOptionsError(
            f"k_means: clusters and rounds are whole numbers from 1, not {clusters} and {rounds}"
        )
    return _steps(paths, clusters, rounds)


def table(found: list[Counted]) -> list[tuple[int, str]]:
    """Return (number of points, centre) rows, the largest cluster first."""
    rows = sorted(found, key=lambda each: (-each[1], each[0]))
    return [(count, ", ".join(f"{number:.6g}" for number in centre)) for centre, count in rows]


def _steps(paths: str | Sequence[str], clusters: int, rounds: int) -> Steps:
    points = yield MapReduceJob(
        data=TextFiles(paths),
        map=each(_points),
        combine=sum_values,
        reduce=sum_values,
        output=KeepBlocks(),
    )
    some = top(clusters * _SAMPLES)
    chosen = yield MapReduceJob(data=points, map=each(_hashed), combine=some, reduce=some)
    samples = dict(chain.from_iterable(chosen))
    if len(samples) > 1:
        (_, one), (_, other) = samples[min(samples)][0], samples[max(samples)][0]
        raise InputError(
            f"k_means: there are points of {len(one)} and of {len(other)} coordinates, "
            f"as {one} and {other}"
        )
    centres = _apart([point for rows in samples.values() for _, point in rows], clusters)
    counts: list[int] = []
    for _ in range(rounds):
        sums = yield MapReduceJob(data=points, map=partial(_sums, centres), reduce=by_key(_mean))
        moved = dict(chain.from_iterable(sums))
        # A centre to which no point is nearest stays where it is.
        found = [moved.get(number, (centre, 0)) for number, centre in enumerate(centres)]
        before, centres = centres, [centre for centre, _ in found]
        counts = [count for _, count in found]
        if centres == before:
            break
    return [*zip(centres, counts, strict=True)]


def _points(line: str) -> Iterator[Counted]:
    """Yield the point of a line, unless it is blank."""
    if text := line.strip():
        point = tuple(map(float, _SEPARATOR.split(text)))  # two commas in a row: no number
        if not all(-_LARGEST < number < _LARGEST for number in point):
            raise ValueError(f"{line!r:.200} is no point: its coordinates are below {_LARGEST:g}")
        yield point, 1


def _hashed(counted: Counted) -> list[tuple[int, tuple[int, Point]]]:
    """Give a point with its hash, which is as good as random; by how many coordinates it has."""
    point, _ = counted
    return [(len(point), (stable_hash(point), point))]


def _apart(points: list[Point], clusters: int) -> list[Point]:
    """Return the least of these points, and others, each as far as can be from those before."""
    centres: list[Point] = []
    distances = [inf] * len(points)
    farthest = min(points, default=None)
    while farthest is not None and len(centres) < clusters:
        centres.append(farthest)
        distances = [
            min(so_far, dist(point, farthest))
            for so_far, point in zip(distances, points, strict=True)
        ]
        distance, farthest = max(zip(distances, points, strict=True))
        if not distance:
            break
    return centres


def _sums(centres: list[Point], points: Iterable[Counted]) -> dict[int, list[float]]:
    """Return, for each centre that points are nearest to, their number and sums."""
    sums: dict[int, list[float]] = {}
    for point, count in points:
        distances = [dist(point, centre) for centre in centres]
        nearest = distances.index(min(distances))
        row = sums.setdefault(nearest, [0.0] * (1 + len(point)))
        for at, number in enumerate((1.0, *point)):
            row[at] += count * number
    return sums


def _mean(_: int, sums: Iterable[list[float]]) -> Counted:
    """Return the mean of a cluster's points, and how many they are."""
    count, *totals = map(fsum, zip(*sums, strict=True))
    return tuple(total / count for total in totals), int(count)
