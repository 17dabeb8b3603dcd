"""The driver: carries a plan's orders to an engine and outcomes back.

::

    head, splits -.                  .--> tasks --agents--> outcomes --.
                  |--> plan --orders-+                                 |--> plan, as an event
                  '--> the ledger    '<--------------------------------'

Whatever the plan takes in is an event first, which reaches the ledger with the tasks that follow
from it. What if the driver dies right here? Another replays the ledger: it has the same plan, and
so knows which tasks were ordered. Those that have neither an outcome in the ledger, nor a result
in the space, nor an agent that has claimed them, it writes again.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from mapreduce.aims import Aims
from mapreduce.burying import Undertaker, failure_of, job_failed, worked_on
from mapreduce.engine.interface import Engine
from mapreduce.errors import InvalidJobError, JobCancelledError
from mapreduce.feeder import Feeder, Planned
from mapreduce.finding import find_blocks
from mapreduce.inputs.splits import PlannedSplit
from mapreduce.ledger import History, RecordedSplit, head_event, outcome_event, split_event
from mapreduce.manning import Manning
from mapreduce.outputs.results import Results
from mapreduce.patience import Patience
from mapreduce.plan import LOSSES, MAP, REDUCE, Order, Plan
from mapreduce.reception import received
from mapreduce.report import Progress, Report
from mapreduce.reporting import Reporter
from mapreduce.shuffle import MapOutput
from mapreduce.stragglers import Stragglers
from mapreduce.tally import Tally
from tuplespace.pickles import dump, dump_data
from workers.errors import BlockLostError
from workers.task import ANYWHERE, LOST, OK, Outcome, Parcel, Task, this_runtime

logger = logging.getLogger(__name__)

_POLL_SECONDS: Final = 0.5


class Inheritance(NamedTuple):
    """What a driver takes over from one that is gone.

    Attributes:
        history: The plan and splits. claimed: The (phase, number, attempt) of the tasks that agents
            have claimed, and of results that may still be claimed.
        parcels: What each phase's tasks call, and the modules ("bundle"). home: See `Engine.share`.
    """

    history: History
    claimed: frozenset[tuple[str, int, int]]
    parcels: dict[str, Parcel]
    home: str


class Driver:
    """Drives one job, in one thread; what its user asks meanwhile may come from others.

    Args:
        job: Its id. plan: The job, planned; or what reads the head of its stream and plans it; or
            what another driver has left, see `attaching`.
        results: What becomes of the reduces' results.

    Attributes:
        began: When, by the monotonic clock. report: What it took, so far. cancelled: Set it, and `drive` ends with JobCancelledError.
    """

    def __init__(
        self, job: str, plan: Planned | Callable[[], Planned] | Inheritance, results: Results
    ) -> None:
        self.job = job
        self.report = Report()
        self.began = time.monotonic()
        self._reporter = Reporter(self.report, self.began)
        self.cancelled = threading.Event()
        self._splits: Sequence[PlannedSplit | RecordedSplit] = ()
        self._manning = Manning(job, this_runtime(), time.monotonic())
        self._inheritance: Inheritance | None = None
        self._plan = Plan(0, 0, more_maps=True)
        #: Guards the plan, which the feeder of a stream changes too.
        self._lock = threading.Condition()
        self._aims = Aims()
        self._patience = Patience()
        self._stragglers = Stragglers(self._plan)
        self._tally = Tally()
        self._feeder: Feeder | None = None
        self._revoked: Counter[int] = Counter()
        if isinstance(plan, Planned):
            self._begin(plan)
        elif isinstance(plan, Inheritance):
            self._inherit(plan)
        else:
            self._feeder = Feeder(job, plan, self._lock)
        self._results = results
        self._undertaker = Undertaker(job, self.report, results)

    def _begin(self, planned: Planned) -> None:
        self._planned = planned
        self._splits, self._plan = planned.splits, planned.plan
        self._stragglers = Stragglers(self._plan, self._plan.options.backup_tasks)

    def _inherit(self, inheritance: Inheritance) -> None:
        history = inheritance.history
        self._inheritance = inheritance
        self._splits, self._plan = history.splits, history.plan
        self._manning.runtime = history.facts["runtime"]
        self._tally = history.tally
        self._stragglers = Stragglers(self._plan, self._plan.options.backup_tasks)
        for phase, seconds in history.seconds:
            self._stragglers.finished(phase, seconds)
        self.report.tasks_by_worker.update(history.tasks_by_worker)
        self._revoked.update(history.revoked)

    def progress(self) -> Progress:
        """Return how far it is; never blocks."""
        return self._reporter.progress(self._plan, self._manning.notice, time.monotonic())

    def counters(self) -> Counter[str]:
        """Return the sums of what the tasks that are done have counted."""
        with self._lock:
            return self._tally.sums(self._plan)

    def drive(self, engine: Engine) -> None:
        """Carry the job out, to its end.

        Raises:
            Exception: Whatever has ended it; see `MapReduceJob.run`.
        """
        if self._feeder is not None:
            self._begin(self._read_head(self._feeder, engine))
        if self._inheritance is None:
            engine.open(self.job, self._planned.description)
        self._results.begin(engine)
        try:
            self._carry(engine)
        finally:
            with self._lock:
                self._reporter.fill(self._plan, self._tally, self._splits)
        self._results.finish()

    def stop(self) -> None:
        """Let the feeder of a stream send nothing more."""
        if self._feeder is not None:
            self._feeder.stop()

    def _read_head(self, feeder: Feeder, engine: Engine) -> Planned:
        while (planned := feeder.planned(_POLL_SECONDS)) is None:
            self._look_around(engine)
        return planned

    def _carry(self, engine: Engine) -> None:
        if self._inheritance is not None:
            parcels, home = self._inheritance.parcels, self._inheritance.home
        else:
            parcels = self._send_work(engine)
            home = engine.share({path for split in self._splits for path in split.files})
            engine.record(head_event(self._planned, self._results, parcels))

        def task_of(order: Order, backup: bool = False) -> Task:
            if self.cancelled.is_set():
                raise self._cancellation()
            argument, affinity = self._argument(order, engine)
            if backup:  # whatever it is aimed at may be what makes it slow
                affinity = ANYWHERE
            options = order.options
            if home and order.phase == MAP:
                options = {**options, "home": home}
            task = Task(
                self.job, order.phase, order.number, self._manning.runtime, affinity, order.attempt,
                parcels[order.phase], argument, parcels.get("bundle"), options,
            )  # fmt: skip
            if affinity != ANYWHERE:
                self._aims.add(task, self._splits[order.number].wait, time.monotonic())
            return task

        if self._feeder is not None:
            self._feeder.begin(engine, task_of)
        if self._inheritance is None:
            engine.write(map(task_of, self._plan.start()))
        else:
            self._take_up(self._inheritance, engine, task_of)
        while not self._plan.done:
            with self._lock:
                self._reporter.look(self._plan, self._tally, self._splits, time.monotonic())
            engine.tell(self.progress())
            for outcome in self._next_outcomes(engine):
                if orders := self._take_in(outcome, engine):
                    engine.write(map(task_of, orders))
            engine.taken_in()
            engine.write(task_of(order, backup=True) for order in self._backups(engine))
            with self._lock:
                late = self._patience.due(self._plan, time.monotonic())
            engine.write(map(task_of, late))

    def _send_work(self, engine: Engine) -> dict[str, Parcel]:
        work = self._planned.work
        parcels = {
            "map": engine.send("map-function", work.map, shared=True),
            "reduce": engine.send("reduce-function", work.reduce, shared=True),
        }
        if work.bundle is not None:
            parcels["bundle"] = engine.send("modules", work.bundle, shared=True)
        return parcels

    def _take_up(
        self, inheritance: Inheritance, engine: Engine, task_of: Callable[[Order], Task]
    ) -> None:
        """Go on where another driver has ended: secure what is done, write what nobody runs."""
        self._check_failure(engine)
        with self._lock:
            engine.record(("call", "succeed"))
            self._plan.succeed()
        orders: list[Order] = []
        for outcome in list(self._plan.results):
            if outcome is not None and outcome.status == OK:
                orders += self._keep(outcome, engine)
        known = set(inheritance.claimed)
        while outcomes := engine.outcomes(0):
            for outcome in outcomes:
                known.add((outcome.phase, outcome.number, outcome.attempt))
                orders += self._take_in(outcome, engine)
            engine.taken_in()
        before = inheritance.history.unanswered
        logger.info("job %s goes on: %s tasks were ordered, %s are claimed or have results",
                    self.job, len(before), len(known))  # fmt: skip
        again = [order for order in before if order[:3] not in known]
        engine.write(map(task_of, [*again, *orders]))

    def _argument(self, order: Order, engine: Engine) -> tuple[Parcel, str]:
        name = f"{order.phase}-{order.number}-{order.attempt}-argument"
        if order.phase != MAP:
            return engine.send(name, dump_data(order.sources)), ANYWHERE
        split = self._splits[order.number]
        if isinstance(split, RecordedSplit):
            argument = engine.adopt(split.argument)
        else:
            try:
                data = dump(split)
            except Exception as error:
                raise InvalidJobError(
                    f"split {order.number} cannot be pickled ({split.describe()}): {error}"
                ) from error
            argument = engine.send(name, data)
            if order.attempt == 0:
                engine.record(split_event(order.number, argument, split))
        aimed = split.affinity and split.wait > 0 and not self._aims.is_lifted(order.number)
        return argument, split.affinity if split.affinity and aimed else ANYWHERE

    def _next_outcomes(self, engine: Engine) -> list[Outcome]:
        until_look = self._aims.seconds_left(time.monotonic())
        outcomes = engine.outcomes(min(_POLL_SECONDS, until_look))
        if outcomes:
            self._manning.goes_on(time.monotonic())
        self._look_around(engine)
        return outcomes

    def _look_around(self, engine: Engine) -> None:
        """Do what is to be done now and then, whether or not something has ended."""
        if self.cancelled.is_set():
            raise self._cancellation()
        if self._feeder is not None:
            self._feeder.check()
        now = time.monotonic()
        self._manning.look(engine, self._aims, now)
        if self._aims.seconds_left(now) <= 0:
            for task in self._aims.look(now, engine.places()):
                if engine.lift(task):
                    logger.info("map %s does not wait for %s any more", task.number, task.affinity)
                    self._aims.lifted(task)
                else:
                    self._aims.missed(task, now)

    def _backups(self, engine: Engine) -> list[Order]:
        """Look for stragglers, now and then: report them, and return their backup tasks."""
        now = time.monotonic()
        if not self._stragglers.is_due(now):
            return []
        load = engine.load()
        with self._lock:
            tasks, slow = self._stragglers.look(now, load, self._aims, self._patience)
            orders = []
            for task in tasks:
                if not self._is_bound(*task) and (order := self._plan.back_up(*task)) is not None:
                    engine.record(("call", "back_up", *task))
                    orders.append(order)
        for each in slow:
            noted = each._replace(what=worked_on(self._splits, each.phase, each.number))
            logger.warning("job %s: %s", self.job, noted)
            self.report.slow_tasks.append(noted)
        for order in orders:
            logger.info("%s %s is backed up", order.phase, order.number)
        self.report.backup_tasks += len(orders)
        return orders

    def _is_bound(self, phase: str, number: int) -> bool:
        """Say whether a task may run nowhere but at the place it is aimed at."""
        if phase != MAP:
            return False
        split = self._splits[number]
        return bool(split.affinity) and split.wait == math.inf

    def _cancellation(self) -> JobCancelledError:
        return JobCancelledError(f"job {self.job} was cancelled")

    def _take_in(self, outcome: Outcome, engine: Engine) -> list[Order]:
        with self._lock:
            misfit = self._plan.misfit(outcome)
            if not misfit and self._plan.is_settled(*outcome[1:4]):
                return []
        if misfit:
            logger.warning("job %s drops a result for %s %s: %s", self.job, outcome.phase,
                           outcome.number, misfit)  # fmt: skip
            return []
        if outcome.status != OK:
            logger.info("%s %s attempt %s %s: %s", outcome.phase, outcome.number, outcome.attempt,
                        outcome.status, outcome.details.get("message"))  # fmt: skip
            self.report.note_failure(failure_of(outcome))
            self.report.moved_blocks += find_blocks(outcome, self._plan, engine)
        outcome, told, output = received(outcome, engine, len(self._plan.results))
        orders = self._decide(outcome, told, output, engine)
        orders = self._patience.hold(outcome, orders, time.monotonic())
        if type(outcome.details.get("silent")) is str:  # who served the lost blocks is gone
            for order in orders:
                if order.phase == MAP and not self._is_bound(MAP, order.number):
                    self._aims.give_up(order.number)
        if outcome.phase == MAP and self._plan.outputs[outcome.number] is not None:
            self._aims.settle(outcome.number)
        self._check_failure(engine)
        done = outcome.status == OK and outcome.phase == REDUCE
        if done and self._plan.results[outcome.number] is outcome:
            orders += self._keep(outcome, engine)
        return orders

    def _decide(
        self, outcome: Outcome, told: Outcome, output: MapOutput | None, engine: Engine
    ) -> list[Order]:
        """Have the plan decide, and end the attempts that it does not need any more."""
        task = outcome.phase, outcome.number
        with self._lock:
            engine.record(outcome_event(told))
            attempts = self._plan.under_way.get(task, ())
            orders = self._plan.decide(outcome, output)
            if self._tally.note(self._plan, outcome, output):
                self.report.tasks_by_worker[outcome.worker] += 1
            if self._feeder is not None:
                self._lock.notify_all()
        if outcome.status == OK:
            self._stragglers.finished(outcome.phase, outcome.seconds)
            if self.report.slow_tasks:
                self.report.took(*task, outcome.seconds)
            for attempt in attempts:
                if attempt != outcome.attempt:
                    engine.withdraw(*task, attempt)
        return orders

    def _check_failure(self, engine: Engine) -> None:
        """Tell of bad records and buried tasks, and raise what has ended the job."""
        if (failure := self._undertaker.look(self._plan, engine, self._splits)) is not None:
            raise job_failed(failure, worked_on(self._splits, failure.phase, failure.number))

    def _keep(self, outcome: Outcome, engine: Engine) -> list[Order]:
        """Secure the result of a reduce; if it is gone, order the reduce again."""
        try:
            assert outcome.value is not None
            self._results.keep(outcome.number, outcome.value, engine)
        except BlockLostError as error:
            return self._revoke(outcome, error, engine)
        return []

    def _revoke(self, outcome: Outcome, error: BlockLostError, engine: Engine) -> list[Order]:
        """Run a reduce again whose result is gone before it was secured."""
        logger.info("the result of reduce %s is gone: %s", outcome.number, error)
        self._revoked[outcome.number] += 1
        if self._revoked[outcome.number] > LOSSES:
            raise job_failed(outcome._replace(status=LOST, details={"message": str(error)}))
        with self._lock:
            engine.record(("revoked", outcome.number, str(error)))
            return self._plan.revoke(outcome)
