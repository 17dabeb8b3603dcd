"""Four jobs at once on two hosts, while space, agents and drivers are killed, frozen and doubled."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from schedules.chaos_jobs import KINDS, write_texts
from schedules.stage import HOSTS

_FOLDER = Path(__file__).resolve().parent
#: What a strike may be, and how often of ten.
STRIKES = {
    "kill space": 1, "kill agent": 2, "kill driver": 2, "kill driver, start two": 1,
    "freeze space": 1, "freeze agent": 2, "freeze driver, start another": 1,
}  # fmt: skip
#: Seconds between two of them, that the space is away, and that somebody is frozen.
_PAUSE, _AWAY = (0.2, 0.9), (0.0, 3.0)
_FROZEN = {"space": (0.2, 2.0), "agent": (0.3, 4.0), "driver": (1.7, 3.5)}
#: After these a job is gone for good: its driver died when it had ended, or before it was whole.
_GONE = ("JobNotFoundError", "InvalidJobError")


def wait(seconds: float) -> None:
    threading.Event().wait(seconds)


class Chaos:
    """Jobs of four kinds, their drivers and their agents.

    Attributes:
        told: How often what was done.
    """

    def __init__(self, cluster: Any, folder: Path, seed: int) -> None:
        self.cluster, self.folder = cluster, folder
        self._chance = random.Random(f"chaos {seed}")
        self.kinds = self._chance.sample(KINDS, 4)
        self.told: Counter[str] = Counter()
        folder.mkdir()
        write_texts(folder / "texts")
        self._store = str(folder / "space.sqlite")
        cluster.kill_server()
        cluster.start_server("--store", self._store)
        cluster.environment["PYTHONPATH"] = f"{_FOLDER.parent.parent}:{_FOLDER.parent}"
        self.agents: dict[str, Any] = {}
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._keep, args=(host,)) for host in HOSTS]
        for keeper in self._threads:
            keeper.start()
        self.drivers: dict[str, list[subprocess.Popen[bytes]]] = {kind: [] for kind in self.kinds}
        for kind in self.kinds:
            (folder / kind).mkdir()
            self._drive(kind)

    def _keep(self, host: str) -> None:
        """Start a host's agent, and another whenever it has died."""
        while not self._ended.is_set():
            agent = self.agents[host] = self.cluster.start_agent(
                "--host", host, "--work-dir", str(self.folder / host), ready=False
            )
            agent.process.wait()

    def _drive(self, kind: str) -> None:
        folder = self.folder / kind
        with open(folder / "stderr", "ab") as errors:
            self.drivers[kind].append(subprocess.Popen(
                [sys.executable, str(_FOLDER / "chaos_jobs.py"), self.cluster.uri, str(folder), kind],
                env=self.cluster.environment, stdin=subprocess.DEVNULL, stderr=errors,
            ))  # fmt: skip

    def results(self, kind: str) -> list[Path]:
        return list((self.folder / kind).glob("result-*"))

    def lines(self, kind: str, name: str) -> list[str]:
        """Return what the drivers and maps of a job have noted."""
        path = self.folder / kind / name
        return path.read_text().splitlines() if path.exists() else []

    def unfinished(self) -> list[str]:
        return [kind for kind in self.kinds if not self.results(kind)]

    def look_after(self) -> bool:
        """Start a driver for each job that has none; return whether all have ended."""
        for kind in self.unfinished():
            if all(driver.poll() is not None for driver in self.drivers[kind]):
                errors = self.lines(kind, "errors")
                if errors and errors[-1] in _GONE:
                    (self.folder / kind / "job").unlink(missing_ok=True)
                    self._forget_files(kind)
                self._drive(kind)
        return not self.unfinished()

    def _forget_files(self, kind: str) -> None:
        for path in (self.folder / kind / "output").glob("*"):
            path.unlink()

    def strike(self) -> None:
        """Wait a moment, and do some harm."""
        wait(self._chance.uniform(*_PAUSE))
        if self.look_after():
            return
        what = self._chance.choices([*STRIKES], [*STRIKES.values()])[0]
        verb, whom = what.replace(",", "").split()[:2]
        kind, host = self._chance.choice(self.unfinished()), self._chance.choice(HOSTS)
        if whom == "driver":
            if not (self.folder / kind / "job").exists():
                return  # nobody knows its id yet
            done = self._strike_driver(verb, kind, doubled="two" in what)
        elif what == "kill space":
            self._kill_space()
            done = 1
        else:
            process = self.cluster.server if whom == "space" else self.agents[host].process
            done = self._harm(verb, whom, process)
        self.told[what] += done

    def _kill_space(self) -> None:
        self.cluster.kill_server()
        if self._chance.random() < 0.3:
            wait(self._chance.uniform(*_AWAY))
        self.cluster.start_server("--store", self._store)

    def _strike_driver(self, verb: str, kind: str, *, doubled: bool) -> int:
        running = [driver for driver in self.drivers[kind] if driver.poll() is None]
        if verb == "freeze":
            running = running[-1:]
        harmed = sum(self._harm(verb, "driver", driver) for driver in running)
        self.told["drivers killed"] += harmed * (verb == "kill")
        for _ in range(1 + doubled):
            self._drive(kind)
        return int(harmed > 0)

    def _harm(self, verb: str, whom: str, process: Any) -> int:
        if process.poll() is not None:
            return 0
        if verb == "kill":
            process.kill()
            if whom == "driver":
                process.wait()
            return 1
        process.send_signal(signal.SIGSTOP)
        self._later(
            self._chance.uniform(*_FROZEN[whom]), lambda: process.send_signal(signal.SIGCONT)
        )
        return 1

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        thread = threading.Thread(target=lambda: (self._ended.wait(seconds), call()))
        self._threads.append(thread)
        thread.start()

    def drivers_ended(self) -> bool:
        return all(driver.poll() is not None for each in self.drivers.values() for driver in each)

    def close(self) -> None:
        """End it all."""
        self._ended.set()
        for driver in (driver for each in self.drivers.values() for driver in each):
            driver.kill()
            driver.wait()
        for thread in self._threads:
            while thread.is_alive():
                for agent in self.agents.values():
                    for number in (signal.SIGTERM, signal.SIGCONT):
                        with suppress(ProcessLookupError):
                            agent.process.send_signal(number)
                thread.join(0.2)
