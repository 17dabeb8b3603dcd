"""Offspring: the processes that tasks start, and how they end.

::

    worker   adopts what its tasks' processes leave behind; when a task has ended, all below it is ended
    agent    adopts what a dead worker leaves behind, and ends it
    guard    ends workers and all below them when the agent was killed, see `guard`

To leave the group or session does not help a process: on Linux it stays below us, because we are
the "subreaper" of all that we have started. Elsewhere what has lost its parent is not found, and an
agent that was killed with -9 leaves behind what has left its worker's group.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from workers.guard import Guard
from workers.memory import children_of

_PR_SET_CHILD_SUBREAPER: Final = 36
#: How long to go on ending processes that start others as fast as they are ended.
_END_SECONDS: Final = 2.0
_PAUSE: Final = 0.002

_adopting = False
_workers: Final[set[int]] = set()
_guard: Final = Guard()
#: For an agent, held from before a worker is born until `enroll`: else it looked like a stranger.
births: Final = threading.RLock()


def adopt() -> None:
    """Become the parent of whatever below us loses its own; for a process that is ours alone."""
    global _adopting
    if sys.platform == "linux":
        _adopting = ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def end_offspring() -> None:
    """End all that this process has started: for a worker, when its task has ended.

    It costs a microsecond if there is nothing. Python's own resource tracker stays, since it ends
    by itself and is expected to be there.
    """
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return
    _end(lambda: _below(os.getpid()) - _expected(), reap_any=True)


def enroll(worker: int) -> None:
    """Have the guard end this worker process, the leader of a group, if the agent is killed."""
    with births:
        _workers.add(worker)
        _guard.tell(_workers)


def bury(worker: int) -> None:
    """End what a dead worker has left behind, and forget it."""
    with births:
        _workers.discard(worker)
        if _adopting:
            _end(_strangers)
        _guard.tell(_workers)  # not sooner: if we are killed meanwhile, its group is to be ended


def _strangers() -> set[int]:
    expected = {*_workers, _guard.pid}
    return {
        pid for child in children_of(os.getpid()) if child not in expected
        for pid in (child, *_below(child))
    }  # fmt: skip


def _end(find: Any, *, reap_any: bool = False) -> None:
    deadline = time.monotonic() + _END_SECONDS
    while (pids := find()) and time.monotonic() < deadline:
        for pid in pids:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        for pid in (-1,) if reap_any else pids:
            with suppress(ChildProcessError):
                while os.waitpid(pid, os.WNOHANG)[0]:
                    pass
        threading.Event().wait(_PAUSE)


def _below(pid: int) -> set[int]:
    return set(_descendants(pid))


def _descendants(pid: int) -> Iterator[int]:
    for child in children_of(pid):
        yield child
        yield from _descendants(child)


def _expected() -> set[int]:
    """Return the pids of the helpers that Python's own modules keep."""
    trackers = sys.modules.get("multiprocessing.resource_tracker")
    pid = getattr(getattr(trackers, "_resource_tracker", None), "_pid", None)
    return {pid} if isinstance(pid, int) else set()
