"""Ray, with jobs written by hand as its users would: tasks that deal out, and tasks that merge."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from importlib import import_module
from itertools import chain
from typing import Any

from benchmarks.peer_programs.program import Order, serve
from benchmarks.peer_programs.workload import burn, pairs_of_split, summary


def start(order: Order) -> Any:
    """Start Ray on this machine."""
    ray = import_module("ray")
    options: dict[str, Any] = {}
    if order.memory:
        options["object_store_memory"] = max(order.memory * order.workers, 80 << 20)
    ray.init(
        num_cpus=order.workers, include_dashboard=False, log_to_driver=False,
        configure_logging=False, _temp_dir=order.folder, **options,
    )  # fmt: skip
    # Its worker processes start with the first tasks: that is part of its start.
    wait = ray.remote(lambda: time.sleep(0.2))
    ray.get([wait.remote() for _ in range(order.workers)])
    return ray


def words(ray: Any, order: Order) -> dict[str, int]:
    """Count each file, deal the words out by hash, merge; fetch the counts."""
    R = order.workers  # noqa: N806 - R, as in the paper

    def count(path: str) -> Any:
        counts: Counter[str] = Counter()
        with open(path, encoding="utf-8", newline="\n") as file:
            counts.update(chain.from_iterable(map(str.split, file)))
        parts: list[dict[str, int]] = [{} for _ in range(R)]
        for word, number in counts.items():
            parts[hash(word) % R][word] = number  # PYTHONHASHSEED is the same for all workers
        return parts if R > 1 else parts[0]

    def merge(*parts: dict[str, int]) -> dict[str, int]:
        merged = dict(parts[0])
        for part in parts[1:]:
            for word, number in part.items():
                merged[word] = merged.get(word, 0) + number
        return merged

    results = _shuffle(ray, count, order.paths, merge, R)
    counts: dict[str, int] = {}
    for merged in ray.get(results):
        counts.update(merged)
    return counts


def group(ray: Any, order: Order) -> list[tuple[int, tuple[int, int]]]:
    """Deal the pairs out by key, group, sum up."""
    R = 4 * order.workers  # noqa: N806 - R, as in the paper

    def deal(number: int) -> Any:
        parts: list[list[tuple[int, bytes]]] = [[] for _ in range(R)]
        for key, value in pairs_of_split(number, order.pairs):
            parts[key % R].append((key, value))
        return parts

    def merge(*parts: list[tuple[int, bytes]]) -> list[tuple[int, tuple[int, int]]]:
        groups: defaultdict[int, list[bytes]] = defaultdict(list)
        for part in parts:
            for key, value in part:
                groups[key].append(value)
        return [(key, summary(values)) for key, values in groups.items()]

    results = ray.get(_shuffle(ray, deal, range(order.splits), merge, R))
    return list(chain.from_iterable(results))


def _shuffle(ray: Any, deal: Any, inputs: Any, merge: Any, R: int) -> list[Any]:
    dealing, merging = ray.remote(deal).options(num_returns=R), ray.remote(merge)
    dealt = [dealing.remote(each) for each in inputs]
    columns = zip(*dealt, strict=True) if R > 1 else [dealt]
    return [merging.remote(*column) for column in columns]


def compute(ray: Any, order: Order) -> list[tuple[int, int]]:
    """Compute."""
    task = ray.remote(burn)
    results = ray.get([task.remote(number, order.pairs) for number in range(order.splits)])
    return list(enumerate(results))


def no_op(ray: Any, order: Order) -> list[float]:
    """Map one thing and reduce it, again and again; return what each took."""
    mapping, reducing = ray.remote(lambda value: value), ray.remote(lambda value: value)
    seconds = []
    for number in range(order.pairs):
        started = time.perf_counter()
        assert ray.get(reducing.remote(mapping.remote(number))) == number
        seconds.append(time.perf_counter() - started)
    return seconds


if __name__ == "__main__":
    serve(
        {"words": words, "group": group, "compute": compute, "no_op": no_op},
        start=start, stop=lambda ray: ray.shutdown(),
    )  # fmt: skip
