"""Recording what clients of a space asked, when, and what they were told.

A `History` is a list of `Op`. Each has two moments of one clock, before the call and after it: the
space decided somewhere between the two. An op that never ended, or ended in an error that leaves
its outcome open, may have been applied at any moment after it began, or never.

A claim is named by (client, number, position) of the op that made it, a notify by (client, number).
A client is "session" or "session/thread": claims belong to the session.
"""

from __future__ import annotations

import itertools
import pickle
import threading
import time
from contextlib import suppress

from tuplespace import (
    ClaimLostError,
    LeaseExpiredError,
    MatchTimeoutError,
    SpaceUnreachableError,
    TupleSpaceError,
)
from tuplespace.errors import ClosedError, SpaceLostError


class Op:
    """One call.

    Attributes:
        client: Who called. number: Its place in the history of its process, from 1.
        verb: What. `confirm_many` and its like are one op for each claim.
        template, limit, timeout, lease: Its arguments, as given; None: not given, or for ever.
        written: The tuples it was to write.
        about: The claim, notify or written tuple that it is about.
        began, ended: Seconds; `ended` is None if no answer came.
        outcome: "ok", "no match", "refused", "error" (surely not applied), "unknown".
        found: A list of tuples; of (sequence, kind, tuple) for `next_events`; a number for
            `count`, a bool for `cancel`.
    """

    __slots__ = (
        "about", "began", "client", "ended", "found", "lease", "limit", "number", "outcome",
        "template", "timeout", "verb", "written",
    )  # fmt: skip

    def __init__(
        self, client, number, verb, *, template=None, written=(), limit=None, timeout=None,
        lease=None, about=None, began=0.0, ended=None, outcome="unknown", found=(),
    ):  # fmt: skip
        self.client, self.number, self.verb, self.template = client, number, verb, template
        self.written, self.limit, self.timeout, self.lease = tuple(written), limit, timeout, lease
        self.about, self.began, self.ended, self.outcome = about, began, ended, outcome
        self.found = found

    @property
    def session(self):
        return self.client.partition("/")[0]

    @property
    def key(self):
        return self.client, self.number

    def __repr__(self):
        words = [f"#{self.number} {self.client}.{self.verb}"]
        if self.template is not None:
            words.append(repr(self.template))
        if self.written:
            words.append(f"writing {self.written!r:.80}")
        if self.about is not None:
            words.append(f"of {self.about!r}")
        answer = f" {self.found!r:.80}" if self.found else ""
        end = "..." if self.ended is None else f"{self.ended:.6f}"
        return f"{' '.join(words)} [{self.began:.6f}, {end}] -> {self.outcome}{answer}"

    def __getstate__(self):
        return [getattr(self, name) for name in self.__slots__]

    def __setstate__(self, state):
        for name, value in zip(self.__slots__, state, strict=True):
            setattr(self, name, value)


class History:
    """Ops of many clients; thread-safe.

    Args:
        log: A binary file, unbuffered, that gets every op as it begins and as it ends, so that it
            outlives a process which is killed.

    Attributes:
        deaths: When a session had certainly died, and the space had done all it had asked.
        restarts: (down, up) of a space that was killed and came back with its store.
        drained: When somebody began to take all that was left; None if nobody did.
        end: When nobody asked anything any more; set by `finish`.
    """

    def __init__(self, log=None):
        self.ops, self.deaths, self.restarts = [], {}, []
        self.drained = self.end = None
        self._numbers, self._log, self._lock = itertools.count(1), log, threading.Lock()

    def begin(self, client, verb, **details):
        op = Op(client, next(self._numbers), verb, **details)
        self._write(op)
        self.ops.append(op)
        op.began = time.monotonic()
        return op

    def finish_op(self, op, outcome, found=()):
        op.ended, op.outcome, op.found = time.monotonic(), outcome, found
        self._write(op)

    def _write(self, op):
        if self._log is not None:
            op.began = op.began or time.monotonic()
            with self._lock:
                pickle.dump(op, self._log)

    def read_log(self, path):
        """Add the ops that another process has logged, perhaps up to its death."""
        ops = {}
        with open(path, "rb") as file, suppress(EOFError, pickle.UnpicklingError):
            while True:
                op = pickle.load(file)
                ops[op.key] = op
        self.ops.extend(ops.values())
        return len(ops)

    def died(self, session):
        """Note that a session is dead, and that nothing it asked is still on its way."""
        self.deaths[session] = time.monotonic()

    def finish(self):
        self.end = time.monotonic()
        return self


def _outcome_of(error):
    if isinstance(error, MatchTimeoutError):
        return "no match"
    if isinstance(error, ClaimLostError | LeaseExpiredError):
        return "refused"
    if isinstance(error, SpaceUnreachableError) and not error.outcome_unknown:
        return "error"
    if isinstance(error, SpaceUnreachableError | SpaceLostError | ClosedError):
        return "unknown"
    return "error" if isinstance(error, TupleSpaceError) else "unknown"


