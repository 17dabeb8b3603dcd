"""Tasks by hand: written as tuples and answered by agents, with no driver between."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle

from tuplespace import RemoteSpace
from tuplespace.pickles import dump, load
from tuplespace.security import Key
from workers.task import ANYWHERE, OK, Outcome, Parcel, Task, this_runtime

# Functions of this module travel by value, as those of a script do.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


class Job:
    """Tasks written by hand, so that what agents do is tested without a driver.

    Args:
        space: Where. key: The cluster's. about: What the job tuple says.
    """

    def __init__(self, space: RemoteSpace, key: Key, **about: Any) -> None:
        self.space, self.key = space, key
        self.id = f"job-{os.urandom(4).hex()}"
        self.space.write(("job", self.id, about))
        self._written = 0

    def write(
        self, function: Callable[[Any], Any], *arguments: Any, affinity: str = ANYWHERE,
        phase: str = "work", bundle: bytes | None = None, key: Key | None = None,
    ) -> None:  # fmt: skip
        """Write a task for each argument."""
        code = Parcel(dump(lambda argument, workplace, task: function(argument)))
        self.space.write_many(
            Task(
                self.id, phase, self._written + number, this_runtime(), affinity, 0, code,
                Parcel(dump(argument)), None if bundle is None else Parcel(bundle),
            ).to_tuple(key or self.key)
            for number, argument in enumerate(arguments)
        )  # fmt: skip
        self._written += len(arguments)

    def outcomes(self, count: int, within: float = 20.0) -> list[Outcome]:
        """Return the next so many outcomes, in the order of their tasks."""
        template = ("result", self.id, None, None, None)
        found = [self.space.take(template, timeout=within) for _ in range(count)]
        return sorted(
            (Outcome.from_tuple(value, self.key) for value in found), key=lambda each: each.number
        )

    def run(self, function: Callable[[Any], Any], *arguments: Any, **options: Any) -> list[Any]:
        """Run a task for each argument and return what they returned."""
        self.write(function, *arguments, **options)
        outcomes = self.outcomes(len(arguments))
        assert [outcome.status for outcome in outcomes] == [OK] * len(arguments), outcomes
        return [load(outcome.value.content) for outcome in outcomes if outcome.value]


def wait_for_file(path: Path, within: float = 30.0) -> None:
    """For tasks: wait until somebody makes a file."""
    deadline = time.monotonic() + within
    while not path.exists():
        assert time.monotonic() < deadline, f"no {path}"
        time.sleep(0.005)


def say_and_wait(folder: Path) -> Callable[[Any], Any]:
    """Return what a task does that says it has begun and ends when it is told to."""

    def task(name: Any) -> int:
        (folder / f"begun-{name}-{os.getpid()}").touch()
        wait_for_file(folder / "go")
        return os.getpid()

    return task


def begun(folder: Path, count: int = 1) -> Callable[[], list[int]]:
    """Return a condition: so many tasks have begun; it gives the pids of their workers."""

    def condition() -> list[int]:
        files = [path.name for path in folder.glob("begun-*")]
        return [int(name.rpartition("-")[2]) for name in files] if len(files) >= count else []

    return condition
