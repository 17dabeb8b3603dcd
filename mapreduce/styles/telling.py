"""A job that tells on stderr who does what, as pymapr does; of what has really been done only."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from contextlib import ExitStack, closing
from typing import Any, Final

from mapreduce.engine.embedded import EmbeddedEngine
from mapreduce.engine.interface import Engine
from mapreduce.job import MapReduceJob
from mapreduce.run import JobRun
from tuplespace.client import RemoteSpace
from workers.counters import counts

#: What processes that work are called; the names of the counters of what they have done begin so.
ROLES: Final = ("Mapper", "Reducer")
_LOOK_SECONDS: Final = 0.05
_TELL_SECONDS: Final = 1.0


def run_and_tell(
    job: MapReduceJob, space: RemoteSpace | str | Engine | None, workers: int, note: str = ""
) -> list[Any]:
    """Run the job as `mapreduce.styles.running.run` does, and tell of it.

    Args:
        note: What else to tell at the start.
    """
    note = note and f": {note}"
    master = f"Master ({os.getpid()})"
    started = time.monotonic()
    if space is None and workers == 1:
        _tell(f"{master}: starting, in this process{note}")
        before = Counter(counts())
        results = job.run_sequential()
        done = Counter(counts()) - before
        attempts_failed = 0
    else:
        with ExitStack() as stack:
            if space is None:
                space = stack.enter_context(closing(EmbeddedEngine(processes=workers))).another()
            run = job.submit(space)
            _tell(f"{master}: starting job {run.id}{note}")
            results = _follow(run, master)
            done, attempts_failed = run.counters, run.progress().attempts_failed
    for name, items in sorted(done.items()):
        if name.startswith(ROLES):
            _tell(f"{name}: ending ({items} items processed)")
    failed = f", {attempts_failed} attempts failed" if attempts_failed else ""
    _tell(f"{master}: ending after {time.monotonic() - started:.1f} s{failed}")
    return results


def _follow(run: JobRun, master: str) -> list[Any]:
    """Tell of the workers that have done something, and how far the job is; return its results."""
    known: set[str] = set()
    told, told_at = "", time.monotonic()
    try:
        ended = False
        while not ended:
            ended = run.wait(_LOOK_SECONDS)
            for name in sorted(set(run.counters) - known):
                known.add(name)
                if name.startswith(ROLES):
                    _tell(f"{name} started")
            done = run.progress()
            text = (
                f"{done.map_done} of {done.map_total} maps, "
                f"{done.reduce_done} of {done.reduce_total} reduces done {done.notice}"
            ).rstrip()
            if not ended and text != told and time.monotonic() - told_at >= _TELL_SECONDS:
                _tell(f"{master}: {text}")
                told, told_at = text, time.monotonic()
        return run.result()
    except BaseException:
        run.cancel()
        raise


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
