"""Clients at work: everything they write is unique, so that a checker can tell tuples apart."""

from __future__ import annotations

import itertools
import random
import threading
import time

from history.recorder import RecordedSpace
from tuplespace import ClaimLostError, LeaseExpiredError, MatchTimeoutError
from tuplespace.errors import ClosedError

#: For the final drain: a template for every shape that a workload writes.
SHAPES = [(None,) * arity for arity in (2, 3, 4)] + [{"kind": None, "n": None}]
KINDS = ("a", "b", "c")


def drain(space, history, patience=5.0):
    """Take all that is left, claimed tuples included once they are back, and end the history."""
    give_up = time.monotonic() + patience
    while space.status()["claims"] and time.monotonic() < give_up:
        threading.Event().wait(0.005)
    recorded = RecordedSpace(space, history, "drain")
    history.drained = time.monotonic()
    for template in SHAPES:
        try:
            while True:
                recorded.take_many(template, 1000, timeout=0)
        except MatchTimeoutError:
            pass
    return history.finish()


class Mixed:
    """One client that does a bit of everything, at random.

    Tuples are (kind, client, number), so that templates find some by one field, some by another,
    some by both.
    """

    def __init__(self, space, client, seed, clients=1):
        self.space, self.name, self.clients = space, client, clients
        self.rng, self.numbers, self.handles = random.Random(seed), itertools.count(), []
        self.verbs = {
            self.write: 20, self.write_many: 4, self.take: 16, self.take_many: 3, self.read: 6,
            self.look: 4, self.claim: 8, self.claim_many: 3, self.swap: 3, self.handle: 3,
        }  # fmt: skip

    def run(self, steps):
        verbs, weights = list(self.verbs), list(self.verbs.values())
        for verb in self.rng.choices(verbs, weights, k=steps):
            try:
                verb()
            except (MatchTimeoutError, ClaimLostError, LeaseExpiredError):
                pass
            except ClosedError:
                return

    def value(self):
        return self.rng.choice(KINDS), self.name, next(self.numbers)

    def template(self):
        kind = self.rng.choice((*KINDS, None, str))
        name = self.rng.choice((self.name, None, None))
        return kind, name, self.rng.choice((None, None, None, int))

    def lease(self):
        return self.rng.choice((None, None, None, None, 0.0, 0.003, 30.0))

    def timeout(self):
        return self.rng.choice((0, 0, 0, 0.002, 0.02))

    def write(self):
        self.handles.append(self.space.write(self.value(), lease=self.lease()))

    def write_many(self):
        values = [self.value() for _ in range(self.rng.randrange(1, 9))]
        self.space.write_many(values, lease=self.lease())

    def take(self):
        self.space.take(self.template(), timeout=self.timeout())

    def take_many(self):
        self.space.take_many(self.template(), self.rng.choice((1, 3, 20)), timeout=self.timeout())

    def read(self):
        self.space.read(self.template(), timeout=self.timeout())

    def look(self):
        if self.rng.random() < 0.5:
            self.space.count(self.template())
        else:
            self.space.read_all(self.template())

    def claim(self):
        lease = self.rng.choice((None, 30.0, 30.0, 0.004, 0.0))
        claim = self.space.claim(self.template(), lease=lease, timeout=self.timeout())
        if self.rng.random() < 0.2:
            lease = self.rng.choice((None, 20.0)) or lease
            claim.renew(lease, write=[self.value()])
        if self.rng.random() < 0.5:
            claim.confirm([self.value() for _ in range(self.rng.randrange(3))], lease=self.lease())
        elif lease is None or lease > 1 or self.rng.random() < 0.5:
            claim.release()

    def claim_many(self):
        claims = self.space.claim_many(self.template(), 4, lease=30.0, timeout=self.timeout())
        half = len(claims) // 2
        self.space.renew_many(claims)
        self.space.confirm_many([(claim, [self.value()]) for claim in claims[:half]])
        self.space.release_many(claims[half:])

    def swap(self):
        self.space.swap(self.template(), self.value())

    def handle(self):
        if self.handles:
            handle = self.handles.pop(self.rng.randrange(len(self.handles)))
            if self.rng.random() < 0.5:
                handle.cancel()
            else:
                handle.renew(self.lease())


class Bulk(Mixed):
    """The same, mostly in batches of some tuples: what a space is asked when much is to be done.

    Of fewer kinds of templates, since each costs the checker a look at all the tuples it matches.
    """

    def __init__(self, space, client, seed, clients=1):
        super().__init__(space, client, seed, clients)
        self.verbs = {
            self.write: 4, self.write_many: 10, self.take: 4, self.take_many: 7, self.read: 1,
            self.claim: 2, self.claim_many: 7, self.swap: 1, self.handle: 1,
        }  # fmt: skip

    def template(self):
        return self.rng.choice((*KINDS, None)), self.rng.choice((self.name, None)), None

    def lease(self):
        return 600.0 if self.rng.random() < 0.05 else None

    def write_many(self):
        values = [self.value() for _ in range(self.rng.randrange(1, 30))]
        self.space.write_many(values, lease=self.lease())

    def take_many(self):
        self.space.take_many(self.template(), self.rng.randrange(1, 30), timeout=self.timeout())

    def claim_many(self):
        limit = self.rng.randrange(1, 30)
        claims = self.space.claim_many(
            self.template(), limit, lease=self.lease(), timeout=self.timeout()
        )
        part = len(claims) // 8
        self.space.renew_many(claims[:part])
        self.space.release_many(claims[:part])
        self.space.confirm_many(
            [
                (claim, [self.value()] * (number % 4 == 0))
                for number, claim in enumerate(claims[part:])
            ]
        )


def mix(spaces, history, steps, seed=0):
    """Let a client in a thread of its own work on each of the spaces; return when all have ended.

    One more client hears of everything.

    Args:
        spaces: {client's name: space}
    """
    listener = RecordedSpace(next(iter(spaces.values())), history, "listener")
    heard = listener.notify(None, (None, None, None))
    clients = [
        Mixed(RecordedSpace(space, history, name), name, f"{seed} {name}")
        for name, space in spaces.items()
    ]
    threads = [threading.Thread(target=client.run, args=(steps,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        while heard.next(timeout=0).event != "close":
            pass
    except MatchTimeoutError:
        heard.cancel()
