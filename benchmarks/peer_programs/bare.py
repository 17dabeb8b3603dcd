"""Bare processes: what a good programmer writes by hand for one machine, and GNU sort."""

from __future__ import annotations

import os
import pickle
import subprocess
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.peer_programs.program import Order, serve
from benchmarks.peer_programs.workload import burn


def words(_: Any, order: Order) -> dict[str, int]:
    """Each process counts its files, deals the words out by hash, and merges what is dealt to it."""
    # Forked processes agree on hash().
    fork = get_context("fork")
    dealt = fork.Barrier(order.workers)
    processes = [
        fork.Process(target=_count, args=(number, order, dealt)) for number in range(order.workers)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    counts: dict[str, int] = {}
    for number in range(order.workers):
        counts.update(pickle.loads((Path(order.folder) / f"merged-{number}").read_bytes()))
    return counts


def _count(number: int, order: Order, dealt: Any) -> None:
    workers, folder = order.workers, Path(order.folder)
    counts: Counter[str] = Counter()
    for path in order.paths[number::workers]:
        with open(path, encoding="utf-8", newline="\n") as file:
            counts.update(chain.from_iterable(map(str.split, file)))
    parts: list[dict[str, int]] = [{} for _ in range(workers)]
    for word, count in counts.items():
        parts[hash(word) % workers][word] = count
    for other, part in enumerate(parts):
        if other != number:
            (folder / f"part-{number}-{other}").write_bytes(pickle.dumps(part, 5))
    dealt.wait()
    merged = parts[number]
    for other in range(workers):
        if other != number:
            for word, count in pickle.loads(
                (folder / f"part-{other}-{number}").read_bytes()
            ).items():
                merged[word] = merged.get(word, 0) + count
    (folder / f"merged-{number}").write_bytes(pickle.dumps(merged, 5))


def sort(_: Any, order: Order) -> Path:
    """Have GNU sort do it."""
    path = Path(order.folder) / "sorted"
    subprocess.run(
        ["sort", f"--parallel={order.workers}", "-o", str(path), order.paths[0]],
        env={**os.environ, "LC_ALL": "C", "TMPDIR": order.folder}, check=True,
    )  # fmt: skip
    return path


def pool(order: Order) -> ProcessPoolExecutor:
    """Start as many processes."""
    executor = ProcessPoolExecutor(order.workers)
    list(executor.map(abs, range(order.workers)))
    return executor


def compute(executor: ProcessPoolExecutor, order: Order) -> list[tuple[int, int]]:
    """Compute."""
    results = executor.map(burn, range(order.splits), repeat(order.pairs))
    return list(enumerate(results))


def no_op(executor: ProcessPoolExecutor, order: Order) -> list[float]:
    """Map one thing and reduce it, again and again; return what each took."""
    seconds = []
    for number in range(order.pairs):
        started = time.perf_counter()
        mapped = executor.submit(abs, number).result()
        assert executor.submit(sum, [mapped]).result() == number
        seconds.append(time.perf_counter() - started)
    return seconds


if __name__ == "__main__":
    serve(
        {"words": words, "sort": sort, "compute": compute, "no_op": no_op},
        start=lambda order: pool(order) if order.job in ("compute", "no_op") else None,
        stop=lambda executor: executor and executor.shutdown(),
    )
