"""Presence: what an agent tells of itself in the space, for as long as it is there.

::

    ("worker", name, host, runtime, slots)                                          leased
    ("running", name, host, idle, ((pid, job, phase, number, seconds), ...), ((pid, bytes), ...))   leased

`slots` is how many worker processes it has, `idle` how many of them have nothing to do while
nothing waits. The second lists tasks that had run for more than LONG_SECONDS when it was written,
and for how long; and all its worker processes with the memory they had in use. It is written when
the tasks have changed, every 0.5 s at most, and every RENEW_SECONDS at least. So short tasks, which
are most, cost nothing here, and that memory changes is no news.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

from tuplespace import errors
from tuplespace.client import RemoteSpace
from tuplespace.interface import Handle
from workers.servers import Listing
from workers.task import this_runtime

LEASE: Final = 10.0
RENEW_SECONDS: Final = 3.0
#: A task that has run for so long is told of.
LONG_SECONDS: Final = 0.3
_TELL_SECONDS: Final = 0.5
#: Whatever is told.
_REST: Final = (None, None, None)

#: A task that runs: pid, job, phase, number, and for how many seconds.
Running = tuple[int, str, str, int, float]
#: A worker process: pid, and resident bytes.
Process = tuple[int, int]


class Presence:
    """One agent's. `renew`, `tell` and `leave` are for one thread each.

    Args:
        name, host, slots: The agent's.

    Attributes:
        listing: Of its block server, once it has one; renewed and taken back with the rest.
    """

    def __init__(self, name: str, host: str, slots: int) -> None:
        self._worker = ("worker", name, host, this_runtime(), slots)
        self._running = ("running", name, host)
        self._space: RemoteSpace = None  # type: ignore[assignment]  # `register` comes first
        self._handle: Handle | None = None
        self.listing: Listing | None = None
        self._space_id = ""  # of the space that knows of us
        self._registering = threading.Lock()
        self._withdrawn = False
        self._told: Any = None
        self._told_at = -math.inf

    def register(self, space: RemoteSpace) -> None:
        """Tell this space that the agent is there.

        Raises:
            TupleSpaceError: It is away, was lost or is full.
        """
        self._space = space
        self._space_id = space.space_id
        self._handle = space.write(self._worker, lease=LEASE)
        self._told = None

    def register_again(self) -> None:
        """Register with a space that came back empty; the first of several threads to ask does it."""
        with self._registering:
            if not self._withdrawn and self._space_id != self._space.space_id:
                self.register(self._space)

    def renew(self) -> None:
        """Be there, with the block server, for another LEASE seconds.

        Raises:
            TupleSpaceError: The space is away, was lost or is full.
        """
        if self.listing is not None:
            self.listing.renew()
        handle = self._handle
        if handle is None:
            return
        try:
            handle.renew(LEASE)
        except errors.LeaseExpiredError:
            self._space_id = ""
            self.register_again()

    def tell(
        self, idle: int, running: Iterable[Running], processes: Callable[[], Iterable[Process]]
    ) -> bool:
        """Tell what runs, if that is news and may be told already.

        Args:
            idle: How many processes are. running: The tasks.
            processes: Looks at the worker processes; asked only when there is something to tell.

        Returns:
            Whether the space knows it; False: it must be told later.

        Raises:
            TupleSpaceError: The space is away or was lost.
        """
        now = time.monotonic()
        tasks = tuple(sorted(each for each in running if each[-1] > LONG_SECONDS))
        news = idle, [each[:-1] for each in tasks]
        if now - self._told_at < (RENEW_SECONDS if news == self._told else _TELL_SECONDS):
            return bool(news == self._told)
        self._told, self._told_at = news, now
        value = (*self._running, idle, tasks, tuple(sorted(processes())))
        with suppress(errors.SpaceFullError):  # the next time, then
            try:
                self._space.swap((*self._running, *_REST), value, lease=LEASE)
            except errors.MatchTimeoutError:
                self._space.write(value, lease=LEASE)
        return True

    def withdraw(self) -> None:
        """Be no worker any more, which may still have tasks running; a space that is away forgets it."""
        with self._registering:
            self._withdrawn = True
            handle, self._handle = self._handle, None
        if handle is not None:
            with suppress(errors.TupleSpaceError):
                handle.cancel()

    def leave(self) -> None:
        """Take back all that was told."""
        self.withdraw()
        if self.listing is not None:
            self.listing.withdraw()
        with suppress(errors.TupleSpaceError):
            self._space.take((*self._running, *_REST), timeout=0)
