"""The agent's side of one worker process: starting it, feeding it, burying it.

::

    starting --ready--> idle --group--> busy --answers--> idle
        |                                 |
        '------- dies -------- dies ------'--> dead: its tasks go back or are answered DIED
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from tuplespace.errors import InvalidTupleError
from tuplespace.wire import pack, unpack
from workers.worker import RECALL, Assignment

_PACKAGE_ROOT: Final = Path(__file__).resolve().parents[1]
# The agent's folder must not be searched for modules: the user's own travel with the job.
_BOOT: Final = (
    "import sys; sys.path[:] = [p for p in sys.path if p]; sys.path.insert(0, sys.argv[2]); "
    "from workers.worker import main; main(int(sys.argv[1]), int(sys.argv[3]))"
)

#: A longer line of output is cut in pieces.
_LINE_BYTES: Final = 16 * 1024


class WorkerDiedError(Exception):
    """The worker process has ended; the message says how.

    Attributes:
        cause: Why we have ended it, in a word; empty if it was not us. again: For its feeder:
            the tasks to run again.
    """

    def __init__(self, message: str, cause: str = "") -> None:
        super().__init__(message)
        self.cause = cause
        self.again: list[Any] = []


class Child:
    """One worker process. For one thread, but for `kill`.

    Args:
        assignment: What to tell it. relay: Told (pid, line) of all that user code prints.

    Attributes:
        has_answered: Whether it has run any task to its end. memory: Bytes, when last looked at.
    """

    def __init__(self, assignment: Assignment, relay: Callable[[int, str], None]) -> None:
        ours, theirs = socket.socketpair()
        self._bell, their_bell = socket.socketpair()
        self._bell.setblocking(False)
        with theirs, their_bell:
            ends = [theirs.fileno(), their_bell.fileno()]
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOOT, str(ends[0]), str(_PACKAGE_ROOT), str(ends[1])],
                pass_fds=ends,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a group of its own, so that a task's children end with it
            )
        self.pid = self._process.pid
        self.has_answered = False
        self.memory = 0
        self._reason, self._cause = "", ""
        self._pipe = Connection(ours.detach())
        self._heard = 0.0  # from it, or from us
        #: Job, phase and number of the tasks it has not answered, and when the first of them began.
        self._asked: tuple[list[Any], float] = [], 0.0
        self._can_recall = False
        self._printer = threading.Thread(
            target=self._relay, args=(relay,), name=f"output-{self.pid}", daemon=True
        )
        self._printer.start()
        threading.Thread(target=self._bury_group, name=f"death-{self.pid}", daemon=True).start()
        with suppress(OSError):  # it has ended already, as `wait_ready` will say
            self._pipe.send_bytes(pack(tuple(assignment)))

    def _relay(self, relay: Callable[[int, str], None]) -> None:
        stream = self._process.stdout
        assert stream is not None
        with stream:
            while line := stream.readline(_LINE_BYTES):
                relay(self.pid, line.decode(errors="replace").rstrip("\n"))

    def _bury_group(self) -> None:
        # What a task has forked holds the worker's end of the pipe open: it must go too, or
        # nobody would learn of the worker's death.
        self._process.wait()
        self.kill()

    def wait_ready(self) -> None:
        """Wait until it has imported what it needs.

        Raises:
            WorkerDiedError: It ended instead.
        """
        self._receive()

    def send(self, group: tuple[Any, ...]) -> None:
        """Give it a group of task tuples.

        Raises:
            WorkerDiedError: It has ended.
        """
        self._heard, self._can_recall = time.monotonic(), len(group) > 1
        self._asked = [value[1:4] for value in group], self._heard
        try:
            self._pipe.send_bytes(pack(group))
        except OSError:
            raise WorkerDiedError(self._epitaph(), self._cause) from None

    def receive(self) -> Any:
        """Wait for its next answers, in the order of the tasks.

        Returns:
            Their seconds, their results, and how many tasks it gives back, from the group's end.

        Raises:
            WorkerDiedError: It has ended; or it was ended, for an answer to something else.
        """
        message = self._receive()
        self._heard = time.monotonic()
        try:
            seconds, results, given_back = answers = unpack(message)
            self._check(seconds, results, given_back)
        except (InvalidTupleError, ValueError, TypeError):
            self.kill("was ended: it gave an answer that it was not asked for")
            raise WorkerDiedError(self._epitaph(), self._cause) from None
        self.has_answered = self.has_answered or bool(results)
        return answers

    def _check(self, seconds: Any, results: Any, given_back: Any) -> None:
        """Raise ValueError or TypeError unless these answer the next tasks.

        A process that the task has left behind, or its code, may write to the pipe as well.
        """
        tasks, began = self._asked
        begun = len(tasks) - given_back
        if (
            not len(seconds) == len(results) <= begun <= len(tasks)
            or [value[1:4] for value in results] != tasks[: len(results)]
            or not all(type(each) is float for each in seconds)
        ):
            raise ValueError
        # When it is called back it answers late for those before the task that it runs.
        self._asked = tasks[len(results) : begun], min(self._heard, began + sum(seconds))

    @property
    def current(self) -> tuple[str, str, int, float] | None:
        """Job, phase and number of the task it runs, and for how many seconds; for any thread.

        None: it runs none, or nobody knows which; `recall` makes it known.
        """
        tasks, began = self._asked
        return (*tasks[0], time.monotonic() - began) if len(tasks) == 1 else None

    def recall(self, seconds: float) -> None:
        """Have it give back what it has not begun, if it has been silent so long; for any thread."""
        if self._can_recall and time.monotonic() - self._heard >= seconds:
            self._can_recall = False
            with suppress(OSError):
                self._bell.send(RECALL)

    def _receive(self) -> bytes:
        try:
            return self._pipe.recv_bytes()
        except (OSError, EOFError):
            raise WorkerDiedError(self._epitaph(), self._cause) from None

    def _epitaph(self) -> str:
        """Bury the process and say how it ended."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)  # its pipe has closed: it is ending
        self.kill()
        status = self._process.wait()
        if self._reason:
            return self._reason
        if status < 0:
            with suppress(ValueError):
                # Workers are the first to go when memory ends, see `memory.die_first`.
                why = ", perhaps by a system out of memory" if status == -signal.SIGKILL else ""
                return f"killed by {signal.Signals(-status).name}{why}"
            return f"killed by signal {-status}"
        return f"exited with status {status}"

    def kill(self, reason: str = "", cause: str = "") -> None:
        """End it and whatever it has started; for any thread.

        Args:
            reason: What to say of its death; "": how it ended. cause: See `WorkerDiedError`.
        """
        if reason:
            self._reason, self._cause = reason, cause
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def bury(self) -> None:
        """Kill it and free what it held."""
        self.kill()
        self._process.wait()
        self._printer.join(1.0)
        self._pipe.close()
        self._bell.close()
