"""The agent: one process per host that claims tasks and keeps its workers busy.

::

    claimer   space --claims--> Shelf                      one parked claim_many at a time
    feeders   Shelf --groups--> worker --answers-->        one thread for each worker process
    clerk     --confirms with results--> space             see `clerk`
    keeper    renews claims and the worker tuple, gives back what waits too long, sweeps
    watch     ends workers that use too much memory          see `watch`

What if ... right here? The agent dies: its session's claims are released a second later, its
workers see their pipe close and end. A worker dies: the task it ran alone is answered DIED, a
group is run again one by one, because nobody knows which of them it was. The space is away: the
agent goes on trying and says so; results wait. The space came back empty: all claims are void,
so what is on the shelf is dropped and the agent starts over. A thread of the agent itself fails,
as none should: the agent ends, and says so, for half of it would keep its claims from the others.
"""

from __future__ import annotations

import math
import os
import shutil
import socket
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from tuplespace import errors
from tuplespace.client import RemoteSpace
from tuplespace.connect import connect, missing_key
from tuplespace.interface import Handle
from tuplespace.resources import cores
from tuplespace.security import load_key
from workers.blocks import BlockServer, occupy, remove_deserted, work_folder
from workers.child import Child, WorkerDiedError
from workers.claims import Claims, clear_job, deserted_jobs
from workers.clerk import Clerk
from workers.errors import WorkerError
from workers.memory import worker_limit
from workers.shelf import OVERDUE_SECONDS, Errand, Shelf
from workers.sizes import in_words
from workers.task import MEMORY, Outcome, this_runtime
from workers.watch import Watch
from workers.worker import Assignment

WORKER_LEASE: Final = 10.0
#: Seconds that running tasks may take to end once an agent is told to stop.
DRAIN_SECONDS: Final = 5.0
_BEAT: Final = 0.25
_RENEW_SECONDS: Final = 3.0
_SWEEP_SECONDS: Final = 2.0
_RETRY_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.5
_SAY_SECONDS: Final = 5.0
_BURY_SECONDS: Final = 2.0


