"""The default engine: tasks are tuples, agents claim them."""

from __future__ import annotations

import logging
import shutil
import socket
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from mapreduce.engine.interface import Load, Running
from tuplespace import errors
from tuplespace.client import RemoteSpace
from tuplespace.connect import connect
from tuplespace.entry import WEIGHT_UNIT, weight_of
from tuplespace.interface import Handle
from tuplespace.template import matches
from workers.blocks import BlockServer, Location, occupy, work_folder
from workers.claims import clear_job
from workers.servers import SearchingReader
from workers.task import (
    ANYWHERE,
    BURIED_LEASE,
    INLINE_BYTES,
    Outcome,
    Parcel,
    Task,
    this_runtime,
)
from workers.workplace import Workplace

logger = logging.getLogger(__name__)

#: How long a job outlives a driver that is gone, and how often a live one says it is there.
JOB_LEASE: Final = 600.0
_RENEW_SECONDS: Final = 60.0
_CLEAR_SECONDS: Final = 5.0
_HOLD_RETRY_SECONDS: Final = 5.0
_BATCH_TASKS: Final = 256
_BATCH_BYTES: Final = 4 << 20
_OUTCOMES: Final = 1000
#: A task's phase, number and attempt, and its tuple.
Written = tuple[tuple[str, int, int], tuple[Any, ...]]

#: What an agent tells of a task, see `workers.presence`; else it is no agent who does.
_RUNS: Final = (int, str, str, int, float)
_WORKER: Final = ("worker", str, str, str, int)


