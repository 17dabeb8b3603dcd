"""What the ops of a history say of each tuple: when it was there for certain, and when perhaps.

::

    written --------- ready -- claimed -- ready -- taken, cancelled or expired
       [began, ended]   [claim's]  [end's]   [its op's, or its lease's]

Each change lies somewhere in a span. Between two spans the state is certain, within one it is not.

A space that was killed and came back with its store has lost nothing of that. Its leases may end later
by the time it was away and by what it had not noted of its clock; claims have their whole lease anew.
"""

from __future__ import annotations

import math
from bisect import bisect_right

from history.matching import Groups, fits, frozen
from history.timeline import without
from tuplespace.sessions import ABSENCE, GRACE

#: Seconds in which a space must notice that a connection has gone, and have noted for its next run that
#: a lease has ended.
NOTICE = 3.0
#: Seconds that a space's clock may lose when it is killed.
LOST_CLOCK = 13.0
TAKES = frozenset({"take", "take_many", "swap"})
CLAIMS = frozenset({"claim", "claim_many"})
SEARCHES = TAKES | CLAIMS


class Life:
    """One tuple from its write on.

    Attributes:
        op, position: What wrote it, and its place in that.
        sightings, claims, removals, cancels, renewals: What was told of it.
        expiry: When its lease ends: a span. gone: When it went: a span, infinite if never.
        maybe: An op of unknown outcome that may have taken it, if it is missing.
        certain, held: Spans in which it was certainly ready, certainly claimed.
        since: From when on it was certainly written. vanishes: Until when it was certainly ready
            from its write on.
    """

    __slots__ = (
        "cancels", "certain", "claims", "expiry", "gone", "held", "maybe", "op", "position",
        "removals", "renewals", "sightings", "since", "value", "vanishes",
    )  # fmt: skip

    def __init__(self, op, position, value):
        self.op, self.position, self.value = op, position, value
        self.sightings, self.claims, self.removals = [], [], []
        self.cancels, self.renewals, self.certain, self.held = [], [], [], []
        self.maybe = None
        self.expiry = self.gone = (math.inf, math.inf)
        self.since, self.vanishes = ended(op), -math.inf

    def set_expiry(self, restarts=()):
        """Find out when its lease ends: whichever renewal may have been the last counts."""
        mine = [op for op in self.renewals if op.outcome in ("ok", "unknown")]
        sure = [self.op, *(op for op in mine if op.outcome == "ok")]
        latest = max(op.began for op in sure)
        last = [op for op in (self.op, *mine) if ended(op) >= latest]
        # The lease of a `renew` is the claim's: what it writes has none.
        lengths = [seconds(None if op.verb == "renew" else op.lease) for op in last]
        spans = [
            (op.began + each, ended(op) + each) for op, each in zip(last, lengths, strict=True)
        ]
        latest = max(hi for _, hi in spans)
        for down, up in restarts if latest < math.inf else ():
            if down - NOTICE <= latest and self.op.began <= up:
                latest += up - down + LOST_CLOCK
        self.expiry = min(lo for lo, _ in spans), latest

    def set_spans(self, hidden):
        """Find out when it was certainly ready.

        Args:
            hidden: (template, span) of claims nobody heard of: they may have hidden it.
        """
        unsure = [op for op in self.cancels if op.outcome == "unknown"]
        if self.removals:
            first = min(self.removals, key=lambda op: op.began)
            self.gone = first.began, min(ended(op) for op in self.removals)
        elif unsure:
            self.gone = min(op.began for op in unsure), math.inf
        until = min(self.gone[0], self.expiry[0])
        self.held = sorted(
            (ended(hold.op), hold.back[0]) for hold in self.claims if hold.back[0] > ended(hold.op)
        )
        if self.maybe is None:
            holes = [(hold.op.began, hold.back[1]) for hold in self.claims]
            holes += [span for template, span in hidden if fits(template, self.value)]
            self.certain = without((self.since, until), holes)
            self.vanishes = min([until, *(began for began, _ in holes)])

    @property
    def perhaps(self):
        """Spans in which it may have been ready."""
        return without((self.op.began, min(self.gone[1], self.expiry[1])), self.held)

    def held_during(self, began, until):
        """Say whether it was certainly claimed all the time."""
        place = bisect_right(self.held, (began, math.inf)) - 1
        return place >= 0 and self.held[place][1] >= until


