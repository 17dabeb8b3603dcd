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
from typing import Any, Final, NamedTuple

from tuplespace.errors import InvalidTupleError
from tuplespace.wire import pack, unpack
from workers import offspring
from workers.task import MEMORY, TIMEOUT
from workers.worker import RECALL, Assignment

_PACKAGE_ROOT: Final = Path(__file__).resolve().parents[1]
# The agent's folder must not be searched for modules: the user's own travel with the job.
_BOOT: Final = (
    "import sys; sys.path[:] = [p for p in sys.path if p]; sys.path.insert(0, sys.argv[2]); "
    "from workers.worker import main; main(int(sys.argv[1]), int(sys.argv[3]))"
)

#: A longer line of output is cut in pieces.
_LINE_BYTES: Final = 16 * 1024


_BURY_SECONDS: Final = 2.0


class WorkerDiedError(Exception):
    """The worker process has ended; the message says how.

    Attributes:
        cause: Why we have ended it, in a word; empty if it was not us. blameless: Whether the task
            need not have brought it about: an earlier one did, perhaps, or it has not begun. again: For its feeder: the tasks to run
            again.
    """

    def __init__(self, message: str, cause: str = "", *, blameless: bool = False) -> None:
        super().__init__(message)
        self.cause, self.blameless = cause, blameless
        self.again: list[Any] = []


class InHand(NamedTuple):
    """What a worker was given and has not answered: a new object whenever that changes.

    Attributes:
        tasks: Job, phase and number of each, in order. since: When the first of them began.
    """

    tasks: tuple[Any, ...]
    since: float


class Child:
    """One worker process. For one thread, but for `kill`.

    Args:
        assignment: What to tell it. relay: Told (pid, line) of all that user code prints.
        ended: Called by another thread once it has ended, however that came.

    Attributes:
        has_ended: Set before that.
        has_answered: Whether it has run any task to its end. memory: Bytes, when last looked at.
    """

    def __init__(
        self, assignment: Assignment, relay: Callable[[int, str], None],
        ended: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        ours, theirs = socket.socketpair()
        self._bell, their_bell = socket.socketpair()
        self._bell.setblocking(False)
        with theirs, their_bell:
            ends = [theirs.fileno(), their_bell.fileno()]
            command = [sys.executable, "-c", _BOOT, str(ends[0]), str(_PACKAGE_ROOT), str(ends[1])]
            with offspring.births:
                self._process = subprocess.Popen(
                    command,
                    pass_fds=ends,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # a group of its own: a task's children end with it
                )
                offspring.enroll(self._process.pid)
        self.pid = self._process.pid
        self.has_answered = False
        self.memory = 0
        self._reason, self._cause = "", ""
        self._pipe = Connection(ours.detach())
        self._heard = 0.0  # from it, or from us
        self.in_hand = InHand((), 0.0)
        self._ended_for: InHand | None = None
        self._can_recall = False
        self._ended, self.has_ended = ended, threading.Event()
        self._printer = threading.Thread(
            target=self._relay, args=(relay,), name=f"output-{self.pid}", daemon=True
        )
        self._printer.start()
        self._undertaker = threading.Thread(
            target=self._bury_group, name=f"death-{self.pid}", daemon=True
        )
        self._undertaker.start()
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
        offspring.bury(self.pid)
        self.has_ended.set()
        self._ended()

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
        self.in_hand = InHand(tuple(value[1:4] for value in group), self._heard)
        try:
            self._pipe.send_bytes(pack(group))
        except OSError:
            death = self.death()
            death.blameless = True  # it had ended before it had got them
            raise death from None

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
            raise self.death() from None
        self.has_answered = self.has_answered or bool(results)
        return answers

    def _check(self, seconds: Any, results: Any, given_back: Any) -> None:
        """Raise ValueError or TypeError unless these answer the next tasks.

        A process that the task has left behind, or its code, may write to the pipe as well.
        """
        tasks, since = self.in_hand
        begun = len(tasks) - given_back
        if (
            not len(seconds) == len(results) <= begun <= len(tasks)
            or tuple(value[1:4] for value in results) != tasks[: len(results)]
            or not all(type(each) is float for each in seconds)
        ):
            raise ValueError
        # When it is called back it answers late for those before the task that it runs.
        self.in_hand = InHand(tasks[len(results) : begun], min(self._heard, since + sum(seconds)))

    @property
    def current(self) -> tuple[str, str, int, float] | None:
        """Job, phase and number of the task it runs, and for how many seconds; for any thread.

        None: it runs none, or nobody knows which; `recall` makes it known.
        """
        tasks, since = self.in_hand
        return (*tasks[0], time.monotonic() - since) if len(tasks) == 1 else None

    def end_task(self, value: tuple[Any, ...]) -> None:
        """End it if it runs nothing but the task in this tuple, whose claim has ended; for any thread.

        Another attempt has won, or another agent has the task: what it gives would be refused, and
        it may never end by itself.
        """
        hand = self.in_hand
        if hand.tasks == (value[1:4],):
            self._end_for(hand, "was ended: its task is done, or runs, elsewhere")

    def end_jobs(self, over: set[str]) -> None:
        """End it if all that it has in hand is of jobs that have ended; for any thread.

        Nobody waits for it, and it may never end by itself.
        """
        hand = self.in_hand
        if hand.tasks and over.issuperset(task[0] for task in hand.tasks):
            self._end_for(hand, "was ended: its job has ended")

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
            raise self.death() from None

    def death(self) -> WorkerDiedError:
        """Return how it has ended; waits until it has."""
        message, cause = self._epitaph(), self._cause
        # It may have gone on to its next tasks just before it was ended.
        late = self._ended_for is not None and self._ended_for is not self.in_hand
        blameless = late or (cause == MEMORY and self.has_answered)
        return WorkerDiedError(message, cause, blameless=blameless)

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

    def overran(self, hand: InHand, timeout: float) -> None:
        """End it for a task that has run too long; for any thread.

        Args:
            hand: What it had in hand then. timeout: Seconds that it was allowed.
        """
        if self.in_hand is hand:
            self._end_for(
                hand, f"was ended: it ran longer than task_timeout={timeout:g} s", TIMEOUT
            )

    def _end_for(self, hand: InHand, reason: str, cause: str = "") -> None:
        self._ended_for = hand
        self.kill(reason, cause)

    def bury(self) -> None:
        """Kill it and free what it held."""
        self.kill()
        self._process.wait()
        self._undertaker.join(_BURY_SECONDS)
        self._printer.join(1.0)
        self._pipe.close()
        self._bell.close()