class SpaceEngine:
    """Runs one job on the agents of a space.

    Args:
        space: The space; closed with the engine if `owned`. host: See `workers.Agent`.
    """

    def __init__(
        self, space: RemoteSpace, *, owned: bool = False, work_dir: str | None = None,
        host: str | None = None,
    ) -> None:  # fmt: skip
        self.space, self._owned = space, owned
        self._host = host or socket.gethostname()
        self._root = work_folder(work_dir) / space.space_id
        self._occupied = occupy(self._root)
        self._key = space.key
        self._server: BlockServer | None = None
        self._workplace = Workplace("driver", self._host, self._root, "", self._key, near=space.uri)
        self._reader = SearchingReader(space, self._host, self._key, space.uri)
        self._workplace.reader = self._reader
        self._job = ""
        self._early: deque[Outcome] = deque()
        #: Of the tasks written that have had no outcome, by phase, number and attempt.
        self._handles: dict[tuple[str, int, int], Handle] = {}
        # Two threads write the tasks of a stream; neither does once the end clears up.
        self._writing, self._serving = threading.Lock(), threading.Lock()
        self._handle: Handle | None = None
        self._closing = threading.Event()
        self._interrupted = threading.Event()

    @property
    def uri(self) -> str:
        """The space's."""
        return self.space.uri

    def open(self, job: str, description: dict[str, Any]) -> None:
        """See `Engine.open`."""
        self._job = job
        self._handle = self.space.write(("job", job, description), lease=JOB_LEASE)
        threading.Thread(target=self._renew, name=f"job-{job}", daemon=True).start()

    def _renew(self) -> None:
        assert self._handle is not None
        while not self._closing.wait(_RENEW_SECONDS):
            with suppress(errors.TupleSpaceError):
                self._handle.renew(JOB_LEASE)

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
        return parcel._replace(location=parcel.location._replace(uri=self._serve().uri))

    def _serve(self) -> BlockServer:
        with self._serving:
            if self._server is None:
                self._server = BlockServer(self._root, self._key, self.space.local_address)
            return self._server

    def share(self, paths: Collection[str]) -> str:
        """See `Engine.share`."""
        if not paths:
            return ""
        self._serve().share(paths)
        return self._serve().uri

    def write(self, tasks: Iterable[Task]) -> None:
        """See `Engine.write`."""
        batch: list[Written] = []
        size = 0
        for task in tasks:
            value = task.to_tuple(self._key)
            batch.append(((task.phase, task.number, task.attempt), value))
            size += len(value[-1])
            if len(batch) >= _BATCH_TASKS or size >= _BATCH_BYTES:
                self._write(batch)
                batch, size = [], 0
        self._write(batch)

    def _write(self, batch: list[Written]) -> None:
        """Write tasks. While the space is full take outcomes in: they may be what fills it."""
        while batch and not self._interrupted.is_set():
            try:
                with self._writing:
                    if not self._interrupted.is_set():
                        handles = self.space.write_many(value for _, value in batch)
                        self._handles.update(zip((name for name, _ in batch), handles, strict=True))
            except errors.SpaceFullError as error:
                if len(batch) == 1:
                    self._check_size(batch[0][1])
                middle = len(batch) // 2  # there may never be room for all of them at once
                self._write(batch[:middle])
                batch = batch[middle:]
                self._early += self._take_outcomes(error.retry_after)
            else:
                return

    def _check_size(self, value: tuple[Any, ...]) -> None:
        """Raise TupleTooLargeError if there is no room for this task even in an empty space."""
        limit = self.space.status()["limits"].get("bytes")
        size = weight_of(value) * WEIGHT_UNIT
        if limit is not None and size > limit:
            raise errors.TupleTooLargeError(
                f"{value[2]} {value[3]} takes {size:,} bytes as a task, and the whole space takes "
                f"{limit:,}: start it with a larger --limit bytes="
            )

    def interrupt(self) -> None:
        """See `Engine.interrupt`."""
        self._interrupted.set()

    def outcomes(self, timeout: float) -> list[Outcome]:
        """See `Engine.outcomes`."""
        early = [self._early.popleft() for _ in range(len(self._early))]
        return early or self._take_outcomes(timeout)

    def _take_outcomes(self, timeout: float) -> list[Outcome]:
        # With types: what else is written under this name is no result; the end clears it away.
        template = ("result", self._job, str, int, bytes)
        try:
            values = self.space.take_many(template, _OUTCOMES, timeout)
        except errors.MatchTimeoutError:
            return []
        return list(self._outcomes_in(values))

    def _outcomes_in(self, values: Iterable[Any]) -> Iterator[Outcome]:
        for value in values:
            try:
                outcome = Outcome.from_tuple(value, self._key)
                self._handles.pop((outcome.phase, outcome.number, outcome.attempt), None)
                yield outcome
            except (errors.AuthenticationError, errors.InvalidTupleError) as error:
                logger.warning("job %s drops a result that is none: %s", self._job, error)

    def receive(self, parcel: Parcel) -> bytes:
        """See `Engine.receive`."""
        return self._workplace.receive(parcel)

    def lift(self, task: Task) -> bool:
        """See `Engine.lift`."""
        aimed = ("task", task.job, task.phase, task.number, None, task.affinity, None)
        try:
            self.space.swap(aimed, task._replace(affinity=ANYWHERE).to_tuple(self._key))
        except (errors.MatchTimeoutError, errors.SpaceFullError):
            return False
        return True

    def load(self) -> Load:
        """See `Engine.load`."""
        try:
            self.space.read(("task", str, str, int, this_runtime(), ANYWHERE, bytes), timeout=0)
            waiting = True
        except errors.MatchTimeoutError:
            waiting = False
        told = self.space.read_all(("running", str, str, int, tuple))
        running = [
            Running(agent, host, *task[:1], *task[2:])
            for _, agent, host, _, tasks in told
            for task in tasks
            if type(task) is tuple and matches(_RUNS, task) and task[1] == self._job
        ]
        return Load(waiting, sum(max(0, value[3]) for value in told), running)

    def withdraw(self, phase: str, number: int, attempt: int) -> None:
        """See `Engine.withdraw`."""
        handle = self._handles.pop((phase, number, attempt), None)
        # Claimed or not: who runs it learns of it when the claim is renewed.
        if handle is not None and handle.cancel():
            return
        with suppress(errors.MatchTimeoutError):  # it was lifted, perhaps, and still waits
            self.space.take(("task", self._job, phase, number, *[None] * 3), timeout=0)

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
        # A client of its own: the user may close the other.
        space = connect(self.uri, key_file=str(self._key.path), retry_for=_HOLD_RETRY_SECONDS)
        occupied = occupy(self._root)
        handle = space.write(("job", job, description), lease=JOB_LEASE)
        space.keep(handle, JOB_LEASE)

        def release() -> None:
            # It may be the garbage collector that waits: a space that is away is left to the lease.
            space.retry_for = 0
            with suppress(errors.TupleSpaceError):
                handle.cancel()  # the agents' sweep deletes the blocks
            space.close()
            occupied.close()

        def hosts() -> set[str]:
            return {value[2] for value in space.read_all(_WORKER)}

        return release, hosts

    def bury(self, task: tuple[Any, ...]) -> None:
        """See `Engine.bury`."""
        with suppress(errors.TupleSpaceError):  # the job's own error says it, too
            self.space.write(task, lease=BURIED_LEASE)

    def runtimes(self) -> set[str]:
        """See `Engine.runtimes`."""
        return {value[3] for value in self.space.read_all(_WORKER)}

    def places(self) -> set[str]:
        """See `Engine.places`."""
        workers = self.space.read_all(_WORKER)
        return {place for value in workers for place in value[1:3]}

    def slots(self) -> int:
        """See `Engine.slots`."""
        return sum(value[4] for value in self.space.read_all(_WORKER))

    def close(self) -> None:
        """See `Engine.close`."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._interrupted.set()
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
        if self._job:
            shutil.rmtree(self._root / self._job, ignore_errors=True)
        self._occupied.close()
        if self._owned:
            self.space.close()

    def _clear(self) -> None:
        """Remove the job's tuples."""
        with suppress(errors.TupleSpaceError), self._writing:
            clear_job(self.space, self._job)
            if self._handle is not None:
                self._handle.cancel()  # the agents' sweep deletes the blocks
