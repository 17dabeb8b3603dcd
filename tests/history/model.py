"""A space that is a list, and searches all of it; and a session that calls a core."""

from __future__ import annotations

import itertools
import math

from tuplespace.errors import from_wire
from tuplespace.sessions import GRACE
from tuplespace.template import Template
from tuplespace.values import shape_of
from tuplespace.wire import unpack


class Client:
    """One session with one connection for each lane that it has used."""

    def __init__(self, core, name, now=0.0):
        self.core, self.name = core, name
        self.session = core.connect(name, now)
        self.numbers = {}

    def lane(self, id=1):
        lane = self.session.lane(id)
        if id not in self.numbers:
            self.numbers[id] = 0
            lane.link = object()
        return lane

    def call(self, verb, *args, now=0.0, lane=1, again=False):
        """Make a call; return ("ok", value), ("error", error), or None: parked."""
        where = self.lane(lane)
        if not again:
            self.numbers[lane] += 1
        self.core.call(where, self.numbers[lane], verb, args, now)
        return self.reply(lane)

    def reply(self, lane=1):
        """Pick this lane's reply out of the effects."""
        where = self.session.lane(lane)
        mine = [effect for effect in self.core.effects if effect[0] is where]
        assert len(mine) <= 1
        if not mine:
            return None
        self.core.effects.remove(mine[0])
        _, number, ok, value = mine[0]
        assert number == self.numbers[lane]
        if ok is None:  # it outlives the space
            number, ok, value = unpack(value)
            assert number == self.numbers[lane]
            value = value if ok else from_wire(*value)
        return ("ok" if ok else "error"), value

    def break_off(self, now=0.0, lane=1):
        where = self.session.lane(lane)
        self.core.detach(where, where.link)
        self.core.disconnect(self.session, now)

    def come_back(self, now=0.0, lane=1):
        assert self.core.connect(self.name, now) is self.session
        self.session.lane(lane).link = object()


class Model:
    """A tuple space that is a list, and searches all of it."""

    def __init__(self):
        self.now, self.entries, self.waiters = 0.0, [], []

    def ready(self, template):
        compiled = Template(template)
        return [
            e
            for e in self.entries
            if e["claim"] is None and e["shape"] == compiled.shape and compiled.matches(e["value"])
        ]

    def write(self, id, value, lease):
        self.entries.append({
            "id": id, "value": value, "shape": shape_of(value), "claim": None,
            "expires": self.now + lease,
        })  # fmt: skip

    def remove(self, entry):
        self.entries.remove(entry)

    def serve(self):
        """Let the waiters, which all wait since before now, have what is there."""
        served = []
        for kind in ("read", "take"):
            for waiter in [w for w in self.waiters if w["kind"] == kind]:
                found = self.ready(waiter["template"])
                if found:
                    served.append((waiter["lane"], found[0]["value"]))
                    self.waiters.remove(waiter)
                    if kind == "take":
                        self.remove(found[0])
        return served

    def due(self):
        times = [e["expires"] if e["claim"] is None else e["claim"][1] for e in self.entries]
        return min(times, default=math.inf)

    def advance(self, now):
        """Let time pass, event by event."""
        served = []
        while self.due() <= now:
            due = self.due()
            for entry in list(self.entries):
                if entry["claim"] is None and entry["expires"] <= due:
                    self.remove(entry)
                elif entry["claim"] is not None and entry["claim"][1] <= due:
                    entry["claim"] = None
                    if entry["expires"] <= due:
                        self.remove(entry)
            served += self.serve()
        self.now = now
        return served


