"""Where a style's job runs: in this process, on processes of this machine, or on a cluster."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from contextlib import closing
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

import mapreduce
from mapreduce.errors import InvalidJobError

if TYPE_CHECKING:
    from mapreduce.engine.interface import Engine
    from mapreduce.job import MapReduceJob
    from tuplespace.client import RemoteSpace

#: Options with which a record may be mapped, and so must be had, several times.
TRY_AGAIN: Final = frozenset({"skip_bad_records", "on_bad_task"})


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
    # Workers import styles with the programs written in them, and need no engine.
    from mapreduce.engine.embedded import EmbeddedEngine

    with closing(EmbeddedEngine(processes=workers)) as engine:
        return job.run(engine)


def check_options(options: Iterable[str], *ours: str) -> None:
    """Refuse options that no job has, or that the style itself fills in.

    Args:
        options: Their names. ours: The attributes of `MapReduceJob` that are the style's.

    Raises:
        InvalidJobError: One of them is refused; says which may be meant.
    """
    known = [n for n in inspect.signature(mapreduce.MapReduceJob).parameters if n not in ours]
    for name in options:
        if name not in known:
            close = get_close_matches(name, known, 1)
            hint = f"; is it {close[0]}?" if close else f": there are {', '.join(known)}"
            raise InvalidJobError(f"{name!r} is no option here{hint}")
