"""The driver: carries a plan's orders to an engine and outcomes back."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from mapreduce.aims import Aims
from mapreduce.burying import Undertaker, worked_on
from mapreduce.engine.interface import Engine
from mapreduce.errors import InvalidJobError, JobCancelledError, JobFailedError, NoWorkersError
from mapreduce.feeder import Feeder, Planned
from mapreduce.finding import find_blocks
from mapreduce.inputs.splits import PlannedSplit
from mapreduce.outputs.results import Results
from mapreduce.plan import LOSSES, MAP, REDUCE, Order, Plan
from mapreduce.report import Progress, Report
from mapreduce.shuffle import MapOutput
from mapreduce.stragglers import Stragglers
from tuplespace.pickles import dump, dump_data, load
from workers.errors import BlockLostError
from workers.task import ANYWHERE, ERROR, LOST, OK, Outcome, Parcel, Task, this_runtime

logger = logging.getLogger(__name__)

_POLL_SECONDS: Final = 0.5
#: When a job that no worker serves says so.
_NOTICE_SECONDS: Final = 2.0


class Driver:
    """Drives one job, in one thread; what its user asks meanwhile may come from others.

    Args:
        job: Its id. plan: The job, planned; or what reads the head of its stream and plans it.
        results: What becomes of the reduces' results.

    Attributes:
        report: What it took, so far. cancelled: Set it, and `drive` ends with JobCancelledError.
    """

    def __init__(self, job: str, plan: Planned | Callable[[], Planned], results: Results) -> None:
        self.job = job
        self.report = Report()
        self.cancelled = threading.Event()
        self._splits: Sequence[PlannedSplit] = ()
        self._plan = Plan(0, 0, more_maps=True)
        #: Guards the plan, which the feeder of a stream changes too.
        self._lock = threading.Condition()
        self._aims = Aims()
        self._stragglers = Stragglers(self._plan)
        self._feeder: Feeder | None = None
        if isinstance(plan, Planned):
            self._begin(plan)
        else:
            self._feeder = Feeder(job, plan, self._lock)
        self._revoked: Counter[int] = Counter()
        #: What the outcome has counted that has settled each task, if anything.
        self._counted: dict[tuple[str, int], dict[str, int | float]] = {}
        self._notice = ""
        self._results = results
        self._noticed_at = time.monotonic() + _NOTICE_SECONDS
        self._undertaker = Undertaker(job, self.report, results)

    def _begin(self, planned: Planned) -> None:
        self._splits, self._work, self._plan = planned.splits, planned.work, planned.plan
        self._description = planned.description
        self._stragglers = Stragglers(self._plan, self._plan.options.backup_tasks)

    def progress(self) -> Progress:
        """Return how far it is; never blocks."""
        plan = self._plan
        return Progress(
            sum(output is not None for output in plan.outputs), len(plan.outputs),
            sum(result is not None for result in plan.results), len(plan.results),
            plan.failed_attempts, self._notice,
        )  # fmt: skip

    def counters(self) -> Counter[str]:
        """Return the sums of what the tasks that are done have counted."""
        sums: Counter[str] = Counter()
        with self._lock:
            outputs, results = self._plan.outputs, self._plan.results
            for (phase, number), counts in sorted(self._counted.items()):
                if (outputs if phase == MAP else results)[number] is not None:
                    for name, count in counts.items():
                        sums[name] += count  # type: ignore[assignment]  # or float
        return sums

    def drive(self, engine: Engine) -> None:
        """Carry the job out, to its end.

        Raises:
            Exception: Whatever has ended it; see `MapReduceJob.run`.
        """
        if self._feeder is not None:
            self._begin(self._read_head(self._feeder, engine))
        engine.open(self.job, self._description)
        self._results.begin(engine)
        self._carry(engine)
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
        functions = {
            "map": engine.send("map-function", self._work.map, shared=True),
            "reduce": engine.send("reduce-function", self._work.reduce, shared=True),
        }
        packed = self._work.bundle
        bundle = None if packed is None else engine.send("modules", packed, shared=True)

        home = engine.share({path for split in self._splits for path in split.files})

        def task_of(order: Order, backup: bool = False) -> Task:
            argument, affinity = self._argument(order, home)
            if backup:  # whatever it is aimed at may be what makes it slow
                affinity = ANYWHERE
            if self.cancelled.is_set():
                raise self._cancellation()
            task = Task(
                self.job, order.phase, order.number, this_runtime(), affinity, order.attempt,
                functions[order.phase],
                engine.send(f"{order.phase}-{order.number}-{order.attempt}-argument", argument),
                bundle, order.options,
            )  # fmt: skip
            if affinity != ANYWHERE:
                self._aims.add(task, self._splits[order.number].wait, time.monotonic())
            return task

        if self._feeder is not None:
            self._feeder.begin(engine, task_of)
        engine.write(map(task_of, self._plan.start()))
        while not self._plan.done:
            for outcome in self._next_outcomes(engine):
                engine.write(map(task_of, self._take_in(outcome, engine)))
            engine.write(task_of(order, backup=True) for order in self._backups(engine))
        outputs = [output for output in self._plan.outputs if output is not None]
        self.report.pairs = sum(output.pairs for output in outputs)
        self.report.shuffle_bytes = sum(output.size for output in outputs)
        self.report.distant_bytes = sum(output.distant_bytes for output in outputs)

    def _argument(self, order: Order, home: str) -> tuple[bytes, str]:
        if order.phase == MAP:
            split = self._splits[order.number].at_home(home)
            try:
                aimed = split.affinity and split.wait > 0 and not self._aims.is_lifted(order.number)
                return dump(split), split.affinity if split.affinity and aimed else ANYWHERE
            except Exception as error:
                raise InvalidJobError(
                    f"split {order.number} cannot be pickled ({split.describe()}): {error}"
                ) from error
        return dump_data(order.sources), ANYWHERE

    def _next_outcomes(self, engine: Engine) -> list[Outcome]:
        until_look = self._aims.seconds_left(time.monotonic())
        outcomes = engine.outcomes(min(_POLL_SECONDS, until_look))
        if outcomes:
            self._notice = ""
            self._noticed_at = time.monotonic() + _NOTICE_SECONDS
        self._look_around(engine)
        return outcomes

    def _look_around(self, engine: Engine) -> None:
        """Do what is to be done now and then, whether or not something has ended."""
        if self.cancelled.is_set():
            raise self._cancellation()
        if self._feeder is not None:
            self._feeder.check()
        now = time.monotonic()
        if now >= self._noticed_at:
            self._noticed_at = now + _NOTICE_SECONDS
            self._look_for_workers(engine)
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
            tasks, slow = self._stragglers.look(now, load, self._aims)
            orders = [
                order for task in tasks
                if not self._is_bound(*task) and (order := self._plan.back_up(*task)) is not None
            ]  # fmt: skip
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

    def _look_for_workers(self, engine: Engine) -> None:
        """Say why nothing happens, if it is for want of workers."""
        wanted, runtimes = this_runtime(), engine.runtimes()
        if wanted in runtimes:
            place = self._aims.without_worker(engine.places()) if self._aims else ""
            self._notice = f"a split waits for {place!r}, where no worker is" if place else ""
        elif runtimes:
            raise NoWorkersError(
                f"no worker can run this job: it needs {wanted}, as this driver is, and the "
                f"workers are {', '.join(sorted(runtimes))}; start a worker with the same Python, "
                "or the driver with theirs"
            )
        elif not self._notice:
            self._notice = "no workers yet; start some with `invoke worker`"
            logger.warning("job %s waits: %s", self.job, self._notice)

    def _take_in(self, outcome: Outcome, engine: Engine) -> list[Order]:
        with self._lock:
            misfit = self._plan.misfit(outcome)
        if misfit:
            logger.warning("job %s drops a result for %s %s: %s", self.job, outcome.phase,
                           outcome.number, misfit)  # fmt: skip
            return []
        output = None
        if outcome.status == OK:
            self.report.tasks_by_worker[outcome.worker] += 1
            if outcome.phase == MAP:
                try:
                    output = load(engine.receive(_parcel(outcome)))
                    if type(output) is not MapOutput or len(output.ends) != len(self._plan.results):
                        what = {"message": "it has returned something that is no map's output"}
                        outcome = outcome._replace(status=ERROR, details=what)
                except BlockLostError as error:
                    outcome = outcome._replace(status=LOST, details={"message": str(error)})
        else:
            logger.info("%s %s attempt %s %s: %s", outcome.phase, outcome.number, outcome.attempt,
                        outcome.status, outcome.details.get("message"))  # fmt: skip
            self.report.moved_blocks += find_blocks(outcome, self._plan, engine)
        orders = self._decide(outcome, output, engine)
        if outcome.phase == MAP and self._plan.outputs[outcome.number] is not None:
            self._aims.settle(outcome.number)
        if (failure := self._undertaker.look(self._plan, engine, self._splits)) is not None:
            raise _job_failed(failure, worked_on(self._splits, failure.phase, failure.number))
        done = outcome.status == OK and outcome.phase == REDUCE
        if done and self._plan.results[outcome.number] is outcome:
            try:
                self._results.keep(outcome.number, _parcel(outcome), engine)
            except BlockLostError as error:
                orders += self._revoke(outcome, error)
        return orders

    def _decide(self, outcome: Outcome, output: MapOutput | None, engine: Engine) -> list[Order]:
        """Have the plan decide, and end the attempts that it does not need any more."""
        task = outcome.phase, outcome.number
        with self._lock:
            attempts = self._plan.under_way.get(task, ())
            orders = self._plan.decide(outcome, output)
            self._count(outcome, output)
            self._lock.notify_all()
        if outcome.status == OK and outcome.attempt in attempts:
            self._stragglers.finished(outcome.phase, outcome.seconds)
            for attempt in attempts:
                if attempt != outcome.attempt:
                    engine.withdraw(*task, attempt)
        return orders

    def _count(self, outcome: Outcome, output: MapOutput | None) -> None:
        """Note what was counted if this outcome has settled its task."""
        plan, task = self._plan, (outcome.phase, outcome.number)
        if outcome.phase == MAP:
            settled = output is not None and plan.outputs[outcome.number] is output
        else:
            settled = plan.results[outcome.number] is outcome
        if settled:
            self._counted.pop(task, None)
            if outcome.counters:
                self._counted[task] = outcome.counters

    def _revoke(self, outcome: Outcome, error: BlockLostError) -> list[Order]:
        """Run a reduce again whose result is gone before it was secured."""
        logger.info("the result of reduce %s is gone: %s", outcome.number, error)
        self._revoked[outcome.number] += 1
        if self._revoked[outcome.number] > LOSSES:
            raise _job_failed(outcome._replace(status=LOST, details={"message": str(error)}))
        with self._lock:
            return self._plan.revoke(outcome)


def _parcel(outcome: Outcome) -> Parcel:
    assert outcome.value is not None
    return outcome.value


def _job_failed(outcome: Outcome, what: str = "") -> JobFailedError:
    """Return the error of a job that an outcome has ended; `what` its task worked on."""
    details = outcome.details
    return JobFailedError(
        f"{outcome.phase} {outcome.number} failed on {outcome.worker}: "
        f"{details.get('message', outcome.status)}",
        details.get("traceback", ""), details.get("record"), details.get("where") or what,
        outcome.phase, outcome.number,
    )  # fmt: skip
