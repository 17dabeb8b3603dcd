"""The worker: a child process that receives tasks, runs user code and answers.

It never dies of user code that merely raises, and never outlives its agent: the pipe to the
agent ends, and a thread that waits for that ends the process and whatever the task has started.
::

    agent -> worker   Assignment, then groups of (ticket, task tuple)
    worker -> agent   answers to one or more tickets: (ticket, status, seconds, result tuple)
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, NamedTuple

from tuplespace.errors import AuthenticationError, InvalidTupleError
from tuplespace.pickles import load
from tuplespace.security import Key, load_key
from tuplespace.wire import pack, unpack
from workers.bundles import Bundle, ImportedBundles, missing_package_error, unpack_bundle
from workers.errors import BlockLostError, shorten, summary
from workers.memory import data_share, die_first, memory_of
from workers.task import ERROR, LOST, OK, REFUSED, Outcome, Parcel, Task
from workers.workplace import Workplace

#: Answers are held back this long, to travel together.
_FLUSH_SECONDS: Final = 0.002
_FUNCTIONS_KEPT: Final = 32
_PR_SET_PDEATHSIG: Final = 1

TaskFunction = Callable[[Any, Workplace, Task], Any]


class Assignment(NamedTuple):
    """What an agent tells its worker at the start. Plain data."""

    host: str
    key_file: str
    block_root: str
    code_root: str
    block_uri: str
    memory: int


class Worker:
    """Runs tasks one after the other."""

    def __init__(self, assignment: Assignment) -> None:
        self._key: Key = load_key(assignment.key_file)
        self._pid = os.getpid()
        self.name = f"{assignment.host}/{self._pid}"
        self._host = assignment.host
        self._workplace = Workplace(
            self.name, assignment.host, Path(assignment.block_root), assignment.block_uri,
            self._key, memory=data_share(assignment.memory, memory_of(self._pid)),
        )  # fmt: skip
        self._code_root = Path(assignment.code_root)
        self._bundles = ImportedBundles()
        self._active: tuple[Parcel | None, str] = (None, "")
        self._functions: OrderedDict[tuple[str, bytes], TaskFunction] = OrderedDict()

    def run(self, value: tuple[Any, ...]) -> tuple[str, float, tuple[Any, ...]]:
        """Run the task in a tuple; return (status, seconds, result tuple). Never raises."""
        started = time.perf_counter()
        task, status, parcel, details = None, ERROR, None, {}
        try:
            task = Task.from_tuple(value, self._key)
            function = self._function(task)
            argument = load(self._workplace.receive(task.argument))
            result = function(argument, self._workplace, task)
            name = f"{task.phase}-{task.number}-result"
            parcel, status = self._workplace.send(task.job, name, result), OK
        except (AuthenticationError, InvalidTupleError) as error:
            status = REFUSED if task is None else ERROR
            details = describe(error)
        except BlockLostError as error:
            status, details = LOST, describe(error)
        except ModuleNotFoundError as error:
            details = describe(error)
            details["message"] = missing_package_error(error, self._host)
        except BaseException as error:  # noqa: BLE001  # SystemExit too is the task's failure
            details = describe(error)
        seconds = time.perf_counter() - started
        attempt = task.attempt if task is not None else 0
        outcome = Outcome(
            value[1], value[2], value[3], attempt, status, self.name, self._pid, seconds, parcel,
            details,
        )  # fmt: skip
        return status, seconds, outcome.to_tuple(self._key)

    def _function(self, task: Task) -> TaskFunction:
        """Return the task's function, unpickled once and among the modules it came with."""
        bundle = self._activate(task.bundle)
        pickled = self._workplace.receive(task.function)
        key = (bundle, hashlib.blake2b(pickled, digest_size=16).digest())
        function = self._functions.get(key)
        if function is None:
            function = self._functions[key] = load(pickled)
            if len(self._functions) > _FUNCTIONS_KEPT:
                self._functions.popitem(last=False)
        return function

    def _activate(self, parcel: Parcel | None) -> str:
        """Make imports come from the bundle in this parcel; return its digest."""
        if parcel != self._active[0]:
            bundle = (
                Bundle() if parcel is None else Bundle.from_bytes(self._workplace.receive(parcel))
            )
            folder = unpack_bundle(bundle, self._code_root) if bundle.digest else None
            self._bundles.activate(bundle.digest, folder)
            self._active = (parcel, bundle.digest)
        return self._active[1]


def describe(error: BaseException) -> dict[str, Any]:
    """Return what a person wants to know of an exception, as plain data."""
    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    details = {
        "error": type(error).__name__,
        "message": summary(error),
        "traceback": shorten(trace),
    }
    more = getattr(error, "outcome_details", None)
    return {**details, **more} if isinstance(more, dict) else details


def main(descriptor: int) -> None:
    """Serve the agent at the other end of this pipe until it closes."""
    # Ctrl-C reaches the whole terminal; the agent decides what becomes of its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_agent()
    die_first()
    for stream in (sys.stdout, sys.stderr):  # what user code prints shows at once
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
    pipe = Connection(socket.socket(fileno=descriptor).detach())
    worker = Worker(Assignment(*unpack(pipe.recv_bytes())))
    groups: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(pipe, groups), name="agent-pipe", daemon=True).start()
    pipe.send_bytes(b"ready")
    while True:
        _run_group(worker, unpack(groups.get()), pipe)


def _die_with_agent() -> None:
    """Have the kernel end us with the agent, even while user code holds the GIL; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _run_group(worker: Worker, group: Any, pipe: Connection) -> None:
    answers: list[Any] = []
    flushed = time.perf_counter()
    for ticket, value in group:
        answers.append((ticket, *worker.run(value)))
        if time.perf_counter() - flushed > _FLUSH_SECONDS:
            pipe.send_bytes(pack(tuple(answers)))
            answers = []
            flushed = time.perf_counter()
    if answers:
        pipe.send_bytes(pack(tuple(answers)))


def _receive(pipe: Connection, groups: queue.SimpleQueue[bytes]) -> None:
    while True:
        try:
            groups.put(pipe.recv_bytes())
        except (OSError, EOFError):
            # The agent has gone. This process leads its group: the task's children go with it.
            os.killpg(0, signal.SIGKILL)