class Agent:
    """Runs tasks of one space on this host.

    Args:
        uri: The space's; None: as `tuplespace.connect` finds it. name: Its name on the local
            network, instead. processes: How many workers; None: one a core.
        key_file: The cluster key. work_dir: For blocks and code, see `blocks.work_folder`.
        host: This host's name, told to others; agents that share a name share their files.
        announce: Told what a person should know, line by line.
        drain: Seconds that running tasks may take to end once it is told to stop.
        memory: What each worker process may use, see `memory.worker_limit`.

    Attributes:
        name: Its own, as "host/pid".
    """

    def __init__(
        self, uri: str | None = None, processes: int | None = None, *,
        key_file: str | None = None, work_dir: str | None = None, host: str | None = None,
        announce: Callable[[str], None] = print, drain: float = DRAIN_SECONDS,
        name: str | None = None, memory: int | str | None = None,
    ) -> None:  # fmt: skip
        self.host = host or socket.gethostname()
        self.name = f"{self.host}/{os.getpid()}"
        self._uri, self._wanted, self._key_file, self._work_dir = uri, name, key_file, work_dir
        if processes is not None and processes < 1:
            raise errors.InvalidArgumentError(f"an agent has at least 1 process, not {processes}")
        self._processes = processes or cores()
        self._memory = worker_limit(memory, self._processes)
        self._announce = announce
        self._drain_seconds = drain
        self._stopping = threading.Event()
        self._shelf = Shelf(self._processes)
        self._children: set[Child] = set()
        self._space: RemoteSpace = None  # type: ignore[assignment]  # run() begins with it
        self._registration: Handle | None = None
        self._registered_at = ""  # the space's id
        self._registering = threading.Lock()
        self._over: set[str] = set()  # jobs that we have served and that have ended
        self._running: dict[Child, list[Errand]] = {}
        self._watch = Watch(self._memory, lambda: list(self._running), self._stopping)
        self._said_away = -math.inf
        self._broken = ""

    # -- starting and stopping

    def run(self) -> None:
        """Work until `stop`; returns within 10 s of it.

        Raises:
            AuthenticationError: The key is not the space's. WorkFolderError: No folder for blocks.
            InvalidArgumentError: Several spaces answered on the local network; it names them.
            WorkerError: It has ended because one of its threads failed.
        """
        root = work_folder(self._work_dir)
        if not self._connect():
            return
        self._key = load_key(self._key_file)
        self._root = root / self._space.space_id
        self._occupied = occupy(self._root)
        self._server = BlockServer(root, self._key, self._space.local_address)
        self._assignment = Assignment(
            self.host, str(self._key.path), str(self._root), str(root / "code"), self._server.uri,
            self._memory,
        )  # fmt: skip
        targets = self._claim, self._keep, self._watch.watch, *[self._feed] * self._processes
        jobs = [
            threading.Thread(
                target=self._guard, args=(target,), name=target.__name__.strip("_"), daemon=True
            )
            for target in targets
        ]
        self._feeders = jobs[-self._processes :]
        self._claims = Claims(self._space, self.name, self.host)
        self._clerk = Clerk(
            self._space,
            self._shelf,
            self._excuse,
            lambda line: self._say(f"{self.name}: {line}"),
            self._guard,
        )
        for thread in jobs:
            thread.start()
        found = f", found on the network as {self._space.name!r}" if self._space.name else ""
        self._say(
            f"worker {self.name}: {self._processes} processes, {in_words(self._memory)} each, "
            f"{this_runtime()}, at {self._space.uri}{found}"
        )
        # Python may miss a signal that comes just as an endless wait begins, until the wait ends.
        while not self._stopping.wait(_LOOK_SECONDS):
            pass
        self._drain()
        self._server.stop()
        self._occupied.close()
        if not self._job_folders():
            remove_deserted(root)
        if self._broken:
            raise WorkerError(f"{self.name} has ended: {self._broken}")
        self._say(f"worker {self.name} stopped")

    def _guard(self, target: Callable[[], None]) -> None:
        """Run a thread's target; end the agent if it fails, and with it its claims."""
        try:
            target()
        except BaseException as error:  # noqa: BLE001  # whatever it is, others can do the work
            name = threading.current_thread().name
            self._broken = f"its thread {name!r} has failed: {error!r}"
            self.stop()
            self._say(f"{self.name} ends, {self._broken}\n{traceback.format_exc()}")

    def stop(self) -> None:
        """Make `run` finish what runs, give back the rest and return; for any thread."""
        self._stopping.set()
        self._shelf.close()

    def _connect(self) -> bool:
        """Connect to the space, however long it takes; False if stopped meanwhile."""
        while not self._stopping.is_set():
            try:
                self._space = connect(
                    self._uri, name=self._wanted, key_file=self._key_file, retry_for=_SAY_SECONDS
                )
                self._register()
            except errors.AuthenticationError as error:
                if not missing_key(self._key_file):
                    raise
                self._say_away(error)
            except (errors.SpaceUnreachableError, errors.SpaceFullError) as error:
                self._say_away(error)
            except errors.SpaceLostError:
                continue
            else:
                return True
            self._stopping.wait(_RETRY_SECONDS)
        return False

    def _drain(self) -> None:
        """Let running tasks end, for a while; give back the others, confirm what is done."""
        self._space.retry_for = 1.0
        given_back = [errand.claim for errand in self._shelf.clear()]
        deadline = time.monotonic() + self._drain_seconds
        self._shelf.wait_idle(self._drain_seconds)
        for child in list(self._children):
            child.kill()
        buried_by = time.monotonic() + _BURY_SECONDS
        for feeder in self._feeders:
            feeder.join(max(0.0, buried_by - time.monotonic()))
        if self._clerk.finish(
            max(0.5, deadline - time.monotonic())
        ):  # else the space is away, and the claims end with the session
            self._claims.release(given_back)
            with suppress(errors.TupleSpaceError):
                if self._registration is not None:
                    self._registration.cancel()
        self._space.close()

    # -- the claimer

    def _claim(self) -> None:
        while (wanted := self._shelf.wait_for_room()) > 0:
            try:
                claims = self._claims.of_live_jobs(self._claims.claim(wanted))
            except errors.ClosedError:
                return
            except errors.TupleSpaceError as error:
                self._excuse(error)
                continue
            now = time.monotonic()
            surplus = self._shelf.add([Errand(claim, now) for claim in claims])
            self._claims.release([errand.claim for errand in surplus])

    # -- the feeders

    def _feed(self) -> None:
        """Keep one worker process busy, and start another when it dies."""
        again: list[Errand] = []  # still running, as far as the shelf knows
        while not self._stopping.is_set():
            child = Child(self._assignment, self._relay)
            self._children.add(child)
            try:
                if self._stopping.is_set():  # the drain may not have seen it
                    return
                child.wait_ready()
                while (group := again or self._shelf.next_group()) is not None:
                    again = []
                    self._run_group(child, group)
                    if self._watch.is_full(child):
                        break
            except WorkerDiedError as death:
                again = death.again or again
                if not self._stopping.is_set():
                    self._say(f"worker process {child.pid} of {self.name} {death}")
                    self._stopping.wait(_BEAT)  # one that cannot even start is no reason to spin
            finally:
                child.bury()
                self._children.discard(child)
        self._shelf.drop(again)

    def _run_group(self, child: Child, group: list[Errand]) -> None:
        waiting = group
        self._running[child] = group
        try:
            child.send(tuple(errand.value for errand in group))
            while waiting:
                seconds, results, given_back = child.receive()
                begun = len(waiting) - given_back
                answered, back = waiting[: len(results)], waiting[begun:]
                waiting = waiting[len(results) : begun]
                if answered:
                    self._shelf.done(answered, seconds)
                    self._clerk.put(list(zip(answered, results, strict=True)))
                if back:
                    self._shelf.put_back(back)
        except WorkerDiedError as death:
            unanswered = [errand for errand in waiting if not self._forgo(errand)]
            if self._stopping.is_set():
                self._shelf.drop(unanswered)
            elif len(unanswered) != 1:
                self._shelf.retry_alone(unanswered)
            elif death.cause == MEMORY and child.has_answered:
                death.again = unanswered  # in a fresh process: earlier tasks may have left too much
            else:
                self._answer_died(child, unanswered[0], death)
            raise
        finally:
            del self._running[child]

    def _forgo(self, errand: Errand) -> bool:
        """Answer nothing for a task whose job is over; False if it is not."""
        if errand.value[1] not in self._over:
            return False
        self._shelf.done([errand])
        self._clerk.put([(errand, None)])
        return True

    def _answer_died(self, child: Child, errand: Errand, death: WorkerDiedError) -> None:
        outcome = Outcome.of_death(
            errand.value, self._key, self.host, child.pid, str(death), death.cause
        )
        self._shelf.done([errand])
        self._clerk.put([(errand, outcome.to_tuple(self._key))])

    def _relay(self, pid: int, line: str) -> None:
        self._say(f"[{self.host}/{pid}] {line}")

    # -- the keeper

    def _keep(self) -> None:
        renew_at = time.monotonic() + _RENEW_SECONDS
        sweep_at = time.monotonic() + _SWEEP_SECONDS
        while not self._stopping.wait(_BEAT):
            now = time.monotonic()
            try:
                for child in list(self._running):
                    child.recall(OVERDUE_SECONDS)
                self._claims.release([errand.claim for errand in self._shelf.overdue()])
                if now >= renew_at:
                    renew_at = now + _RENEW_SECONDS
                    self._renew()
                if now >= sweep_at:
                    sweep_at = now + _SWEEP_SECONDS
                    self._sweep()
            except errors.ClosedError:
                return
            except errors.TupleSpaceError as error:
                self._excuse(error)

    def _register(self) -> None:
        worker = ("worker", self.name, self.host, this_runtime(), self._processes)
        self._registered_at = self._space.space_id
        self._registration = self._space.write(worker, lease=WORKER_LEASE)

    def _register_again(self) -> None:
        """Register with a space that came back empty; the first of our threads to hear of it does."""
        with self._registering:
            if self._registered_at != self._space.space_id:
                self._register()

    def _renew(self) -> None:
        held = self._shelf.held()
        for errand, error in zip(held, self._space.renew_many(e.claim for e in held), strict=True):
            if error is not None:
                self._shelf.lose(errand)
        try:
            assert self._registration is not None
            self._registration.renew(WORKER_LEASE)
        except errors.LeaseExpiredError:
            self._registered_at = ""
            self._register_again()

    def _job_folders(self) -> dict[str, Path]:
        """Return the folders of blocks there are, by job."""
        try:
            return {folder.name: folder for folder in self._root.iterdir() if folder.is_dir()}
        except FileNotFoundError:  # somebody has cleared the temporary folder
            return {}

    def _sweep(self) -> None:
        """End what is left of jobs that have ended, and delete folders that nobody works for."""
        folders = self._job_folders()
        held = {errand.value[1] for errand in self._shelf.held()}
        self._claims.served_jobs |= held
        served = set(self._claims.served_jobs)  # as it was before we ask: the claimer adds new ones
        deserted = deserted_jobs(self._space)  # before we ask which jobs there are
        if folders or served or deserted:
            live = self._claims.live_jobs()
            self._over = served - live
            for child, group in list(self._running.items()):
                if self._over.issuperset(errand.value[1] for errand in group):
                    # Nobody waits for it, and it may never end by itself.
                    child.kill("was ended: its job has ended")
            for job in self._over | (deserted - live):
                clear_job(self._space, job)
            self._claims.served_jobs -= self._over - held
            for job in folders.keys() - live:
                shutil.rmtree(folders[job], ignore_errors=True)
        remove_deserted(self._root.parent)

    def _excuse(self, error: errors.TupleSpaceError) -> None:
        """Say that the space is away or was lost, and wait a little."""
        if isinstance(error, errors.SpaceLostError):
            self._say(f"{self.name}: {error}; starting over")
            self._shelf.clear()
            with suppress(errors.TupleSpaceError):
                self._register_again()
        else:
            self._say_away(error)
        self._stopping.wait(_BEAT)

    def _say(self, line: str) -> None:
        with suppress(OSError, ValueError):  # nobody may be listening any more
            self._announce(line)

    def _say_away(self, error: Exception) -> None:
        now = time.monotonic()
        if now - self._said_away >= _SAY_SECONDS:
            self._said_away = now
            self._say(f"{self.name}: still trying: {error}")
