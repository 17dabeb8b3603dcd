"""TupleSpace: the thread-safe, blocking front of one core in this process."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Sequence
from typing import Any

from tuplespace.core import SpaceCore
from tuplespace.errors import ClosedError
from tuplespace.limits import Limits
from tuplespace.opaque import Opener
from tuplespace.resources import default_limits
from tuplespace.security import throwaway_key
from tuplespace.sessions import Lane
from tuplespace.template import Template
from tuplespace.verbs import TEMPLATE_FIRST, SpaceVerbs
from tuplespace.wire import check_sizes

logger = logging.getLogger(__name__)


class TupleSpace(SpaceVerbs):
    """A tuple space in this process, for its threads. See `interface.Space`.

    Tuples are copied on write and on read, objects by pickle, so that a program moves to a
    remote space unchanged. The one lock of the package is here.

    Args:
        limits: What it takes before it refuses; None: see `resources.default_limits`.

    Examples:
        >>> space = TupleSpace()
        >>> handle = space.write(("task", 7, b"x"))
        >>> space.take(("task", None, bytes))
        ('task', 7, b'x')
    """

    def __init__(self, limits: Limits | None = None) -> None:
        super().__init__(Opener(throwaway_key()))
        self._lock = threading.Lock()
        self._limits = limits or default_limits()
        self._core = SpaceCore(limits=self._limits)
        self._session = self._core.connect("local", time.monotonic())
        self._threads = threading.local()
        self._closed = False
        self._timer: threading.Thread | None = None
        self._timer_wakes_at = math.inf
        self._timer_wake = threading.Event()

    def _call(self, verb: str, args: Sequence[Any], timeout: float = 0.0) -> Any:
        if verb in TEMPLATE_FIRST:
            args = (Template(args[0]), *args[1:])
        check_sizes(verb, args, 0, self._limits.tuple_bytes)
        lane = self._lane()
        link: _Link = lane.link
        try:
            with self._lock:
                self._check_open()
                link.ready.clear()
                self._core.call(lane, lane.number + 1, verb, args, time.monotonic())
                self._deliver()
            link.ready.wait()
        except BaseException:  # interrupted, perhaps while parked
            with self._lock:
                self._core.abandon(lane, time.monotonic())
                self._deliver()
            raise
        if link.ok:
            return link.value
        raise link.value

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("this tuple space was closed")

    def _lane(self) -> Lane:
        lane: Lane | None = getattr(self._threads, "lane", None)
        if lane is None:
            lane = self._session.lane(threading.get_ident())
            if lane.waiter is None:
                lane.link = _Link()
            self._threads.lane = lane
        return lane

    def _deliver(self) -> None:
        """Hand out what the core decided; the lock is held."""
        effects = self._core.effects
        for lane, _, ok, value in effects:
            lane.link.ok, lane.link.value = ok, value
            lane.link.ready.set()
        effects.clear()
        deadline = self._core.next_deadline()
        if deadline < self._timer_wakes_at:
            self._timer_wakes_at = deadline
            if self._timer is None:
                self._timer = threading.Thread(
                    target=self._watch_time, name="tuplespace-timer", daemon=True
                )
                self._timer.start()
            self._timer_wake.set()

    def _watch_time(self) -> None:
        """Let time pass in the core: leases and timeouts that no caller is there to notice."""
        while not self._closed:
            wait = self._timer_wakes_at - time.monotonic()
            self._timer_wake.wait(min(wait, threading.TIMEOUT_MAX))
            self._timer_wake.clear()
            with self._lock:
                if time.monotonic() >= self._timer_wakes_at:
                    try:
                        self._core.advance(time.monotonic())
                    except Exception:
                        logger.exception("what fell due failed")  # the rest goes on
                    self._timer_wakes_at = math.inf
                    self._deliver()

    def close(self) -> None:
        """See `interface.Space.close`."""
        self._keeper.stop()
        with self._lock:
            self._closed = True
            closed = ClosedError("this tuple space was closed")
            for lane in self._session.lanes.values():
                if lane.waiter is not None:
                    lane.link.ok, lane.link.value = False, closed
                    lane.link.ready.set()
            self._core.goodbye(self._session, time.monotonic())
            self._timer_wake.set()

    def __enter__(self) -> TupleSpace:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        raise TypeError("a TupleSpace lives in one process; connect() to a space server instead")


class _Link:
    """Where a thread's reply lands."""

    __slots__ = ("ok", "ready", "value")

    def __init__(self) -> None:
        self.ready = threading.Event()
        self.ok = False
        self.value: Any = None
