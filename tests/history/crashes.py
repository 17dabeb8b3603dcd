"""A space on a disk that loses what it may, its callers and a clock, in one process, from one seed.

What a server does is done here by hand, step by step: calls, the end of a turn, commits, answers
that wait for them, kills. What callers were told is a `recorder.History` in simulated time, for the
checker. A caller whose answer was lost repeats its call until it has one, so no outcome is unknown.
"""

from __future__ import annotations

import random
from collections import deque

from history.dict_store import DictStore
from history.recorder import History, Op
from tuplespace.core import SpaceCore
from tuplespace.errors import from_wire, to_wire
from tuplespace.template import Template
from tuplespace.wire import pack, unpack

SESSIONS, LANES = ("ann", "bob", "cat"), (1, 2)
KINDS = ("a", "b")
#: Nothing takes no time at all.
_MOMENT = 1e-5
TEMPLATES = [("a", None), ("b", None), (None, None), (str, None)]


class Caller:
    """One lane of one session, and what it waits for."""

    def __init__(self, session, lane):
        self.session, self.lane, self.name = session, lane, f"{session}/{lane}"
        self.number, self.call, self.connected = 0, None, False
        self.claims, self.handles, self.subscription, self.seen = [], [], None, 0
        #: The last answer, and the call: asked again, it is the same.
        self.answered = None


