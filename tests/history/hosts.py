"""Clients at work on hosts of a `network.Network`, while that network is cut."""

from __future__ import annotations

import threading
import time

from history.recorder import RecordedSpace
from history.workloads import Mixed, drain
from tuplespace import connect

#: Seconds for which a `Patient` asks the space to let it wait.
LONGEST_WAIT = 1.0


class Patient(Mixed):
    """A client that waits longer than `Mixed` does, and holds claims for a while, so that cuts meet both.

    Args:
        ended: An Event: when to stop. lease: Seconds, of its longer claims.
    """

    def __init__(self, space, client, seed, ended, lease=10.0):
        super().__init__(space, client, seed)
        self._ended, self._lease = ended, lease

    def timeout(self):
        return self.rng.choice((0, 0, 0.02, 0.02, LONGEST_WAIT))

    def claim(self):
        lease = self.rng.choice((0.5, self._lease))
        claim = self.space.claim(self.template(), lease=lease, timeout=self.timeout())
        self._ended.wait(self.rng.choice((0, 0, 0.3)))
        if self.rng.random() < 0.3:
            claim.renew(write=[self.value()])
            self._ended.wait(self.rng.choice((0, 0.2)))
        if self.rng.random() < 0.7:
            claim.confirm([self.value() for _ in range(self.rng.randrange(3))])
        else:
            claim.release()

    def claim_many(self):
        claims = self.space.claim_many(
            self.template(), 4, lease=self._lease, timeout=self.timeout()
        )
        half = len(claims) // 2
        self.space.confirm_many([(claim, [self.value()]) for claim in claims[:half]])
        self.space.release_many(claims[half:])

    def run_until_ended(self):
        """Work until told to end, a little more slowly than possible: histories are to be checked."""
        while not self._ended.is_set():
            self.run(1)
            self._ended.wait(0.005)


class Crowd:
    """A client on each of some hosts, in a thread and with a session of its own; a context manager.

    Args:
        network: Whose hosts. uri, key_file: Of the space. history: Gets what they do.
        hosts: Where. seed: What chance depends on. retry_for: Seconds.

    Attributes:
        spaces: {host: its client's}
    """

    def __init__(self, network, uri, key_file, history, hosts, *, seed=0, retry_for=60.0):
        self.network, self.history, self.seed = network, history, seed
        self.spaces = {
            host: connect_on(network, host, uri, key_file, retry_for) for host in hosts
        }  # fmt: skip
        self._ended, self._problems, self._threads = threading.Event(), [], []

    def __enter__(self):
        for host, space in self.spaces.items():
            thread = threading.Thread(target=self._work, args=(host, space), name=host)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(self, *error):
        self._ended.set()
        for thread in self._threads:
            thread.join(60)
        for space in self.spaces.values():
            space.close()

    def _work(self, host, space):
        try:
            with self.network.inside(host):
                client = RecordedSpace(space, self.history, host)
                Patient(client, host, f"{self.seed} {host}", self._ended).run_until_ended()
        except BaseException as error:  # noqa: BLE001  # it is raised in `end`
            self._problems.append(error)

    def end(self, within=30.0):
        """Let all come to an end, who are back by now; take all that is left."""
        self._ended.set()
        until = time.monotonic() + within
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
            assert not thread.is_alive(), f"{thread.name} does not come back within {within} s"
        if self._problems:
            raise self._problems[0]

    def answered(self, host):
        """Return how many answers a host's client has had."""
        return sum(op.ended is not None for op in list(self.history.ops) if op.client == host)


def connect_on(network, host, uri, key_file, retry_for=60.0):
    """Return a client that has its first connection on a host."""
    with network.inside(host):
        return connect(uri, key_file=key_file, retry_for=retry_for)


def drain_on(network, host, uri, key_file, history, patience=20.0):
    """Take all that is left, from a host, and end the history."""
    with network.inside(host), connect(uri, key_file=key_file) as space:
        return drain(space, history, patience)


def slowest(history, client, began, until):
    """Return the seconds that the slowest call of a client took, beyond its timeout, in a span."""
    return max(
        (op.ended or until) - op.began - (op.timeout or 0)
        for op in history.ops
        if op.client == client and op.began < until and (op.ended or until) > began
    )
