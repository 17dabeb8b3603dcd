"""A core and a model of it, driven side by side by Hypothesis, call by call."""

from __future__ import annotations

import math

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from history.choices import (
    BATCHES,
    CALLERS,
    KINDS,
    LEASES,
    LONG,
    QUICK,
    TEMPLATES,
    TIMEOUTS,
    VALUES,
    WHICH,
)
from history.model import Client, SessionModel
from tuplespace.core import SpaceCore
from tuplespace.template import Template


class CoreMachine(RuleBasedStateMachine):
    """A core with a clock that is a number, and two sessions of three lanes each."""

    def __init__(self):
        super().__init__()
        self.core, self.model, self.now = SpaceCore(), SessionModel(), 0.0
        self.clients, self.names, self.calls = {}, {}, {}
        self.ids, self.tokens, self.subscriptions = [], [], []
        for name in ("ann", "bob"):
            self._arrive(name, name)

    def _arrive(self, name, session):
        client = self.clients[name] = Client(self.core, session, self.now)
        self.names[name] = session
        for lane in (1, 2, 3):
            client.lane(lane)
        self.calls = {key: call for key, call in self.calls.items() if key[0] != name}

    # What both are asked, and whether both answer alike.

    def _free(self, caller, session=None):
        """Return the next caller that can call now, and its name in the model; None: nobody."""
        self.time_passes(0.0)  # leases of 0 s end at the next call
        callers = [(name, lane) for name in ("ann", "bob") for lane in (1, 2, 3)]
        place = callers.index(caller)
        for name, lane in callers[place:] + callers[:place]:
            client, mine = self.clients[name], (self.names[name], lane)
            there = client.session.connections and client.lane(lane).link is not None
            if there and self.model.parked(mine) is None and session in (None, mine[0]):
                return (name, lane), mine
        return None, None

    def _ask(self, caller, verb, *args, expected=None, again=False):
        """Call the core; what the model expects is given, or stands in its answers by now."""
        name, lane = caller
        mine = self.names[name], lane
        if expected is not None:
            self.model.answers[mine] = expected
        self.calls[caller] = (verb, args, self.model.answers.get(mine))
        client = self.clients[name]
        if not again:
            client.numbers[lane] += 1
        self.core.call(client.lane(lane), client.numbers[lane], verb, args, self.now)
        return self._compare().get(mine)

    def _compare(self):
        """Compare all that was answered; return the core's answers by caller."""
        got = {}
        for lane, _, ok, value in self.core.effects:
            caller = lane.session.id, lane.id
            assert caller not in got
            got[caller] = ("ok", value) if ok else ("error", type(value).__name__)
        self.core.effects.clear()
        assert got.keys() == self.model.answers.keys()
        for caller, (kind, value) in self.model.answers.items():
            if kind in ("claim", "claims"):
                values, tokens = got[caller][1]
                if kind == "claim":
                    values, tokens = [values], [tokens]
                assert [entry["value"] for entry in value] == list(values)
                for entry, token in zip(value, tokens, strict=True):
                    claim = entry["claim"]
                    if claim is not None and "token" not in claim:
                        claim["token"] = token
                        self.tokens.append((token, claim))
            else:
                assert got[caller] == (kind, value)
            for key, (verb, args, _) in self.calls.items():
                if (self.names[key[0]], key[1]) == caller:
                    self.calls[key] = verb, args, got[caller]
        self.model.answers.clear()
        status = self.core.status(self.now)
        assert status["tuples"] == len(self.model.entries)
        assert status["claims"] == sum(e["claim"] is not None for e in self.model.entries)
        assert status["waiters"] == len(self.model.waiters)
        assert status["subscriptions"] == len(self.model.subscriptions)
        return got

    # -- time and sessions

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.4, 0.5, 1.0, 3.0, 5.0]))
    def time_passes(self, seconds):
        self.now += seconds
        self.core.advance(self.now)
        self.model.advance(self.now)
        self._compare()

    @rule(
        caller=CALLERS,
        what=st.sampled_from(
            [
                "vanish",
                "back",
                "back",
                "break",
                "connect",
                "connect",
                "repeat",
                "repeat",
                "abandon",
                "bye",
            ]
        ),
    )
    def something_happens_to_a_caller(self, caller, what):
        """One rule, so that most steps are calls."""
        {
            "vanish": lambda: self.a_session_vanishes(caller[0]),
            "back": lambda: self.it_comes_back_and_repeats_its_calls(caller[0]),
            "break": lambda: self.one_connection_of_several_breaks(caller),
            "connect": lambda: self.it_connects_again_and_repeats_its_call(caller),
            "repeat": lambda: self.a_call_is_repeated(caller),
            "abandon": lambda: self.a_parked_call_is_abandoned(caller),
            "bye": lambda: self.a_session_says_goodbye(caller[0]),
        }[what]()

    def a_session_vanishes(self, name):
        self.time_passes(0.0)
        client, session = self.clients[name], self.names[name]
        if client.session.connections:
            for lane in (1, 2, 3):
                client.lane(lane).link = None
            self.model.vanish(session)
            self.core.disconnect(client.session, self.now)
            self._compare()

    def it_comes_back_and_repeats_its_calls(self, name):
        self.time_passes(0.0)
        client, session = self.clients[name], self.names[name]
        if not client.session.connections:
            assert self.core.connect(session, self.now) is client.session
            self.model.come_back(session)
            for lane in (1, 2, 3):
                client.lane(lane).link = object()
                self._repeat((name, lane))

    def one_connection_of_several_breaks(self, caller):
        name, lane = caller
        client = self.clients[name]
        if client.session.connections:
            self.core.detach(client.lane(lane), client.lane(lane).link)
            parked = self.model.parked((self.names[name], lane))
            if parked is not None:
                parked["away"] = True
            self._compare()

    def it_connects_again_and_repeats_its_call(self, caller):
        name, lane = caller
        client = self.clients[name]
        if client.session.connections and client.lane(lane).link is None:
            client.lane(lane).link = object()
            self._repeat(caller)

    def _repeat(self, caller):
        """Ask again with the last number: for the kept reply, or to go on waiting."""
        name, lane = caller
        mine = self.names[name], lane
        if caller not in self.calls:
            return
        verb, args, answer = self.calls[caller]
        if answer is not None:
            self._ask(caller, verb, *args, expected=answer, again=True)
            return
        if self.model.parked(mine) is not None:
            self.model.resume(mine)
        elif verb == "next_events":
            number, seen, timeout = args
            self.model.fetch(mine, dict(self.subscriptions)[number], seen, timeout)
        else:
            self._search_model(mine, verb, *args)
        self._ask(caller, verb, *args, again=True)

    def a_call_is_repeated(self, caller):
        caller, _ = self._free(caller)
        if caller is not None:
            self._repeat(caller)

    def a_parked_call_is_abandoned(self, caller):
        name, lane = caller
        mine = self.names[name], lane
        self.time_passes(0.0)
        if self.model.parked(mine) is not None:
            self.model.abandon(mine)
            self.core.abandon(self.clients[name].lane(lane), self.now)
            del self.calls[caller]
            self._compare()

    def a_session_says_goodbye(self, name):
        self.time_passes(0.0)
        client, session = self.clients[name], self.names[name]
        if client.session.connections:
            self.model.end(session)
            self.core.goodbye(client.session, self.now)
            self.core.disconnect(client.session, self.now)
            self._compare()
            self._arrive(name, session + "+")

    # -- verbs

    @rule(caller=CALLERS, values=BATCHES, lease=LEASES)
    def write(self, caller, values, lease):
        caller, mine = self._free(caller)
        if caller is None:
            return
        entries = self.model.write_all(values, lease)
        name, lane = caller
        client = self.clients[name]
        client.numbers[lane] += 1
        self.core.call(client.lane(lane), client.numbers[lane], "write", (values, lease), self.now)
        (reply,) = [effect for effect in self.core.effects if effect[0] is client.lane(lane)]
        first = reply[3]
        self.ids += [(first + number, entry) for number, entry in enumerate(entries)]
        self.model.answers[mine] = "ok", first if entries else 0
        self.calls[caller] = "write", (values, lease), ("ok", first)
        self._compare()

    def _search_model(self, mine, verb, template, *rest):
        limit, lease = 1, None
        if verb.endswith("_many"):
            limit, *rest = rest
        if verb.startswith("claim"):
            lease, *rest = rest
        (timeout,) = rest
        self.model.search(mine, verb, template.source, limit, lease, timeout)

    @rule(caller=CALLERS, verb=st.sampled_from(["take", "read", "take_many"]), template=TEMPLATES,
          limit=st.integers(1, 3), timeout=TIMEOUTS)  # fmt: skip
    def take_or_read(self, caller, verb, template, limit, timeout):
        self._search(caller, verb, template, limit, None, timeout)

    @rule(caller=CALLERS, verb=st.sampled_from(["claim", "claim_many"]), template=TEMPLATES,
          limit=st.integers(1, 3), lease=LEASES, timeout=TIMEOUTS)  # fmt: skip
    def claim(self, caller, verb, template, limit, lease, timeout):
        self._search(caller, verb, template, limit, lease, timeout)

    def _search(self, caller, verb, template, limit, lease, timeout):
        caller, mine = self._free(caller)
        if caller is not None:
            args = [Template(template)]
            args += [limit] if verb.endswith("_many") else []
            args += [lease] if verb.startswith("claim") else []
            self._search_model(mine, verb, *args, timeout)
            self._ask(caller, verb, *args, timeout)

    @rule(caller=CALLERS, template=TEMPLATES)
    def look(self, caller, template):
        caller, _ = self._free(caller)
        if caller is not None:
            found = tuple(entry["value"] for entry in self.model.ready(template))
            self._ask(caller, "read_all", Template(template), expected=("ok", found))
            self._ask(caller, "count", Template(template), expected=("ok", len(found)))

    @rule(caller=CALLERS, template=TEMPLATES, value=VALUES)
    def swap(self, caller, template, value):
        caller, _ = self._free(caller)
        if caller is None:
            return
        found, expected = self.model.ready(template), ("error", "MatchTimeoutError")
        if found:
            expected = "ok", found[0]["value"]
            self.model.remove(found[0])
            self.model.write_all([value], None)
        self._ask(caller, "swap", Template(template), value, expected=expected)

    @precondition(lambda self: self.tokens)
    @rule(caller=CALLERS, which=WHICH, values=BATCHES, lease=LEASES,
          end=st.sampled_from(["confirm", "release", "renew"]))  # fmt: skip
    def end_claim(self, caller, which, values, lease, end):
        token, claim = self.tokens[-1 - which % min(len(self.tokens), 6)]
        # Mostly whoever has it, but any other should be refused.
        caller, mine = self._free(caller, claim["holder"] if which % 4 else None)
        if caller is None:
            return
        entry = self.model.held(mine[0], claim)
        if entry is not None:
            if end == "confirm":
                self.model.remove(entry)
                self.model.write_all(values, lease)
            elif end == "release":
                self.model.give_back(entry)
            else:
                claim["lease"] = claim["lease"] if lease is None else lease
                claim["due"] = self.model.now + claim["lease"]
                self.model.write_all(values, None)
        args = {
            "confirm": ((token,), (values,), lease), "release": ((token,),),
            "renew": (((token, lease, values),),),
        }[end]  # fmt: skip
        refused = ((0, "ClaimLostError", *self._refusal()),)
        self._ask(caller, f"{end}_many", *args, expected=("ok", () if entry else refused))

    def _refusal(self):
        lost = "the claim has ended: it was confirmed or released, its lease ran out, its tuple "
        return lost + "was cancelled, or its session was gone; the tuple may be another's now", {}

    @precondition(lambda self: self.ids)
    @rule(caller=CALLERS, which=WHICH, lease=LEASES, cancel=st.booleans())
    def handle(self, caller, which, lease, cancel):
        caller, _ = self._free(caller)
        if caller is None:
            return
        id, entry = self.ids[-1 - which % min(len(self.ids), 6)]
        there = self.model.there(entry)
        if cancel:
            if there:
                self.model.remove(entry, "delete")
            self._ask(caller, "cancel_entry", id, expected=("ok", there))
            return
        if there:
            entry["expires"] = self.model.now + (math.inf if lease is None else lease)
        expected = ("ok", None) if there else ("error", "LeaseExpiredError")
        self._ask(caller, "renew_entry", id, lease, expected=expected)

    # -- events

    @rule(caller=CALLERS, template=TEMPLATES, kind=KINDS, lease=LEASES)
    def notify(self, caller, template, kind, lease):
        caller, mine = self._free(caller)
        if caller is not None and len(self.model.subscriptions) < 4:
            name, lane = caller
            client = self.clients[name]
            client.numbers[lane] += 1
            args = Template(template), kind, lease
            self.core.call(client.lane(lane), client.numbers[lane], "notify", args, self.now)
            number = self.core.effects[-1][3]
            subscription = self.model.notify(mine[0], template, kind, lease)
            self.subscriptions.append((number, subscription))
            self.model.answers[mine] = "ok", number
            self.calls[caller] = "notify", args, ("ok", number)
            self._compare()

    @precondition(lambda self: self.subscriptions)
    @rule(caller=CALLERS, which=WHICH, back=st.integers(0, 1), timeout=TIMEOUTS)
    def fetch(self, caller, which, back, timeout):
        number, subscription = self.subscriptions[-1 - which % min(len(self.subscriptions), 3)]
        caller, mine = self._free(caller, subscription["session"])
        if caller is None or subscription["fetcher"] is not None:
            return
        seen = max(0, subscription["told"] - back)
        self.model.fetch(mine, subscription, seen, timeout)
        self._ask(caller, "next_events", number, seen, timeout)

    @precondition(lambda self: self.subscriptions)
    @rule(caller=CALLERS, which=WHICH)
    def cancel_notify(self, caller, which):
        number, subscription = self.subscriptions[which % len(self.subscriptions)]
        caller, mine = self._free(caller)
        if caller is not None:
            if subscription["session"] == mine[0]:
                self.model.cancel_notify(subscription)
            self._ask(caller, "cancel_notify", number, expected=("ok", None))


def test_the_core_agrees_with_the_model():
    run_state_machine_as_test(CoreMachine, settings=QUICK)


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_the_core_agrees_with_the_model_for_long():
    run_state_machine_as_test(CoreMachine, settings=LONG)