class Hold:
    """One claim of one tuple.

    Attributes:
        op, life: What claimed what. ends: The ops of this claim, in order.
        back: When the tuple was ready again: a span, infinite if it was confirmed.
        over: When the claim had ended, however it did: a span.
    """

    __slots__ = ("back", "ends", "life", "op", "over", "restarts")

    def __init__(self, op, life, restarts=()):
        self.op, self.life, self.ends, self.restarts = op, life, [], restarts
        self.back = self.over = (math.inf, math.inf)

    def lease_span(self, but=None):
        """Return when the lease ends, if that op does not count."""
        length = longest = seconds(self.op.lease)
        lo, hi = self.op.began + length, ended(self.op) + length
        for op in self.ends:
            if op is but or op.verb != "renew" or op.outcome not in ("ok", "unknown"):
                continue
            length = seconds(op.lease) if op.lease is not None else length
            longest = max(length, longest)
            if op.outcome == "ok":
                lo, hi = op.began + length, max(hi, op.ended + length)
            else:
                lo, hi = min(lo, op.began + length), math.inf
        for down, up in self.restarts if hi < math.inf else ():
            if down - NOTICE <= hi and self.op.began <= up:
                hi = max(hi, up + longest)
        return lo, hi

    def set_back(self, session_end, steady):
        """Find out when it ended.

        Args:
            session_end: When its session ended: a span. steady: Its connections did not break.
        """
        lo, hi = self.lease_span()
        lo, hi = min(lo, session_end[0]), min(hi, session_end[1])
        if not steady:
            lo = min(lo, self.op.began + GRACE)
        confirmed = False
        for op in self.ends:
            if op.outcome == "ok" and op.verb in ("confirm", "release"):
                lo, hi = min(lo, op.began), min(hi, op.ended)
                if op.verb == "confirm":
                    confirmed = True
                else:
                    lo = op.began
            elif op.outcome == "refused":
                hi = min(hi, op.ended)
            elif op.outcome == "unknown":
                lo = min(lo, op.began)
        for op in self.life.cancels:
            if op.outcome in ("ok", "unknown"):
                lo = min(lo, op.began)
        self.over = lo, hi
        self.back = (math.inf, math.inf) if confirmed else (min(lo, hi), hi)


def ended(op):
    """Return when an op had certainly ended: never, if nobody knows."""
    return math.inf if op.ended is None or op.outcome == "unknown" else op.ended


def seconds(lease):
    return math.inf if lease is None else lease


