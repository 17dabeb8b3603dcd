"""Whatever dies or stalls at whatever moment, the result is that of one process, byte for byte.

Each schedule is one seed: the tasks themselves roll dice and raise, stall, die, or kill or freeze
their agent; killers strike from outside as well.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schedules.dice import Dice
from schedules.jobs import KINDS, MAPS, REDUCES, job_of
from schedules.killers import AgentKiller, DriverKiller, Freezer, HostKiller, Saboteur, SpaceKiller
from schedules.stage import Stage
from tuplespace.pickles import dump_plain

#: Of these, the first few run every time.
SEEDS = range(30)
ALWAYS = 1
KILLERS = [
    AgentKiller(), AgentKiller(), HostKiller(), DriverKiller(), DriverKiller(), DriverKiller(),
    Freezer("agent"), Freezer("driver"), Freezer("space"),
]  # fmt: skip
STRIKES = 3
#: The space counts as so many of them where it is kept in a file.
SPACE_KILLS = 4


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[bytes, Any]]:
    """What one process makes of a kind of job: its result, and its files."""
    made: dict[str, tuple[bytes, Any]] = {}

    def run(kind: str) -> tuple[bytes, Any]:
        if kind not in made:
            folder = tmp_path_factory.mktemp("alone")
            result = job_of(kind, Dice(None, folder), folder / "output").run_sequential()
            made[kind] = outcome(kind, dump_plain(result), folder / "output")
        return made[kind]

    return run


def outcome(kind: str, result: bytes, output: Path) -> tuple[bytes, Any]:
    """Return what a job has made: its result or, if that is paths, what is there."""
    if kind != "files":
        return result, None
    return b"", {path.name: path.read_bytes() for path in output.iterdir()}


@pytest.mark.parametrize(
    "seed",
    [pytest.param(seed, marks=[pytest.mark.faults] * (seed >= ALWAYS)) for seed in SEEDS],
)
def test_a_schedule_of_deaths_and_stalls_changes_no_byte(
    seed: int, alone: Callable[[str], tuple[bytes, Any]], cluster: Any, tmp_path: Path,
    alive: Callable[[int], bool], eventually: Callable[..., Any],
) -> None:  # fmt: skip
    kind = KINDS[seed % len(KINDS)]
    durable = seed % 3 == 0
    stage = Stage(cluster, tmp_path / "stage", kind, seed, durable=durable)
    killers = KILLERS + [SpaceKiller()] * (SPACE_KILLS if durable else 0)
    saboteur = Saboteur(stage, killers, STRIKES, MAPS + REDUCES)
    try:
        result = stage.finish()
    finally:
        saboteur.stop()
        workers = stage.close()
        print(f"seed {seed}, {kind}:", *stage.dice.told(), sep="\n    ")

    assert outcome(kind, result, stage.folder / "output") == alone(kind)
    eventually(lambda: not any(map(alive, workers)))
