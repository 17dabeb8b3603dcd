"""What a space holds: its entries and claims, and the journal of what becomes of them. Pure.

Each change of what must outlive the process is made in one of these methods, which notes it in the
journal, if there is one (see `store.interface` for what the changes say). Renewals of claims are not
noted, unless they change its length: after a restart every claim has its whole lease anew, since a
lease promises "at least".
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from tuplespace import errors
from tuplespace.calls import CallDesk
from tuplespace.entry import LEASE_WEIGHT, Claim, Entry, check_seconds, weight_of
from tuplespace.events import Subscriptions
from tuplespace.index import EntryIndex
from tuplespace.limits import Account, Limits
from tuplespace.sessions import Lane
from tuplespace.store.interface import CLAIM, GONE, PUT, UNCLAIM, Change, StoredEntry
from tuplespace.values import Tuple
from tuplespace.waiting import Waiter


class Holdings(CallDesk):
    """Entries and claims of one space; what is asked of them stands in `core`.

    Args:
        first_number: See `calls.CallDesk`. limits: What it takes before it refuses.
        journal: See `calls.CallDesk`.
    """

    def __init__(self, first_number: int, limits: Limits, journal: list[Change] | None) -> None:
        super().__init__(first_number, journal)
        self._limits = limits
        self._account = Account(limits)
        self._index = EntryIndex()
        self._entries = self._index.entries
        self._claims: dict[int, Entry] = {}
        self._events = Subscriptions(self, limits, self._account)

    @property
    def shortage(self) -> str:
        """Why nothing may be added now: the host's to set; "": it may."""
        return self._account.shortage

    @shortage.setter
    def shortage(self, why: str) -> None:
        self._account.shortage = why

    # -- entries

    def _entries_of(self, values: Iterable[Tuple], lease: float) -> list[Entry]:
        """Make entries that are not in the space yet: all that can be wrong with them shows here."""
        now, numbers, expires = self.now, self._numbers, self.now + lease
        extra = 0 if expires == math.inf else LEASE_WEIGHT
        return [
            Entry(next(numbers), value, now, expires, weight_of(value) + extra) for value in values
        ]

    def _put(self, entries: list[Entry]) -> None:
        if self.journal is not None:
            self.journal += [
                (PUT, entry.id, entry.value, entry.written, entry.expires) for entry in entries
            ]
        for entry in entries:
            self._index.add(entry)
            self._account.add(entry)
            if entry.expires != math.inf:
                self.deadlines.set(("entry", entry.id), entry.expires)
            if self._events.listening:
                self._events.emit("write", entry)

    def _remove(self, entry: Entry, event: str) -> None:
        """Take an entry, ready or claimed, out of the space for good."""
        if self.journal is not None:
            self.journal.append((GONE, entry.id))
        del self._entries[entry.id]
        self._account.remove(entry)
        if entry.claim is None:
            self._index.hide(entry)
        else:
            self._end_claim_record(entry)
        if entry.expires != math.inf:
            self.deadlines.discard(("entry", entry.id))
        if self._events.listening:
            self._events.emit(event, entry)

    # -- claims

    def _hold(self, entry: Entry, waiter: Waiter) -> int:
        """Claim an entry for a waiter; return the token."""
        claim = Claim(self.number(), waiter.lane.session, waiter.lease)
        if self.journal is not None:
            self.journal.append((CLAIM, entry.id, claim.token, claim.session.id, claim.lease))
        entry.claim = claim
        self._index.hide(entry)
        if entry.expires != math.inf:
            self.deadlines.discard(("entry", entry.id))
        self._note_claim(entry, claim)
        return claim.token

    def _note_claim(self, entry: Entry, claim: Claim) -> None:
        self._claims[claim.token] = entry
        claim.session.claims.add(claim.token)
        self.deadlines.set(("claim", claim.token), self.now + claim.lease)

    def _held(self, lane: Lane, token: int) -> Entry:
        entry = self._claims.get(token)
        if entry is None or entry.claim.session is not lane.session:  # type: ignore[union-attr]
            raise errors.ClaimLostError(
                "the claim has ended: it was confirmed or released, its lease ran out, its tuple "
                "was cancelled, or its session was gone; the tuple may be another's now"
            )
        return entry

    def _renew_claim(self, entry: Entry, lease: float | None) -> None:
        """Let a claim live on for its lease, or from now on for another one."""
        claim = entry.claim
        assert claim is not None
        seconds = claim.lease if lease is None else check_seconds("lease", lease)
        if seconds != claim.lease:
            claim.lease = seconds
            if self.journal is not None:
                self.journal.append((CLAIM, entry.id, claim.token, claim.session.id, seconds))
        self.deadlines.set(("claim", claim.token), self.now + seconds)

    def _end_claim_record(self, entry: Entry) -> Entry:
        """Forget who held an entry; the caller removes it or puts it back, which is noted there."""
        claim, entry.claim = entry.claim, None
        assert claim is not None
        del self._claims[claim.token]
        claim.session.claims.discard(claim.token)
        self.deadlines.discard(("claim", claim.token))
        return entry

    def _put_back(self, entry: Entry) -> None:
        """Return an entry to its place in line, or let its own lease end it now."""
        self._index.show(entry)
        if entry.expires <= self.now:
            self._remove(entry, "delete")
            return
        if self.journal is not None:
            self.journal.append((UNCLAIM, entry.id))
        self.deadlines.set(("entry", entry.id), entry.expires)

    # -- after a restart

    def _restore_entries(self, stored: Iterable[StoredEntry]) -> None:
        """Hold what a store kept; in order of ids, into an empty space."""
        index, account, leases = self._index, self._account, self.deadlines
        for id, value, written, expires, held in stored:
            extra = 0 if expires == math.inf else LEASE_WEIGHT
            entry = Entry(id, value, written, expires, weight_of(value) + extra)
            account.add(entry)
            if held is None:
                index.add(entry)
                if extra:
                    leases.set(("entry", id), expires)
            else:
                entry.claim = Claim(held.token, self._absent(held.session), held.lease)
                index.entries[id] = entry
                self._note_claim(entry, entry.claim)
