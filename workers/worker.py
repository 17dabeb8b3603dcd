"""The worker: a child process that receives tasks, runs user code and answers.

It never dies of user code that merely raises, and never outlives its agent: the agent's guard ends
it and whatever the task has started. If there is no guard it does so itself: the bell from the
agent has ended, as a thread notices that listens to it, unless user code holds the GIL.
What if a task forks, and returns in both processes? The child ends there: one of them answers.
::

    agent -> worker   Assignment, then groups of task tuples
    worker -> agent   answers to the next tasks of the group: (seconds of each), (their results),
                      and how many from its end were not begun and are given back
    agent ~> worker   the bell: give them back
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

from tuplespace.errors import AuthenticationError, InvalidTupleError
from tuplespace.pickles import load
from tuplespace.security import Key, load_key
from tuplespace.wire import pack, unpack
from workers import counters
from workers.bundles import Bundle, ImportedBundles, missing_package_error, unpack_bundle
from workers.errors import BlockLostError, shorten, summary, traceback_of
from workers.memory import data_share, die_first, memory_of
from workers.offspring import adopt, end_offspring
from workers.task import ERROR, LOST, OK, REFUSED, Outcome, Parcel, Task
from workers.workplace import Workplace

#: Answers are held back this long, to travel together.
_FLUSH_SECONDS: Final = 0.002
#: What the bell says: answer, and give back what you have not begun.
RECALL: Final = b"r"
#: Of functions that were unpickled, and of their pickles' bytes; a map and a reduce always are.
_FUNCTIONS_KEPT: Final = 32
_BYTES_KEPT: Final = 64 << 20
#: How long the guard may take to end us.
_GUARD_SECONDS: Final = 1.0
#: In less time nobody starts a process; to look for one would be a tenth of a task that does nothing.
_SPAWN_SECONDS: Final = 20e-6
#: What may travel of an exception's own details: so many plain values, and so many ints in one.
_PLAIN: Final = frozenset((str, int, float, bytes, bool, type(None)))
_TEXTS: Final = ("error", "message", "traceback", "record", "where", "cause")
_DETAILS: Final = 32
_INTS: Final = 10_000

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
        self._functions: OrderedDict[tuple[str, bytes | None], tuple[TaskFunction, int]] = (
            OrderedDict()
        )
        self._bytes_kept = 0

    def run(self, value: tuple[Any, ...]) -> tuple[float, tuple[Any, ...]]:
        """Run the task in a tuple; return (seconds, result tuple). Never raises."""
        started = time.perf_counter()
        task, status, parcel, details = None, ERROR, None, {}
        counters.reset()
        notes: dict[str, Any] = {}
        self._workplace.notes = notes
        try:
            task = Task.from_tuple(value, self._key)
            with _ending_forks():
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
        if seconds > _SPAWN_SECONDS:
            with suppress(OSError):
                end_offspring()
            seconds = time.perf_counter() - started
        attempt = task.attempt if task is not None else 0
        outcome = Outcome(
            value[1], value[2], value[3], attempt, status, self.name, self._pid, seconds, parcel,
            details | notes, counters.counts() if status == OK else {},
        )  # fmt: skip
        try:
            return seconds, outcome.to_tuple(self._key)
        except Exception as error:  # noqa: BLE001  # an answer there must be
            plain = {"error": type(error).__name__, "message": f"no answer: {summary(error)}"}
            failed = outcome._replace(status=ERROR, value=None, details=plain)
            return seconds, failed.to_tuple(self._key)

    def _function(self, task: Task) -> TaskFunction:
        """Return the task's function, unpickled once and among the modules it came with."""
        bundle = self._activate(task.job, task.bundle)
        key = (bundle, task.function.identity)
        known = self._functions.get(key)
        if known is None:
            pickled = self._workplace.receive_shared(task.job, task.function)
            known = self._functions[key] = load(pickled), len(pickled)
            self._bytes_kept += len(pickled)
            while len(self._functions) > 2 and (
                len(self._functions) > _FUNCTIONS_KEPT or self._bytes_kept > _BYTES_KEPT
            ):
                self._bytes_kept -= self._functions.popitem(last=False)[1][1]
        return known[0]

    def _activate(self, job: str, parcel: Parcel | None) -> str:
        """Make imports come from the bundle in this parcel; return its digest."""
        if parcel != self._active[0]:
            bundle = Bundle()
            if parcel is not None:
                bundle = Bundle.from_bytes(self._workplace.receive_shared(job, parcel))
            folder = unpack_bundle(bundle, self._code_root) if bundle.digest else None
            self._bundles.activate(bundle.digest, folder)
            self._active = (parcel, bundle.digest)
        return self._active[1]


