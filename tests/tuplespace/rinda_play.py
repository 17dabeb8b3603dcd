"""Playing one script against a space and against Ruby's Rinda, and holding their answers together."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections import Counter

from rinda_script import DEVIATIONS, encode, explain
from rinda_sides import ERRORS, PATIENCE, Ours

from tuplespace import InvalidArgumentError, InvalidTupleError, matches


class UndocumentedError(AssertionError):
    """Space and Rinda differ, and no deviation says so."""


class Play:
    """One script, played on both sides; each operation is a method.

    Args:
        space: Ours, empty. rinda: Theirs. park: The fixture `parked`. symbols: Whether heads are
            Symbols there.

    Attributes:
        met: How often each deviation made a difference.
        agreed: How many tuples both sides found.
    """

    def __init__(self, space, rinda, park, symbols=False):
        self._code = lambda value: encode(value, symbols)
        self._ours, self._rinda = Ours(space, park, self._code), rinda
        self.met = Counter()
        self.agreed = 0
        self._values = {}  # encoded text -> what was written
        self._written = set()  # names of handles
        self._templates = {}  # name of a subscription -> what it listens to
        self._waiting = {}  # name of a parked call -> (verb, template), the oldest first
        self._fresh = itertools.count(1_000_000).__next__
        self._silent = set()  # texts of tuples whose events the two sides cannot have in common
        self._shuffled = False  # since events were compared
        rinda.ask("reset")

    def run(self, script):
        """Play it and leave both sides empty.

        Raises:
            UndocumentedError: They differ.
        """
        for name, *arguments in script:
            getattr(self, name)(*arguments)
        self.drain()
        while self._waiting:
            head, field, _ = next(iter(self._waiting.values()))[1]
            self.feed((head, field if type(field) is str else "x", self._fresh()), None)
        for value in list(self._values.values()):
            everything = dict.fromkeys(value) if type(value) is dict else (None,) * len(value)
            ours, theirs = self._all(everything)
            for _ in ours:
                self._ours.take(everything)
            for _ in theirs:
                self._rinda.ask("take", self._code(everything), 0)

    # -- tuples

    def write(self, value, lease):
        name = self._name_of(value)
        kind, ours = self._ours.call("write", name, value, lease)
        their_kind, theirs = self._rinda.call("write", name, self._code(value), lease)
        if kind == their_kind == "ok":
            self._written.add(name)
            self._values[_text(self._code(value))] = value
            if lease is None and theirs is not None:
                self._meet("for_ever")
        elif their_kind == "ok":
            self._silent.add(_text(self._code(value)))
            self._rinda.ask("cancel", name)
            if type(ours) is InvalidArgumentError:
                self._meet("lease_is_seconds")
            elif type(ours) is InvalidTupleError and type(value) not in (tuple, dict):
                self._meet("only_tuples_and_dicts")
            else:
                _differ(f"write({value!r}, {lease})", ours, theirs)
        else:
            _same_error(f"write({value!r})", (kind, ours), (their_kind, theirs))

    def read_all(self, template):
        self._all(template)

    def read(self, template):
        self._one("read", template)

    def take(self, template):
        ours, theirs = self._one("take", template)
        # What one side took and the other did not is taken there too: they go on as equals.
        if ours != theirs:
            self._shuffled = True
            if theirs is not None:
                self._ours.take(_only(self._values[theirs]))
            if ours is not None:
                self._rinda.ask("take", self._code(_only(self._values[ours])), 0)

    def renew(self, name, lease):
        if name in self._written:
            kind, _ = self._ours.call("renew", name, lease)
            self._rinda.ask("renew", name, lease)
            if kind == "error":
                self._meet("gone_is_gone")
                self._rinda.ask("cancel", name)

    def cancel(self, name):
        if name in self._written:
            ours, theirs = self._ours.cancel(name), self._rinda.ask("cancel", name)
            if ours is not theirs:
                self._meet("cancel_says_whether")

    def brief(self, value):
        """Write a tuple that soon expires, and wait until nobody sees it."""
        self.write(value, 0.005)
        only, code = _only(value), self._code(_only(value))
        deadline = time.monotonic() + PATIENCE
        while any(left := [self._ours.read_all(only), self._rinda.ask("read_all", code)]):
            if time.monotonic() > deadline:
                _differ(f"{value!r}, which has expired", *left)
            threading.Event().wait(0.002)

    def spoil(self, template):
        """Change what was read, and read it again."""
        for field in self._ours.space.read(template, 0):
            if type(field) is list:
                field.append(9)
        ours, theirs = self._ours.read(template), self._rinda.ask("spoil", self._code(template))
        if ours != theirs:
            self._meet("copies")
        self._ours.take(template)
        self._rinda.ask("take", self._code(template), 0)

    # -- events

    def notify(self, name, event, template):
        self.sweep()  # or it hears of what went before it came
        self._ours.notify(name, event, template)
        self._rinda.ask("notify", name, event, self._code(template))
        self._templates[name] = template

    def sweep(self):
        self._rinda.ask("sweep")

    def drain(self):
        """Hold together what both sides have told every subscriber."""
        self.sweep()
        for name, template in self._templates.items():
            self._hold_events(template, self._ours.events(name), self._rinda.events(name))
        self._shuffled = False

    def unnotify(self, name, drained=True):
        if name not in self._templates:
            return
        if drained:
            self.drain()
        template = self._templates.pop(name)
        self._ours.unnotify(name)
        self._rinda.ask("cancel", name)
        self.sweep()
        ours, theirs = self._ours.events(name), self._rinda.events(name)
        if not ours == theirs[-1:] == [["close", None]][: len(ours)]:
            _differ(f"cancelled notify({template!r})", ours, theirs)
        if ours != theirs:
            self._meet("cancel_drops_events")

    def flood(self, template, count):
        """Write more than a subscriber's backlog holds."""
        self.notify(name := self._fresh(), "write", template)
        values = [("a", number) for number in range(count)]
        self._ours.space.write_many(values)
        self._rinda.ask("flood", values)
        ours, theirs = self._ours.events(name), self._rinda.events(name)
        if ours != [["overflow", None]] or len(theirs) != count:
            _differ(f"{count} events", ours[:2], theirs[:2])
        self._meet("bounded_backlog")
        self._ours.space.take_many(template, count)
        self._rinda.ask("reset")
        del self._templates[name]

    # -- calls that wait

    def park(self, name, verb, template, timeout=None):
        if not any(self._all(template)):
            self._ours.park(name, verb, template, timeout)
            self._rinda.ask("park", name, verb, self._code(template), timeout)
            self._waiting[name] = verb, template

    def feed(self, value, lease):
        """Write a tuple for those who wait, as often as it takes until no taker wants it."""
        wanting = {n: v for n, (v, template) in self._waiting.items() if matches(template, value)}
        readers = {name for name, verb in wanting.items() if verb == "read"}
        takers = [name for name in wanting if name not in readers]
        if takers:
            self._silent.add(_text(self._code(value)))
        self.write(value, lease)
        at_once = len(readers) + bool(takers and lease != 0)
        orders = [self._served(side, value, at_once, takers) for side in (self._ours, self._rinda)]
        first, *later = orders[0]
        if [first - readers, *later] != [{name} for name in takers] and takers:
            _differ(f"who gets {value!r}, and not in order of arrival", *orders)
        if lease == 0 and takers and orders[1][0] == readers:
            self._meet("lease_zero_serves_takers")
            orders[0].insert(0, readers)
        if not readers <= first & orders[1][0]:
            _differ(f"readers of {value!r}", *orders)
        if orders[0] != orders[1]:
            self._meet("waiters_in_order")
        for name in wanting:
            del self._waiting[name]

    def rush(self, template, values):
        """Let as many wait as there are values, write these at once, and see who gets which."""
        calls = [self._fresh() for _ in values]
        for name in calls:
            self.park(name, "take", template)
        for value in values:
            self._ours.write(None, value)
        self._rinda.ask("flood", list(map(self._code, values)))
        ours, theirs = (side.ended(len(values)) for side in (self._ours, self._rinda))
        due = {n: ("ok", self._code(value)) for n, value in zip(calls, values, strict=True)}
        if ours != due or sorted(map(str, theirs.values())) != sorted(map(str, due.values())):
            _differ(f"rush({template!r})", ours, theirs)
        if ours != theirs:
            self._meet("waiters_in_order")
        self._waiting.clear()

    def expire(self, verb, template):
        """Let a call wait 10 ms for what does not come."""
        self.park(name := self._fresh(), verb, template, 0.01)
        while not (ours := self._ours.ended()):
            threading.Event().wait(0.002)
        early = self._rinda.ended(1, 0.02)
        self.sweep()
        theirs = self._rinda.ended(1)
        _same_error(f"{verb}({template!r}, 0.01)", ours[name], theirs.get(name, ("ok", None)))
        if not early:
            self._meet("timeouts_by_the_clock")
        del self._waiting[name]

    def call_off(self, verb, template):
        """Cancel a waiting call from outside, which only Rinda can."""
        self.park(name := self._fresh(), verb, template)
        self._rinda.ask("call_off", name)
        theirs, ours = self._rinda.ended(1), self._ours.ended()
        if ours or theirs != {name: ("error", "RequestCanceledError")}:
            _differ(f"a cancelled {verb}({template!r})", ours, theirs)
        self._meet("no_cancel_of_parked_calls")
        handle = self._ours.space.write(template)
        self._ours.ended()
        handle.cancel()
        del self._waiting[name]

    # -- comparing

    def _all(self, template):
        """Read all matches on both sides; return their texts."""
        outcome = self._ours.call("read_all", template)
        their_outcome = self._rinda.call("read_all", self._code(template))
        if "error" in (outcome[0], their_outcome[0]):
            _same_error(f"read_all({template!r})", outcome, their_outcome)
            return [], []
        ours, theirs = (list(map(_text, found)) for found in (outcome[1], their_outcome[1]))
        one_sided = (Counter(ours) - Counter(theirs)) | (Counter(theirs) - Counter(ours))
        for text in one_sided:
            value = self._values.get(text)
            names = value is not None and explain(template, value, text in ours, text in theirs)
            if not names:
                _differ(f"whether {template!r} matches {text}", text in ours, text in theirs)
            self._meet(*names)
        shared = [[text for text in texts if text not in one_sided] for texts in (ours, theirs)]
        self.agreed += len(shared[0])
        if shared[0] != shared[1]:
            self._meet("first_in_first_out")
        return ours, theirs

    def _one(self, verb, template):
        """Read or take one match on both sides; return the text of each, or None."""
        candidates = self._all(template)
        outcome = self._ours.call(verb, template)
        their_outcome = self._rinda.call(verb, self._code(template), 0)
        ours, theirs = (
            _text(found) if kind == "ok" else None for kind, found in (outcome, their_outcome)
        )
        for text, among in ((ours, candidates[0][:1]), (theirs, candidates[1])):
            if text not in (among or [None]):
                _differ(f"{verb}({template!r}), of {candidates}", ours, theirs)
        if ours is theirs is None:
            _same_error(f"{verb}({template!r})", outcome, their_outcome)
        if ours != theirs and {ours, theirs} <= {*candidates[0]} & {*candidates[1]}:
            self._meet("first_in_first_out")
        return ours, theirs

    def _hold_events(self, template, *both):
        ours, theirs = (
            [(kind, text) for kind, text in ((k, _text(v)) for k, v in events)
             if text not in self._silent] for events in both
        )  # fmt: skip
        one_sided = (Counter(ours) - Counter(theirs)) | (Counter(theirs) - Counter(ours))
        for event in one_sided:
            value = self._values.get(event[1])
            names = value is not None and explain(template, value, event in ours, event in theirs)
            if not names:
                _differ(f"events of notify({template!r}): {event}", ours, theirs)
            self._meet(*names)
        ours, theirs = ([e for e in events if e not in one_sided] for events in (ours, theirs))
        if ours != theirs and not self._shuffled:
            if [e for e in ours if e[0] != "delete"] != [e for e in theirs if e[0] != "delete"]:
                _differ(f"order of events of notify({template!r})", ours, theirs)
            self._meet("deletes_at_once")

    def _served(self, side, value, at_once, takers):
        """Return who got the tuple that was written, and the copies that this takes."""
        rounds = [side.ended(at_once)]
        while not set(takers) <= set().union(*rounds):
            if side is self._ours:
                side.write(None, value)
            else:
                side.ask("write", self._fresh(), self._code(value), None)
            rounds.append(side.ended(1))
            if not rounds[-1]:
                _differ(f"a taker of {value!r} went on waiting", rounds, "one side")
        for outcome in set().union(*(map(str, each.values()) for each in rounds)):
            if outcome != str(("ok", self._code(value))):
                _differ(f"what was handed out for {value!r}", outcome, "one side")
        return [set(each) for each in rounds]

    def _meet(self, *names):
        assert DEVIATIONS.keys() >= set(names), names
        self.met.update(names)

    def _name_of(self, value):
        """Return the number a tuple ends in, which is the name of its handle."""
        if type(value) is tuple and value and type(value[-1]) is int:
            return value[-1]
        return value["id"] if type(value) is dict and "id" in value else self._fresh()


def minimised(script, fails):
    """Return a shorter script that fails too: parts are left out, halves first."""
    size = len(script)
    while size := size // 2:
        start = 0
        while start < len(script):
            shorter = script[:start] + script[start + size :]
            if fails(shorter):
                script = shorter
            else:
                start += size
    return script


def _text(encoded):
    return json.dumps(encoded)


def _only(value):
    """Return the template that of all tuples matches only this: its number tells it apart."""
    if type(value) is dict:
        return {**dict.fromkeys(value), "id": value["id"]}
    return (*(None for _ in value[1:]), value[-1])


def _same_error(what, ours, theirs):
    if "ok" in (ours[0], theirs[0]) or theirs[1] not in ERRORS[type(ours[1])]:
        _differ(what, ours[1], theirs[1])


def _differ(what, ours, theirs):
    raise UndocumentedError(f"{what}:\n  ours:  {ours!r}\n  Rinda: {theirs!r}")