class Simulation:
    """One life of a space, of many runs.

    Args:
        seed: What chance depends on. crash: How likely each step is to be the last of a run.
        early: Whether answers go out before what they saw is durable: the checker must notice.

    Attributes:
        history: What was asked and told. crashes: How often the space died. problems: What the
            checker cannot see.
    """

    def __init__(self, seed, crash=0.02, early=False):
        self.rng, self.clock, self.early, self.crash_chance = random.Random(seed), 0.0, early, crash
        self.history, self.crashes, self.problems = History(), 0, []
        self._numbers = iter(range(1, 1 << 30))
        self.callers = [Caller(session, lane) for session in SESSIONS for lane in LANES]
        self.disk, self.known, self.values = None, set(), 0
        self._start()

    # -- the server's part

    def _start(self):
        self.store = DictStore(self.disk, is_quick=False)
        self.disk = self.store.disk
        contents = self.store.load()
        self.core = SpaceCore(first_number=(contents.generation << 40) + 1, journal=[])
        self.core.restore(contents)
        self.ahead = contents.now - self.clock
        self.gate = deque()

    @property
    def now(self):
        return self.clock + self.ahead

    def _collect(self):
        """Let the answers of now wait for what was decided until now."""
        effects, self.core.effects = self.core.effects, []
        for lane, number, ok, value in effects:
            data = value if ok is None else pack((number, ok, value if ok else to_wire(value)))
            position = self.store.position + bool(self.core.journal)
            self.gate.append((0 if self.early else position, lane.session.id, lane.id, data))

    def _end_turn(self):
        self.core.advance(self.now)
        self._collect()
        if self.core.journal:
            self.store.append(self.core.journal, self.core.now)
            self.core.journal = []

    def _commit(self):
        waiting = self.store.position - self.store.durable
        self.store.sync(self.rng.randint(0, waiting))

    def _crash(self):
        """Die; what was not durable is lost, and every connection breaks."""
        down = self.clock
        self.crashes += 1
        self.clock += self.rng.random()
        self._start()
        self.history.restarts.append((down, self.clock))
        for caller in self.callers:
            caller.connected = False

    # -- the callers' part

    def _connect(self, caller):
        session = self.core.connect(caller.session, self.now)
        session.lane(caller.lane).link = object()
        caller.connected = True
        if caller.call is not None:
            self._send(caller)

    def _send(self, caller):
        verb, args, _ = caller.call
        lane = self.core.connect(caller.session, self.now)
        lane.connections -= 1  # it is there already: this only looks it up
        self.core.call(lane.lane(caller.lane), caller.number, verb, args, self.now)
        self._collect()

    def _begin(self, caller, verb, args, ops):
        self.clock += _MOMENT
        caller.number += 1
        caller.call = verb, args, ops
        if caller.connected:
            self._send(caller)

    def _op(self, caller, verb, **details):
        self.clock += _MOMENT
        return Op(caller.name, next(self._numbers), verb, began=self.clock, **details)

    def _deliver(self):
        """Let out what is durable; some of it is lost on the way and asked for again."""
        while self.gate and self.gate[0][0] <= self.store.durable:
            _, session, lane, data = self.gate.popleft()
            caller = next(c for c in self.callers if (c.session, c.lane) == (session, lane))
            number, ok, value = unpack(data)
            if number == caller.number and caller.connected and caller.call is not None:
                if self.rng.random() < 0.1:
                    self._send(caller)
                else:
                    self._told(caller, ok, value, data)

    def _told(self, caller, ok, value, data):
        (verb, _, ops), caller.call = caller.call, None
        if caller.answered is not None and caller.answered[0] == caller.number:
            before = caller.answered[1]
            if before != data:
                self.problems.append(f"{caller.name}: {before!r}, and then {data!r}")
            return
        changed = ok and verb in ("write", "take", "take_many", "claim", "swap", "notify")
        caller.answered = (caller.number, data, verb) if changed else None
        outcome = "ok"
        self.clock += _MOMENT
        if not ok:
            name = type(from_wire(*value)).__name__
            outcome = {"MatchTimeoutError": "no match", "LeaseExpiredError": "refused"}.get(name)
            if outcome is None:
                self.problems.append(f"{caller.name}: {verb}: {value!r}")
                outcome = "error"
        for op in ops:
            op.ended, op.outcome = self.clock, outcome
        if ok:
            getattr(self, f"_told_{verb}", lambda *_: None)(caller, ops, value)
        self.history.ops += ops

    def _fresh(self, number):
        """Nothing is numbered twice, whatever was lost."""
        if number in self.known:
            self.problems.append(f"number {number} was given twice")
        self.known.add(number)

    # -- verbs: what is asked, and what an answer means

    def _new(self, most=3):
        self.values += most
        return [
            (self.rng.choice(KINDS), self.values - place)
            for place in range(self.rng.randint(1, most))
        ]

    def _lease(self):
        return self.rng.choice((None, None, None, 0.3, 2.0, 30.0))

    def ask_write(self, caller):
        values, lease = self._new(), self._lease()
        self._begin(caller, "write", (values, lease),
                    [self._op(caller, "write", written=values, lease=lease)])  # fmt: skip

    def _told_write(self, caller, ops, first):
        for place, value in enumerate(ops[0].written):
            self._fresh(first + place)
            caller.handles.append((first + place, value))

    def _search(self, caller, verb, *args, **details):
        template = self.rng.choice(TEMPLATES)
        timeout = self.rng.choice((0, 0, 0.05, 1.0))
        op = self._op(caller, verb, template=template, timeout=timeout, **details)
        self._begin(caller, verb, (Template(template), *args, timeout), [op])

    def ask_take(self, caller):
        self._search(caller, "take")

    def ask_read(self, caller):
        self._search(caller, "read")

    def ask_take_many(self, caller):
        self._search(caller, "take_many", 3, limit=3)

    def ask_claim(self, caller):
        lease = self.rng.choice((None, None, 30.0, 0.3))
        self._search(caller, "claim", lease, lease=lease)

    def _told_take(self, caller, ops, value):
        ops[0].found = [value]

    _told_read = _told_swap = _told_take

    def _told_take_many(self, caller, ops, values):
        ops[0].found = list(values)

    _told_read_all = _told_take_many

    def _told_count(self, caller, ops, value):
        ops[0].found = value

    def _told_claim(self, caller, ops, answer):
        value, token = answer
        self._fresh(token)
        ops[0].found = [value]
        caller.claims.append((token, (*ops[0].key, 0)))

    def ask_look(self, caller):
        verb, template = self.rng.choice(("read_all", "count")), self.rng.choice(TEMPLATES)
        self._begin(
            caller, verb, (Template(template),), [self._op(caller, verb, template=template)]
        )

    def ask_swap(self, caller):
        template, (value,) = self.rng.choice(TEMPLATES), self._new(1)
        op = self._op(caller, "swap", template=template, timeout=0, written=[value])
        self._begin(caller, "swap", (Template(template), value), [op])

    def ask_end_claim(self, caller):
        if not caller.claims:
            return
        token, key = self.rng.choice(caller.claims[-4:])
        verb = self.rng.choice(("confirm", "confirm", "release", "renew"))
        written = self._new(2) if verb != "release" and self.rng.random() < 0.5 else []
        lease = self.rng.choice((None, 20.0)) if verb == "renew" else None
        args = {"confirm": ((token,), (written,), None), "release": ((token,),),
                "renew": (((token, lease, written),),)}[verb]  # fmt: skip
        op = self._op(caller, verb, about=key, written=written, lease=lease)
        self._begin(caller, f"{verb}_many", args, [op])

    def _told_confirm_many(self, caller, ops, failed):
        if failed:
            ops[0].outcome = "refused"
            if failed[0][1] != "ClaimLostError":
                self.problems.append(f"{ops[0]}: {failed}")

    _told_release_many = _told_renew_many = _told_confirm_many

    def ask_handle(self, caller):
        if not caller.handles:
            return
        id, value = self.rng.choice(caller.handles[-6:])
        if self.rng.random() < 0.5:
            self._begin(caller, "cancel_entry", (id,), [self._op(caller, "cancel", about=value)])
        else:
            lease = self._lease()
            op = self._op(caller, "renew_entry", about=value, lease=lease)
            self._begin(caller, "renew_entry", (id, lease), [op])

    def _told_cancel_entry(self, caller, ops, there):
        ops[0].found = bool(there)

    def ask_events(self, caller):
        if caller.subscription is None:
            template, kind = self.rng.choice(TEMPLATES), self.rng.choice((None, "write", "take"))
            op = self._op(caller, "notify", template=template, about=kind)
            self._begin(caller, "notify", (Template(template), kind, None), [op])
        else:
            number, key = caller.subscription
            op = self._op(caller, "next_events", about=key, timeout=0.05)
            self._begin(caller, "next_events", (number, caller.seen, 0.05), [op])

    def _told_notify(self, caller, ops, number):
        self._fresh(number)
        caller.subscription, caller.seen = (number, ops[0].key), 0

    def _told_next_events(self, caller, ops, records):
        (first,) = ops
        if not records:
            first.outcome = "no match"
            return
        ops.clear()
        for record in records:
            op = Op(caller.name, next(self._numbers), "next_events", about=first.about,
                    began=first.began, ended=first.ended, outcome="ok", timeout=first.timeout,
                    found=[record])  # fmt: skip
            if record[0] <= caller.seen:
                self.problems.append(f"{op} after {caller.seen}")
            caller.seen = record[0]
            ops.append(op)

    def ask_again(self, caller):
        """Repeat a call that was answered, as if nobody had heard."""
        if caller.answered is not None and caller.answered[0] == caller.number and caller.connected:
            caller.call = caller.answered[2], (Template((None,)), 0), []
            self._send(caller)

    # -- the whole

    def step(self):
        rng = self.rng
        self.clock += rng.choice((0.0001, 0.0001, 0.001, 0.01, 0.2))
        if rng.random() < self.crash_chance:
            self._crash()
        for caller in self.callers:
            if not caller.connected and rng.random() < 0.5:
                self._connect(caller)
        caller = rng.choice(self.callers)
        if caller.connected and caller.call is None:
            rng.choices(list(_VERBS), list(_VERBS.values()))[0](self, caller)
        if rng.random() < 0.7:
            self._end_turn()
        if rng.random() < 0.6:
            self._commit()
        self._deliver()

    def run(self, steps):
        """Do so many steps, then hear all answers, and take what is left."""
        for _ in range(steps):
            self.step()
        self._settle()
        for _ in range(3):  # what nobody ends
            for caller in self.callers:
                for claim in caller.claims:
                    token, key = claim
                    op = self._op(caller, "release", about=key)
                    self._begin(caller, "release_many", ((token,),), [op])
                    self._settle()
                caller.claims.clear()
        drain = self.callers[0]
        self.history.drained = self.clock
        found = True
        while found:
            op = self._op(drain, "take_many", template=(None, None), limit=50, timeout=0)
            self._begin(drain, "take_many", (Template((None, None)), 50, 0), [op])
            self._settle()
            found = op.outcome == "ok"
        self.clock += 0.001
        self.history.end = self.clock
        return self

    def _settle(self):
        """Go on without crashes until everybody has been answered."""
        crash_chance, self.crash_chance = self.crash_chance, 0.0
        for _ in range(10_000):
            self.clock += 0.01
            for caller in self.callers:
                if not caller.connected:
                    self._connect(caller)
            self._end_turn()
            self.store.sync()
            self._deliver()
            if all(caller.call is None for caller in self.callers):
                break
        else:
            waiting = [(c.name, c.number, c.call) for c in self.callers if c.call is not None]
            self.problems.append(f"never answered: {waiting}")
            for caller in self.callers:
                caller.call = None
        self.crash_chance = crash_chance


_VERBS = {
    Simulation.ask_write: 20, Simulation.ask_take: 14, Simulation.ask_take_many: 3,
    Simulation.ask_read: 3, Simulation.ask_claim: 12, Simulation.ask_end_claim: 14,
    Simulation.ask_look: 4, Simulation.ask_swap: 4, Simulation.ask_handle: 4,
    Simulation.ask_events: 6, Simulation.ask_again: 6,
}  # fmt: skip