def describe(error: BaseException) -> dict[str, Any]:
    """Return what a person wants to know of an exception, as plain data."""
    details = {
        "error": shorten(type(error).__name__),
        "message": summary(error),
        "traceback": traceback_of(error),
    }
    with suppress(Exception):  # it may be user code
        more = getattr(error, "outcome_details", None)
        for name, value in list(more.items())[:_DETAILS] if type(more) is dict else ():
            plain = _plain(value)
            wanted = plain is not None and (type(plain) is str or name not in _TEXTS)
            if type(name) is str and wanted:
                details[shorten(name)] = plain
    return details


def _plain(value: Any) -> Any:
    """Return what may travel of a detail; None: nothing."""
    if type(value) is str:
        return shorten(value)
    if type(value) is bytes:
        return value[:_INTS]
    if type(value) in (tuple, list):
        return value[:_INTS] if all(type(each) is int for each in value[:_INTS]) else None
    return value if type(value) in _PLAIN else None


@contextmanager
def _ending_forks() -> Iterator[None]:
    """End a process here that was forked meanwhile, as a script's end would: it is not the worker."""
    pid, error = os.getpid(), None
    try:
        yield
    except BaseException as raised:
        if os.getpid() == pid:
            raise
        error = raised
    if os.getpid() != pid:
        _leave(error)


def _leave(error: BaseException | None) -> NoReturn:
    code: Any = 0
    try:
        if isinstance(error, SystemExit):
            code = error.code or 0
            if not isinstance(code, int):
                sys.stderr.write(f"{code}\n")
                code = 1
        elif error is not None:
            code = 1
            traceback.print_exception(error)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(code & 0xFF if isinstance(code, int) else 1)


class Desk:
    """The group in hand: what is to be run, and what was answered and has not been sent yet.

    Args:
        pipe: To the agent.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()
        self._tasks: deque[tuple[Any, ...]] = deque()
        self._answers: list[tuple[float, tuple[Any, ...]]] = []
        self._held = 0.0

    def run(self, worker: Worker, group: tuple[Any, ...]) -> None:
        """Run and answer a group, but for what is given back meanwhile."""
        self._tasks.extend(group)
        while self._tasks:
            try:
                value = self._tasks.popleft()
            except IndexError:  # it was given back just now
                break
            answer = worker.run(value)
            with self._lock:
                self._answers.append(answer)
                self._held += answer[0]
                if self._held > _FLUSH_SECONDS:
                    self._send()
        with self._lock:
            self._send()

    def give_back(self) -> None:
        """Send the answers there are and give back what was not begun; for another thread."""
        with self._lock:
            given_back = 0
            with suppress(IndexError):
                while True:
                    self._tasks.pop()
                    given_back += 1
            self._send(given_back)

    def _send(self, given_back: int = 0) -> None:
        answers, self._answers, self._held = self._answers, [], 0.0
        if answers or given_back:
            seconds, results = zip(*answers, strict=True) if answers else ((), ())
            self._pipe.send_bytes(pack((seconds, results, given_back)))


def main(descriptor: int, bell: int) -> None:
    """Serve the agent at the other end of this pipe until it closes.

    Args:
        descriptor: Of the pipe. bell: Of the socket that the agent rings, and that ends with it.
    """
    # Ctrl-C reaches the whole terminal; the agent decides what becomes of its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    adopt()
    die_first()
    for stream in (sys.stdout, sys.stderr):  # what user code prints shows at once
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
    pipe = Connection(socket.socket(fileno=descriptor).detach())
    worker = Worker(Assignment(*unpack(pipe.recv_bytes())))
    desk = Desk(pipe)
    threading.Thread(target=_listen, args=(bell, desk), name="agent-bell", daemon=True).start()
    pipe.send_bytes(b"ready")
    while True:
        try:
            message = pipe.recv_bytes()
        except (OSError, EOFError):
            _end()
        desk.run(worker, unpack(message))


def _listen(bell: int, desk: Desk) -> None:
    with socket.socket(fileno=bell) as sock:
        while True:
            try:
                rung = sock.recv(1)
            except OSError:
                rung = b""
            if not rung:
                _orphaned()
            desk.give_back()


def _orphaned() -> NoReturn:
    """Leave it to the guard to end us and all that the task has started; do it if it does not come.

    It does better: it stops us first, so that the task starts nothing more meanwhile.
    """
    threading.Event().wait(_GUARD_SECONDS)
    with suppress(OSError):
        end_offspring()
    _end()


def _end() -> NoReturn:
    """The agent has gone. This process leads its group: the task's children go with it."""
    os.killpg(0, signal.SIGKILL)
    raise SystemExit(1)
