"""Tasks and outcomes, and the shape of the tuples that carry them: here and nowhere else.

::

    ("job", job, description)                                            leased, the driver's
    ("task", job, phase, number, runtime, affinity, payload)             driver -> agent
    ("result", job, phase, number, outcome)                              agent -> driver
    ("worker", name, host, runtime, slots)                               leased, the agent's
    ("buried", job, phase, number, about)                                leased, outlives the job
    ("running", name, host, idle, tasks, processes)                      the same; see `presence`
    ("progress", job, driver, maps, reduces, seconds)                    see `mapreduce.engine.heartbeat`
    ("driver", job, epoch, name), ("ledger", job, serial, sealed)        see `mapreduce.engine.tenure`

    task   ready --claim--> claimed --confirm with its result--> gone
             ^                |
             '--- release, lease ends, agent gone ---'

`payload` and `outcome` are sealed with the cluster key, bound to job, phase and number, and
checked before anything in them is unpickled. What if the agent dies with the task claimed? The
space gives it to another. After the confirm? The result is written, in the same step.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from tuplespace.errors import InvalidTupleError, TupleSpaceError
from tuplespace.security import Key
from tuplespace.wire import pack, unpack
from workers.blocks import Frame, Location
from workers.errors import CUT_OFF

#: A task that any agent may run has this affinity.
ANYWHERE: Final = ""
#: What may travel in a tuple; more travels as a block.
INLINE_BYTES: Final = 256 * 1024
#: The same of what many tasks share, which travels with each of them.
SHARED_INLINE_BYTES: Final = 8 * 1024

#: How an attempt ended.
OK: Final = "ok"  # the function returned
ERROR: Final = "error"  # it raised, or could not be loaded
DIED: Final = "died"  # its worker process ended
LOST: Final = "lost"  # blocks it was to read are gone
REFUSED: Final = "refused"  # its signature is wrong, so nothing of it was run

#: Of an outcome's attempt, status, worker and pid; of its details and its counters.
_TYPES: Final = (int, str, str, int)
_FACTS: Final = (dict, type(None))
#: Seconds; a `task_timeout` of more is none, and may be more than a float can be.
_LONGEST: Final = 1e9

#: How long a task that has failed for good shows in the space.
BURIED_LEASE: Final = 24 * 3600.0

#: The cause, in an outcome's details, of a death that we brought about: it used too much memory,
#: or ran longer than its job's `task_timeout`.
MEMORY: Final = "memory"
TIMEOUT: Final = "timeout"


def this_runtime() -> str:
    """Return what a pickled function needs: implementation and minor version."""
    return f"{sys.implementation.name}-{sys.version_info.major}.{sys.version_info.minor}"


def timeouts_in(jobs: Iterable[Any]) -> dict[str, float]:
    """Return the `task_timeout` of each job, of those job tuples that have one."""
    found = {value[1]: value[2].get("task_timeout") for value in jobs}
    return {
        job: float(min(limit, _LONGEST)) for job, limit in found.items()
        if type(limit) in (int, float) and limit > 0
    }  # fmt: skip


class Parcel(NamedTuple):
    """Bytes on their way: here, or in a block.

    Attributes:
        content: The bytes, None if they are in the block.
        location: The block file. frames: Its frames, one after the other.
    """

    content: bytes | None
    location: Location | None = None
    frames: tuple[Frame, ...] = ()

    @property
    def size(self) -> int:
        """How many bytes they are."""
        return sum(frame.length for frame in self.frames) + len(self.content or b"")

    def to_plain(self) -> Any:
        """Return what it is on the wire: its bytes, or where they are."""
        if self.location is None:
            return self.content
        return tuple(self.location), tuple(map(tuple, self.frames))

    def at(self, uri: str) -> Parcel:
        """Return the same parcel, whose block, if it has one, this block server hands out."""
        if self.location is None:
            return self
        return self._replace(location=self.location._replace(uri=uri))

    @property
    def identity(self) -> bytes:
        """Equal bytes for equal contents, without a look into the block."""
        return self.content or b"".join(frame.digest for frame in self.frames)

    @classmethod
    def from_plain(cls, plain: Any) -> Parcel:
        """Rebuild it from that."""
        if type(plain) is bytes:
            return cls(plain)
        location, frames = plain
        parcel = cls(None, Location(*location), tuple(Frame(*frame) for frame in frames))
        if any(type(each) is not str for each in location) or any(
            [*map(type, frame)] != [int, int, bytes] for frame in frames
        ):
            raise TypeError("a field of a block's address is of another type")
        return parcel


class Task(NamedTuple):
    """One attempt of one unit of work.

    Attributes:
        job: The job's id. phase: Its phase, such as "map". number: Its number in the phase.
        runtime: See `this_runtime`. affinity: The name of a worker or host, or ANYWHERE.
        attempt: 0, 1, ... function: What to call, pickled. argument: Its argument, pickled.
        bundle: The modules it needs (see `bundles`), packed; None: none.
        options: Plain data, more of how to run it.
    """

    job: str
    phase: str
    number: int
    runtime: str
    affinity: str
    attempt: int
    function: Parcel
    argument: Parcel
    bundle: Parcel | None = None
    options: dict[str, Any] = {}  # noqa: RUF012  # never changed

    @property
    def size(self) -> int:
        """About how many bytes its tuple has."""
        return len(self.argument.content or b"") + len(self.function.content or b"")

    def to_tuple(self, key: Key) -> tuple[Any, ...]:
        """Return the tuple that carries the task."""
        bundle = self.bundle and self.bundle.to_plain()
        body = pack(
            (self.attempt, self.function.to_plain(), self.argument.to_plain(), bundle,
             self.options or None)
        )  # fmt: skip
        payload = key.seal(_context("task", self), body)
        return ("task", *self[:5], payload)

    @classmethod
    def from_tuple(cls, value: Any, key: Key) -> Task:
        """Return the task in a tuple.

        Raises:
            AuthenticationError: It was not sealed with this key for this job and number.
            InvalidTupleError: It is no task.
        """
        try:
            _, job, phase, number, runtime, affinity, payload = value
            body = key.unseal(_context("task", (job, phase, number)), payload)
            attempt, function, argument, bundle, options = unpack(body)
            return cls(
                job, phase, number, runtime, affinity, attempt, Parcel.from_plain(function),
                Parcel.from_plain(argument), None if bundle is None else Parcel.from_plain(bundle),
                options or {},
            )  # fmt: skip
        except (ValueError, TypeError) as error:
            raise InvalidTupleError(f"no task: {error}") from None


class Outcome(NamedTuple):
    """How one attempt of a task ended: a value, never an exception.

    Attributes:
        job, phase, number, attempt: The task's.
        status: OK, ERROR, DIED, LOST or REFUSED.
        worker: Who ran it, as "host/pid". pid: Of the process that did. seconds: How long.
        value: What the function returned, pickled; None unless OK.
        details: Plain facts about a failure: message, traceback, and what the exception's own
            `outcome_details` add; of a death that was our doing, its cause (MEMORY, TIMEOUT).
        counters: What the user's code has counted, see `counters`.
    """

    job: str
    phase: str
    number: int
    attempt: int
    status: str
    worker: str
    pid: int
    seconds: float
    value: Parcel | None = None
    details: dict[str, Any] = {}  # noqa: RUF012  # never changed
    counters: dict[str, int | float] = {}  # noqa: RUF012  # never changed

    @property
    def is_cut_off(self) -> bool:
        """Whether it is lost through no fault of its own: nobody served what it was to read, or it made."""
        return self.status == LOST and self.details.get(CUT_OFF) is True

    @classmethod
    def of_death(
        cls, value: Any, key: Key, host: str, pid: int, reason: str, cause: str,
        last_words: dict[str, int] = {},  # noqa: B006  # never changed
    ) -> Outcome:  # fmt: skip
        """Return that of the task in a tuple whose worker process has died, for this reason.

        Args:
            last_words: What it has noted of the record in hand, see `tracking`.
        """
        try:
            attempt = Task.from_tuple(value, key).attempt
        except TupleSpaceError:
            attempt = 0
        details: dict[str, Any] = {"message": f"the worker process {pid} on {host} {reason}"}
        details |= last_words
        if cause:
            details["cause"] = cause
        return cls(
            value[1], value[2], value[3], attempt, DIED, f"{host}/{pid}", pid, 0.0, None, details
        )

    @classmethod
    def of_refusal(cls, value: Any, key: Key, worker: str, reason: str) -> Outcome:
        """Return that of the task in a tuple whose result the space has not taken, and why."""
        message = (
            f"its result is too large for the space: {reason}; start the space with a larger "
            "--limit tuple_bytes=, or let the task return less"
        )
        try:
            attempt = Task.from_tuple(value, key).attempt
        except TupleSpaceError:
            attempt = 0
        return cls(
            value[1], value[2], value[3], attempt, ERROR, worker, 0, 0.0, None, {"message": message}
        )

    def to_tuple(self, key: Key) -> tuple[Any, ...]:
        """Return the tuple that carries the outcome."""
        body = pack(
            (self.attempt, self.status, self.worker, self.pid, self.seconds,
             self.value and self.value.to_plain(), self.details or None, self.counters or None)
        )  # fmt: skip
        return ("result", *self[:3], key.seal(_context("result", self), body))

    @classmethod
    def from_tuple(cls, value: Any, key: Key) -> Outcome:
        """Return the outcome in a tuple.

        Raises:
            AuthenticationError: It was not sealed with this key for this job and number.
            InvalidTupleError: It is no result.
        """
        try:
            _, job, phase, number, sealed = value
            body = key.unseal(_context("result", (job, phase, number)), sealed)
            attempt, status, worker, pid, seconds, parcel, details, counters = unpack(body)
            types = type(attempt), type(status), type(worker), type(pid)
            if types != _TYPES or type(details) not in _FACTS or type(counters) not in _FACTS:
                raise TypeError("a field is of another type")
            if type(seconds) is not float or not all(map(_is_count, (counters or {}).items())):
                raise TypeError("its seconds or counters are none")
            return cls(
                job, phase, number, attempt, status, worker, pid, seconds,
                None if parcel is None else Parcel.from_plain(parcel), details or {},
                counters or {},
            )  # fmt: skip
        except (ValueError, TypeError) as error:
            raise InvalidTupleError(f"no result: {error}") from None


def _is_count(item: tuple[Any, Any]) -> bool:
    name, count = item
    return type(name) is str and type(count) in (int, float)


def _context(kind: str, head: Any) -> str:
    context = f"{kind}|{head[0]}|{head[1]}|{head[2]}"
    # A lone surrogate, which a tuple may well hold, has no UTF-8.
    if context.isascii():
        return context
    return "escaped|" + context.encode("unicode_escape").decode()
