"""Between a core and its store: what it decided is appended, and answers wait until that is durable.

The order is drawn in `store.interface`. What if the process dies right here? An answer that waits was
never given; whoever asked repeats the call, and it is applied for the first time or, if its changes were
durable, answered from the store.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from tuplespace.connection import Connection
from tuplespace.core import SpaceCore
from tuplespace.limits import Limits
from tuplespace.store.interface import Store

logger = logging.getLogger(__name__)

#: Ids and tokens of each run of a stored space are in a range of their own.
_RUN_BITS: Final = 40
#: Seconds after which a store is told the time, so that a crash gives no lease much of it back.
_CLOCK_SECONDS: Final = 10.0

_Answer = tuple[Connection, bytes]


class Gate:
    """Appends what a core decided to a store, and lets answers out in order.

    Args:
        store: One that keeps what it is given; it is loaded, and closed if that fails. limits: The core's.

    Attributes:
        core: As the store kept it. space_id: The space's. ahead: What its clock, which stands still while
            nobody serves it, is ahead of time.monotonic().

    Raises:
        StoreError: The store cannot be used.
    """

    def __init__(self, store: Store, limits: Limits) -> None:
        self.store = store
        self._now: list[_Answer] = []  # since the latest append
        self._waiting: deque[tuple[int, list[_Answer]]] = deque()
        try:
            contents = store.load()
            first = (contents.generation << _RUN_BITS) + 1
            self.core = SpaceCore(Connection.is_alive, first, limits, journal=[])
            self.core.restore(contents)
        except BaseException:
            store.close()
            raise
        self.core.about_store = self._about
        self.space_id = contents.space_id
        self._told = contents.now
        self.ahead = contents.now - time.monotonic()

    def start(self, wake: Callable[[], None]) -> None:
        """Begin to keep; `wake` is called, in any thread, when `open` has something to do."""
        self.store.start(wake)

    def _about(self) -> dict[str, Any]:
        return {
            "store": self.store.name,
            "appends": self.store.position,
            "appends_waiting": self.store.position - self.store.durable,
            "answers_waiting": len(self),
            "shortage": self.core.shortage,
        }

    def __len__(self) -> int:
        """How many answers wait."""
        return len(self._now) + sum(len(answers) for _, answers in self._waiting)

    def answer(self, connection: Connection, message: bytes) -> None:
        """Send this as soon as all that was decided before it is durable."""
        if connection.muted:
            return  # nobody wants it; the connection forgets so by the time it would go out
        store, journal = self.store, self.core.journal
        if journal or self._now or self._waiting or store.durable < store.position or store.failure:
            self._now.append((connection, message))
        else:
            connection.send(message)

    def append(self) -> None:
        """Keep what was decided, and let the answers since the last time wait for it; the end of a turn."""
        changes = self.core.journal
        if changes:
            self._told = self.core.now
            self.store.append(changes, self._told)
            self.core.journal = []
            self._look_for_room()

    def _look_for_room(self) -> None:
        before, self.core.shortage = self.core.shortage, self.store.shortage()
        if self.core.shortage and not before:
            logger.warning("writes are refused for now: %s", self.core.shortage)
        elif before and not self.core.shortage:
            logger.warning("there is room again: writes go on")

    def look(self) -> None:
        """Look whether there is room, and tell the store the time; now and then."""
        self._look_for_room()
        now = time.monotonic() + self.ahead
        if self.core.next_deadline() < math.inf and now >= self._told + _CLOCK_SECONDS:
            self.store.append([], now)
            self._told = now

    def open(self) -> None:
        """Send what need not wait any longer; called after `append`, and when the store says so."""
        store = self.store
        if store.failure is not None:
            return
        if self._now:
            self._waiting.append((store.position, self._now))
            self._now = []
        durable, waiting = store.durable, self._waiting
        while waiting and waiting[0][0] <= durable:
            for connection, message in waiting.popleft()[1]:
                connection.send(
                    message
                )  # one that has gone by now drops it; its lane has the reply

    def close(self) -> None:
        """Keep what was decided, and send the answers to that; blocks until both is done."""
        self.append()
        self.store.close()
        self.open()
