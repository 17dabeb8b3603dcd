"""Whatever dies, stalls or is doubled: each job gives what one process gives, and counts exactly.

Four jobs share a space that is kept in a file, and two hosts. What is struck follows from the seed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mapreduce.engine.space import SpaceEngine
from schedules.chaos import Chaos
from schedules.chaos_jobs import LINES, UNCOUNTED, job_of, made
from tuplespace.pickles import load

STRIKES = 24
#: Seconds in which all traces go: jobs that no driver knows, and results that a dead one had claimed.
CLEARED = 75
#: What a driver may end with: another has taken the job over, or has ended it.
FAIR = {"JobNotFoundError", "JobHasDriverError", "JobSupersededError", "InvalidJobError"}
#: Tuples of jobs, by name, and their lengths.
KEPT = {"job": 2, "task": 6, "result": 4, "ledger": 3, "driver": 3}


@pytest.mark.faults
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(12))
def test_chaos_changes_no_byte_and_no_count_and_leaves_nothing(
    cluster: Any, tmp_path: Path, seed: int, alive: Callable[[int], bool],
    eventually: Callable[..., Any],
) -> None:  # fmt: skip
    chaos = Chaos(cluster, tmp_path / "chaos", seed)
    try:
        for _ in range(STRIKES):
            chaos.strike()
        eventually(chaos.look_after, 90)
        eventually(chaos.drivers_ended, 60)
        print(f"seed {seed}: {', '.join(chaos.kinds)}: {dict(chaos.told)}")
        space = cluster.connect()
        with suppress(AssertionError):
            eventually(lambda: not left(space, chaos), CLEARED)
        assert not left(space, chaos)
    finally:
        chaos.close()

    for kind in chaos.kinds:
        errors = chaos.lines(kind, "errors")
        said = "\n".join(chaos.lines(kind, "stderr"))
        assert set(errors) <= FAIR, said
        assert "Exception in thread" not in said
        results = chaos.results(kind)
        assert len({path.name.split("-")[1] for path in results}) == len(results)  # of each job one
        for path in results:
            outcome, counters = load(path.read_bytes())
            assert outcome == alone(kind, tmp_path)
            assert counters == {"lines": LINES - UNCOUNTED.get(kind, 0)}
    workers = {int(pid) for kind in chaos.kinds for pid in chaos.lines(kind, "pids")}
    assert workers
    eventually(lambda: not any(map(alive, workers)))


def alone(kind: str, folder: Path) -> bytes:
    """Return what one process makes of a kind."""
    own = folder / "chaos" / f"alone {kind}"
    own.mkdir()
    return made(kind, own, job_of(kind, own).run_sequential())


def left(space: Any, chaos: Chaos) -> list[Any]:
    """Return what is left of the jobs: tuples, claims, and folders with blocks.

    No agent looks after the folder of drivers: the next driver deletes what killed ones have left.
    """
    SpaceEngine(space).close()
    templates = [(name, *[None] * length) for name, length in KEPT.items()]
    tuples = [t for t in templates if space.count(t) or space.claimed(t)]
    ids = {job for kind in chaos.kinds for job in chaos.lines(kind, "ids")}
    assert ids
    # What is deleted while we look is no error, as it would be for Path.rglob.
    walk = os.walk(chaos.folder.parent)
    return [
        *tuples,
        *(Path(at) / name for at, folders, _ in walk for name in folders if name in ids),
    ]
