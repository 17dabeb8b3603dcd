"""The feeder: reads a job's stream and gives the driver its splits, in a thread of its own.

::

    feeder   head --> Planned --> the driver opens the job
             records --> a split --> its block --> Plan.add_map --> a task     few ahead of the maps
             the end --> Plan.no_more_maps

The user's iterator may be slow, block for ever or raise: the driver goes on meanwhile. What if ...
right here? It raises: the driver ends the job with that exception. The job ends: the feeder, once
the iterator lets it go on, sends nothing more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

from mapreduce.engine.interface import Engine
from mapreduce.errors import InvalidJobError
from mapreduce.inputs.splits import GivenSplit, PlannedSplit, RecordSplit
from mapreduce.inputs.stream import Piece, SentSplit, cut, deal
from mapreduce.packing import Work
from mapreduce.plan import Order, Plan
from tuplespace.pickles import dump
from workers.task import Task

TaskOf = Callable[[Order], Task]

#: How many splits may have been read and not yet been mapped, or twice as many as there are workers.
AHEAD: Final = 32
#: How often to look whether there are more workers, while that is what holds the reading up.
_LOOK_SECONDS: Final = 2.0
#: What a piece of a stream may take of the driver's memory, for as long as the job lives.
_INLINE_BYTES: Final = 4096


class Planned(NamedTuple):
    """A job whose data is known, or is known to be a stream.

    Attributes:
        splits: Its splits; those of a stream are still to come.
        work: What its workers need. plan: Its plan.
        description: What the job's tuple says. rest: The records of a stream; None: it is none.
        map_tasks: M of a stream, if the user gave it.
    """

    splits: list[PlannedSplit]
    work: Work
    plan: Plan
    description: dict[str, Any]
    rest: Iterator[Any] | None = None
    map_tasks: int | None = None


class Feeder:
    """Reads for one job; begins at once with the head.

    Args:
        job: Its id. plan: Reads the head and plans the job. lock: Guards the plan; notified when
            a map is done.

    Attributes:
        error: What has ended it; None if nothing has.
    """

    def __init__(self, job: str, plan: Callable[[], Planned], lock: threading.Condition) -> None:
        self.error: BaseException | None = None
        self._lock = lock
        self._planned: Planned | None = None
        self._stopped = False
        self._ahead = AHEAD
        self._begun: tuple[Engine, TaskOf] | None = None
        self._thread = threading.Thread(
            target=self._run, args=(plan,), name=f"feeder-{job}", daemon=True
        )
        self._thread.start()

    # -- for the driver

    def planned(self, timeout: float) -> Planned | None:
        """Return the planned job, waiting up to `timeout` seconds; None: not yet.

        Raises:
            BaseException: Whatever reading or planning it raised.
        """
        with self._lock:
            self._lock.wait_for(lambda: self._planned or self.error, timeout)
            self.check()
            return self._planned

    def begin(self, engine: Engine, task_of: TaskOf) -> None:
        """Have the splits of the stream written to this engine from now on."""
        with self._lock:
            self._begun = engine, task_of
            self._lock.notify_all()

    def check(self) -> None:
        """Raise what has ended the feeder, if something has."""
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        """Let it send nothing more; it may stay with the user's iterator."""
        with self._lock:
            self._stopped = True
            self._lock.notify_all()

    # -- the thread

    def _run(self, plan: Callable[[], Planned]) -> None:
        try:
            planned = plan()
            with self._lock:
                self._planned = planned._replace(rest=None)
                self._lock.notify_all()
                self._lock.wait_for(lambda: self._begun or self._stopped)
            if planned.rest is not None and self._begun is not None:
                self._feed(planned, cut(planned.rest), *self._begun)
        except BaseException as error:  # noqa: BLE001  # the driver raises it
            with self._lock:
                self.error = error
                self._lock.notify_all()

    def _feed(
        self,
        planned: Planned,
        splits: Iterator[RecordSplit | GivenSplit],
        engine: Engine,
        task_of: TaskOf,
    ) -> None:
        plan, wanted = planned.plan, planned.map_tasks

        def issue(sent: Iterable[SentSplit]) -> None:
            with self._lock:
                if self._stopped:
                    return
                new = list(sent)
                planned.splits.extend(new)
                tasks = [task_of(plan.add_map()) for _ in new]
            engine.write(tasks)

        spooled: list[Piece] = []
        self._ahead = max(AHEAD, 2 * engine.slots())
        while self._has_room(plan, engine) and (split := next(splits, None)) is not None:
            pieces = self._send(split, engine)
            if isinstance(split, GivenSplit):
                issue([SentSplit(pieces, split.number, True, split.affinity, split.wait)])
            elif wanted is None:
                issue([SentSplit(pieces, split.first)])
            else:
                spooled += pieces
        given = len(plan.outputs)
        if given and wanted not in (None, given):
            raise InvalidJobError(f"data is {given} Split objects, so map_tasks cannot be {wanted}")
        if wanted is not None and not given:
            issue(deal(spooled, wanted))
        with self._lock:
            if self._stopped:
                return
            engine.record(("end",))
            tasks = [task_of(order) for order in plan.no_more_maps()]
        engine.write(tasks)

    def _has_room(self, plan: Plan, engine: Engine) -> bool:
        """Wait until the next split is wanted; False if none is."""
        while True:
            with self._lock:
                if self._lock.wait_for(
                    lambda: self._stopped or plan.maps_to_do < self._ahead, _LOOK_SECONDS
                ):
                    return not self._stopped
            self._ahead = max(AHEAD, 2 * engine.slots())

    def _send(self, split: RecordSplit | GivenSplit, engine: Engine) -> tuple[Piece, ...]:
        """Put a split's records into a block; no pieces if the job has ended meanwhile."""
        try:
            data = dump(split)
        except Exception as error:
            raise InvalidJobError(f"{split.describe()} cannot be pickled: {error}") from error
        with self._lock:
            if self._stopped:
                return ()
            return (Piece(engine.send("stream", data, _INLINE_BYTES), 0, split.size),)
