"""Manning: whether there are workers for a job, and what its user is told if there are none."""

from __future__ import annotations

import logging
from typing import Final

from mapreduce.aims import Aims
from mapreduce.engine.interface import Engine
from mapreduce.errors import NoWorkersError

logger = logging.getLogger(__name__)

#: When a job that no worker serves says so.
_NOTICE_SECONDS: Final = 2.0


class Manning:
    """Of one job; times are seconds of any one clock.

    Args:
        job: Its id. now: The time.

    Attributes:
        runtime: What its workers must be, see `workers.task.this_runtime`.
        notice: Why nothing may be happening; empty if all is well.
    """

    def __init__(self, job: str, runtime: str, now: float) -> None:
        self._job, self.runtime, self.notice = job, runtime, ""
        self._noticed_at = now + _NOTICE_SECONDS

    def goes_on(self, now: float) -> None:
        """Note that something has happened."""
        self.notice = ""
        self._noticed_at = now + _NOTICE_SECONDS

    def look(self, engine: Engine, aims: Aims, now: float) -> None:
        """Find out, if nothing has happened for a while, whether that is for want of workers.

        Raises:
            NoWorkersError: There are some, and none of them can run this job.
        """
        if now < self._noticed_at:
            return
        self._noticed_at = now + _NOTICE_SECONDS
        runtimes = engine.runtimes()
        if self.runtime in runtimes:
            place = aims.without_worker(engine.places()) if aims else ""
            self.notice = f"a split waits for {place!r}, where no worker is" if place else ""
        elif runtimes:
            raise NoWorkersError(
                f"no worker can run this job: it needs {self.runtime}, as this driver is, and the "
                f"workers are {', '.join(sorted(runtimes))}; start a worker with the same Python, "
                "or the driver with theirs"
            )
        elif not self.notice:
            self.notice = "no workers yet; start some with `invoke worker`"
            logger.warning("job %s waits: %s", self._job, self.notice)
