"""Subscriptions: events kept for one subscriber until it has fetched them. Pure.

Sequence numbers have no gaps. A subscriber that falls BACKLOG events behind loses those and is
told so by one ``("overflow", None)`` in their place; at the end of its own lease it gets
``("close", None)``. Source: Rinda's ``notify``, whose queue is unbounded.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from tuplespace.errors import InvalidArgumentError
from tuplespace.template import Template, Tuple

#: Events kept for a subscriber before it overflows.
BACKLOG = 10_000
KINDS = (None, "write", "take", "delete")

Record = tuple[int, str, Tuple | None]


class Subscription:
    """What one `notify` wants to hear, and what it has not fetched yet."""

    __slots__ = (
        "closed",
        "hook",
        "kind",
        "number",
        "pending",
        "sequence",
        "session",
        "template",
        "waiter",
    )

    def __init__(self, number: int, session: Any, kind: str | None, template: Template) -> None:
        if kind not in KINDS:
            raise InvalidArgumentError(f"an event is one of {KINDS}, not {kind!r}")
        self.number, self.session, self.kind, self.template = number, session, kind, template
        self.sequence = 0
        self.pending: deque[Record] = deque()
        self.waiter: Any = None
        self.closed = False

    def push(self, kind: str, value: Tuple | None) -> None:
        """Add an event, or the overflow in place of all that are pending."""
        if len(self.pending) >= BACKLOG:
            self.pending.clear()
            kind, value = "overflow", None
        self.sequence += 1
        self.pending.append((self.sequence, kind, value))

    def after(self, sequence: int) -> tuple[Record, ...]:
        """Drop what the subscriber has seen, up to `sequence`, and return the rest."""
        while self.pending and self.pending[0][0] <= sequence:
            self.pending.popleft()
        return tuple(self.pending)
