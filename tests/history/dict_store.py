"""A store of dicts, whose disk is told when to be slow, to fail, to be full or to lose what it may."""

from __future__ import annotations

import copy

from tuplespace.store.interface import (
    CLAIM,
    EXPIRES,
    FORGET,
    GONE,
    LISTEN,
    PUT,
    REPLY,
    UNCLAIM,
    UNLISTEN,
    Contents,
    StoredClaim,
    StoredEntry,
)


class Kept:
    """What changes add up to, applied one by one."""

    def __init__(self):
        self.entries, self.claims, self.replies, self.subscriptions = {}, {}, {}, {}
        self.now = 0.0

    def apply(self, changes, now):
        self.now = max(self.now, now)
        for kind, *what in changes:
            if kind == PUT:
                id, value, written, expires = what
                assert id not in self.entries
                self.entries[id] = [value, written, expires]
            elif kind == GONE:
                del self.entries[what[0]]
                self.claims.pop(what[0], None)
            elif kind == EXPIRES:
                self.entries[what[0]][2] = what[1]
            elif kind == CLAIM:
                before = self.claims.get(what[0])
                assert before is None or before.token == what[1]  # which has another lease now
                self.claims[what[0]] = StoredClaim(*what[1:])
            elif kind == UNCLAIM:
                del self.claims[what[0]]
            elif kind == REPLY:
                self.replies[what[0], what[1]] = what[2], what[3]
            elif kind == FORGET:
                for key in [key for key in self.replies if key[0] == what[0]]:
                    del self.replies[key]
            elif kind == LISTEN:
                self.subscriptions[what[0]] = what[1:]
            else:
                assert kind == UNLISTEN
                del self.subscriptions[what[0]]

    def contents(self, generation):
        entries = [
            StoredEntry(id, *entry, self.claims.get(id))
            for id, entry in sorted(self.entries.items())
        ]
        replies = [(*key, *reply) for key, reply in self.replies.items()]
        subscriptions = [(number, *what) for number, what in self.subscriptions.items()]
        return Contents("dicts", generation, self.now, iter(entries), replies, subscriptions)


class Disk:
    """What outlives a `DictStore`: open it again after a crash."""

    def __init__(self):
        self.safe, self.generation = Kept(), 0


class DictStore:
    """See `tuplespace.store.interface.Store`.

    Args:
        disk: Whose. is_quick: Whether an append is durable at once; else `sync` makes it so.
    """

    keeps, name = True, "dicts"

    def __init__(self, disk=None, is_quick=True):
        self.disk, self.is_quick = disk or Disk(), is_quick
        self.position = self.durable = 0
        self.failure, self.full, self.closed = None, "", False
        self._pending, self._wake = [], lambda: None

    def load(self):
        self.disk.generation += 1
        return copy.deepcopy(self.disk.safe).contents(self.disk.generation)

    def start(self, wake):
        self._wake = wake

    def append(self, changes, now):
        self._pending.append((changes, now))
        self.position += 1
        if self.is_quick:
            self.sync()
        return self.position

    def sync(self, appends=None):
        """Make the oldest so many appends durable; None: all."""
        for _ in range(len(self._pending) if appends is None else appends):
            self.disk.safe.apply(*self._pending.pop(0))
            self.durable += 1
        self._wake()

    def fail(self, error):
        self.failure = error
        self._wake()

    def shortage(self):
        return self.full

    def close(self):
        if self.failure is None:
            self.sync()
        self.closed = True
