"""The stage of a schedule: agents on two hosts that are started again when they die, and a driver."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from schedules.dice import Dice

HOSTS = ("east", "west")
_FOLDER = Path(__file__).resolve().parent


class Stage:
    """What a schedule plays on.

    Args:
        cluster: With its space. folder: Of this schedule. kind, seed: Of its job.
        durable: Whether the space is kept in a file.

    Attributes:
        dice: Those that the tasks roll; they tell what the killers do, too.
    """

    def __init__(
        self, cluster: Any, folder: Path, kind: str, seed: int, *, durable: bool = False
    ) -> None:
        self.cluster, self.folder, self.kind, self.seed = cluster, folder, kind, seed
        folder.mkdir()
        self.dice = Dice(seed, folder / "dice")
        self.environment = {
            **cluster.environment,
            "PYTHONPATH": f"{_FOLDER.parent.parent}:{_FOLDER.parent}",
        }
        self.store = folder / "space.sqlite" if durable else None
        if durable:
            self.restart_space()  # one with a store, in the place of that without
        self.dice.tell("the stage is set")
        self.agents: dict[str, Any] = {}
        self._ended = threading.Event()
        self._timers: list[threading.Thread] = []
        self._starting = {host: threading.Lock() for host in HOSTS}
        self._keepers = [
            threading.Thread(target=self._keep, args=(host,), daemon=True) for host in HOSTS
        ]
        for keeper in self._keepers:
            keeper.start()
        self._driving = threading.Lock()
        self.driver = self._start_driver()

    def work_dir(self, host: str) -> Path:
        """Return the folder of a host's agents."""
        return self.folder / host

    def _keep(self, host: str) -> None:
        """Start a host's agent, and another whenever it has died."""
        while not self._ended.is_set():
            with self._starting[host]:
                agent = self.agents[host] = self.cluster.start_agent(
                    "--host", host, "--work-dir", str(self.work_dir(host)), ready=False
                )
            agent.process.wait()

    def held_back(self, host: str) -> Any:
        """Return a context in which no agent of this host starts."""
        return self._starting[host]

    def restart_space(self) -> None:
        """Kill the space's server and start it again, with what it had in its file."""
        self.cluster.kill_server()
        self.cluster.start_server("--store", str(self.store))

    def _start_driver(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(_FOLDER / "drive.py"), self.cluster.uri, str(self.folder),
             self.kind, str(self.seed)],
            env=self.environment, text=True, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip

    def restart_driver(self) -> str:
        """Kill the driver, once it has told the id of its job, and start another; say what was done."""
        with self._driving:
            while not (self.folder / "job").exists() and self.driver.poll() is None:
                if self._ended.wait(0.005):
                    break
            if self.driver.poll() is not None:
                return "the driver has ended already"
            self.driver.kill()
            self.driver.wait()
            self.driver = self._start_driver()
        return "the driver is killed, another one attaches"

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call this in so many seconds, or at the end if that comes before."""
        timer = threading.Thread(target=lambda: (self._ended.wait(seconds), call()), daemon=True)
        self._timers.append(timer)
        timer.start()

    def attempts(self) -> int:
        """Return how many attempts have begun."""
        return sum(" begins in " in line for line in self.dice.told())

    def finish(self, within: float = 50.0) -> bytes:
        """Wait for the driver and return its result, as bytes."""
        error, driver = "", None
        while driver is not self.driver:
            driver = self.driver
            _, error = driver.communicate(timeout=within)
            with self._driving:
                pass  # it may have been killed, to be followed by another
        self.dice.tell("the driver has ended")
        assert driver.returncode == 0, error
        return (self.folder / "result").read_bytes()

    def close(self) -> list[int]:
        """End it all; return the pids of all processes that tasks ran in."""
        self._ended.set()
        for timer in self._timers:
            timer.join()
        self.driver.kill()
        self.driver.communicate()
        for keeper, host in zip(self._keepers, HOSTS, strict=True):
            while keeper.is_alive():
                agent = self.agents.get(host)
                if agent is not None:
                    for number in (signal.SIGTERM, signal.SIGCONT):
                        with suppress(ProcessLookupError):
                            agent.process.send_signal(number)
                keeper.join(0.2)
        begun = [line for line in self.dice.told() if " begins in " in line]
        return sorted({int(line.split()[-3]) for line in begun})
