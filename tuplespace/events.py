"""Subscriptions: events kept for one subscriber until it has fetched them. Pure.

Sequence numbers have no gaps. A subscriber that falls BACKLOG events, or too many bytes, behind
loses those and is told so by one ``("overflow", None)`` in their place; at the end of its own lease
it gets ``("close", None)``. Source: Rinda's ``notify``, whose queue is unbounded.

::

    heard --write, take, delete--> pending --next_events--> fetched --next_events--> forgotten
    lease ends --> closed: "close" is pending --fetched--> gone        cancelled --> gone

What if the space dies right here? With a store the subscription goes on after an overflow.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from tuplespace.calls import PARKED, CallDesk
from tuplespace.entry import WEIGHT_UNIT, Entry, check_seconds, check_timeout
from tuplespace.errors import InvalidArgumentError
from tuplespace.limits import Account, Limits, check_waiters
from tuplespace.sessions import Lane, Session
from tuplespace.store.interface import LISTEN, UNLISTEN
from tuplespace.template import Template
from tuplespace.values import Tuple, brief
from tuplespace.waiting import WaiterIndex
from tuplespace.wire import pack_template, unpack_template

#: Events kept for a subscriber before it overflows, and what their tuples may weigh.
BACKLOG = 10_000
_BACKLOG_WEIGHT = (64 << 20) // WEIGHT_UNIT
_BACKLOGS_WEIGHT = (256 << 20) // WEIGHT_UNIT  # of all subscribers
KINDS = (None, "write", "take", "delete")

Record = tuple[int, str, Tuple | None]


class Subscription:
    """What one `notify` wants to hear, and what it has not fetched yet; a `calls.ParkedCall`."""

    def __init__(
        self, owner: Subscriptions, number: int, session: Session, kind: str | None,
        template: Template,
    ) -> None:  # fmt: skip
        if kind not in KINDS:
            raise InvalidArgumentError(f"an event is one of {KINDS}, not {brief(kind)}")
        self._owner = owner
        self.number, self.session, self.kind, self.template = number, session, kind, template
        self.hooks: Any = None
        self.sequence = 0
        self.pending: deque[Record] = deque()
        self._weights: deque[int] = deque()
        self._weight = 0
        self.fetcher: Lane | None = None  # whose next_events is parked
        self.closed = False

    def push(self, kind: str, value: Tuple | None, weight: int = 0) -> None:
        """Add an event, or the overflow in place of all that are pending."""
        if (
            len(self.pending) >= BACKLOG
            or self._weight + weight > _BACKLOG_WEIGHT
            or self._owner.weight + weight > _BACKLOGS_WEIGHT
        ):
            self.forget_pending()
            kind, value, weight = "overflow", None, 0
        self.sequence += 1
        self.pending.append((self.sequence, kind, value))
        self._weights.append(weight)
        self._weigh(weight)

    def _weigh(self, change: int) -> None:
        self._weight += change
        self._owner.weight += change

    def forget_pending(self) -> None:
        """Drop all that has not been fetched."""
        self.pending.clear()
        self._weights.clear()
        self._weigh(-self._weight)

    def after(self, sequence: int) -> tuple[Record, ...]:
        """Drop what the subscriber has seen, up to `sequence`, and return the rest."""
        while self.pending and self.pending[0][0] <= sequence:
            self.pending.popleft()
            self._weigh(-self._weights.popleft())
        return tuple(self.pending)

    def drop(self) -> None:
        """See `calls.ParkedCall.drop`."""
        self.fetcher = None
        self._owner.desk.deadlines.discard(("fetch", self.number))

    def resume(self) -> None:
        """See `calls.ParkedCall.resume`."""
        if self.pending:
            self._owner.deliver(self)


class Subscriptions:
    """All subscriptions of a space.

    Args:
        desk: Answers the fetches. limits: How many there may be. account: Says if none may be.

    Attributes:
        weight: Of all events that wait to be fetched.
    """

    def __init__(self, desk: CallDesk, limits: Limits, account: Account) -> None:
        self.desk, self._limits, self._account, self.weight = desk, limits, account, 0
        self._open = WaiterIndex()
        self._all: dict[int, Subscription] = {}

    def __len__(self) -> int:
        return len(self._all)

    @property
    def listening(self) -> bool:
        """Whether any event may interest anybody."""
        return bool(self._open)

    def notify(
        self, lane: Lane, template: Template, kind: str | None, lease: float | None = None
    ) -> int:
        """Begin a subscription; return its number."""
        expires = self.desk.now + check_seconds("lease", lease)
        check_waiters(len(self._all), self._limits)
        self._account.check_shortage()
        number, session, journal = self.desk.number(), lane.session, self.desk.journal
        self._add(Subscription(self, number, session, kind, template), expires)
        if journal is not None:
            packed = pack_template(template.source)
            journal.append((LISTEN, number, session.id, kind, packed, expires))
        return number

    def _add(self, subscription: Subscription, expires: float) -> None:
        self._all[subscription.number] = subscription
        self._open.add(subscription)
        subscription.session.subscriptions.add(subscription.number)
        self.desk.deadlines.set(("subscription", subscription.number), expires)

    def restore(
        self, number: int, session: Session, kind: str | None, template: bytes, expires: float,
        lost: int,
    ) -> None:  # fmt: skip
        """Go on with a subscription from before a restart.

        Args:
            number, session, kind, template, expires: As it was. lost: The number of the overflow
                that tells of what was lost: larger than any event's before.
        """
        subscription = Subscription(self, number, session, kind, unpack_template(template))
        subscription.sequence = lost - 1
        subscription.push("overflow", None)
        self._add(subscription, expires)

    def next_events(self, lane: Lane, number: int, seen: int, timeout: float | None = None) -> Any:
        """Return the events after `seen`, or wait for one; none: none in time."""
        subscription = self._all.get(number)
        if subscription is None or subscription.session is not lane.session:
            return ((seen + 1, "close", None),)
        records = subscription.after(seen)
        wait = check_timeout(timeout)
        if records or wait <= 0:
            if subscription.closed:
                self._forget(subscription)
            return records
        if subscription.fetcher is not None:
            if subscription.fetcher.link is not None:
                raise InvalidArgumentError("another thread waits on this notify already")
            self.desk.unpark(subscription.fetcher)  # it was interrupted
        subscription.fetcher, lane.waiter = lane, subscription
        self.desk.deadlines.set(("fetch", number), self.desk.now + wait)
        return PARKED

    def cancel(self, lane: Lane, number: int) -> None:
        """End a subscription; whoever waits on it hears "close"."""
        subscription = self._all.get(number)
        if subscription is not None and subscription.session is lane.session:
            fetcher = subscription.fetcher
            if fetcher is not None:
                self.desk.unpark(fetcher)
                self.desk.answer(fetcher, True, ((subscription.sequence + 1, "close", None),))
            self._forget(subscription)

    def emit(self, kind: str, entry: Entry) -> None:
        """Tell all who want to hear of it."""
        for subscription in list(self._open.matching(entry)):
            if subscription.kind is None or subscription.kind == kind:
                subscription.push(kind, entry.value, entry.weight)
                self.deliver(subscription)

    def deliver(self, subscription: Subscription) -> None:
        """Answer whoever waits for its events, if it can be reached."""
        lane = subscription.fetcher
        if lane is not None and lane.link is not None:
            self.desk.unpark(lane)
            self.desk.answer(lane, True, tuple(subscription.pending))
            if subscription.closed:
                self._forget(subscription)

    def end_of(self, session: Session) -> None:
        """Forget all subscriptions of a session that has gone."""
        for number in list(session.subscriptions):
            self._forget(self._all[number])

    def end_lease(self, number: int) -> None:
        """Close a subscription whose lease has ended."""
        subscription = self._all[number]
        self._open.remove(subscription)
        subscription.closed = True
        subscription.push("close", None)
        self.deliver(subscription)

    def end_fetch(self, number: int) -> None:
        """Answer a fetch whose timeout has come."""
        lane = self._all[number].fetcher
        assert lane is not None
        self.desk.unpark(lane)
        self.desk.answer(lane, True, ())

    def _forget(self, subscription: Subscription) -> None:
        if subscription.fetcher is not None:
            self.desk.unpark(subscription.fetcher)
        if not subscription.closed:
            self._open.remove(subscription)
        self.desk.deadlines.discard(("subscription", subscription.number))
        subscription.session.subscriptions.discard(subscription.number)
        subscription.forget_pending()
        del self._all[subscription.number]
        if self.desk.journal is not None:
            self.desk.journal.append((UNLISTEN, subscription.number))
