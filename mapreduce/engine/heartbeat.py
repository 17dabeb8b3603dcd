"""Heartbeat: a driver says every second that it is there, and how far its job is if that has changed.

::

    ("progress", job, driver, (maps done, maps), (reduces done, reduces), seconds)      leased

It is there for people who look at the space, and nothing depends on it: a short job never writes it.
`seconds` is how long the driver had been at it when it was written. What if the driver dies? The next
one replaces it, else its lease ends it.
"""

from __future__ import annotations

import math
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from mapreduce.report import Progress
from tuplespace import errors
from tuplespace.interface import Handle, Space
from workers.folders import keep_for

#: How often a driver says that it is there, and so hears that the job was ended elsewhere.
_RENEW_SECONDS: Final = 1.0
#: Progress that stands still is told again so often, and goes with a driver that is gone.
_TELL_SECONDS: Final = 10.0
_TOLD_LEASE: Final = 30.0


class Heartbeat:
    """That of one driver; begins at once.

    Args:
        space, job, driver: What it tells of. handle: The job's tuple. lease: Seconds that it lives on
            without a beat, and what of the job is in this `folder`. silent: Nobody looks at the space.

    Attributes:
        ended_elsewhere: The job's tuple was gone.
    """

    def __init__(
        self, space: Space, job: str, driver: str, handle: Handle, lease: float, folder: Path,
        silent: bool = False,
    ) -> None:  # fmt: skip
        self._space, self._handle, self._lease, self._folder = space, handle, lease, folder
        self._job, self._driver, self._silent = job, driver, silent
        self._progress: Progress | None = None
        self._told: tuple[Any, ...] | None = None
        self._told_at = -math.inf
        self._telling = threading.Lock()
        self._stopped = threading.Event()
        self.ended_elsewhere = False
        threading.Thread(target=self._beat, name=f"job-{job}", daemon=True).start()

    def tell(self, progress: Progress) -> None:
        """Have it told how far the job is, with the next beat; never blocks."""
        self._progress = progress

    def stop(self) -> None:
        """Beat no more; never blocks."""
        self._stopped.set()

    def withdraw(self) -> None:
        """Take back what was told; after `stop`.

        Raises:
            TupleSpaceError: The space is away or was lost.
        """
        with self._telling:
            if self._told is not None:
                with suppress(errors.MatchTimeoutError):
                    self._space.take(("progress", self._job, self._driver, *[None] * 3), timeout=0)

    def _beat(self) -> None:
        while not self._stopped.wait(min(_RENEW_SECONDS, self._lease / 3)):
            keep_for(self._folder, self._lease)
            try:
                self._handle.renew(self._lease)
                self._tell(time.monotonic())
            except errors.LeaseExpiredError:
                self.ended_elsewhere = True
                return
            except errors.TupleSpaceError:
                pass  # it may be back before the lease ends

    def _tell(self, now: float) -> None:
        progress = self._progress
        if progress is None or self._silent:
            return
        news = (
            (progress.map_done, progress.map_total), (progress.reduce_done, progress.reduce_total)
        )  # fmt: skip
        if news == self._told and now - self._told_at < _TELL_SECONDS:
            return
        value = ("progress", self._job, self._driver, *news, float(progress.seconds))
        with self._telling:
            if self._stopped.is_set():
                return
            self._told, self._told_at = news, now
            try:
                self._space.swap(("progress", self._job, *[None] * 4), value, lease=_TOLD_LEASE)
            except errors.MatchTimeoutError:
                self._space.write(value, lease=_TOLD_LEASE)
