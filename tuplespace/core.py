"""The state machine of a tuple space: requests and time in, effects out.

No lock, no clock, no I/O, so that every interleaving and every crash point is a list of calls.
A host (`space.TupleSpace`, `server.SpaceDaemon`) owns one core from one thread at a time, calls
`call`, `advance` and the session verbs with the time, and carries out what piles up in `effects`.

::

                     write
                       |            .-- lease ends, Handle.cancel --> gone ("delete")
                       v            |
                    ready ----------+--- take, swap ----------------> gone ("take")
                     ^  |
     release, claim  |  | claim
     lease ends,     |  v
     session gone   claimed ------------ confirm -------------------> gone ("take")
                            '----------- Handle.cancel -------------> gone ("delete")

What if the space dies right here? Without a store every state is lost and the clients are told
(`SpaceLostError`). What if a client dies? See `sessions`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from tuplespace import errors
from tuplespace.deadlines import Deadlines
from tuplespace.entry import Claim, Entry, check_limit, check_seconds, check_timeout
from tuplespace.events import Subscription
from tuplespace.index import EntryIndex, WaiterIndex
from tuplespace.sessions import FORGET_AFTER, GRACE, Lane, Session
from tuplespace.template import Template, Tuple

#: (lane, operation number, True, value) or (lane, operation number, False, error)
Effect = tuple[Lane, int, bool, Any]

_PARKED = object()


class Waiter:
    """A parked request: a search that goes on until a write, or its timeout, ends it."""

    __slots__ = ("hook", "lane", "lease", "limit", "number", "template", "verb")

    def __init__(
        self, number: int, lane: Lane, verb: str, template: Template, limit: int, lease: float
    ) -> None:
        self.number, self.lane, self.verb = number, lane, verb
        self.template, self.limit, self.lease = template, limit, lease


class SpaceCore:
    """Entries, waiters, claims, subscriptions and sessions of one space.

    Args:
        alive: Says of a lane's link whether its caller is still there, as far as the host can
            tell; asked before a tuple is handed to one who waited.
        first_number: Of ids and tokens. A space that restarts empty must not give again what its
            clients still hold from before.

    Attributes:
        effects: Replies to deliver, in order; the host empties it after every call.
    """

    def __init__(
        self, alive: Callable[[Any], bool] = lambda link: True, first_number: int = 1
    ) -> None:
        self._alive = alive
        self.effects: list[Effect] = []
        self._index = EntryIndex()
        self._entries = self._index.entries
        self._readers = WaiterIndex()
        self._takers = WaiterIndex()
        self._subscribers = WaiterIndex()
        self._waiters: dict[int, Waiter] = {}
        self._subscriptions: dict[int, Subscription] = {}
        self._claims: dict[int, Entry] = {}
        self._sessions: dict[str, Session] = {}
        self._deadlines = Deadlines()
        self._numbers = itertools.count(first_number)
        self._now = 0.0
        self._operations = 0
        self._verbs: dict[str, Callable[..., Any]] = {
            name: getattr(self, f"_{name}")
            for name in (
                "write", "take", "take_many", "read", "read_all", "count", "claim", "claim_many",
                "confirm_many", "renew_many", "release_many", "swap", "cancel_entry",
                "renew_entry", "notify", "next_events", "cancel_notify", "status",
            )
        }  # fmt: skip

    # -- time and sessions

    def next_deadline(self) -> float:
        """Return when `advance` must be called at the latest; infinity: never."""
        return self._deadlines.next()

    def advance(self, now: float) -> None:
        """Let everything fall due that is due by now."""
        self._now = now
        due: Any
        for due in self._deadlines.pop_due(now):
            kind, key = due
            getattr(self, f"_end_{kind}")(key)

    def connect(self, session_id: str, now: float) -> Session:
        """Count one more connection of the session, a new one if it is not known."""
        self.advance(now)
        session = self._sessions.get(session_id)
        if session is None:
            session = self._sessions[session_id] = Session(session_id)
        session.connections += 1
        self._deadlines.discard(("grace", session_id))
        self._deadlines.discard(("session", session_id))
        return session

    def detach(self, lane: Lane, link: Any) -> None:
        """Note that a lane's connection has gone, unless another has taken its place."""
        if lane.link is link:
            lane.link = None

    def disconnect(self, session: Session, now: float) -> None:
        """Count one connection less; the last one starts the session's grace."""
        self.advance(now)
        session.connections -= 1
        if session.connections == 0 and self._sessions.get(session.id) is session:
            for lane in session.lanes.values():
                if lane.waiter is not None:
                    self._unpark(lane)
                    lane.number -= 1  # it was not applied: repeated, it is new
            self._deadlines.set(("grace", session.id), now + GRACE)
            self._deadlines.set(("session", session.id), now + FORGET_AFTER)

    def goodbye(self, session: Session, now: float) -> None:
        """End the session now: its waiters, claims, subscriptions and kept replies."""
        self.advance(now)
        if self._sessions.pop(session.id, None) is None:
            return
        self._deadlines.discard(("grace", session.id))
        self._deadlines.discard(("session", session.id))
        for lane in session.lanes.values():
            self._unpark(lane)
        session.lanes.clear()
        for number in list(session.subscriptions):
            self._drop_subscription(self._subscriptions[number])
        self._release_claims(session)

    def abandon(self, lane: Lane, now: float) -> None:
        """Drop what the lane waits for: its caller was interrupted and will not ask again."""
        self.advance(now)
        self._unpark(lane)

    # -- calls

    def call(self, lane: Lane, number: int, verb: str, args: Iterable[Any], now: float) -> None:
        """Apply one operation, or answer its repetition; the reply appears in `effects`.

        Args:
            lane: Who calls. number: The operation's number, larger than the lane's last, or
                equal to it for a repetition.
            verb: A name in architecture.md section 4. args: Its arguments, tuples in plain form,
                templates compiled.
            now: The space's clock, never less than before.
        """
        if number <= lane.number:
            self._repeat(lane, number)
            return
        self.advance(now)
        self._operations += 1
        if lane.waiter is not None:
            self._unpark(lane)
        lane.number, lane.reply = number, None
        try:
            value = self._verbs[verb](lane, *args)
        except errors.TupleSpaceError as error:
            self._answer(lane, False, error)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            problem = errors.InvalidArgumentError(f"{verb}: {type(error).__name__}: {error}")
            self._answer(lane, False, problem)
        else:
            if value is not _PARKED:
                self._answer(lane, True, value)

    def _repeat(self, lane: Lane, number: int) -> None:
        if number < lane.number:
            stale = errors.InvalidArgumentError(f"operation {number} is older than the lane's last")
            self.effects.append((lane, number, False, stale))
        elif isinstance(lane.waiter, Subscription):
            if lane.waiter.pending:
                self._deliver(lane.waiter)
        elif lane.waiter is not None:
            self._serve(lane.waiter)
        elif lane.reply is not None:
            self.effects.append((lane, number, *lane.reply))

    def _answer(self, lane: Lane, ok: bool, value: Any) -> None:
        lane.reply = (ok, value)
        self.effects.append((lane, lane.number, ok, value))

    # -- writing

    def _write(self, lane: Lane, values: Iterable[Tuple], lease: float | None = None) -> int:
        return self._store(self._entries_of(values, check_seconds("lease", lease)))

    def _entries_of(self, values: Iterable[Tuple], lease: float) -> list[Entry]:
        """Make entries that are not in the space yet: all that can be wrong with them shows here."""
        now, numbers = self._now, self._numbers
        return [Entry(next(numbers), value, now, now + lease) for value in values]

    def _store(self, entries: list[Entry]) -> int:
        """Store all, then serve whoever waits; return the first id, the others follow it."""
        for entry in entries:
            self._index.add(entry)
            if entry.expires != math.inf:
                self._deadlines.set(("entry", entry.id), entry.expires)
            if self._subscribers:
                self._emit("write", entry.value)
        if self._readers or self._takers:
            for entry in entries:
                self._offer(entry)
        if entries and entries[0].expires <= self._now:
            self.advance(self._now)
        return entries[0].id if entries else 0

    def _offer(self, entry: Entry) -> None:
        """Serve every reader that matches, then the first taker."""
        if entry.claim is not None or entry.id not in self._entries:
            return
        for waiter in list(self._readers.matching(entry.value)):
            self._serve(waiter)
        if self._takers:
            for waiter in self._takers.matching(entry.value):
                link = waiter.lane.link
                if link is not None and self._alive(link):
                    self._serve(waiter)
                    return

    # -- searching

    def _read(self, lane: Lane, template: Template, timeout: float | None = None) -> Any:
        return self._search(lane, "read", template, timeout)

    def _take(self, lane: Lane, template: Template, timeout: float | None = None) -> Any:
        return self._search(lane, "take", template, timeout)

    def _take_many(
        self, lane: Lane, template: Template, limit: int, timeout: float | None = None
    ) -> Any:
        return self._search(lane, "take_many", template, timeout, limit)

    def _claim(
        self, lane: Lane, template: Template, lease: float = 30.0, timeout: float | None = None
    ) -> Any:
        return self._search(lane, "claim", template, timeout, 1, lease)

    def _claim_many(
        self, lane: Lane, template: Template, limit: int, lease: float = 30.0,
        timeout: float | None = None,
    ) -> Any:  # fmt: skip
        return self._search(lane, "claim_many", template, timeout, limit, lease)

    def _search(
        self, lane: Lane, verb: str, template: Template, timeout: float | None, limit: int = 1,
        lease: float | None = None,
    ) -> Any:  # fmt: skip
        wait = check_timeout(timeout)
        waiter = Waiter(
            next(self._numbers), lane, verb, template, check_limit(limit),
            check_seconds("lease", lease),
        )  # fmt: skip
        found, value = self._try(waiter)
        if found:
            return value
        if wait <= 0:
            raise _no_match(template)
        (self._readers if verb == "read" else self._takers).add(waiter)
        self._waiters[waiter.number] = waiter
        lane.waiter = waiter
        self._deadlines.set(("waiter", waiter.number), self._now + wait)
        return _PARKED

    def _try(self, waiter: Waiter) -> tuple[bool, Any]:
        """Answer a search now, if the space can."""
        verb = waiter.verb
        if verb.endswith("_many"):
            entries = self._index.find(waiter.template, waiter.limit)
            if not entries:
                return False, None
            if verb == "take_many":
                for entry in entries:
                    self._remove(entry, "take")
                return True, tuple(entry.value for entry in entries)
            # Values and tokens apart, because flat tuples pack several times as fast.
            tokens = tuple(self._hold(entry, waiter) for entry in entries)
            return True, (tuple(entry.value for entry in entries), tokens)
        first = self._index.first(waiter.template)
        if first is None:
            return False, None
        if verb == "claim":
            return True, (first.value, self._hold(first, waiter))
        if verb == "take":
            self._remove(first, "take")
        return True, first.value

    def _serve(self, waiter: Waiter) -> None:
        """Answer a parked search and let it go, if the space can answer it now."""
        found, value = self._try(waiter)
        if found:
            self._unpark(waiter.lane)
            self._answer(waiter.lane, True, value)

    def _unpark(self, lane: Lane) -> None:
        waiter, lane.waiter = lane.waiter, None
        if isinstance(waiter, Subscription):
            waiter.waiter = None
            self._deadlines.discard(("fetch", waiter.number))
        elif waiter is not None:
            (self._readers if waiter.verb == "read" else self._takers).remove(waiter)
            del self._waiters[waiter.number]
            self._deadlines.discard(("waiter", waiter.number))

    def _end_waiter(self, number: int) -> None:
        waiter = self._waiters[number]
        self._unpark(waiter.lane)
        self._answer(waiter.lane, False, _no_match(waiter.template))

    def _read_all(self, lane: Lane, template: Template) -> tuple[Tuple, ...]:
        return tuple(entry.value for entry in self._index.find(template))

    def _count(self, lane: Lane, template: Template) -> int:
        return self._index.count(template)

    def _swap(
        self, lane: Lane, template: Template, value: Tuple, lease: float | None = None
    ) -> Tuple:
        replacement = self._entries_of([value], check_seconds("lease", lease))
        entry = self._index.first(template)
        if entry is None:
            raise _no_match(template)
        self._remove(entry, "take")
        self._store(replacement)
        return entry.value

    # -- entries by id

    def _remove(self, entry: Entry, event: str) -> None:
        """Take an entry, ready or claimed, out of the space for good."""
        del self._entries[entry.id]
        if entry.claim is None:
            self._index.hide(entry)
        else:
            self._end_claim_record(entry)
        if entry.expires != math.inf:
            self._deadlines.discard(("entry", entry.id))
        if self._subscribers:
            self._emit(event, entry.value)

    def _cancel_entry(self, lane: Lane, id: int) -> bool:
        entry = self._entries.get(id)
        if entry is None:
            return False
        self._remove(entry, "delete")
        return True

    def _renew_entry(self, lane: Lane, id: int, lease: float | None) -> None:
        expires = self._now + check_seconds("lease", lease)
        entry = self._entries.get(id)
        if entry is None:
            raise errors.LeaseExpiredError("the tuple is gone: taken, cancelled or expired")
        entry.expires = expires
        if entry.claim is None:
            self._deadlines.set(("entry", id), expires)

    def _end_entry(self, id: int) -> None:
        self._remove(self._entries[id], "delete")

    # -- claims

    def _hold(self, entry: Entry, waiter: Waiter) -> int:
        """Claim an entry for a waiter; return the token."""
        session = waiter.lane.session
        claim = entry.claim = Claim(next(self._numbers), session, waiter.lease)
        self._index.hide(entry)
        if entry.expires != math.inf:
            self._deadlines.discard(("entry", entry.id))
        self._claims[claim.token] = entry
        session.claims.add(claim.token)
        self._deadlines.set(("claim", claim.token), self._now + claim.lease)
        return claim.token

    def _held(self, lane: Lane, token: int) -> Entry:
        entry = self._claims.get(token)
        if entry is None or entry.claim.session is not lane.session:  # type: ignore[union-attr]
            raise errors.ClaimLostError(
                "the claim has ended: it was confirmed or released, its lease ran out, its tuple "
                "was cancelled, or its session was gone; the tuple may be another's now"
            )
        return entry

    def _end_claim_record(self, entry: Entry) -> None:
        claim, entry.claim = entry.claim, None
        assert claim is not None
        del self._claims[claim.token]
        claim.session.claims.discard(claim.token)
        self._deadlines.discard(("claim", claim.token))

    def _give_back(self, entry: Entry) -> None:
        """Return a claimed entry to its place in line, or let its own lease end it now."""
        self._end_claim_record(entry)
        self._index.show(entry)
        if entry.expires <= self._now:
            self._remove(entry, "delete")
            return
        self._deadlines.set(("entry", entry.id), entry.expires)
        self._offer(entry)

    def _end_claim(self, token: int) -> None:
        self._give_back(self._claims[token])

    def _release_claims(self, session: Session) -> None:
        for token in sorted(session.claims, key=lambda token: self._claims[token].id):
            if token in self._claims:
                self._give_back(self._claims[token])

    def _each(self, steps: Iterable[Callable[[], Any]]) -> tuple[Any, ...]:
        """Run independent steps; return (number, error) of those that failed."""
        failed = []
        for number, step in enumerate(steps):
            try:
                step()
            except errors.TupleSpaceError as error:
                failed.append((number, *errors.to_wire(error)))
        return tuple(failed)

    def _confirm_many(
        self, lane: Lane, tokens: Any, writes: Any, lease: float | None = None
    ) -> tuple[Any, ...]:
        seconds = check_seconds("lease", lease)

        def confirm(token: int, values: list[Tuple]) -> int:
            entry, results = self._held(lane, token), self._entries_of(values, seconds)
            self._remove(entry, "take")
            return self._store(results)

        pairs = zip(tokens, writes, strict=True)
        return self._each(partial(confirm, *pair) for pair in pairs)

    def _renew_many(self, lane: Lane, triples: Any) -> tuple[Any, ...]:
        def renew(token: int, lease: float | None, values: list[Tuple]) -> int:
            claim = self._held(lane, token).claim
            assert claim is not None
            results = self._entries_of(values, math.inf)
            if lease is not None:
                claim.lease = check_seconds("lease", lease)
            self._deadlines.set(("claim", token), self._now + claim.lease)
            return self._store(results)

        return self._each(partial(renew, *triple) for triple in triples)

    def _release_many(self, lane: Lane, tokens: Any) -> tuple[Any, ...]:
        def release(token: int) -> None:
            self._give_back(self._held(lane, token))

        return self._each(partial(release, token) for token in tokens)

    # -- sessions that ended

    def _end_grace(self, session_id: str) -> None:
        session = self._sessions[session_id]
        self._release_claims(session)
        for number in list(session.subscriptions):
            self._drop_subscription(self._subscriptions[number])

    def _end_session(self, session_id: str) -> None:
        del self._sessions[session_id]

    # -- subscriptions

    def _notify(
        self, lane: Lane, template: Template, kind: str | None, lease: float | None = None
    ) -> int:
        expires = self._now + check_seconds("lease", lease)
        number = next(self._numbers)
        subscription = Subscription(number, lane.session, kind, template)
        self._subscriptions[number] = subscription
        self._subscribers.add(subscription)
        lane.session.subscriptions.add(number)
        self._deadlines.set(("subscription", number), expires)
        return number

    def _next_events(self, lane: Lane, number: int, seen: int, timeout: float | None = None) -> Any:
        """Return the events after `seen`, or wait for one; an empty list: none in time."""
        subscription = self._subscriptions.get(number)
        if subscription is None or subscription.session is not lane.session:
            return ((seen + 1, "close", None),)
        records = subscription.after(seen)
        wait = check_timeout(timeout)
        if records or wait <= 0:
            if subscription.closed:
                self._drop_subscription(subscription)
            return records
        if subscription.waiter is not None:
            if subscription.waiter.link is not None:
                raise errors.InvalidArgumentError("another thread waits on this notify already")
            self._unpark(subscription.waiter)  # it was interrupted
        subscription.waiter, lane.waiter = lane, subscription
        self._deadlines.set(("fetch", number), self._now + wait)
        return _PARKED

    def _emit(self, kind: str, value: Tuple) -> None:
        for subscription in list(self._subscribers.matching(value)):
            if subscription.kind is None or subscription.kind == kind:
                subscription.push(kind, value)
                self._deliver(subscription)

    def _deliver(self, subscription: Subscription) -> None:
        lane = subscription.waiter
        if lane is not None and lane.link is not None:
            self._unpark(lane)
            self._answer(lane, True, tuple(subscription.pending))
            if subscription.closed:
                self._drop_subscription(subscription)

    def _end_subscription(self, number: int) -> None:
        subscription = self._subscriptions[number]
        self._subscribers.remove(subscription)
        subscription.closed = True
        subscription.push("close", None)
        self._deliver(subscription)

    def _end_fetch(self, number: int) -> None:
        lane = self._subscriptions[number].waiter
        self._unpark(lane)
        self._answer(lane, True, ())

    def _cancel_notify(self, lane: Lane, number: int) -> None:
        subscription = self._subscriptions.get(number)
        if subscription is not None and subscription.session is lane.session:
            waiting = subscription.waiter
            if waiting is not None:
                self._unpark(waiting)
                self._answer(waiting, True, ((subscription.sequence + 1, "close", None),))
            self._drop_subscription(subscription)

    def _drop_subscription(self, subscription: Subscription) -> None:
        if subscription.waiter is not None:
            self._unpark(subscription.waiter)
        if not subscription.closed:
            self._subscribers.remove(subscription)
        self._deadlines.discard(("subscription", subscription.number))
        subscription.session.subscriptions.discard(subscription.number)
        del self._subscriptions[subscription.number]

    # -- looking in

    def _status(self, lane: Lane) -> dict[str, Any]:
        return self.status(self._now)

    def status(self, now: float) -> dict[str, Any]:
        """Return plain figures; `connections` counts those of all sessions."""
        oldest = next((e for e in self._entries.values() if e.claim is None), None)
        return {
            "tuples": len(self._entries),
            "waiters": len(self._waiters),
            "claims": len(self._claims),
            "subscriptions": len(self._subscriptions),
            "sessions": len(self._sessions),
            "connections": sum(s.connections for s in self._sessions.values()),
            "oldest_ready_seconds": 0.0 if oldest is None else now - oldest.written,
            "operations": self._operations,
        }


def _no_match(template: Template) -> errors.MatchTimeoutError:
    return errors.MatchTimeoutError(f"no tuple matched {template.source!r} in time")
