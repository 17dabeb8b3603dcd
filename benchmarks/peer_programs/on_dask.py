"""Dask distributed: bags and futures on a cluster of one thread a worker."""

from __future__ import annotations

import time
from importlib import import_module
from operator import itemgetter
from typing import Any

from benchmarks.peer_programs.program import Order, serve
from benchmarks.peer_programs.workload import pairs_of_split, summary


def start(order: Order) -> Any:
    """Start a cluster on this machine."""
    distributed = import_module("distributed")
    cluster = distributed.LocalCluster(
        n_workers=order.workers, threads_per_worker=1, dashboard_address=None,
        memory_limit=order.memory or 0, local_directory=order.folder,
    )  # fmt: skip
    return distributed.Client(cluster)


def stop(client: Any) -> None:
    """End it."""
    client.close()
    client.cluster.close()


def lines(_: Any, order: Order) -> Any:
    """Count words."""
    bag = import_module("dask.bag").read_text(order.paths, blocksize=8 << 20)
    return bag.str.split().flatten().frequencies().compute()


def group(_: Any, order: Order) -> Any:
    """Group pairs."""
    bag = import_module("dask.bag").from_sequence(range(order.splits), npartitions=order.splits)
    pairs = bag.map(pairs_of_split, order.pairs).flatten()
    groups = pairs.groupby(itemgetter(0))
    return groups.map(lambda item: (item[0], summary(map(itemgetter(1), item[1])))).compute()


def no_op(client: Any, order: Order) -> list[float]:
    """Map one thing and reduce it, again and again; return what each took."""
    seconds = []
    for number in range(order.pairs):
        started = time.perf_counter()
        mapped = client.submit(abs, number, pure=False)
        assert client.submit(lambda value: value, mapped, pure=False).result() == number
        seconds.append(time.perf_counter() - started)
    return seconds


if __name__ == "__main__":
    serve({"lines": lines, "group": group, "no_op": no_op}, start=start, stop=stop)
