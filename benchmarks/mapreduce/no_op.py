"""What a job costs that does nothing: one map task and one reduce task."""

from __future__ import annotations

import sys
from statistics import median

from benchmarks.mapreduce.cluster import cluster
from benchmarks.mapreduce.programs import Program, absence, run
from benchmarks.mapreduce.scale import COMMAND, Scale
from benchmarks.mapreduce.words import DASK, RAY
from benchmarks.measure import show
from benchmarks.peer_programs.program import Order


def tables(scale: Scale) -> None:
    """Print them."""
    order = Order("no_op", [], "", pairs=scale.repeats)
    pool = Program("ProcessPoolExecutor", "benchmarks.peer_programs.bare")
    found: dict[str, float] = {}
    table: list[tuple[str, str, str]] = []
    with cluster(2) as running:
        straight = {**running.more, "uri": running.more["direct"]}
        ours = Program("tuplemill, on a running space", running.program("").module, more=straight)
        cold = Program("tuplemill, embedded: all started and ended", ours.module, more=straight)
        for program in (pool, Program("Ray", RAY.module, RAY.needs),
                        Program("Dask futures", DASK.module, DASK.needs), ours, cold):  # fmt: skip
            print(f"  no_op: {program.name} ...", file=sys.stderr, flush=True)
            asked = order
            if program is cold:
                asked = order._replace(job="no_op_embedded", pairs=max(3, scale.repeats // 10))
            missing = absence(program)
            done = None if missing else run(program, asked, scale.limit)
            if done is None or done.absence:
                table.append((program.name, missing or (done.absence if done else ""), ""))
                continue
            seconds = done.said["each"]
            found[program.name] = median(seconds)
            started = done.said["start_seconds"]
            start = f", after {started:.1f} s of start" if started > 0.1 else ""
            ratios = ", ".join(
                f"{median(seconds) / other:.1f} x {name}" for name, other in found.items()
                if program is ours and name != program.name
            )  # fmt: skip
            table.append((program.name, f"{median(seconds) * 1e3:.2f} ms p50, "
                          f"{max(seconds) * 1e3:.1f} ms at most{start}", ratios))  # fmt: skip
    show("A job that does nothing, start to result", COMMAND, table, scale.repeats)
