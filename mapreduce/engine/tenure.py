"""Tenure: a driver's hold on its job in a space, and how its ledger gets there.

::

    ("driver", job, epoch, name)          the token; whoever has claimed it drives the job
    ("ledger", job, serial, sealed)       what has happened, see `ledger`

    result     ready --claimed--> taken in by the plan --its event in the ledger--> confirmed, gone

All that a driver writes goes through its claim on the token, so one that another has superseded is
refused. Events are written with the tasks that follow from them, in one step, or a little later by
the bookkeeper, a thread. What if the driver dies right here? Before the event is written: the
result's claim ends, and the next driver takes it in. Between that and the confirm: the next driver
sees it twice, and its plan drops the second. The claim of the token ends with the driver's session,
or its lease; the next one writes a token of the next epoch. A driver that was cut off takes the
token up again if it still is of its epoch: then nobody else has been there.

A space that is full costs the job its ledger, not its life: it goes on, but cannot be resumed.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

from mapreduce.errors import JobSupersededError, MapReduceError
from mapreduce.records import Event, encode
from tuplespace import errors
from tuplespace.interface import Claim, Handle, Space
from tuplespace.security import Key
from tuplespace.template import Between
from workers.claims import TOKEN, ledger_of

logger = logging.getLogger(__name__)

#: How long a driver that does not say a word is the job's driver, unless it is known to be dead.
TOKEN_LEASE: Final = 15.0
#: How long a result that was taken is the driver's alone.
_RESULT_LEASE: Final = 30.0
#: The bookkeeper waits so long for more to write at once.
_LAG_SECONDS: Final = 0.02
_PAUSE_SECONDS: Final = 0.25
#: After so long a full space costs the job its ledger.
_FULL_SECONDS: Final = 2.0
_WRITE_BYTES: Final = 4 << 20
_CLAIM_SECONDS: Final = 1.0
_CLEARED_AT_ONCE: Final = 100
_READ_TUPLES: Final = 16


class Tenure:
    """One driver's, of one job; for any thread.

    Args:
        space: Where the job is. key: The cluster key. job: Its id. name: The driver's.
        lease: The token's.
    """

    def __init__(
        self, space: Space, key: Key, job: str, name: str, lease: float = TOKEN_LEASE
    ) -> None:
        self._space, self._key, self._job, self._name, self._lease = space, key, job, name, lease
        self._epoch = 0
        self._claim: Claim | None = None
        self._error: Exception | None = None
        self._serial = 0
        self._is_recorded = True
        self._events: list[Event] = []
        self._encoded: list[tuple[Any, ...]] = []
        self._full_since = self._waiting_since = 0.0
        #: Results that the plan has not taken in yet; that it has; whose events are written.
        self._given_out: list[Claim] = []
        self._taken_in: list[Claim] = []
        self._stopped = threading.Event()
        self._changed = threading.Condition()
        self._writing = threading.RLock()
        self._renewed_at = 0.0

    # -- beginning

    def begin(self) -> None:
        """Write the token of a new job and claim it."""
        self._space.write((TOKEN, self._job, self._epoch, self._name))
        self._claim = self._claim_token(0.0)
        self._start()

    def succeed(self, timeout: float) -> None:
        """Take over a job whose driver is gone; `continue_from` is to follow.

        Raises:
            MatchTimeoutError: It is not, within `timeout` seconds.
        """
        old = self._space.claim((TOKEN, self._job, int, str), self._lease, timeout)
        try:
            # Another is alive, or attaches too: what we have was written by somebody.
            if len(self._space.claimed((TOKEN, self._job, int, str))) > 1:
                old.confirm()
                raise errors.MatchTimeoutError(f"job {self._job} has a driver")
            self._epoch = old.tuple[2] + 1
            old.confirm([(TOKEN, self._job, self._epoch, self._name)])
        except errors.ClaimLostError:  # we were asleep, and another may have it
            raise errors.MatchTimeoutError(f"the token of job {self._job} was lost again") from None
        self._claim = self._claim_token(_CLAIM_SECONDS)

    def continue_from(self, serial: int) -> None:
        """Go on with the ledger from this serial; what stands there or beyond is removed."""
        beyond = ("ledger", self._job, Between(serial, math.inf), bytes)
        with suppress(errors.MatchTimeoutError):  # half of an event, say
            while True:
                self._space.take_many(beyond, _CLEARED_AT_ONCE, timeout=0)
        self._serial = serial
        self._start()

    def stop(self) -> None:
        """Write nothing any more; the token goes with its lease, or this client."""
        self._stopped.set()
        with self._changed:
            self._changed.notify_all()

    def give_up(self) -> None:
        """Let the token go, to whoever comes next."""
        self.stop()
        if self._claim is not None:
            with suppress(errors.TupleSpaceError):
                self._claim.release()

    def _claim_token(self, timeout: float) -> Claim:
        own = (TOKEN, self._job, self._epoch, self._name)
        try:
            return self._space.claim(own, self._lease, timeout)
        except errors.MatchTimeoutError:
            raise self._superseded() from None

    def _superseded(self) -> JobSupersededError:
        driver = driver_of(self._space, self._job)
        where = f" ({driver})" if driver else ""
        return JobSupersededError(
            f"another driver{where} has taken job {self._job} over, or it was ended, while this one "
            "was asleep or cut off from the space; this one has changed nothing since"
        )

    def _start(self) -> None:
        self._renewed_at = time.monotonic()
        name = f"bookkeeper-{self._job}"
        threading.Thread(target=self._keep_books, name=name, daemon=True).start()

    # -- what the driver does

    def check(self) -> None:
        """Raise what has ended the tenure, if something has."""
        if self._error is not None:
            raise self._error

    def stand(self) -> None:
        """Make sure, by asking, that the job is still this driver's.

        Raises:
            JobSupersededError: It is another's.
        """
        self.check()
        with self._writing:
            self._through([])

    def record(self, event: Event) -> None:
        """Have an event written, with the next tasks or soon; never blocks."""
        if self._is_recorded:
            with self._changed:
                self._events.append(event)

    def write(self, tuples: Sequence[tuple[Any, ...]]) -> Sequence[Handle]:
        """Write tasks, and before them, in the same step, all events there are.

        Returns:
            The tasks' handles.

        Raises:
            JobSupersededError: Another driver has the job. SpaceFullError: Nothing was written.
        """
        self.check()
        with self._writing:
            try:
                handles = self._flush(tuples)
            except errors.SpaceFullError:
                self._make_room()
                raise
            self._waiting_since = 0.0
            return handles

    def _make_room(self) -> None:
        """Give the ledger up if it is what the tasks have no room for: nothing else goes on."""
        now = time.monotonic()
        self._waiting_since = self._waiting_since or now
        if not self._is_recorded or now - self._waiting_since < _FULL_SECONDS:
            return
        self._waiting_since = now
        tasks = ("task", self._job, *[None] * 5)
        if not (self._space.count(tasks) or self._space.claimed(tasks)):
            self._abandon_ledger()

    def take(self, template: Any, limit: int, timeout: float) -> list[Any]:
        """Take results, for good once `taken_in` has been called and their events are written."""
        self.check()
        try:
            claims = self._space.claim_many(template, limit, _RESULT_LEASE, timeout)
        except errors.MatchTimeoutError:
            return []
        self._given_out += claims
        return [claim.tuple for claim in claims]

    def taken_in(self) -> None:
        """Note that the events of all results that were taken are recorded."""
        if self._given_out:
            with self._changed:
                self._taken_in += self._given_out
                self._given_out.clear()
                self._changed.notify_all()

    def lift(self, template: Any, replacement: tuple[Any, ...]) -> bool:
        """Replace a task that waits by another; False if it does not wait, or there is no room."""
        self.check()
        try:
            waiting = self._space.claim(template, self._lease, timeout=0)
        except errors.MatchTimeoutError:
            return False
        try:
            with self._writing:
                self._flush([replacement])
        except errors.SpaceFullError:
            waiting.release()
            return False
        except BaseException:
            with suppress(errors.TupleSpaceError):
                waiting.release()
            raise
        # Died just before this, there are two of the task; the first outcome counts.
        with suppress(errors.ClaimLostError):
            waiting.confirm()
        return True

    def end(self) -> None:
        """Write nothing any more; `release` is to follow.

        Raises:
            JobSupersededError: The job is another's, who goes on with it.
        """
        self.stop()
        with self._writing:  # the bookkeeper may be at it
            self._is_recorded = False
            self._encoded.clear()
            if self._claim is not None:  # else the space had no room for the token
                self._through([])

    def release(self) -> None:
        """Remove the token, and what results this driver has; after the job's other tuples."""
        results = [*self._taken_in, *self._given_out]
        self._space.confirm_many((claim, ()) for claim in results)
        if self._claim is not None:
            with suppress(errors.ClaimLostError):
                self._claim.confirm()

    # -- the writing, under its lock

    def _through(self, tuples: Sequence[tuple[Any, ...]]) -> Sequence[Handle]:
        """Write through the claim on the token, which it renews."""
        while True:
            assert self._claim is not None
            began = time.monotonic()
            try:
                handles = self._claim.renew(self._lease, tuples)
            except errors.ClaimLostError:
                try:
                    self._claim = self._claim_token(0.0)
                except JobSupersededError as error:
                    self._error = error
                    raise
            else:
                self._renewed_at = began
                return handles

    def _flush(self, tuples: Sequence[tuple[Any, ...]] = ()) -> Sequence[Handle]:
        """Write all events there are, then these tuples."""
        with self._changed:
            events, self._events = self._events, []
        if events and self._is_recorded:
            new = list(encode(events, self._job, self._serial, self._key))
            self._serial += len(new)
            self._encoded += new
        # Once encoded, a tuple is the same in each try: one that was written, but not answered,
        # and is written again, is the same as the first.
        while sum(len(each[3]) for each in self._encoded) > _WRITE_BYTES:
            self._through(self._encoded[:4])
            del self._encoded[:4]
        handles = self._through([*self._encoded, *tuples])
        handles = handles[len(self._encoded) :]
        self._encoded.clear()
        self._full_since = 0.0
        return handles

    # -- the bookkeeper

    def _keep_books(self) -> None:
        while not self._stopped.is_set():
            with self._changed:
                due = self._renewed_at + self._lease / 3 - time.monotonic()
                self._changed.wait_for(lambda: self._taken_in or self._stopped.is_set(), due)
            if self._stopped.wait(_LAG_SECONDS):
                return
            try:
                self._write_up()
            except (errors.SpaceUnreachableError, errors.SpaceFullError) as error:
                logger.debug("the ledger of job %s waits: %s", self._job, error)
                self._stopped.wait(_PAUSE_SECONDS)
            except errors.ClosedError:
                return
            except (errors.TupleSpaceError, MapReduceError) as error:
                self._error = self._error or error
                return

    def _write_up(self) -> None:
        """Write what there is, then let the results go that it tells of."""
        with self._writing:
            if self._stopped.is_set():
                return
            with self._changed:
                results = list(self._taken_in)
            try:
                self._flush()
            except errors.SpaceFullError:
                now = time.monotonic()
                self._full_since = self._full_since or now
                if now - self._full_since < _FULL_SECONDS:
                    self._through([])
                    raise
                self._abandon_ledger()
        if results:
            self._space.confirm_many((claim, ()) for claim in results)
            with self._changed:
                del self._taken_in[: len(results)]

    def _abandon_ledger(self) -> None:
        self._is_recorded = False
        self._encoded.clear()
        with suppress(errors.MatchTimeoutError):
            while True:
                self._space.take_many(ledger_of(self._job), _CLEARED_AT_ONCE, timeout=0)
        logger.warning(
            "job %s goes on without a ledger, because the space is full: if its driver dies, it "
            "cannot be resumed", self._job,
        )  # fmt: skip


def ledger_in(space: Space, job: str) -> Iterator[list[Any]]:
    """Yield the tuples of a job's ledger, some at a time."""
    start = 0
    while found := space.read_all(("ledger", job, Between(start, start + _READ_TUPLES - 1), bytes)):
        yield found
        start += _READ_TUPLES


def driver_of(space: Space, job: str) -> str:
    """Return the name of a job's driver, "host/pid"; empty: it has none."""
    return next((value[3] for value in space.claimed((TOKEN, job, int, str))), "")


def why_not_free(space: Space, job: str) -> str:
    """Say why nobody can take over the job."""
    driver = driver_of(space, job)
    if driver:
        return f"job {job} is driven by {driver}, which is alive"
    return f"job {job} has not begun, or is no job of a driver that can be followed"


def no_such_job(space: Space, job: str) -> str:
    """Say that there is none of this id, and which there are."""
    jobs = sorted(value[1] for value in space.read_all(("job", str, dict)))
    there = f"the jobs there are: {', '.join(jobs)}" if jobs else "no jobs are there"
    return f"there is no job {job!r}: it has ended, or never was; {there}"
