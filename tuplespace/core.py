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

What if the space dies right here? With a store it comes back as its last durable change left it, and
no answer has gone out that saw more (see `gate`). Without one every state is lost and the clients
are told (`SpaceLostError`). What if a client dies? See `sessions`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from typing import Any

from tuplespace import errors
from tuplespace.calls import PARKED, failures_of
from tuplespace.entry import WEIGHT_UNIT, Entry, check_limit, check_seconds, check_timeout
from tuplespace.holdings import Holdings
from tuplespace.limits import Limits, check_waiters
from tuplespace.sessions import Lane, Session
from tuplespace.store.interface import EXPIRES, Change, Contents
from tuplespace.template import Template
from tuplespace.values import Tuple
from tuplespace.waiting import Waiter, WaiterIndex, no_match


class SpaceCore(Holdings):
    """The verbs of one space; calls, holdings, events and sessions stand beside it.

    Args:
        alive: Says of a lane's link whether its caller is still there, as far as the host can
            tell; asked before a tuple is handed to one who waited.
        first_number: Of ids and tokens. A space that restarts empty must not give again what its
            clients still hold from before.
        limits: What it takes before it refuses. journal: What it decides is noted there, for a
            store; None: nothing outlives it.
    """

    def __init__(
        self, alive: Callable[[Any], bool] = lambda link: True, first_number: int = 1,
        limits: Limits = Limits(), journal: list[Change] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(first_number, limits, journal)
        self._alive = alive
        #: Figures of the host's store, for `status`.
        self.about_store: Callable[[], dict[str, Any]] = lambda: {"store": "memory"}
        self._readers = WaiterIndex()
        self._takers = WaiterIndex()
        self._waiters: dict[int, Waiter] = {}
        for name in (
            "write", "take_many", "read_all", "claimed", "claim", "claim_many", "confirm_many", "renew_many", "renew_writing", "release_many", "swap", "cancel_entry", "renew_entry",
            "renew_entries", "status",
        ):  # fmt: skip
            self._verbs[name] = getattr(self, f"_{name}")
        self._verbs |= {name: partial(self._search, name) for name in ("read", "take")}
        self._verbs["count"] = lambda lane, template: self._index.count(template)
        self._verbs["explain"] = lambda lane, template: self._index.explain(template)
        self._verbs["notify"] = self._events.notify
        self._verbs["next_events"] = self._events.next_events
        self._verbs["cancel_notify"] = self._events.cancel
        self._when_due.update(
            entry=self._end_entry, claim=self._end_claim, waiter=self._end_waiter,
            subscription=self._events.end_lease, fetch=self._events.end_fetch,
        )  # fmt: skip

    def _session_over(self, session: Session) -> None:
        self._events.end_of(session)
        claimed = sorted((self._claims[token] for token in session.claims), key=lambda e: e.id)
        self._give_back(list(map(self._end_claim_record, claimed)))

    def _reply_gone(self, lane: Lane) -> None:
        self._account.keep(lane, 0)

    # -- writing

    def _write(self, lane: Lane, values: Iterable[Tuple], lease: float | None = None) -> int:
        entries = self._entries_of(values, check_seconds("lease", lease))
        if not (self._takers and len(entries) == 1 and self._is_awaited(entries[0])):
            self._account.admit(entries)
        return self._store(entries)

    def _is_awaited(self, entry: Entry) -> bool:
        """Say whether somebody waits to take this tuple, so that it needs no room."""
        takers = (w for w in self._takers.matching(entry) if w.verb.startswith("take"))
        return any(w.lane.link is not None and self._alive(w.lane.link) for w in takers)

    def _store(self, entries: list[Entry]) -> int:
        """Store all, then serve whoever waits; return the first id, the others follow it."""
        self._put(entries)
        self._serve_new(entries)
        return entries[0].id if entries else 0

    def _serve_new(self, entries: list[Entry]) -> None:
        if self._readers or self._takers:
            self._offer(entries)
        if entries and entries[0].expires <= self.now:
            self.advance(self.now)

    def _offer(self, entries: list[Entry]) -> None:
        """Serve every reader that one of these matches, then for each of them the first taker."""
        if self._readers:
            for entry in entries:
                for waiter in list(self._readers.matching(entry)):
                    self.serve(waiter)
        if self._takers:
            for entry in entries:
                if entry.claim is None and entry.id in self._entries:
                    for waiter in self._takers.matching(entry):
                        link = waiter.lane.link
                        if link is not None and self._alive(link):
                            self.serve(waiter)
                            break

    # -- searching

    def _take_many(self, lane: Lane, template: Template, limit: int, timeout: Any = None) -> Any:
        return self._search("take_many", lane, template, timeout, limit)

    def _claim(
        self, lane: Lane, template: Template, lease: float = 30.0, timeout: float | None = None
    ) -> Any:
        return self._search("claim", lane, template, timeout, 1, lease)

    def _claim_many(
        self, lane: Lane, template: Template, limit: int, lease: float = 30.0,
        timeout: float | None = None,
    ) -> Any:  # fmt: skip
        return self._search("claim_many", lane, template, timeout, limit, lease)

    def _search(
        self, verb: str, lane: Lane, template: Template, timeout: float | None = None,
        limit: int = 1, lease: float | None = None,
    ) -> Any:  # fmt: skip
        wait = check_timeout(timeout)
        waiter = Waiter(
            self, lane, verb, template, check_limit(limit), check_seconds("lease", lease)
        )
        found, value = self._try(waiter)
        if found:
            return value
        if wait <= 0:
            raise no_match(template)
        check_waiters(len(self._waiters), self._limits)
        (self._readers if verb == "read" else self._takers).add(waiter)
        self._waiters[waiter.number] = waiter
        lane.waiter = waiter
        self.deadlines.set(("waiter", waiter.number), self.now + wait)
        return PARKED

    def _try(self, waiter: Waiter) -> tuple[bool, Any]:
        """Answer a search now, if the space can."""
        verb = waiter.verb
        if verb.endswith("_many"):
            found = self._index.find(waiter.template, waiter.limit)
            entries, weight = self._account.as_many_as_fit(found)
            if not entries:
                return False, None
            self._account.keep(waiter.lane, weight)
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
        self._account.keep(waiter.lane, first.weight)
        if verb == "claim":
            return True, (first.value, self._hold(first, waiter))
        if verb == "take":
            self._remove(first, "take")
        return True, first.value

    def serve(self, waiter: Waiter) -> None:
        """Answer a parked search and let it go, if the space can answer it now."""
        before = self.changes
        found, value = self._try(waiter)
        if found:
            self.unpark(waiter.lane)
            self.answer(waiter.lane, True, value, before)

    def resume(self, waiter: Waiter) -> None:
        """Answer a parked search whose caller has asked again, if that can be done now."""
        self.serve(waiter)
        if waiter.is_late and waiter.lane.waiter is waiter:
            self._end_waiter(waiter.number)

    def drop_waiter(self, waiter: Waiter) -> None:
        """Forget a parked search."""
        (self._readers if waiter.verb == "read" else self._takers).remove(waiter)
        del self._waiters[waiter.number]
        self.deadlines.discard(("waiter", waiter.number))

    def _end_waiter(self, number: int) -> None:
        waiter = self._waiters[number]
        if waiter.lane.link is None:  # a match that comes before it asks again is still its own
            waiter.is_late = True
            return
        self.unpark(waiter.lane)
        self.answer(waiter.lane, False, no_match(waiter.template))

    def _read_all(self, lane: Lane, template: Template) -> tuple[Tuple, ...]:
        return self._copies(lane, self._index.find(template))

    def _claimed(self, lane: Lane, template: Template) -> tuple[Tuple, ...]:
        return self._copies(lane, [e for e in self._claims.values() if template.matches(e.value)])

    def _copies(self, lane: Lane, entries: list[Entry]) -> tuple[Tuple, ...]:
        self._account.keep(lane, sum(entry.weight for entry in entries))
        return tuple(entry.value for entry in entries)

    def _swap(self, lane: Lane, template: Template, value: Tuple, lease: Any = None) -> Any:
        replacement = self._entries_of([value], check_seconds("lease", lease))
        entry = self._index.first(template)
        if entry is None:
            raise no_match(template)
        self._account.admit(replacement, leaving=entry)
        self._remove(entry, "take")
        self._store(replacement)
        return entry.value

    # -- entries by id

    def _cancel_entry(self, lane: Lane, id: int) -> bool:
        entry = self._entries.get(id)
        if entry is not None:
            self._remove(entry, "delete")
        return entry is not None

    def _renew_entry(self, lane: Lane, id: int, lease: float | None) -> None:
        expires = self.now + check_seconds("lease", lease)
        entry = self._entries.get(id)
        if entry is None:
            raise errors.LeaseExpiredError("the tuple is gone: taken, cancelled or expired")
        if self.journal is not None:
            self.journal.append((EXPIRES, id, expires))
        entry.expires = expires
        if entry.claim is None:
            self.deadlines.set(("entry", id), expires)

    def _renew_entries(self, lane: Lane, pairs: Any) -> tuple[Any, ...]:
        return failures_of(partial(self._renew_entry, lane, *pair) for pair in pairs)

    def _end_entry(self, id: int) -> None:
        self._remove(self._entries[id], "delete")

    # -- claims

    def _give_back(self, entries: list[Entry]) -> None:
        """Return entries to their places in line, or let their own leases end them now."""
        for entry in entries:
            self._put_back(entry)
        self._offer(entries)  # all are in line: who waits for many gets many

    def _end_claim(self, token: int) -> None:
        self._give_back([self._end_claim_record(self._claims[token])])

    def _confirm_many(self, lane: Lane, tokens: Any, writes: Any, lease: Any = None) -> Any:
        seconds, stored = check_seconds("lease", lease), list[Entry]()

        def confirm(token: int, values: list[Tuple]) -> None:
            entry, results = self._held(lane, token), self._entries_of(values, seconds)
            self._account.admit(results, leaving=entry)
            self._remove(entry, "take")
            self._put(results)
            stored.extend(results)

        failed = failures_of(partial(confirm, *pair) for pair in zip(tokens, writes, strict=True))
        self._serve_new(stored)  # who waits for many results gets many
        return failed

    def _renew_writing(
        self, lane: Lane, token: int, lease: float | None, values: list[Tuple]
    ) -> int:
        entry, results = self._held(lane, token), self._entries_of(values, math.inf)
        self._account.admit(results)
        self._renew_claim(entry, lease)
        return self._store(results)

    def _renew_many(self, lane: Lane, triples: Any) -> tuple[Any, ...]:
        return failures_of(partial(self._renew_writing, lane, *triple) for triple in triples)

    def _release_many(self, lane: Lane, tokens: Any) -> tuple[Any, ...]:
        back: list[Entry] = []

        def release(token: int) -> None:
            back.append(self._end_claim_record(self._held(lane, token)))

        failures = failures_of(partial(release, token) for token in tokens)
        self._give_back(back)
        return failures

    # -- after a restart

    def restore(self, contents: Contents) -> None:
        """Become the space that a store kept; called once, before all else.

        All its clients are away: who comes back within `sessions.ABSENCE` finds all that was its own,
        and every lane its reply. A subscription has lost what happened meanwhile, and says so.
        """
        self.now = contents.now
        self._restore_entries(contents.entries)
        self._restore_replies(contents.replies)
        for number, session, kind, template, expires in contents.subscriptions:
            owner, lost = self._absent(session), self.number()
            self._events.restore(number, owner, kind, template, expires, lost)

    def _reply_restored(self, lane: Lane, size: int) -> None:
        self._account.keep(lane, size // WEIGHT_UNIT)

    # -- looking in

    def _status(self, lane: Lane) -> dict[str, Any]:
        return self.status(self.now)

    def status(self, now: float) -> dict[str, Any]:
        """Return plain figures; `connections` counts those of all sessions."""
        oldest = self._index.oldest()
        return {
            "tuples": len(self._entries),
            "bytes": self._account.bytes,
            "reply_bytes": self._account.kept * WEIGHT_UNIT,
            "waiters": len(self._waiters),
            "claims": len(self._claims),
            "subscriptions": len(self._events),
            "sessions": len(self._sessions),
            "connections": sum(s.connections for s in self._sessions.values()),
            "oldest_ready_seconds": 0.0 if oldest is None else now - oldest.written,
            "operations": self._operations,
            "limits": asdict(self._limits),
            **self.about_store(),
        }
