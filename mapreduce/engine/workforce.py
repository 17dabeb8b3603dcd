"""Workforce: what the agents of a space say of themselves; see `workers.presence`."""

from __future__ import annotations

from typing import Final

from mapreduce.engine.interface import Load, Running
from tuplespace import errors
from tuplespace.interface import Space
from tuplespace.template import matches
from workers.task import ANYWHERE, this_runtime

#: What an agent tells of a task; else it is no agent who does.
_RUNS: Final = (int, str, str, int, float)
_WORKER: Final = ("worker", str, str, str, int)


class Workforce:
    """That of one space.

    Args:
        space: It.
    """

    def __init__(self, space: Space) -> None:
        self._space = space

    def runtimes(self) -> set[str]:
        """See `Engine.runtimes`."""
        return {value[3] for value in self._space.read_all(_WORKER)}

    def places(self) -> set[str]:
        """See `Engine.places`."""
        workers = self._space.read_all(_WORKER)
        return {place for value in workers for place in value[1:3]}

    def slots(self) -> int:
        """See `Engine.slots`."""
        return sum(value[4] for value in self._space.read_all(_WORKER))

    def load(self, job: str) -> Load:
        """See `Engine.load`."""
        try:
            self._space.read(("task", str, str, int, this_runtime(), ANYWHERE, bytes), timeout=0)
            waiting = True
        except errors.MatchTimeoutError:
            waiting = False
        told = self._space.read_all(("running", str, str, int, tuple, None))
        running = [
            Running(agent, host, *task[:1], *task[2:])
            for _, agent, host, _, tasks, _ in told
            for task in tasks
            if type(task) is tuple and matches(_RUNS, task) and task[1] == job
        ]
        return Load(waiting, sum(max(0, value[3]) for value in told), running)
