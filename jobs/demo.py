"""The demonstration: real text that every machine has, counted by real processes, and checked."""

from __future__ import annotations

import sys
import sysconfig
import time
from itertools import chain
from pathlib import Path

from jobs import word_count
from jobs.terminal.following import follow
from jobs.terminal.tables import print_table
from mapreduce.engine.embedded import EmbeddedEngine
from tuplespace.serve import say

_ROWS = 20


def standard_library() -> list[str]:
    """Return the paths of every module of this Python's standard library, without packages."""
    root = Path(sysconfig.get_path("stdlib"))
    return sorted(
        str(path)
        for path in root.rglob("*.py")
        if not {"site-packages", "dist-packages"} & set(path.relative_to(root).parts)
    )


def run() -> bool:
    """Count the standard library's words with a space and two workers; say what happened.

    Returns:
        Whether the result equals that of `run_sequential()`.
    """
    paths = standard_library()
    size = sum(Path(path).stat().st_size for path in paths)
    say(f"counting the words of {len(paths):,} files, {size / 1e6:.1f} MB, of Python "
         f"{sys.version.split()[0]}'s standard library")  # fmt: skip
    job = word_count.job(paths)
    engine = EmbeddedEngine(processes=1, agents=2)
    say(f"a tuple space at {engine.uri}, two workers")
    started = time.monotonic()
    run = job.submit(engine)
    results = follow(run)
    rows = word_count.table(results)
    print_table(word_count.COLUMNS, rows[:_ROWS], word_count.TITLE)
    words = sum(count for _, count in rows)
    say(f"{words:,} words, {len(rows):,} different, in {time.monotonic() - started:.2f} s")
    workers = sorted(run.report.tasks_by_worker.items())
    print_table(("worker process", "tasks"), workers, "Who did it")
    agrees = results == job.run_sequential()
    say("the result is that of run_sequential()" if agrees else "the result is WRONG: "
         f"{_first_difference(rows, word_count.table(job.run_sequential()))}")  # fmt: skip
    return agrees


def _first_difference(rows: list[tuple[str, int]], expected: list[tuple[str, int]]) -> str:
    found, wanted = dict(rows), dict(expected)
    for word in chain(wanted, found):
        if found.get(word) != wanted.get(word):
            return f"{word!r} {found.get(word)} times instead of {wanted.get(word)}"
    return "the same counts in another order"
