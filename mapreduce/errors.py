"""What can go wrong in a MapReduce job.

::

    MapReduceError
    ├── InvalidJobError (ValueError)      the job cannot run as it was filled in
    ├── InvalidPairsError (TypeError)     map or combine returned something that is no pairs
    ├── UnstableKeyError (TypeError)      a key without a hash that is the same on every machine
    ├── PartitionError (ValueError)       a partitioner's answer is not in 0..R-1
    ├── InputError                        a file is missing, has changed or is not such text
    ├── OutputError                       an output cannot be written there, or not in its format
    ├── RecordFailedError                 a user's function raised; .record, .position, .where, .kind
    ├── ProgramFailedError                a program of run_program failed; .command, .status, .stderr
    ├── JobFailedError                    the job is over; .remote_traceback and what it was about
    ├── JobCancelledError                 somebody cancelled the job
    ├── JobSupersededError                another driver has taken the job over
    ├── JobHasDriverError                 the job has a driver already, and it is alive
    ├── JobNotFoundError (LookupError)    the space has no such job: ended, cancelled or never there
    ├── LedgerError                       a job's ledger is none
    └── NoWorkersError                    no worker serves this job

All of them survive pickling: an error with fields hands every field to ``super().__init__``.
"""

from __future__ import annotations

import reprlib
import shlex
import signal

from workers.errors import summary

_RECORD_REPR_LIMIT = 200
_SKIP_HINT = "skip_bad_records=N (invoke job: --skip-bad-records N) leaves out up to N such records"


class MapReduceError(Exception):
    """Root of everything this package raises on purpose."""


class InvalidJobError(MapReduceError, ValueError):
    """The job cannot run as it was filled in: no map function, an M or R of 0, a str as data."""


class InvalidPairsError(MapReduceError, TypeError):
    """Map or combine returned something else than pairs or a mapping."""


class UnstableKeyError(MapReduceError, TypeError):
    """The key has no hash that is the same on every machine and agrees with equality."""


class PartitionError(MapReduceError, ValueError):
    """A partitioner returned no int, or one outside 0..R-1."""


class InputError(MapReduceError):
    """A file or pattern matches nothing, has vanished or changed, or is not text as promised."""


class OutputError(MapReduceError):
    """A job's output cannot be written: no room, no permission, or an item its format cannot take."""


class RecordFailedError(MapReduceError):
    """A user's function raised on one record, key or pair; the cause is its exception.

    Attributes:
        record: The repr of the record (or key), cut to 200 characters.
        position: Its 0-based number in the split, or among the keys of the partition; -1 if unknown.
        where: Where it came from, such as ``access.log, line 31``; empty while unknown.
        kind: ``record``, ``key`` or ``pair``.
    """

    def __init__(self, record: str, position: int, where: str = "", kind: str = "record") -> None:
        super().__init__(record, position, where, kind)
        self.record = record
        self.position = position
        self.where = where
        self.kind = kind

    @classmethod
    def on(cls, record: object, position: int, kind: str = "record") -> RecordFailedError:
        """Make the error for a record or key itself."""
        return cls(shorten(record), position, kind=kind)

    @property
    def outcome_details(self) -> dict[str, object]:
        """What an outcome tells of it, beside the traceback."""
        cause = self.__cause__
        message = summary(cause) if cause is not None else str(self)
        return {"message": message, "record": self.record, "where": self.where}

    def at(self, where: str) -> RecordFailedError:
        """Return the same error with the place filled in; raise it ``from`` this one's cause."""
        return RecordFailedError(self.record, self.position, where, self.kind)

    def __str__(self) -> str:
        place = self.where or (f"number {self.position}" if self.position >= 0 else "")
        text = f"failed on {self.kind} {self.record}" + (f" ({place})" if place else "")
        return text if self.__cause__ is None else f"{text}: {summary(self.__cause__)}"


class ProgramFailedError(MapReduceError):
    """A program that is a map, combine or reduce could not be started, or ended badly.

    Attributes:
        command: It and its arguments. host: Where it ran.
        status: Its exit status; of one that was killed, minus the signal's number, as `subprocess`
            has it; None: it could not be started.
        stderr: The last lines of its standard error. reason: Why it could not be started.
    """

    def __init__(
        self, command: list[str], host: str, status: int | None, stderr: str = "", reason: str = ""
    ) -> None:
        super().__init__(command, host, status, stderr, reason)
        self.command = command
        self.host = host
        self.status = status
        self.stderr = stderr
        self.reason = reason

    def __str__(self) -> str:
        ended = f"{shlex.join(self.command):.{_RECORD_REPR_LIMIT}} on {self.host}"
        if self.status is None:
            return f"{ended}: {self.reason}"
        if self.status < 0:
            ended += f" was killed by {_signal_name(-self.status)}"
        else:
            ended += f" ended with status {self.status}"
        said = "\n".join(f"  {line}" for line in self.stderr.splitlines())
        return f"{ended}; it said:\n{said}" if said else f"{ended}, and said nothing"


class JobFailedError(MapReduceError):
    """The job failed for good, most often because a user's function raised.

    Attributes:
        message: What went wrong, in one line.
        remote_traceback: The traceback as the worker saw it.
        record: The repr of the record it failed on, if known. where: Where that came from.
        phase: ``map`` or ``reduce``. number: The number of the task in its phase.
    """

    def __init__(
        self,
        message: str,
        remote_traceback: str = "",
        record: str | None = None,
        where: str | None = None,
        phase: str = "",
        number: int | None = None,
    ) -> None:
        super().__init__(message, remote_traceback, record, where, phase, number)
        self.message = message
        self.remote_traceback = remote_traceback
        self.record = record
        self.where = where
        self.phase = phase
        self.number = number

    def __str__(self) -> str:
        lines = [self.message]
        if self.phase:
            task = self.phase if self.number is None else f"{self.phase} {self.number}"
            lines.append(f"  task:   {task}")
        if self.record is not None:
            lines.append(f"  record: {self.record}")
        if self.where:
            lines.append(f"  from:   {self.where}")
        if self.record is not None and "bad record" not in self.message:  # they are skipped already
            lines.append(f"  next:   {_SKIP_HINT}")
        if self.remote_traceback:
            lines.append(f"\nIn the worker:\n{self.remote_traceback.rstrip()}")
        return "\n".join(lines)


class JobCancelledError(MapReduceError):
    """The job was cancelled before it had a result."""


class JobSupersededError(MapReduceError):
    """Another driver has taken the job over while this one slept or was cut off; it goes on there."""


class JobHasDriverError(MapReduceError):
    """The job cannot be attached to: its driver is alive; the message says where."""


class JobNotFoundError(MapReduceError, LookupError):
    """The space has no such job: it has ended, was cancelled, or was never there."""


class LedgerError(MapReduceError):
    """A job's ledger is damaged, or of another version of this package."""


class NoWorkersError(MapReduceError):
    """No worker serves this job; the message says why."""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def shorten(value: object) -> str:
    """Return the repr of anything, cut to 200 characters; a repr that fails does no harm."""
    try:
        # A huge str, the usual huge record, is cut before its repr doubles the memory.
        text = repr(value[:_RECORD_REPR_LIMIT] if isinstance(value, (str, bytes)) else value)
        cut = isinstance(value, (str, bytes)) and len(value) > _RECORD_REPR_LIMIT
    except Exception:  # noqa: BLE001 - user code, and we are already reporting an error
        text, cut = reprlib.repr(value), False
    if cut or len(text) > _RECORD_REPR_LIMIT:
        return text[: _RECORD_REPR_LIMIT - 3] + "..."
    return text