class Lives:
    """All tuples of a history, and the holds on them.

    Attributes:
        by_value: Lives. refused: What was to be written by ops that were refused, and by which.
        holds: By key. phantoms: (op, value) of tuples found that nobody wrote.

    Raises:
        ValueError: Two ops wrote equal tuples: nobody could tell them apart.
    """

    def __init__(self, history, *, steady, bound):
        self.by_value, self.refused, self.holds, self.phantoms = {}, {}, {}, []
        self._history, self.deaths, self._bound = history, history.deaths, bound
        self.ops = sorted(history.ops, key=lambda op: op.began)
        for op in self.ops:
            self._note_writes(op)
        for op in self.ops:
            self._note_found(op)
        self._resolve_unknown()
        for op in self.ops:
            self._note_ends(op)
        session_ends = self._session_ends()
        for hold in self.holds.values():
            never = (math.inf, math.inf)
            hold.set_back(session_ends.get(hold.op.session, never), steady)
            for op in hold.ends:
                if op.verb == "confirm" and op.outcome == "ok":
                    hold.life.removals.append(op)
        for life in self.by_value.values():
            life.set_expiry(history.restarts)
        self._excuse(history.drained)
        hidden = [
            (op.template,
             (op.began, self._after_absence(self._unknown_until(op) + min(seconds(op.lease), GRACE + NOTICE))))
            for op in self.ops
            if op.verb in CLAIMS and op.outcome == "unknown" and not self._hangs(op)
        ]  # fmt: skip
        for life in self.by_value.values():
            life.set_spans(hidden)

    def of(self, value):
        """Return the life of a tuple that was found, or None."""
        return self.by_value.get(frozen(value))

    def _note_writes(self, op):
        for position, value in enumerate(op.written):
            key = frozen(value)
            if op.outcome not in ("ok", "unknown"):
                self.refused[key] = op
            elif key in self.by_value:
                raise ValueError(f"two ops wrote {value!r}; the checker needs unique tuples")
            else:
                self.by_value[key] = Life(op, position, value)

    def _note_found(self, op):
        if op.verb in ("count", "cancel", "next_events"):
            return
        for position, value in enumerate(op.found):
            life = self.of(value)
            if life is None:
                self.phantoms.append((op, value))
            elif op.verb in TAKES:
                life.removals.append(op)
            elif op.verb in CLAIMS:
                hold = self.holds[(*op.key, position)] = Hold(op, life, self._history.restarts)
                life.claims.append(hold)
            else:
                life.sightings.append(op)

    def _resolve_unknown(self):
        """Writes are atomic: who saw one of an op's tuples knows that the op was applied."""
        first = {}
        for life in self.by_value.values():
            seen = [*life.sightings, *life.removals, *(hold.op for hold in life.claims)]
            if seen:
                moment = min(op.ended for op in seen)
                first[life.op] = min(first.get(life.op, math.inf), moment)
        for life in self.by_value.values():
            moment = first.get(life.op, math.inf)
            life.since = min(life.since, moment)
            if life.op.outcome == "unknown" and moment < math.inf:
                life.op.outcome = "ok"
                life.op.ended = min(moment, math.inf if life.op.ended is None else life.op.ended)

    def _note_ends(self, op):
        if op.verb in ("confirm", "renew", "release"):
            self.holds[op.about].ends.append(op)
        elif op.verb in ("cancel", "renew_entry"):
            life = self.of(op.about)
            (life.cancels if op.verb == "cancel" else life.renewals).append(op)
            if op.verb == "cancel" and op.found:
                life.removals.append(op)

    def _session_ends(self):
        ends = {
            op.session: (op.began, self._after_absence(op.ended or math.inf))
            for op in self.ops
            if op.verb == "close"
        }
        for session, moment in self._history.deaths.items():
            mine = (op.began for op in self.ops if op.session == session)
            until = self._after_absence(moment + GRACE + NOTICE)
            ends[session] = max(mine, default=moment), until
        return ends

    def _after_absence(self, moment):
        """Return when a space notices by then that a session has gone, if it was away meanwhile."""
        for down, up in self._history.restarts:
            if down - NOTICE <= moment:
                moment = max(moment, up + ABSENCE + NOTICE)
        return moment

    def _unknown_until(self, op):
        """Return when an op of unknown outcome can have had its effect at the latest."""
        return self._history.deaths.get(op.session, math.inf)

    def _hangs(self, op):
        """Say whether a living caller got no answer for long: that excuses nothing."""
        alive = op.ended is None and op.session not in self.deaths
        return alive and self._history.end - op.began > self._bound

    def _excuse(self, drained):
        """Find, for each tuple that is missing, an op of unknown outcome that may have taken it.

        One op excuses one tuple (take_many: as many as its limit): a matching, by augmenting
        paths. In a space that was not drained nobody knows what is missing: all are excused.
        """
        takers = {}
        groups = Groups()
        for op in self.ops:
            # A swap whose replacement was seen has an outcome by now, but what it took is unknown.
            if op.outcome not in ("ok", "unknown") or op.found or self._hangs(op):
                continue
            if op.verb in TAKES:
                groups.add(op.template, []).extend((op, n) for n in range(op.limit or 1))
        owner = {}

        def assign(life, tried):
            for taker in takers[life]:
                if taker not in tried:
                    tried.add(taker)
                    if drained is None or taker not in owner or assign(owner[taker], tried):
                        owner[taker], life.maybe = life, taker[0]
                        return True
            return False

        end = self._history.end
        for life in self.by_value.values():
            if life.removals or life.since == math.inf or life.expiry[0] <= end:
                continue
            if drained is not None and any(hold.over[1] > drained for hold in life.claims):
                continue
            confirms = (op for hold in life.claims for op in hold.ends if op.verb == "confirm")
            life.maybe = next((op for op in confirms if op.outcome == "unknown"), None)
            if life.maybe is None:
                takers[life] = [
                    taker for group in groups.of(life.value) for taker in group
                    if life.op.began <= self._unknown_until(taker[0])
                ]  # fmt: skip
                assign(life, set())
