"""The driver: carries a plan's orders to an engine and outcomes back."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from mapreduce.aims import Aims
from mapreduce.engine.interface import Engine
from mapreduce.errors import InvalidJobError, JobCancelledError, JobFailedError, NoWorkersError
from mapreduce.feeder import Feeder, Planned
from mapreduce.finding import find_blocks
from mapreduce.inputs.splits import PlannedSplit
from mapreduce.outputs.results import Results
from mapreduce.plan import LOSSES, MAP, REDUCE, Order, Plan
from mapreduce.report import Progress, Report
from mapreduce.shuffle import MapOutput
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
        self._feeder: Feeder | None = None
        if isinstance(plan, Planned):
            self._begin(plan)
        else:
            self._feeder = Feeder(job, plan, self._lock)
        self._revoked: Counter[int] = Counter()
        self._notice = ""
        self._results = results
        self._noticed_at = time.monotonic() + _NOTICE_SECONDS

    def _begin(self, planned: Planned) -> None:
        self._splits, self._work, self._plan = planned.splits, planned.work, planned.plan
        self._description = planned.description

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
        return Counter()

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

        def task_of(order: Order) -> Task:
            argument, affinity = self._argument(order, home)
            if self.cancelled.is_set():
                raise self._cancellation()
            task = Task(
                self.job, order.phase, order.number, this_runtime(), affinity, order.attempt,
                functions[order.phase],
                engine.send(f"{order.phase}-{order.number}-argument", argument), bundle,
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
        with self._lock:
            orders = self._plan.decide(outcome, output)
            self._lock.notify_all()
        if outcome.phase == MAP and self._plan.outputs[outcome.number] is not None:
            self._aims.settle(outcome.number)
        if self._plan.failure is not None:
            raise _job_failed(self._plan.failure, self._worked_on(self._plan.failure))
        if outcome.phase == REDUCE and self._plan.results[outcome.number] is outcome:
            try:
                self._results.keep(outcome.number, _parcel(outcome), engine)
            except BlockLostError as error:
                orders += self._revoke(outcome, error)
        return orders

    def _worked_on(self, outcome: Outcome) -> str:
        """Say what the task of an outcome was about."""
        if outcome.phase == MAP:
            return self._splits[outcome.number].describe()
        return f"partition {outcome.number}"

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
