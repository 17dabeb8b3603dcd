"""Grouping ten times what a worker may hold."""

from __future__ import annotations

from benchmarks.mapreduce.cluster import Cluster, cluster
from benchmarks.mapreduce.compare import Row, compare, rows, show_memory
from benchmarks.mapreduce.scale import COMMAND, Scale
from benchmarks.mapreduce.words import DASK, PLAIN, RAY, SPARK
from benchmarks.measure import show
from benchmarks.peer_programs.program import Order
from benchmarks.peer_programs.workload import VALUE_BYTES

OURS = "tuplemill"


def tables(scale: Scale) -> None:
    """Print them."""
    size = scale.splits * scale.pairs * VALUE_BYTES
    order = Order("group", [], "", memory=scale.memory, splits=scale.splits, pairs=scale.pairs)
    peers = [RAY, DASK, SPARK]
    more: list[Row] = []
    with cluster(2) as running:
        mine = running.program(OURS)
        found = compare([PLAIN, mine], order, 1, 4 * scale.limit)
        if OURS in found.seconds:
            more = _carried(running, size)
            ordered = compare([PLAIN, mine], order._replace(job="in_order"), 1, 4 * scale.limit)
            again = ordered.absent.get(OURS) or "the same as the plain process's, byte for byte"
            more.append(("tuplemill, the values of each key in their order", again, "", ""))
    truth = found.runs[PLAIN.name].said["digest"]
    found.add(compare(peers, order, 1, scale.limit, truth))
    table = [*rows(found, [PLAIN, *peers, mine], OURS), *more]
    title = f"Group {size / 1e9:g} GB, {scale.memory / 1e6:g} MB allowed a worker, two workers"
    show(title, COMMAND, table, 1)
    show_memory(title, found, [PLAIN, *peers, mine])


def _carried(running: Cluster, size: int) -> list[Row]:
    """Say what went through driver and space: less than 1 % of what was shuffled."""
    driver, agents = running.driver.carried, running.agents.carried
    table = []
    for name, carried in (("driver", driver), ("space", driver + agents)):
        share = 100 * carried / size
        met = "met" if share < 1 else "**missed**"
        table.append((f"carried by the {name}, in all", f"{carried / 1e6:.2f} MB",
                      f"{share:.3f} % of the shuffle", f"< 1 %: {met}"))  # fmt: skip
    return table
