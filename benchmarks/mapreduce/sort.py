"""Sorting records to files."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.mapreduce import inputs
from benchmarks.mapreduce.cluster import cluster
from benchmarks.mapreduce.compare import compare, rows, show_memory
from benchmarks.mapreduce.programs import Program
from benchmarks.mapreduce.scale import COMMAND, Scale
from benchmarks.mapreduce.words import SPARK
from benchmarks.measure import show
from benchmarks.peer_programs.program import Order

OURS = "tuplemill"
PLAIN = Program("one process, list.sort", "benchmarks.peer_programs.plain")
GNU = Program("GNU sort", "benchmarks.peer_programs.bare")


def tables(scale: Scale) -> None:
    """Print them."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, cluster(2) as running:
        order = Order("sort", [inputs.records(Path(folder), scale.records)], "")
        programs = [PLAIN, GNU, SPARK, running.program(OURS)]
        found = compare(programs, order, scale.long_rounds, scale.limit)
    table = rows(found, programs, OURS, [(SPARK.name, 0.3)])
    title = f"Sort {scale.records:,} records of 100 bytes to files, two workers"
    show(title, COMMAND, table, scale.long_rounds)
    show_memory(title, found, programs)
