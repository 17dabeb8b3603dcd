"""Four ready-made jobs on two embedded workers against the plain program on the same files.

Sort and the word count of awk have a shell's pipeline as their peer, join and page_rank the shortest
program in one Python process that gives the same. The workers are there before the jobs are.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import closing
from hashlib import md5
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks.measure import ROUNDS, Figures, Work, against, figure, in_turn, show, timed
from jobs import external
from jobs.catalogue import build, find
from jobs.steps import run_steps
from mapreduce.engine.embedded import EmbeddedEngine

#: How much of its sample each job gets.
SIZES = {"sort": 20, "external": 5, "join": 2, "page_rank": 3}

PEERS = {
    "sort": ["sh", "-c", 'cat "$@" | LC_ALL=C sort | md5sum', "sh"],
    "external": ["sh", "-c", f'cat "$@" | {external.PROGRAM} | cut -f1 | LC_ALL=C sort | uniq -c | wc -l', "sh"],
    "join": [sys.executable, "-c", """
import json, sys
from collections import defaultdict
orders, items, rows = defaultdict(list), [], []
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        for row in map(json.loads, file):
            if row[0] == "order":
                orders[row[1]].append(row)
            else:
                items.append(row)
for item in items:
    rows += [order + item for order in orders.get(item[1], ())]
print(len(rows), sum(row[-1] for row in rows))
"""],
    "page_rank": [sys.executable, "-c", """
import json, sys
links = {}
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        for page in map(json.loads, file):
            links.setdefault(page["url"], set()).update(page["links"])
for url in [link for several in links.values() for link in several]:
    links.setdefault(url, set())
count = len(links)
ranks = dict.fromkeys(links, 1 / count)
for _ in range(20):
    votes, for_all = dict.fromkeys(links, 0.0), 0.0
    for url, several in links.items():
        if several:
            vote = ranks[url] / len(several)
            for link in several:
                votes[link] += vote
        else:
            for_all += ranks[url]
    before, ranks = ranks, {
        url: 0.15 / count + 0.85 * (vote + for_all / count) for url, vote in votes.items()
    }
    if sum(abs(rank - before[url]) for url, rank in ranks.items()) <= 1e-4:
        break
print(count, max(ranks, key=ranks.get))
"""],
}  # fmt: skip


def of_results(name: str, results: Any) -> str:
    """Return what the peer prints, of the job's results."""
    if name == "page_rank":
        return f"{len(results)} {max(results, key=results.get)}"
    rows = [*chain.from_iterable(results)]
    if name == "sort":
        return md5("".join(f"{line}\n" for line in rows).encode("latin-1")).hexdigest() + "  -"
    if name == "join":
        return f"{len(rows)} {sum(row[-1] for row in rows)}"
    return str(len(rows))


def works(
    name: str, paths: list[str], cluster: EmbeddedEngine, found: set[tuple[str, str]]
) -> tuple[Work, Work]:
    """Return what measures the peer and the job, and adds what they found."""
    megabytes = sum(os.path.getsize(path) for path in paths) / 1e6

    def peer() -> None:
        done = subprocess.run([*PEERS[name], *paths], stdout=subprocess.PIPE, text=True, check=True)
        found.add((name, done.stdout.strip()))

    def job() -> None:
        results = run_steps(build(name, paths), lambda step: step.run(cluster.another()))
        found.add((name, of_results(name, results)))

    return timed(f"{name}, plain", megabytes, peer), timed(name, megabytes, job)


def main() -> None:
    """Print the table."""
    measured: Figures = {}
    found: set[tuple[str, str]] = set()
    rows = []
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(EmbeddedEngine(processes=2)) as cluster,
    ):
        for name, size in SIZES.items():
            into = Path(folder) / name
            into.mkdir()
            find(name).sample(into, size)
            paths = sorted(map(str, into.iterdir()))
            measured |= in_turn(*works(name, paths, cluster, found), rounds=ROUNDS)
            plain = "a shell's pipeline" if PEERS[name][0] == "sh" else "one Python process"
            megabytes = sum(os.path.getsize(path) for path in paths) / 1e6
            rows += [
                (f"{name}, {megabytes:.1f} MB: {plain}",
                 figure(measured[f"{name}, plain"], "MB/s"), "1"),
                (f"{name}: embedded, two workers", figure(measured[name], "MB/s"),
                 against(measured[name], measured[f"{name}, plain"], "its peer")),
            ]  # fmt: skip
    assert len(found) == len(SIZES), found
    show("Ready-made jobs on two embedded workers", "invoke bench jobs", rows)


if __name__ == "__main__":
    main()
