"""JobRun: a job on its way, as its user sees it; a thread of its own drives it."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

from mapreduce.driver import Driver, Inheritance
from mapreduce.engine.interface import Engine
from mapreduce.errors import JobCancelledError
from mapreduce.feeder import Planned
from mapreduce.outputs.results import Results
from mapreduce.report import Progress, Report
from tuplespace.errors import SpaceUnreachableError

logger = logging.getLogger(__name__)

_CANCEL_SECONDS: Final = 8.0


class JobRun:
    """A job on its way; made by `MapReduceJob.submit` and `MapReduceJob.attach`.

    Attributes:
        id: The job's id. label: What its user calls it. report: What it took, so far.
    """

    def __init__(
        self, id: str, engine: Callable[[], Engine],
        plan: Planned | Callable[[], Planned] | Inheritance, results: Results, label: str = "",
    ) -> None:  # fmt: skip
        self.id, self.label = id, label
        self._driver = Driver(id, plan, results)
        self.report: Report = self._driver.report
        self._engine: Engine | None = None
        self._results = results
        self._error: BaseException | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(engine,), name=f"driver-{id}", daemon=True
        )
        _runs.add(self)
        self._thread.start()

    def __repr__(self) -> str:
        done = self.progress()
        return (
            f"<JobRun {self.id}: {done.map_done}/{done.map_total} maps, "
            f"{done.reduce_done}/{done.reduce_total} reduces done>"
        )

    def progress(self) -> Progress:
        """Return how far it is; never blocks."""
        return self._driver.progress()

    @property
    def counters(self) -> Counter[str]:
        """The user's own counters (see `workers.counter`), of the tasks that are done."""
        return self._driver.counters()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has ended, well or not; False if it has not within `timeout` seconds."""
        return self._ended.wait(timeout)

    def result(self, timeout: float | None = None) -> list[Any]:
        """Wait for and return the list of R reduce results, or what `MapReduceJob.output` makes of them.

        Raises:
            TimeoutError: Not within `timeout` seconds; the job goes on.
            JobFailedError: It failed. JobCancelledError: It was cancelled.
            NoWorkersError: No worker can serve it.
            TupleSpaceError: The space was lost.
            Exception: What the iterable that is the job's data raised, as it is.
        """
        if not self._ended.wait(timeout):
            raise TimeoutError(f"job {self.id} has not ended within {timeout:g} s; it goes on")
        if self._error is not None:
            raise self._error
        return self._results.all()

    def iter_results(self) -> Iterator[Any]:
        """Yield the R reduce results in order, once the job has ended, each loaded just then.

        May be called again. With `MapReduceJob.output`, they are the paths or `Blocks`' locators.

        Raises:
            JobFailedError: It failed; and what else `result` raises.
        """
        if not self._ended.wait() or self._error is not None:
            self.result()
        yield from self._results.each()

    def cancel(self) -> None:
        """End the job and remove its tasks and blocks; returns when that is done.

        If the space does not answer, returns within 10 s all the same; the agents then clear up
        when the job's lease has ended.
        """
        self._ask_to_end()
        if not self._ended.wait(_CANCEL_SECONDS):
            self._error = JobCancelledError(f"job {self.id} was cancelled while its space was away")
            self._ended.set()

    def _ask_to_end(self) -> None:
        self._driver.cancelled.set()
        if self._engine is not None:
            self._engine.interrupt()  # its space may be full for ever

    # -- the thread

    def _run(self, make_engine: Callable[[], Engine]) -> None:
        try:
            engine = self._engine = make_engine()
            try:
                self._driver.drive(engine)
            except SpaceUnreachableError as error:
                if not engine.desert():
                    raise
                self._results.leave()
                raise SpaceUnreachableError(
                    f"{error}; job {self.id} is as it was: when the space is back, "
                    f"`invoke resume {self.id}` goes on with it", error.outcome_unknown,
                ) from error  # fmt: skip
            finally:
                self._driver.stop()
                engine.close()
        except BaseException as error:  # noqa: BLE001  # it is raised in whoever asks for the result
            self._results.abandon()
            self._error = error
        finally:
            self.report.seconds = time.monotonic() - self._driver.began
            self._ended.set()


#: Every run that somebody has or that has not ended.
_runs: weakref.WeakSet[JobRun] = weakref.WeakSet()


@atexit.register
def _cancel_unfinished() -> None:
    """Leave no job to the workers that nobody waits for any more."""
    runs = [run for run in _runs if not run.wait(0)]
    for run in runs:  # all at once, before we wait for the first
        run._ask_to_end()
    for run in runs:
        logger.warning(
            "job %s was cancelled because its program ended; wait for it with run.result()", run.id
        )
        run.cancel()


# A forked child has copies of its parent's runs, and none of their threads.
os.register_at_fork(after_in_child=_runs.clear)