class SessionModel(Model):
    """...with sessions that vanish and come back, parked calls of every verb, and events.

    A caller is (session, lane). What a caller is told is put into `answers`: ("ok", value),
    ("error", name), ("claims", entries) or ("claim", entries).
    """

    def __init__(self):
        super().__init__()
        self.answers, self.subscriptions, self.gone = {}, [], {}
        self._numbers = itertools.count()

    # -- time

    def _dues(self):
        for entry in self.entries:
            if entry["claim"] is None:
                yield entry["expires"], "entry", entry["order"], self.remove, (entry, "delete")
            else:
                claim = entry["claim"]
                yield claim["due"], "claim", claim["number"], self.give_back, (entry,)
        for waiter in self.waiters:
            yield waiter["due"], "waiter", waiter["number"], self._give_up, (waiter,)
        for session, moment in self.gone.items():
            yield moment, "grace", session, self._end_grace, (session,)
        for each in self.subscriptions:
            if not each["closed"]:
                yield each["due"], "subscription", each["number"], self._close, (each,)
            if each["fetcher"] is not None:
                yield each["fetch_due"], "fetch", each["number"], self._end_fetch, (each,)

    def advance(self, now):
        """Let time pass: what falls due, one by one."""
        self.now = now
        while True:
            due = min(self._dues(), key=lambda each: each[:3], default=(math.inf,))
            if due[0] > now:
                return
            due[3](*due[4])

    # -- entries

    def write_all(self, values, lease):
        """Store all, then serve who waits; return the entries."""
        lease = math.inf if lease is None else lease
        fresh = []
        for value in values:
            self.write(None, value, lease)
            fresh.append(self.entries[-1])
            fresh[-1]["order"] = next(self._numbers)
            self.emit("write", value)
        self.offer(fresh)
        if fresh and lease == 0:
            self.advance(self.now)
        return fresh

    def ready(self, template):
        """Return what matches, in line."""
        return sorted(super().ready(template), key=lambda entry: entry["order"])

    def remove(self, entry, kind="take"):
        super().remove(entry)
        entry["claim"] = None
        self.emit(kind, entry["value"])

    def there(self, entry):
        return any(each is entry for each in self.entries)

    def give_back(self, entry):
        entry["claim"] = None
        if entry["expires"] <= self.now:
            self.remove(entry, "delete")
        else:
            self.offer([entry])

    def offer(self, entries):
        """Serve all readers that match, then for each entry the first taker that is there."""

        def fits(waiter, entry):
            return entry in self.ready(waiter["template"])

        for waiter in [w for w in self.waiters if w["kind"] == "read"]:
            if any(fits(waiter, entry) for entry in entries):
                self.serve_one(waiter)
        for entry in entries:
            for waiter in self.waiters:
                if waiter["kind"] != "read" and not waiter["away"] and fits(waiter, entry):
                    self.serve_one(waiter)
                    break

    # -- searches

    def search(self, caller, kind, template, limit=1, lease=None, timeout=0):
        """Answer, or park the call."""
        waiter = {
            "caller": caller, "kind": kind, "template": template, "limit": limit, "away": False, "late": False,
            "lease": math.inf if lease is None else lease, "number": next(self._numbers),
            "due": math.inf if timeout is None else self.now + timeout,
        }  # fmt: skip
        self.waiters.append(waiter)
        if not self.serve_one(waiter) and timeout == 0:
            self._give_up(waiter)

    def serve_one(self, waiter):
        found = self.ready(waiter["template"])[: waiter["limit"]]
        if not found:
            return False
        kind, values = waiter["kind"], tuple(entry["value"] for entry in found)
        answer = "ok", values if kind.endswith("_many") else values[0]
        if kind.startswith("take"):
            for entry in found:
                self.remove(entry)
        elif kind.startswith("claim"):
            answer = ("claims" if kind.endswith("_many") else "claim"), found
            for entry in found:
                entry["claim"] = {
                    "holder": waiter["caller"][0], "number": next(self._numbers),
                    "due": self.now + waiter["lease"], "lease": waiter["lease"],
                }  # fmt: skip
        self._drop(waiter)
        self.answers[waiter["caller"]] = answer
        return True

    def _give_up(self, waiter):
        if waiter["away"]:  # it will be told when it asks again, unless there is something then
            waiter["late"], waiter["due"] = True, math.inf
            return
        self._drop(waiter)
        self.answers[waiter["caller"]] = "error", "MatchTimeoutError"

    def _drop(self, waiter):
        self.waiters[:] = [each for each in self.waiters if each is not waiter]

    def parked(self, caller):
        """Return what a caller waits for, a waiter or a subscription, or None."""
        waiting = (w for w in self.waiters if w["caller"] == caller)
        fetching = (each for each in self.subscriptions if each["fetcher"] == caller)
        return next(itertools.chain(waiting, fetching), None)

    def abandon(self, caller):
        self.waiters[:] = [w for w in self.waiters if w["caller"] != caller]
        for each in self.subscriptions:
            if each["fetcher"] == caller:
                each["fetcher"] = None

    def resume(self, caller):
        """Let a caller that was away ask again for what it is parked for."""
        parked = self.parked(caller)
        parked["away"] = False
        if "pending" in parked:
            self._deliver(parked)
        elif not self.serve_one(parked) and parked["late"]:
            self._give_up(parked)

    # -- claims

    def held(self, session, claim):
        """Return the entry of a claim, if the session holds it still."""
        mine = claim is not None and claim["holder"] == session
        return next((e for e in self.entries if mine and e["claim"] is claim), None)

    # -- sessions

    def vanish(self, session):
        for caller in [w["caller"] for w in self.waiters] + [
            s["fetcher"] for s in self.subscriptions
        ]:
            if caller is not None and caller[0] == session:
                self.abandon(caller)
        self.gone[session] = self.now + GRACE

    def come_back(self, session):
        self.gone.pop(session, None)

    def end(self, session):
        self.vanish(session)
        self._end_grace(session)

    def _end_grace(self, session):
        self.gone.pop(session)
        self.subscriptions[:] = [s for s in self.subscriptions if s["session"] != session]
        held = [e for e in self.entries if e["claim"] and e["claim"]["holder"] == session]
        for entry in sorted(held, key=lambda entry: entry["order"]):
            if entry["claim"]:
                self.give_back(entry)

    # -- events

    def notify(self, session, template, kind, lease):
        self.subscriptions.append({
            "session": session, "template": template, "kind": kind, "number": next(self._numbers),
            "due": math.inf if lease is None else self.now + lease, "pending": [], "sequence": 0,
            "fetcher": None, "closed": False, "away": False, "told": 0,
        })  # fmt: skip
        return self.subscriptions[-1]

    def emit(self, kind, value):
        for each in list(self.subscriptions):
            template = Template(each["template"])
            fits = template.shape == shape_of(value) and template.matches(value)
            if fits and not each["closed"] and each["kind"] in (None, kind):
                self._push(each, kind, value)

    def _push(self, subscription, kind, value):
        subscription["sequence"] += 1
        subscription["pending"].append((subscription["sequence"], kind, value))
        self._deliver(subscription)

    def _deliver(self, subscription):
        if (
            subscription["fetcher"] is not None
            and subscription["pending"]
            and not subscription["away"]
        ):
            caller, subscription["fetcher"] = subscription["fetcher"], None
            self.answers[caller] = "ok", tuple(subscription["pending"])
            subscription["told"] = subscription["sequence"]
            if subscription["closed"]:
                self._forget(subscription)

    def fetch(self, caller, subscription, seen, timeout):
        if not any(each is subscription for each in self.subscriptions):
            self.answers[caller] = "ok", ((seen + 1, "close", None),)
            return
        subscription["pending"] = [each for each in subscription["pending"] if each[0] > seen]
        subscription["fetcher"], subscription["away"] = caller, False
        subscription["fetch_due"] = math.inf if timeout is None else self.now + timeout
        self._deliver(subscription)
        if subscription["fetcher"] is not None and timeout == 0:
            self._end_fetch(subscription)

    def cancel_notify(self, subscription):
        if any(each is subscription for each in self.subscriptions):
            if subscription["fetcher"] is not None:
                close = subscription["sequence"] + 1, "close", None
                self.answers[subscription["fetcher"]] = "ok", (close,)
            self._forget(subscription)

    def _end_fetch(self, subscription):
        caller, subscription["fetcher"] = subscription["fetcher"], None
        self.answers[caller] = "ok", ()

    def _close(self, subscription):
        subscription["closed"] = True
        self._push(subscription, "close", None)

    def _forget(self, subscription):
        self.subscriptions[:] = [each for each in self.subscriptions if each is not subscription]
