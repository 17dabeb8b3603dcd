"""The word count of the demo against one plain Python process with a Counter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.measure import ROUNDS, rates, ratio, show
from jobs import word_count
from jobs.demo import standard_library
from mapreduce.engine.embedded import EmbeddedEngine
from mapreduce.engine.space import SpaceEngine

PLAIN = """
import sys
from collections import Counter
from itertools import chain
counts = Counter()
for path in sys.stdin.read().splitlines():
    with open(path, encoding="utf-8", errors="replace", newline="\\n") as file:
        counts.update(chain.from_iterable(map(str.split, file)))
print(len(counts), sum(counts.values()))
"""


def main() -> None:
    """Print the table."""
    paths = standard_library()
    megabytes = sum(Path(path).stat().st_size for path in paths) / 1e6
    totals = set()

    def plain() -> None:
        done = subprocess.run(
            [sys.executable, "-c", PLAIN], input="\n".join(paths), text=True, check=True,
            stdout=subprocess.PIPE,
        )  # fmt: skip
        totals.add(tuple(map(int, done.stdout.split())))

    def check(results: list[list[tuple[str, int]]]) -> None:
        words = sum(map(len, results))
        totals.add((words, sum(count for partition in results for _, count in partition)))

    def embedded() -> None:
        check(word_count.job(paths).run(EmbeddedEngine(processes=2)))

    cluster = EmbeddedEngine(processes=2)

    def running() -> None:
        engine = SpaceEngine(cluster.space, work_dir=str(cluster.work_dir))
        check(word_count.job(paths).run(engine))

    try:
        one, whole, job = rates(ROUNDS, megabytes, plain, embedded, running)
    finally:
        cluster.close()
    assert len(totals) == 1, totals
    show(
        f"Word count of the standard library, {megabytes:.1f} MB",
        "invoke bench word_count",
        [
            ("one plain process with a Counter, its start included", _figure(one), "1"),
            ("embedded: space, agent and two workers started and ended", _figure(whole),
             f"{ratio(whole, one):.2f} x plain"),
            ("the same job on a running space with two workers", _figure(job),
             f"{ratio(job, one):.2f} x plain"),
        ],
    )  # fmt: skip


def _figure(values: list[float]) -> str:
    return f"{sorted(values)[len(values) // 2]:.1f} MB/s ({min(values):.1f}-{max(values):.1f})"


if __name__ == "__main__":
    main()
