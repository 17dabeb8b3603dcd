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
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from tuplespace.wire import pack, unpack
from workers.worker import Assignment

_PACKAGE_ROOT: Final = Path(__file__).resolve().parents[1]
# The agent's folder must not be searched for modules: the user's own travel with the job.
_BOOT: Final = (
    "import sys; sys.path[:] = [p for p in sys.path if p]; sys.path.insert(0, sys.argv[2]); "
    "from workers.worker import main; main(int(sys.argv[1]))"
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
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOOT, str(theirs.fileno()), str(_PACKAGE_ROOT)],
                pass_fds=[theirs.fileno()],
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
        """Give it a group of (ticket, task tuple).

        Raises:
            WorkerDiedError: It has ended.
        """
        try:
            self._pipe.send_bytes(pack(group))
        except OSError:
            raise WorkerDiedError(self._epitaph(), self._cause) from None

    def receive(self) -> Any:
        """Wait for its next answers: (ticket, status, seconds, result tuple) each.

        Raises:
            WorkerDiedError: It has ended.
        """
        answers = self._receive()
        self.has_answered = True
        return unpack(answers)

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
