"""Short scripts, each around one promise of a space, so arranged that who breaks it is seen.

Each takes a `Stage` and leaves all that happened in its history.
"""

from __future__ import annotations

import itertools
import threading
import time
from contextlib import suppress

from history.recorder import History, RecordedSpace
from history.workloads import drain, mix
from tuplespace import MatchTimeoutError, TupleSpace, TupleSpaceError


class Stage:
    """Where a scenario plays: a local space, and what makes remote ones when they are wanted.

    Args:
        make_far: Returns (far, near): two clients of a new server, the first over a forwarder,
            and the forwarder. run_client: Runs `history.client` in a process of its own.
    """

    def __init__(self, make_far=None, run_client=None):
        self.make_far, self.run_client = make_far, run_client
        self.history, self.steady, self._local = History(), True, None

    @property
    def local(self):
        """A local space, made when it is first wanted."""
        if self._local is None:
            self._local = TupleSpace()
        return self._local

    def client(self, name, space=None):
        return RecordedSpace(self.local if space is None else space, self.history, name)

    def end(self, space=None):
        drain(self.local if space is None else space, self.history, patience=0.1)


def pause(seconds):
    """Let lease time pass."""
    threading.Event().wait(seconds)


def soon(condition, within=5.0):
    """Wait until a condition holds, or for so long."""
    give_up = time.monotonic() + within
    while not condition() and time.monotonic() < give_up:
        pause(0.001)


def fails(call, *args, **kwargs):
    """Make a call that may fail; what it gave is in the history."""
    with suppress(TupleSpaceError):
        call(*args, **kwargs)


def parked(space, call, *args):
    """Start a call in a thread; return the thread once the space has parked the call."""
    before = space.status()["waiters"]
    thread = threading.Thread(target=fails, args=(call, *args))
    thread.start()
    soon(lambda: space.status()["waiters"] > before or not thread.is_alive())
    return thread


def mixture(stage):
    """Four threads do a bit of everything."""
    mix({f"t{number}": stage.local for number in range(4)}, stage.history, 150)
    stage.end()


def line(stage):
    """First in, first out; limits; claimed and released tuples in their old place."""
    ann = stage.client("ann")
    for number in range(6):
        ann.write(("job", "x" if number % 2 else "y", number))
    for number in range(3):
        ann.read(("job", None, None), 0)
        ann.take(("job", ("y", "x", "y")[number], None), 0)
    ann.write_many([("job", "z", number) for number in range(10, 20)])
    claim = ann.claim(("job", "z", None), timeout=0)
    ann.count(("job", "z", None))
    ann.read_all(("job", None, None))
    claim.release()
    ann.take(("job", "z", None), 0)
    ann.take_many(("job", "z", None), 3, 0)
    fails(ann.take, ("job", "none", None), 0)
    ann.write(("job", "z", 30)).cancel()
    stage.end()


def claims(stage):
    """Claims that are confirmed, renewed, released, too late or twice."""
    ann, bob = stage.client("ann"), stage.client("bob")
    ann.write_many([("task", number) for number in range(6)])
    claim = ann.claim(("task", None), timeout=0)
    fails(bob.read, ("task", 0), 0)
    claim.confirm([("done", 0)])
    fails(claim.confirm, [("done", "again")])
    claim = ann.claim(("task", None), timeout=0)
    claim.release()
    fails(claim.confirm, [("done", "late")])
    short = bob.claim(("task", None), lease=0.01, timeout=0)
    pause(0.03)
    fails(short.renew)
    kept = bob.claim(("task", None), lease=0.08, timeout=0)
    fails(kept.renew, 30.0, write=[("note", 1)])
    pause(0.1)
    fails(kept.confirm, [("done", 1)])
    fails(ann.take, ("task", 1), 0)
    several = bob.claim_many(("task", None), 3, timeout=0)
    bob.confirm_many([(each, [("done", each.tuple[1])]) for each in several[:2]])
    bob.release_many(several)
    stage.end()


def leases(stage):
    """Tuples that live as long as they should."""
    ann = stage.client("ann")
    ann.write(("short", 1), lease=0.01)
    ann.write(("long", 1), lease=30.0)
    handle = ann.write(("renewed", 1), lease=0.08)
    fails(handle.renew, 30.0)
    pause(0.1)
    ann.read_all((None, None))
    fails(ann.read, ("short", None), 0)
    fails(ann.read, ("long", None), 0)
    fails(ann.read, ("renewed", None), 0)
    fails(ann.take, ("none", None), 0.01)
    fails(ann.take, ("none", None), 0.08)
    stage.end()


