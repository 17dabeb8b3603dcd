"""The agent: one process per host that claims tasks and keeps its workers busy.

::

    claimer   space --claims--> Shelf                      one parked claim_many at a time
    feeders   Shelf --groups--> worker --answers-->        one thread for each worker process
    clerk     --confirms with results--> space             see `clerk`
    keeper    renews claims, tells of itself (see `presence`), gives back what waits too long, sweeps
    watch     ends workers that use too much memory          see `watch`

What if ... right here? The agent dies: its session's claims are released a second later, its
guard ends its workers. A worker dies: the task it ran alone is answered DIED, a
group is run again one by one, because nobody knows which of them it was. The space is away: the
agent goes on trying and says so; results wait. The space came back empty: all claims are void,
so what is on the shelf is dropped and the agent starts over. A thread of the agent itself fails,
as none should: the agent ends, and says so, for half of it would keep its claims from the others.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from tuplespace import errors
from tuplespace.client import RemoteSpace
from tuplespace.resources import cores
from tuplespace.security import load_key
from workers.child import Child, WorkerDiedError
from workers.claims import CLAIM_LEASE, Claims
from workers.clerk import Clerk
from workers.errors import WorkerError
from workers.folders import occupy, remove_deserted, work_folder
from workers.memory import resident, worker_limit
from workers.presence import LONG_SECONDS, RENEW_SECONDS, Presence, Process, Running
from workers.seeking import Seeking
from workers.servers import Listing, Serving
from workers.shelf import Errand, Shelf
from workers.sizes import in_words
from workers.sweep import Sweep
from workers.task import Outcome, this_runtime
from workers.tracking import last_words
from workers.voice import Voice
from workers.watch import Watch
from workers.worker import Assignment

#: Seconds that running tasks may take to end once an agent is told to stop.
DRAIN_SECONDS: Final = 5.0
_BEAT: Final = 0.25
_SWEEP_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 1.0
#: For so long the keeper rests while there is nothing to keep.
_REST_SECONDS: Final = 0.75
_BURY_SECONDS: Final = 2.0
#: The longest pause before another worker is started, when none can.
_PAUSE: Final = 5.0


class Agent:
    """Runs tasks of one space on this host.

    Args:
        uri: The space's; None: as `tuplespace.connect` finds it. name: Its name on the local
            network, instead. processes: How many workers; None: one a core.
        key_file: The cluster key. work_dir: For blocks and code, see `folders.work_folder`.
        host: This host's name, told to others; agents that share a name share their files.
        announce: Told what a person should know, line by line.
        drain: Seconds that running tasks may take to end once it is told to stop.
        memory: What each worker process may use, see `memory.worker_limit`.
        claim_lease: Seconds after which others get its tasks if it is stopped or cut off.

    Attributes:
        name: Its own, as "host/pid".
    """

    def __init__(
        self, uri: str | None = None, processes: int | None = None, *,
        key_file: str | None = None, work_dir: str | None = None, host: str | None = None,
        announce: Callable[[str], None] = print, drain: float = DRAIN_SECONDS,
        name: str | None = None, memory: int | str | None = None,
        claim_lease: float = CLAIM_LEASE,
    ) -> None:  # fmt: skip
        self.host = host or socket.gethostname()
        self.name = f"{self.host}/{os.getpid()}"
        self._key_file, self._work_dir = key_file, work_dir
        if processes is not None and processes < 1:
            raise errors.InvalidArgumentError(f"an agent has at least 1 process, not {processes}")
        if not drain >= 0 or not claim_lease > 0:
            raise errors.InvalidArgumentError("drain is seconds >= 0, and a claim's lease > 0")
        self._processes = processes or cores()
        self._memory = worker_limit(memory, self._processes)
        self._voice = Voice(self.name, announce)
        self._seeking = Seeking(uri, name, key_file, self._voice)
        self._drain_seconds = drain
        self._stopping, self._ended = threading.Event(), threading.Event()
        self._shelf = Shelf(self._processes)
        self._children: set[Child] = set()
        self._space: RemoteSpace = None  # type: ignore[assignment]  # run() begins with it
        self._presence = Presence(self.name, self.host, self._processes)
        self._running: dict[Child, list[Errand]] = {}
        self._claim_lease = claim_lease
        self._watch = Watch(
            self._memory, lambda job: self._claims.timeouts.get(job),
            lambda: list(self._running), self._shelf.wait_held, self._ended,
        )  # fmt: skip
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
        space = self._seeking.connect(self._presence.register, self._stopping)
        if space is None:
            return
        self._space = space
        self._key = load_key(self._key_file)
        self._root = root / self._space.space_id
        self._occupied = occupy(self._root)
        self._server = Serving(root, self._key, self._space)
        self._presence.listing = Listing(self._space, self.host, self._server)
        self._assignment = Assignment(
            self.host, str(self._key.path), str(self._root), str(root / "code"), "", self._memory
        )
        targets = self._claim, self._keep, self._watch.watch, *[self._feed] * self._processes
        jobs = [
            threading.Thread(target=self._guard, args=(f,), name=f.__name__.strip("_"), daemon=True)
            for f in targets
        ]
        self._keeper, self._feeders = jobs[1], jobs[-self._processes :]
        self._claims = Claims(self._space, self.name, self.host, self._shelf, self._claim_lease)
        self._sweep = Sweep(self._space, self._claims, self._shelf, self._root)
        self._clerk = Clerk(
            self._space, self._shelf, self._excuse,
            lambda line: self._voice.say(f"{self.name}: {line}"),
            lambda errand, reason: Outcome.of_refusal(
                errand.value, self._key, self.name, reason
            ).to_tuple(self._key),
            self._guard,
        )  # fmt: skip
        for thread in jobs:
            thread.start()
        found = f", found on the network as {self._space.name!r}" if self._space.name else ""
        self._voice.begin(
            f"worker {self.name}: {self._processes} processes, {in_words(self._memory)} each, "
            f"{this_runtime()}, at {self._space.uri}{found}"
        )
        # Python may miss a signal that comes just as an endless wait begins, until the wait ends.
        while not self._stopping.wait(_LOOK_SECONDS):
            pass
        self._drain()
        self._server.stop()
        self._occupied.close()
        if not self._sweep.folders():
            remove_deserted(root)
        if self._broken:
            raise WorkerError(f"{self.name} has ended: {self._broken}")
        self._voice.say(f"worker {self.name} stopped")

    def _guard(self, target: Callable[[], None]) -> None:
        """Run a thread's target; end the agent if it fails, and with it its claims."""
        try:
            target()
        except BaseException as error:  # noqa: BLE001  # whatever it is, others can do the work
            name = threading.current_thread().name
            self._broken = f"its thread {name!r} has failed: {error!r}"
            self.stop()
            self._voice.say(f"{self.name} ends, {self._broken}\n{traceback.format_exc()}")

    def stop(self) -> None:
        """Make `run` finish what runs, give back the rest and return; for any thread.

        The second time: not even finish what runs.
        """
        if self._stopping.is_set():
            self._shelf.hurry()
        self._stopping.set()
        self._shelf.close()

    def _drain(self) -> None:
        """Give back at once what has not begun, let run what runs for a while, confirm what is done.

        Meanwhile the keeper keeps what runs claimed, and gives back what the workers give back.
        """
        self._voice.draining(len(self._running), self._drain_seconds)
        self._space.retry_for = 1.0
        self._presence.withdraw()
        deadline = time.monotonic() + self._drain_seconds
        self._shelf.wait_idle(self._drain_seconds)
        self._ended.set()
        for child in list(self._children):
            child.kill()
        buried_by = time.monotonic() + _BURY_SECONDS
        for thread in (*self._feeders, self._keeper):
            thread.join(max(0.0, buried_by - time.monotonic()))
        # Else the space is away, and the claims end with the session.
        if self._clerk.finish(max(0.5, deadline - time.monotonic())):
            self._claims.release([errand.claim for errand in self._shelf.clear()])
            self._presence.leave()
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
        pause = _BEAT
        while not self._stopping.is_set():
            assigned = self._assignment._replace(block_uri=self._server.uri)
            try:
                child = Child(assigned, self._relay, self._shelf.look)
            except OSError as error:
                self._voice.say(f"a worker process of {self.name} cannot be started: {error}")
                pause = self._rest(pause)
                continue
            self._children.add(child)
            try:
                if self._stopping.is_set():  # the drain may not have seen it
                    return
                child.wait_ready()
                pause = _BEAT
                while (group := again or self._shelf.next_group(child.has_ended)) is not None:
                    if not group:
                        raise child.death()
                    again = group if self._server.uri != assigned.block_uri else []
                    if again:  # others would look for its blocks elsewhere
                        break
                    self._run_group(child, group)
                    if self._watch.is_full(child):
                        break
            except WorkerDiedError as death:
                again = death.again or again
                if not self._stopping.is_set():
                    self._voice.say(f"worker process {child.pid} of {self.name} {death}")
                    pause = self._rest(pause)
            finally:
                child.bury()
                self._children.discard(child)
        self._shelf.drop(again)

    def _rest(self, seconds: float) -> float:
        """Wait, and return how long to wait the next time: what cannot start is no reason to spin."""
        self._stopping.wait(seconds)
        return min(2 * seconds, _PAUSE)

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
            elif death.blameless:
                death.again = unanswered  # in a fresh process
            else:
                self._answer_died(child, unanswered[0], death)
            raise
        finally:
            del self._running[child]

    def _forgo(self, errand: Errand) -> bool:
        """Answer nothing for a task that nobody waits for; False if somebody does."""
        if errand.lost:
            self._shelf.drop([errand])
        elif errand.value[1] in self._sweep.over:
            self._shelf.done([errand])
            self._clerk.put([(errand, None)])
        else:
            return False
        return True

    def _answer_died(self, child: Child, errand: Errand, death: WorkerDiedError) -> None:
        outcome = Outcome.of_death(
            errand.value, self._key, self.host, child.pid, str(death), death.cause,
            last_words(self._root / errand.value[1], child.pid),
        )  # fmt: skip
        self._shelf.done([errand])
        self._clerk.put([(errand, outcome.to_tuple(self._key))])

    def _relay(self, pid: int, line: str) -> None:
        self._voice.say(f"[{self.host}/{pid}] {line}")

    # -- the keeper

    def _keep(self) -> None:
        every = min(RENEW_SECONDS, self._claim_lease / 3)
        renew_at, sweep_at = time.monotonic(), time.monotonic() + _SWEEP_SECONDS
        at_rest = False
        while not self._ended.is_set():
            if at_rest:
                self._shelf.wait_held(_REST_SECONDS)
            # Told to stop it has work to do at once, and then goes on until the drain is over.
            (self._ended if self._stopping.is_set() else self._stopping).wait(_BEAT)
            now = time.monotonic()
            draining = self._stopping.is_set()
            try:
                for child in list(self._running):
                    child.recall(0.0 if draining else LONG_SECONDS)
                unwanted = self._shelf.clear() if draining else self._shelf.overdue()
                self._claims.release([errand.claim for errand in unwanted])
                if now >= renew_at:
                    renew_at = now + every
                    self._renew()
                if now >= sweep_at:
                    sweep_at = now + _SWEEP_SECONDS
                    self._sweep.sweep(list(self._running))
                idle = 0 if draining else self._shelf.idle
                told = self._presence.tell(idle, self._tasks_running(), self._processes_now)
                at_rest = told and idle == self._processes
                self._seeking.is_there()
                self._voice.back(self._space.uri, self._space.admissions)
            except errors.ClosedError:
                return
            except errors.TupleSpaceError as error:
                self._excuse(error)
                if isinstance(error, errors.SpaceUnreachableError) and not draining:
                    self._seeking.is_away(self._space, now)

    def _tasks_running(self) -> list[Running]:
        current = [(child.pid, child.current) for child in list(self._running)]
        return [(pid, *task) for pid, task in current if task is not None]

    def _processes_now(self) -> list[Process]:
        looked = [(child.pid, resident(child.pid)) for child in list(self._children)]
        return [(pid, size) for pid, size in looked if size]

    def _renew(self) -> None:
        held = self._shelf.held()
        for errand, error in zip(held, self._space.renew_many(e.claim for e in held), strict=True):
            if error is not None:
                self._shelf.lose(errand)
                for child, group in list(self._running.items()):
                    if errand in group:
                        child.end_task(errand.value)
        self._server.follow()
        self._presence.renew()

    def _excuse(self, error: errors.TupleSpaceError) -> None:
        """Say that the space is away or was lost, and wait a little."""
        if isinstance(error, errors.SpaceLostError):
            self._voice.say(f"{self.name}: {error}; starting over")
            self._shelf.clear()
            with suppress(errors.TupleSpaceError):
                self._presence.register_again()
        else:
            self._voice.away(error, self._space.admissions)
        self._ended.wait(_BEAT)
