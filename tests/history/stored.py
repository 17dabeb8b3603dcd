"""What a store is to hold, as dicts, and a store at work to compare with it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

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
    Change,
    Contents,
    StoreError,
)
from tuplespace.store.sqlite import SqliteStore
from tuplespace.values import Opaque

#: So small that the log is folded into the tables every other commit.
OFTEN = 64 << 10


class Model:
    """What a store is to hold: dicts."""

    def __init__(self) -> None:
        self.entries: dict[int, list[Any]] = {}
        self.replies: dict[tuple[str, int], tuple[int, bytes]] = {}
        self.subscriptions: dict[int, tuple[Any, ...]] = {}

    def apply(self, changes: Iterable[Change]) -> None:
        for kind, key, *rest in changes:
            if kind == PUT:
                self.entries[key] = [*rest, None]
            elif kind == GONE:
                del self.entries[key]
            elif kind == EXPIRES:
                self.entries[key][2] = rest[0]
            elif kind == CLAIM:
                self.entries[key][3] = tuple(rest)
            elif kind == UNCLAIM:
                self.entries[key][3] = None
            elif kind == REPLY:
                self.replies[key, rest[0]] = tuple(rest[1:])
            elif kind == FORGET:
                self.replies = {k: v for k, v in self.replies.items() if k[0] != key}
            elif kind == LISTEN:
                self.subscriptions[key] = tuple(rest)
            elif kind == UNLISTEN:
                del self.subscriptions[key]

    def shown(self) -> Any:
        return plain(
            sorted((id, *entry) for id, entry in self.entries.items()),
            sorted((*key, *reply) for key, reply in self.replies.items()),
            sorted((number, *rest) for number, rest in self.subscriptions.items()),
        )


def plain(*parts: Any) -> str:
    """Return a text: 1, 1.0 and True are not the same, nor are -0.0 and 0.0."""
    return repr(opened(parts))


def opened(value: Any) -> Any:
    """Return a copy in which opaques can be seen into."""
    if isinstance(value, (tuple, list)):
        return type(value)(map(opened, value))
    if isinstance(value, dict):
        return {key: opened(each) for key, each in value.items()}
    return ("opaque", value.sealed) if isinstance(value, Opaque) else value


def shown(contents: Contents) -> str:
    entries = [
        (e.id, e.value, e.written, e.expires, None if e.claim is None else tuple(e.claim))
        for e in contents.entries
    ]
    assert [e[0] for e in entries] == sorted(e[0] for e in entries), "in order of their ids"
    return plain(entries, sorted(map(tuple, contents.replies)), sorted(contents.subscriptions))


def held(path: Path | str, **options: Any) -> tuple[str, Contents]:
    """Open a store's file, look, and let it go."""
    store = SqliteStore(path, **options)
    contents = store.load()
    found = shown(contents)
    store.close()
    return found, contents


class Running:
    """A store at work, with what says that more is durable."""

    def __init__(self, path: Path | str, **options: Any) -> None:
        self.store = SqliteStore(path, **options)
        self.contents = self.store.load()
        self.first = shown(self.contents)
        self._woken = threading.Event()
        self.when_woken: Callable[[], None] = lambda: None

    def start(self) -> Running:
        def wake() -> None:
            self.when_woken()
            self._woken.set()

        self.store.start(wake)
        return self

    def __enter__(self) -> Running:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.store.close()

    def keep(self, *changes: Change, now: float = 1.0) -> None:
        """Append, and wait until it is durable."""
        self.wait(self.store.append(list(changes), now))

    def wait(self, position: int) -> None:
        while self.store.durable < position and self.store.failure is None:
            assert self._woken.wait(10), "the store did not say that it is durable"
            self._woken.clear()

    def fail(self) -> StoreError:
        """Wait until it has failed; return why."""
        while self.store.failure is None:
            assert self._woken.wait(10), "the store did not say that it failed"
            self._woken.clear()
        return self.store.failure
