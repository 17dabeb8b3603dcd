"""Watching processes: what memory each takes at most, and that none of them is left behind."""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
#: The root that ends with its run, and with it all that it has started.
DRIVER = "driver"
_BELOW = {"agent": "worker"}


class Watch:
    """The memory of some processes and of all that they start; where there is no /proc, nothing.

    It counts anonymous memory: what a process has made itself, not the files and libraries that
    it shares with others. What lives shorter than the time between two looks is not seen.

    Args:
        roots: The processes, by what to call them.
    """

    def __init__(self, roots: dict[int, str]) -> None:
        self._roots = roots
        self._peaks: dict[tuple[str, int], int] = {}
        self._seen: dict[int, str] = {}  # pid -> when it started
        self.total = 0

    def look(self) -> None:
        """Look once."""
        parents, started = _processes()
        children = defaultdict(list)
        for pid, parent in parents.items():
            children[parent].append(pid)
        total = 0
        waiting = [(pid, name) for pid, name in self._roots.items() if pid in parents]
        while waiting:
            pid, name = waiting.pop()
            below = name
            if pid in self._roots:
                below = _BELOW.get(name, f"{name}'s child")
            waiting += [(child, below) for child in children[pid] if child not in self._roots]
            used = _anonymous(pid)
            total += used
            if name.startswith(DRIVER):
                self._seen.setdefault(pid, started[pid])
            self._peaks[name, pid] = max(used, self._peaks.get((name, pid), 0))
        self.total = max(total, self.total)

    def peaks(self) -> dict[str, int]:
        """Return the most bytes that one process of each name has had."""
        most: dict[str, int] = {}
        for (name, _), used in self._peaks.items():
            most[name] = max(used, most.get(name, 0))
        return most

    def end(self) -> None:
        """Kill what is left of the driver and of all that it has started."""
        _, started = _processes()
        for pid, when in self._seen.items():
            if started.get(pid) == when and pid != os.getpid():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _processes() -> tuple[dict[int, int], dict[int, str]]:
    """Return each process's parent, and when it started."""
    parents, started = {}, {}
    for folder in _PROC.glob("[0-9]*"):
        with suppress(OSError):
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            parents[int(folder.name)], started[int(folder.name)] = int(fields[1]), fields[19]
    return parents, started


def _anonymous(pid: int) -> int:
    with suppress(OSError):
        for line in (_PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return 1024 * int(line.split()[1])
    return 0
