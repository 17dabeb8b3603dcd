"""Where answers wait until what they have seen is durable. Drawn in `store.interface`.

What if the process dies right here? An answer that waits was never given; whoever asked repeats the
call, and it is applied for the first time or, if its changes were durable, answered from the store.
"""

from __future__ import annotations

from collections import deque

from tuplespace.connection import Connection
from tuplespace.store.interface import Change, Store

_Answer = tuple[Connection, bytes]


class Gate:
    """Appends what a core decided to a store, and lets answers out in order.

    Args:
        store: One that keeps what it is given, and has been loaded.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._now: list[_Answer] = []  # since the latest append
        self._waiting: deque[tuple[int, list[_Answer]]] = deque()

    def __len__(self) -> int:
        """How many answers wait."""
        return len(self._now) + sum(len(answers) for _, answers in self._waiting)

    def answer(self, connection: Connection, message: bytes, journal: list[Change] | None) -> None:
        """Send this as soon as all that was decided before it is durable.

        Args:
            connection: Whose. message: As it is sent. journal: What was not appended yet.
        """
        if connection.muted:
            return  # nobody wants it; the connection forgets so by the time it would go out
        store = self.store
        if journal or self._now or self._waiting or store.durable < store.position or store.failure:
            self._now.append((connection, message))
        else:
            connection.send(message)

    def append(self, changes: list[Change], now: float) -> None:
        """Keep what was decided, and let the answers since the last time wait for it."""
        self.store.append(changes, now)

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
