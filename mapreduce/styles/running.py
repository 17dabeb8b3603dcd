"""Where a style's job runs: in this process, on processes of this machine, or on a cluster."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from mapreduce.engine.embedded import EmbeddedEngine
from mapreduce.engine.interface import Engine
from mapreduce.job import MapReduceJob
from tuplespace.client import RemoteSpace


def run(job: MapReduceJob, space: RemoteSpace | str | Engine | None, workers: int = 1) -> list[Any]:
    """Run the job where `space` says and return its R results; blocks until it has ended.

    Args:
        space: A URI, a space or an engine: that cluster, see `MapReduceJob.run`. None: this
            machine. workers: How many processes on this machine; 1 is this very process.

    Raises:
        MapReduceError: As `MapReduceJob.run`, or `MapReduceJob.run_sequential` in this process.
    """
    if space is not None:
        return job.run(space)
    if workers == 1:
        return job.run_sequential()
    with closing(EmbeddedEngine(processes=workers)) as engine:
        return job.run(engine)