class RecordedSpace:
    """A `tuplespace.Space` that notes in a history what passes through it."""

    def __init__(self, space, history, client):
        self.space, self.history, self.client = space, history, client

    def _record(self, call, found, verb, **details):
        """Make a call; return its result and its op."""
        op = self.history.begin(self.client, verb, **details)
        try:
            result = call()
        except BaseException as error:
            self.history.finish_op(op, _outcome_of(error))
            raise
        self.history.finish_op(op, "ok", found(result))
        return result, op

    def _record_each(self, call, verb, parts):
        """Make one call of many parts; each part is an op of its own."""
        ops = [self.history.begin(self.client, verb, **details) for details in parts]
        try:
            results = call()
        except BaseException as error:
            for op in ops:
                self.history.finish_op(op, _outcome_of(error))
            raise
        for op, error in zip(ops, results, strict=True):
            self.history.finish_op(op, "ok" if error is None else _outcome_of(error))
        return results

    def write(self, tuple, lease=None):
        call = lambda: self.space.write(tuple, lease)  # noqa: E731
        handle, _ = self._record(call, _nothing, "write", written=[tuple], lease=lease)
        return RecordedHandle(self, handle, tuple)

    def write_many(self, tuples, lease=None):
        tuples = list(tuples)
        call = lambda: self.space.write_many(tuples, lease)  # noqa: E731
        handles, _ = self._record(call, _nothing, "write", written=tuples, lease=lease)
        return [RecordedHandle(self, *pair) for pair in zip(handles, tuples, strict=True)]

    def _search(self, verb, template, *args, found, **details):
        call = lambda: getattr(self.space, verb)(template, *args)  # noqa: E731
        return self._record(call, found, verb, template=template, **details)

    def take(self, template, timeout=None):
        return self._search("take", template, timeout, found=_one, timeout=timeout)[0]

    def read(self, template, timeout=None):
        return self._search("read", template, timeout, found=_one, timeout=timeout)[0]

    def take_many(self, template, limit, timeout=None):
        details = {"limit": limit, "timeout": timeout}
        return self._search("take_many", template, limit, timeout, found=list, **details)[0]

    def read_all(self, template):
        return self._search("read_all", template, found=list)[0]

    def count(self, template):
        return self._search("count", template, found=int)[0]

    def claim(self, template, lease=30.0, timeout=None):
        details = {"lease": lease, "timeout": timeout}
        found = lambda claim: [claim.tuple]  # noqa: E731
        claim, op = self._search("claim", template, lease, timeout, found=found, **details)
        return RecordedClaim(self, claim, (*op.key, 0))

    def claim_many(self, template, limit, lease=30.0, timeout=None):
        details = {"limit": limit, "lease": lease, "timeout": timeout}
        found = lambda claims: [claim.tuple for claim in claims]  # noqa: E731
        args = (limit, lease, timeout)
        claims, op = self._search("claim_many", template, *args, found=found, **details)
        return [RecordedClaim(self, each, (*op.key, n)) for n, each in enumerate(claims)]

    def confirm_many(self, pairs):
        pairs = [(claim, list(writes)) for claim, writes in pairs]
        call = lambda: self.space.confirm_many([(c.claim, w) for c, w in pairs])  # noqa: E731
        parts = [{"about": claim.key, "written": writes} for claim, writes in pairs]
        return self._record_each(call, "confirm", parts)

    def renew_many(self, claims):
        call = lambda: self.space.renew_many([each.claim for each in claims])  # noqa: E731
        return self._record_each(call, "renew", [{"about": each.key} for each in claims])

    def release_many(self, claims):
        call = lambda: self.space.release_many([each.claim for each in claims])  # noqa: E731
        return self._record_each(call, "release", [{"about": each.key} for each in claims])

    def swap(self, template, replacement):
        details = {"template": template, "timeout": 0, "written": [replacement]}
        call = lambda: self.space.swap(template, replacement)  # noqa: E731
        return self._record(call, _one, "swap", **details)[0]

    def notify(self, event, template, lease=None):
        call = lambda: self.space.notify(event, template, lease)  # noqa: E731
        details = {"template": template, "lease": lease, "about": event}
        subscription, op = self._record(call, _nothing, "notify", **details)
        return RecordedSubscription(self, subscription, op.key)

    def status(self):
        return self.space.status()

    def close(self):
        self._record(self.space.close, _nothing, "close")


class RecordedHandle:
    """See `tuplespace.Handle`."""

    def __init__(self, recorded, handle, value):
        self._recorded, self._handle, self._value = recorded, handle, value

    def renew(self, lease):
        call = lambda: self._handle.renew(lease)  # noqa: E731
        self._recorded._record(call, _nothing, "renew_entry", about=self._value, lease=lease)

    def cancel(self):
        return self._recorded._record(self._handle.cancel, bool, "cancel", about=self._value)[0]


class RecordedClaim:
    """See `tuplespace.Claim`."""

    def __init__(self, recorded, claim, key):
        self._recorded, self.claim, self.key, self.tuple = recorded, claim, key, claim.tuple

    def _end(self, call, verb, **details):
        self._recorded._record(call, _nothing, verb, about=self.key, **details)

    def confirm(self, write=(), lease=None):
        write = list(write)
        self._end(lambda: self.claim.confirm(write, lease), "confirm", written=write, lease=lease)

    def renew(self, lease=None, write=()):
        write = list(write)
        self._end(lambda: self.claim.renew(lease, write), "renew", written=write, lease=lease)

    def release(self):
        self._end(self.claim.release, "release")


class RecordedSubscription:
    """See `tuplespace.Subscription`; its next_events are recorded one event each."""

    def __init__(self, recorded, subscription, key):
        self._recorded, self._subscription, self._key = recorded, subscription, key

    def next(self, timeout=None):
        call = lambda: self._subscription.next(timeout)  # noqa: E731
        found = lambda event: [(event.sequence, event.event, event.tuple)]  # noqa: E731
        details = {"about": self._key, "timeout": timeout}
        return self._recorded._record(call, found, "next_events", **details)[0]

    def cancel(self):
        self._recorded._record(
            self._subscription.cancel, _nothing, "cancel_notify", about=self._key
        )


def _nothing(_result):
    return ()


def _one(result):
    return [result]
