"""Dice that a task rolls: which of its attempts dies, kills, freezes, stalls or raises, and where.

What happens follows from seed, task and attempt alone. Only the first attempts do harm, so that no
task dies more often than a job allows.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

#: So many attempts of a task may do harm.
HARMFUL = 2
PLACES = ("begin", "middle", "end")
#: What an attempt may do, and how often of a hundred; else it does nothing.
HARM = {"raise": 8, "exit": 8, "kill": 8, "stall": 12, "kill the agent": 5, "freeze the agent": 7}


class Dice:
    """Those of one job.

    Args:
        seed: None: nothing happens. folder: Where attempts are counted and told.
    """

    def __init__(self, seed: int | None, folder: Path) -> None:
        self.seed, self.folder = seed, folder
        if seed is not None:
            folder.mkdir(exist_ok=True)

    def attempt(self, phase: str, number: int) -> Attempt:
        """Begin an attempt at a task."""
        if self.seed is None:
            return Attempt(self, f"{phase} {number}", "", "")
        attempt = self._count(self.folder / f"{phase}-{number}")
        name = f"{phase} {number} attempt {attempt}"
        chance = random.Random(f"{self.seed} {name}")
        what = ""
        if attempt < HARMFUL:
            rest = 100 - sum(HARM.values())
            [what] = chance.choices(["", *HARM], [rest, *HARM.values()])
        self.tell(f"{name} begins in {os.getpid()} of {os.getppid()}")
        return Attempt(self, name, what, chance.choice(PLACES), chance.uniform(0.2, 1.0))

    def _count(self, path: Path) -> int:
        """Return how many have called this before; for any number of processes at once."""
        file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        try:
            os.write(file, b".")
            return os.lseek(file, 0, os.SEEK_CUR) - 1
        finally:
            os.close(file)

    def tell(self, line: str) -> None:
        """Add a line to what has happened; the clock is the same for all processes."""
        with open(self.folder / "told", "a") as file:
            file.write(f"{time.monotonic() % 1000:7.2f} {line}\n")

    def told(self) -> list[str]:
        """Return what has happened so far, in order."""
        path = self.folder / "told"
        return path.read_text().splitlines() if path.exists() else []


class Attempt:
    """One attempt at a task, and the harm it will do."""

    def __init__(self, dice: Dice, name: str, what: str, place: str, seconds: float = 0.0) -> None:
        self._dice, self._name, self._what, self._place = dice, name, what, place
        self._seconds = seconds

    def reach(self, place: str) -> None:
        """Do the harm if it is to happen here."""
        if not self._what or place != self._place:
            return
        agent = os.getppid()
        long = f", {self._seconds:.1f} s" if self._what in ("stall", "freeze the agent") else ""
        self._dice.tell(f"{self._name}: {self._what} at its {place}{long}")
        if self._what == "raise":
            raise RuntimeError(f"the dice say so in {self._name}")
        if self._what == "exit":
            os._exit(3)
        if self._what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self._what == "stall":
            time.sleep(self._seconds)
        elif agent > 1:  # else the agent is gone already
            self._harm_agent(agent)

    def _harm_agent(self, agent: int) -> None:
        if self._what == "kill the agent":
            os.kill(agent, signal.SIGKILL)
            return
        os.kill(agent, signal.SIGSTOP)
        time.sleep(self._seconds)
        if os.getppid() == agent:
            os.kill(agent, signal.SIGCONT)