def waits(stage):
    """Parked calls, and who is served by what."""
    ann, space = stage.client("ann"), stage.local
    reader = parked(space, stage.client("reader").read, ("call", None), 0.15)
    taker = parked(space, stage.client("taker").take, ("call", None), 0.15)
    ann.write(("call", 1))
    reader.join()
    taker.join()
    many = parked(space, stage.client("many").take_many, ("batch", None), 3, 0.4)
    ann.write_many([("batch", number) for number in range(3)])
    many.join()
    ann.write(("held", 1))
    claim = ann.claim(("held", None), timeout=0)
    taker = parked(space, stage.client("taker").take, ("held", None), 0.4)
    claim.release()
    taker.join()
    stage.end()


def indexes(stage):
    """Enough tuples for the space to make indexes, claimed and released meanwhile."""
    ann = stage.client("ann")
    ann.write_many([("k", number % 9, number) for number in range(180)])
    ann.count(("k", 3, None))
    held = ann.claim_many(("k", 4, None), 20, timeout=0)
    ann.count(("k", 4, None))
    ann.count((None, 4, None))
    ann.release_many(held)
    ann.read_all(("k", 4, None))
    for number in range(9):
        ann.take(("k", number, None), 0)
        ann.count(("k", number, None))
    stage.end()


def swaps(stage):
    """One tuple that is always there, however often it is swapped."""
    ann, bob = stage.client("ann"), stage.client("bob")
    ann.write(("state", 0))
    ended = threading.Event()

    def watch():
        while not ended.is_set():
            fails(bob.read, ("state", None), 0)
            bob.count(("state", None))

    watcher = threading.Thread(target=watch)
    watcher.start()
    for number in range(1, 30):
        ann.swap(("state", None), ("state", number))
    ended.set()
    watcher.join()
    fails(ann.swap, ("none", None), ("none", 1))
    stage.end()


def events(stage):
    """Two subscribers hear what they asked for."""
    ann = stage.client("ann")
    everything, takes = ann.notify(None, ("n", None)), ann.notify("take", ("n", None))
    for number in range(10):
        handle = ann.write(("n", number))
        if number % 3 == 0:
            handle.cancel()
        elif number % 3 == 1:
            ann.take(("n", number), 0)
        else:
            ann.claim(("n", number)).confirm([("n", -number)])
    for subscription in (everything, takes):
        with suppress(MatchTimeoutError):
            while True:
                subscription.next(timeout=0)
    everything.cancel()
    stage.end()


def broken_network(stage):
    """Every call loses its connection, before it is answered or after it was sent."""
    far_space, near_space, forwarder = stage.make_far()
    far = stage.client("far", far_space)
    stage.steady = False

    def broken(call, *args):
        setattr(forwarder, how, True)
        fails(call, *args)

    for how, number in itertools.product(("cut_instead_of_reply", "cut_after_request"), range(3)):
        broken(far.write, ("w", how, number))
        broken(far.write, ("v", how, number))
        broken(far.take, ("w", None, None), 0)
    stage.end(near_space)
    near_space.close()


def goodbye(stage):
    """A client that closes lets go of its claims."""
    leaving_space, near_space, _ = stage.make_far()
    leaving, near = stage.client("leaving", leaving_space), stage.client("near", near_space)
    near.write_many([("c", number) for number in range(3)])
    leaving.claim(("c", None), lease=None, timeout=0)
    leaving.close()
    fails(near.take, ("c", 0), 0)
    stage.end(near_space)
    near_space.close()


def dead_taker(stage):
    """A process is killed while its take is parked, before the tuple comes."""
    _, near_space, _ = stage.make_far()
    near = stage.client("near", near_space)
    client = stage.run_client("park")
    soon(lambda: near_space.status()["waiters"] == 1)
    client.kill(stage.history)
    near.write(("wanted", 1))
    fails(near.read, ("wanted", None), 0)
    stage.end(near_space)
    near_space.close()


LOCAL = (mixture, line, claims, leases, waits, indexes, swaps, events)
REMOTE = (broken_network, goodbye, dead_taker)
