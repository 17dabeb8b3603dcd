"""The default engine: tasks are tuples, agents claim them.

A job is there for as long as its tuple ``("job", id, description)`` is: once that is taken away, or
its lease has ended, agents end what runs and clear up, and a driver that lives ends too.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from mapreduce.engine.heartbeat import Heartbeat
from mapreduce.engine.holding import hold
from mapreduce.engine.interface import Load
from mapreduce.engine.outbox import Outbox
from mapreduce.engine.private import Private
from mapreduce.engine.tenure import TOKEN_LEASE, Tenure, no_such_job, why_not_free
from mapreduce.engine.workforce import Workforce
from mapreduce.errors import (
    JobCancelledError,
    JobHasDriverError,
    JobNotFoundError,
    JobSupersededError,
)
from mapreduce.records import Event
from mapreduce.report import Progress
from tuplespace import errors
from tuplespace.client import RemoteSpace
from tuplespace.interface import Handle
from tuplespace.security import Key
from workers.blocks import Location
from workers.claims import clear_job
from workers.errors import BlockLostError
from workers.folders import keep_for, occupy, remove_deserted, work_folder
from workers.servers import SearchingReader, Serving
from workers.task import ANYWHERE, BURIED_LEASE, INLINE_BYTES, Outcome, Parcel, Task
from workers.workplace import Workplace

logger = logging.getLogger(__name__)

#: How long a job outlives a driver that is gone.
JOB_LEASE: Final = 600.0
#: How often a driver that waits for a job to be free sees whether the job is still there.
_LOOK_SECONDS: Final = 1.0
_FULL_SECONDS: Final = 0.1
_CLEAR_SECONDS: Final = 5.0
_OUTCOMES: Final = 1000


class SpaceEngine:
    """Runs one job on the agents of a space.

    Args:
        space: The space; closed with the engine if `owned`. host: See `workers.Agent`.
        lease: How long the job outlives its driver. token_lease: How long a driver of which
            nobody has heard is taken to be alive. private: The space ends with the driver.
    """

    def __init__(
        self, space: RemoteSpace, *, owned: bool = False, work_dir: str | None = None,
        host: str | None = None, lease: float = JOB_LEASE, token_lease: float = TOKEN_LEASE,
        private: bool = False,
    ) -> None:  # fmt: skip
        self._lease, self._token_lease, self._private = lease, token_lease, private
        self.space, self._owned = space, owned
        self._host = host or socket.gethostname()
        root = work_folder(work_dir)
        remove_deserted(root)  # what a killed driver has left on a host that has no agent
        self._root = root / space.space_id
        self._occupied = occupy(self._root)
        self._key = space.key
        self._server: Serving | None = None
        self._workplace = Workplace("driver", self._host, self._root, "", self._key, near=space.uri)
        self._reader = SearchingReader(space, self._host, self._key, space.uri)
        self._workplace.reader = self._reader
        self._job = ""
        self._tenure: Tenure | Private = Private(space)
        self._outbox, self._workforce = Outbox(space, self._tenure), Workforce(space)
        self._serving = threading.Lock()
        self._handle: Handle | None = None
        self._heartbeat: Heartbeat | None = None
        self._is_closing = self._is_cleared = False

    @property
    def uri(self) -> str:
        """The space's."""
        return self.space.uri

    @property
    def driver(self) -> str:
        """The name of the driver that has this engine."""
        return f"{self._host}/{os.getpid()}"

    def open(self, job: str, description: dict[str, Any]) -> None:
        """See `Engine.open`."""
        self._job = job
        self._handle = self._write_job(description)
        if not self._private:
            self._hold(Tenure(self.space, self._key, job, self.driver, self._token_lease))
        self._tenure.begin()
        self._start()

    def _hold(self, tenure: Tenure) -> None:
        self._tenure = self._outbox.tenure = tenure

    def _write_job(self, description: dict[str, Any]) -> Handle:
        about = {**description, "driver": self.driver}
        return self.space.write(("job", self._job, about), lease=self._lease)

    def _start(self) -> None:
        assert self._handle is not None
        self._heartbeat = Heartbeat(
            self.space, self._job, self.driver, self._handle, self._lease, self._root / self._job,
            silent=self._private,
        )  # fmt: skip

    def tell(self, progress: Progress) -> None:
        """See `Engine.tell`."""
        if self._heartbeat is not None:
            self._heartbeat.tell(progress)

    @property
    def key(self) -> Key:
        """The cluster key."""
        return self._key

    def succeed(self, job: str, wait: float) -> dict[str, Any]:
        """Begin to take over a job, whose driver is gone, instead of `open`.

        Returns:
            The job's description.

        Raises:
            JobNotFoundError: There is no such job. JobHasDriverError: It has one, which does not
                let it go within `wait` seconds.
        """
        self._job = job
        tenure = Tenure(self.space, self._key, job, self.driver, self._token_lease)
        deadline = time.monotonic() + wait
        while True:
            found = self.space.read_all(("job", job, dict))
            if not found:
                raise JobNotFoundError(no_such_job(self.space, job))
            left = deadline - time.monotonic()
            try:
                tenure.succeed(max(0.0, min(left, _LOOK_SECONDS)))
            except JobSupersededError as error:  # several attach at once: one has it
                raise JobHasDriverError(str(error)) from None
            except errors.MatchTimeoutError:
                if left <= 0:
                    raise JobHasDriverError(why_not_free(self.space, job)) from None
            else:
                self._hold(tenure)
                return dict(found[0][2])

    def continue_from(self, serial: int) -> None:
        """Go on with the ledger from this serial on."""
        assert isinstance(self._tenure, Tenure)
        self._tenure.continue_from(serial)

    def take_back(self) -> frozenset[tuple[str, int, int]]:
        """Take the tasks out of the space that nobody has claimed yet.

        Returns:
            The (phase, number, attempt) of those that are claimed, and of claimed results.
        """
        template = ("task", self._job, *[None] * 5)
        with suppress(errors.MatchTimeoutError):
            while True:
                self.space.take_many(template, _OUTCOMES, timeout=0)
        tasks = self.space.claimed(("task", self._job, str, int, str, str, bytes))
        results = self.space.claimed(("result", self._job, str, int, bytes))
        known = {(each.phase, each.number, each.attempt) for each in self._outcomes_in(results)}
        for value in tasks:
            with suppress(errors.AuthenticationError, errors.InvalidTupleError):  # it is forged
                task = Task.from_tuple(value, self._key)
                known.add((task.phase, task.number, task.attempt))
        return frozenset(known)

    def go_on(self, description: dict[str, Any]) -> None:
        """Make the job, all of whose ledger has been read, this driver's own.

        Raises:
            JobNotFoundError: It has ended meanwhile.
        """
        handle = self._write_job(description)
        # The old one, which is older. Whoever ends the job takes that, too; so if we get our own,
        # it has ended, and all of it is being cleared away.
        try:
            self.space.take(("job", self._job, dict), timeout=0)
            handle.renew(self._lease)
        except (errors.MatchTimeoutError, errors.LeaseExpiredError):
            raise JobNotFoundError(no_such_job(self.space, self._job)) from None
        self._handle = handle
        self._start()

    def desert(self) -> bool:
        """See `Engine.desert`."""
        if not self._job or not isinstance(self._tenure, Tenure):
            return False
        self._tenure.stop()
        self._job = ""
        return True

    def leave(self) -> None:
        """Let go of a job that cannot be gone on with: it is as it was."""
        if isinstance(self._tenure, Tenure):
            with suppress(errors.TupleSpaceError):  # else the agents do it
                if not self.space.count(("job", self._job, dict)):
                    clear_job(self.space, self._job)
                    self._tenure.release()
            self._tenure.give_up()
        self._job = ""
        self.close()

    def record(self, event: Event) -> None:
        """See `Engine.record`."""
        self._tenure.record(event)

    def taken_in(self) -> None:
        """See `Engine.taken_in`."""
        self._tenure.taken_in()

    def check(self) -> None:
        """See `Engine.check`."""
        self._tenure.stand()

    def send(
        self, name: str, data: bytes, inline: int = INLINE_BYTES, *, shared: bool = False
    ) -> Parcel:
        """See `Engine.send`."""
        if shared:
            parcel = self._workplace.send_shared(self._job, data)
        else:
            parcel = self._workplace.send_bytes(self._job, name, data, inline)
        if parcel.location is None:
            return parcel
        keep_for(self._root / self._job, self._lease)
        return parcel.at(self._serve().uri)

    def adopt(self, parcel: Parcel) -> Parcel:
        """See `Engine.adopt`."""
        location = parcel.location
        if location is None:
            return parcel
        path = Path(location.path)
        if location.host != self._host or not path.is_relative_to(self._root) or not path.exists():
            where = "is gone" if location.host == self._host else "is out of reach"
            raise BlockLostError(f"the block {path} of the driver on host {location.host} {where}")
        return parcel.at(self._serve().uri)

    def _serve(self) -> Serving:
        with self._serving:
            if self._server is None:
                self._server = Serving(self._root, self._key, self.space)
            self._server.follow()
            return self._server

    def share(self, paths: Collection[str]) -> str:
        """See `Engine.share`."""
        if not paths:
            return ""
        self._serve().share(paths)
        return self._serve().uri

    def write(self, tasks: Iterable[Task]) -> None:
        """See `Engine.write`."""
        self._outbox.write(tasks)

    def interrupt(self) -> None:
        """See `Engine.interrupt`."""
        self._outbox.interrupt()

    def outcomes(self, timeout: float) -> list[Outcome]:
        """See `Engine.outcomes`."""
        if self._heartbeat is not None and self._heartbeat.ended_elsewhere:
            self._tenure.stand()  # a successor writes a job's tuple of its own
            raise JobCancelledError(
                f"job {self._job} was cancelled from elsewhere, or its driver slept for more than "
                f"{self._lease:g} s"
            )
        if self._outbox.write_backlog():
            timeout = min(timeout, _FULL_SECONDS)
        # With types: what else is written under this name is no result; the end clears it away.
        template = ("result", self._job, str, int, bytes)
        return list(self._outcomes_in(self._tenure.take(template, _OUTCOMES, timeout)))

    def _outcomes_in(self, values: Iterable[Any]) -> Iterator[Outcome]:
        for value in values:
            try:
                outcome = Outcome.from_tuple(value, self._key)
                self._outbox.ended(outcome)
                yield outcome
            except (errors.AuthenticationError, errors.InvalidTupleError) as error:
                logger.warning("job %s drops a result that is none: %s", self._job, error)

    def receive(self, parcel: Parcel) -> bytes:
        """See `Engine.receive`."""
        return self._workplace.receive(parcel)

    def lift(self, task: Task) -> bool:
        """See `Engine.lift`."""
        aimed = ("task", task.job, task.phase, task.number, None, task.affinity, None)
        anywhere = task._replace(affinity=ANYWHERE).to_tuple(self._key)
        return self._tenure.lift(aimed, anywhere)

    def load(self) -> Load:
        """See `Engine.load`."""
        return self._workforce.load(self._job)

    def withdraw(self, phase: str, number: int, attempt: int) -> None:
        """See `Engine.withdraw`."""
        self._outbox.withdraw(self._job, phase, number, attempt)

    def pieces(self, parcel: Parcel) -> Iterator[bytes]:
        """See `Engine.pieces`."""
        return self._workplace.pieces(parcel)

    def secure(self, parcel: Parcel, path: Path) -> None:
        """See `Engine.secure`."""
        self._workplace.secure(parcel, path, link=True)

    def elsewhere(self, locations: Iterable[Location]) -> dict[Location, Location]:
        """See `Engine.elsewhere`."""
        return self._reader.elsewhere(locations)

    def hold(
        self, job: str, description: dict[str, Any]
    ) -> tuple[Callable[[], None], Callable[[], set[str]]]:
        """See `Engine.hold`."""
        return hold(self.uri, self._key, self._root, job, description, self._lease)

    def bury(self, task: tuple[Any, ...]) -> None:
        """See `Engine.bury`."""
        with suppress(errors.TupleSpaceError):  # the job's own error says it, too
            self.space.write(task, lease=BURIED_LEASE)

    def runtimes(self) -> set[str]:
        """See `Engine.runtimes`."""
        return self._workforce.runtimes()

    def places(self) -> set[str]:
        """See `Engine.places`."""
        return self._workforce.places()

    def slots(self) -> int:
        """See `Engine.slots`."""
        return self._workforce.slots()

    def close(self) -> None:
        """See `Engine.close`."""
        if self._is_closing:
            return
        self._is_closing = True
        if self._heartbeat is not None:
            self._heartbeat.stop()
        self._outbox.interrupt()
        # A space that is away must not keep a cancelled job's caller waiting.
        clearing = threading.Thread(target=self._clear, name=f"clear-{self._job}", daemon=True)
        try:
            clearing.start()
        except RuntimeError:  # the program is ending: Python starts no thread any more
            self.space.retry_for = min(self.space.retry_for, _CLEAR_SECONDS)
            self._clear()
        else:
            clearing.join(_CLEAR_SECONDS)
        if self._server is not None:
            self._server.stop()
        self._workplace.reader.close()
        if self._job and (self._is_cleared or self._private):
            shutil.rmtree(self._root / self._job, ignore_errors=True)
        self._occupied.close()
        if self._owned:
            self.space.close()

    def _clear(self) -> None:
        """End the job, and remove its tuples, unless it is another driver's."""
        with suppress(errors.TupleSpaceError, JobSupersededError), self._outbox.lock:
            if not self._job:
                return
            self._tenure.end()
            # The job ends here; the agents' sweep deletes the blocks.
            if self._handle is not None and not self._handle.cancel():
                self._tenure.end()  # it has ended elsewhere, or is another's since just now
            clear_job(self.space, self._job)
            if self._heartbeat is not None:
                self._heartbeat.withdraw()
            self._tenure.release()
            self._is_cleared = True
