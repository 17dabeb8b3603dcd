"""Word counts: over a split, and line by line; how they scale from one worker to two."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.mapreduce import inputs
from benchmarks.mapreduce.cluster import cluster
from benchmarks.mapreduce.compare import Found, Row, compare, rows, show_memory
from benchmarks.mapreduce.programs import Program
from benchmarks.mapreduce.scale import COMMAND, Scale
from benchmarks.measure import against, figure, goal, ratio, show
from benchmarks.peer_programs.program import Order

PLAIN = Program("one plain process", "benchmarks.peer_programs.plain")
BARE = Program("two bare processes", "benchmarks.peer_programs.bare")
RAY = Program("Ray, by hand", "benchmarks.peer_programs.on_ray", "ray")
SPARK = Program("PySpark RDD", "benchmarks.peer_programs.on_spark", "pyspark")
DASK = Program("Dask bag", "benchmarks.peer_programs.on_dask", "distributed")
PYMOTW = Program("SimpleMapReduce", "benchmarks.peer_programs.pymotw")
SPLIT, LINE = "tuplemill, a Counter over a split", "tuplemill, each line"


def tables(scale: Scale) -> None:
    """Print them."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        paths = inputs.text(folder, scale.megabytes)
        per_split, per_line = by_split(scale, paths), by_line(scale, paths)
        if per_split.both(SPLIT, PLAIN.name) and LINE in per_line.seconds:
            mine, theirs = per_line.seconds[LINE], per_split.seconds[SPLIT]
            pairs = min(len(mine), len(theirs))
            mine, theirs = mine[:pairs], theirs[:pairs]
            show(
                "Line by line beside a Counter over a split", COMMAND,
                [("each line", figure(mine, "s"), against(mine, theirs, "over a split"),
                  goal(ratio(mine, theirs), "<=", 2, "x over a split"))], pairs,
            )  # fmt: skip
        scaling(scale, paths)
        for path in paths:
            Path(path).unlink()
        slow(scale, inputs.text(folder, scale.slow_megabytes))


def by_split(scale: Scale, paths: list[str]) -> Found:
    """Row 1 of the contract's jobs."""
    with cluster(2) as running:
        programs = [PLAIN, BARE, RAY, running.program(SPLIT)]
        found = compare(programs, Order("words", paths, ""), scale.rounds, scale.limit)
        table: list[Row] = rows(found, programs, SPLIT, [(RAY.name, 1.0), (BARE.name, 1.1)])
        table.append(("tuplemill's start", f"{running.start_seconds:.1f} s", "", ""))
    title = f"Word count of {scale.megabytes:g} MB, two workers"
    show(f"{title}: a Counter over a split", COMMAND, table, scale.rounds)
    show_memory(title, found, programs)
    return found


def by_line(scale: Scale, paths: list[str]) -> Found:
    """Row 2."""
    with cluster(2) as running:
        programs = [PLAIN, SPARK, running.program(LINE)]
        found = compare(programs, Order("lines", paths, ""), scale.long_rounds, scale.limit)
        table = rows(found, programs, LINE, [(SPARK.name, 0.3)])
    title = f"Word count of {scale.megabytes:g} MB, two workers, line by line"
    show(title, COMMAND, table, scale.long_rounds)
    show_memory(title, found, programs)
    return found


def slow(scale: Scale, paths: list[str]) -> None:
    """Row 2 with the peers that take too long for all of it."""
    with cluster(2) as running:
        programs = [PLAIN, PYMOTW, DASK, running.program(LINE)]
        found = compare(programs, Order("lines", paths, ""), 1, scale.limit)
        table = rows(found, programs, LINE)
    title = f"Line by line with the slower peers, which get {scale.slow_megabytes:g} MB only"
    show(title, COMMAND, table, 1)
    show_memory(title, found, programs)


def scaling(scale: Scale, paths: list[str]) -> None:
    """One worker, then two; beside them what the machine makes of two bare processes."""
    table = []
    bare = Program("bare", BARE.module)
    jobs = [
        ("a Counter over a split", Order("words", paths, ""), [bare]),
        ("each line", Order("lines", paths, ""), []),
        (
            "computing, hardly any data",
            Order("compute", [], "", splits=16, pairs=scale.steps),
            [bare],
        ),
    ]
    with cluster(1) as one, cluster(2) as two:
        for what, order, peers in jobs:
            one_worker = compare([one.program("ours"), *peers], order._replace(workers=1),
                                 scale.long_rounds, scale.limit)  # fmt: skip
            two_workers = compare([two.program("ours"), *peers], order._replace(workers=2),
                                  scale.long_rounds, scale.limit)  # fmt: skip
            for name in ("ours", *(peer.name for peer in peers)):
                label = f"{what}, {'tuplemill' if name == 'ours' else 'bare processes'}"
                failed = one_worker.absent.get(name) or two_workers.absent.get(name)
                if failed:
                    table.append((label, failed, ""))
                    continue
                alone, both = one_worker.seconds[name], two_workers.seconds[name]
                table.append((label, f"{figure(alone, 's')} alone, {figure(both, 's')} two",
                              f"{ratio(alone, both):.2f} x as fast as one"))  # fmt: skip
    show("From one worker to two", COMMAND, table, scale.long_rounds)
