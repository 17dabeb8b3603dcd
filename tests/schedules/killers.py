"""Killers: what strikes a schedule from outside, when so many attempts of its tasks have begun."""

from __future__ import annotations

import random
import shutil
import signal
import threading
from typing import Protocol

from schedules.stage import HOSTS, Stage

#: Seconds that somebody is frozen.
_FROZEN = (0.2, 1.5)


class Killer(Protocol):
    """Strikes once."""

    def strike(self, stage: Stage, chance: random.Random) -> str:
        """Do harm; return what, in words."""


class AgentKiller:
    """Kills an agent, which is started again; its blocks stay."""

    def strike(self, stage: Stage, chance: random.Random) -> str:
        host = chance.choice(HOSTS)
        stage.agents[host].process.kill()
        return f"the agent of {host} is killed"


class Freezer:
    """Freezes somebody for some time.

    Args:
        whom: "agent", "driver" or "space".
    """

    def __init__(self, whom: str) -> None:
        self._whom = whom

    def strike(self, stage: Stage, chance: random.Random) -> str:
        host, seconds = chance.choice(HOSTS), chance.uniform(*_FROZEN)
        process = {
            "agent": stage.agents[host].process, "driver": stage.driver,
            "space": stage.cluster.server,
        }[self._whom]  # fmt: skip
        process.send_signal(signal.SIGSTOP)
        stage.later(seconds, lambda: process.send_signal(signal.SIGCONT))
        where = f" of {host}" if self._whom == "agent" else ""
        return f"the {self._whom}{where} is frozen for {seconds:.1f} s"


class HostKiller:
    """Kills the agent of a host and wipes its disk before another one starts there."""

    def strike(self, stage: Stage, chance: random.Random) -> str:
        host = chance.choice(HOSTS)
        process = stage.agents[host].process
        with stage.held_back(host):
            process.kill()
            process.wait()
            shutil.rmtree(stage.work_dir(host), ignore_errors=True)
        return f"{host} is gone with all its blocks"


class SpaceKiller:
    """Kills the server of a space that is kept in a file; it is started again at once."""

    def strike(self, stage: Stage, chance: random.Random) -> str:
        stage.restart_space()
        return "the space is killed and started again"


class DriverKiller:
    """Kills the driver; another process attaches to its job."""

    def strike(self, stage: Stage, chance: random.Random) -> str:
        return stage.restart_driver()


class Saboteur:
    """Lets killers strike while a schedule runs, in a thread of its own.

    Args:
        killers: One is drawn for each strike. strikes: How many at most.
        tasks: They strike when up to so many attempts have begun.
    """

    def __init__(self, stage: Stage, killers: list[Killer], strikes: int, tasks: int) -> None:
        chance = random.Random(f"{stage.seed} saboteur")
        self._plan = sorted(
            (chance.randint(1, tasks), place) for place in range(chance.randint(0, strikes))
        )
        self._stage, self._killers, self._chance = stage, killers, chance
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for attempts, _ in self._plan:
            while self._stage.attempts() < attempts:
                if self._stopped.wait(0.005):
                    return
            what = self._chance.choice(self._killers).strike(self._stage, self._chance)
            self._stage.dice.tell(f"from outside: {what}")

    def stop(self) -> None:
        """Let no killer strike any more."""
        self._stopped.set()
        self._thread.join()
