"""What is left of many changes: who is put and gone again in one commit never touches the disk.

One `Net` nets the changes of a commit, which becomes rows of the log; another adds those up until
they are folded into the tables. Both as bytes: a row is a checksum and what it covers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice, repeat
from typing import Any, Final

from xxhash import xxh3_64_digest

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
    StoreError,
)
from tuplespace.wire import pack, unpack

#: Bytes after which a row of the log is full; SQLite takes a little less than 1 GB.
_ROW_BYTES: Final = 32 << 20
#: Bytes beyond which values are packed one by one, and how many are packed at once else.
_LARGE: Final = 256 << 20
_TOGETHER: Final = 32
_SUM_BYTES: Final = 8


class Net:
    """What is left of changes, in the order in which it is to be applied.

    Attributes:
        gone: Ids of entries stored before. puts, expires, claims: By id; a claim may be its end.
        forgotten: Sessions whose replies of before are no more. replies: By session and lane.
        unlistened, listens: Numbers of subscriptions; and by number.
    """

    __slots__ = (
        "claims", "expires", "forgotten", "gone", "listens", "puts", "replies", "unlistened",
    )  # fmt: skip

    def __init__(self) -> None:
        self.gone: list[int] = []
        self.puts: dict[int, Change] = {}
        self.expires: dict[int, float] = {}
        self.claims: dict[int, Change] = {}
        self.forgotten: set[str] = set()
        self.replies: dict[str, dict[int, Change]] = {}
        self.unlistened: set[int] = set()
        self.listens: dict[int, Change] = {}

    def __len__(self) -> int:
        """Return about how many rows of the tables it changes."""
        return (
            len(self.gone) + len(self.puts) + len(self.expires) + len(self.claims)
            + sum(map(len, self.replies.values())) + len(self.listens) + len(self.unlistened)
        )  # fmt: skip

    def apply(self, changes: Iterable[Change]) -> None:
        """Add changes, in order."""
        puts, claims = self.puts, self.claims
        for change in changes:
            kind, key = change[0], change[1]
            if kind == PUT:
                puts[key] = change
            elif kind == GONE:
                self._end(key)
            elif kind in (CLAIM, UNCLAIM):
                claims[key] = change
            elif kind == REPLY:
                lanes = self.replies.get(key)
                if lanes is None:
                    lanes = self.replies[key] = {}
                lanes[change[2]] = change
            else:
                self._apply_rare(kind, key, change)

    def _apply_rare(self, kind: int, key: Any, change: Change) -> None:
        if kind == EXPIRES:
            self._renew(key, change[2])
        elif kind == FORGET:
            self._forget(key)
        elif kind == LISTEN:
            self.listens[key] = change
        elif kind == UNLISTEN:
            self._unlisten(key)
        else:
            raise ValueError(f"a change of an unknown kind, {kind}")

    def _end(self, id: int) -> None:
        self.claims.pop(id, None)
        if self.puts.pop(id, None) is None:
            self.gone.append(id)
            self.expires.pop(id, None)

    def _renew(self, id: int, expires: float) -> None:
        put = self.puts.get(id)
        if put is None:
            self.expires[id] = expires
        else:
            self.puts[id] = (*put[:4], expires)

    def _forget(self, session: str) -> None:
        self.replies.pop(session, None)
        self.forgotten.add(session)

    def _unlisten(self, number: int) -> None:
        self.listens.pop(number, None)
        self.unlistened.add(number)

    def add(self, later: Net) -> None:
        """Add what came afterwards; faster than change by change."""
        for id in later.gone:
            self._end(id)
        self.puts.update(later.puts)
        for id, expires in later.expires.items():
            self._renew(id, expires)
        self.claims.update(later.claims)
        for session in later.forgotten:
            self._forget(session)
        for session, lanes in later.replies.items():
            self.replies.setdefault(session, {}).update(lanes)
        for number in later.unlistened:
            self._unlisten(number)
        self.listens.update(later.listens)

    # -- as bytes

    def log_rows(self, now: float) -> Iterator[bytes]:
        """Return it as what `changes_of` reads, in pieces if it is large."""
        parts, size = list[bytes](), 0
        for part in self._parts():
            if size + len(part) > _ROW_BYTES and parts:
                yield pack((now, *parts))
                parts, size = [], 0
            parts.append(part)
            size += len(part)
        yield pack((now, *parts))

    def _parts(self) -> Iterator[bytes]:
        """Return the changes as bytes, those of one kind together."""
        if self.gone:
            yield pack((GONE, tuple(self.gone)))
        puts = iter(self.puts.values())
        while some := tuple(islice(puts, _TOGETHER)):
            yield from _packed(some)
        if self.expires:
            yield pack((EXPIRES, tuple(self.expires), tuple(self.expires.values())))
        if self.claims:
            for kind in (CLAIM, UNCLAIM):
                yield from _packed(tuple(c for c in self.claims.values() if c[0] == kind))
        if self.forgotten:
            yield pack((FORGET, tuple(self.forgotten)))
        replies = chain.from_iterable(map(dict.values, self.replies.values()))
        while some := tuple(islice(replies, _TOGETHER)):
            yield from _packed(some)
        if self.unlistened:
            yield pack((UNLISTEN, tuple(self.unlistened)))
        yield from _packed(tuple(self.listens.values()))


def _packed(changes: tuple[Change, ...]) -> Iterator[bytes]:
    """Return changes of one kind as columns: flat tuples pack several times as fast."""
    if changes:
        packed = pack((changes[0][0], *islice(zip(*changes, strict=True), 1, None)))
        if len(packed) <= _LARGE or len(changes) == 1:
            yield packed
        else:
            for each in changes:
                yield from _packed((each,))


def changes_of(row: bytes) -> tuple[float, list[Change]]:
    """Return the time and the changes in a row of the log."""
    now, *parts = unpack(row)
    changes: list[Change] = []
    for part in parts:
        kind, *columns = unpack(part)
        changes.extend(zip(repeat(kind), *columns, strict=False))
    return now, changes


def checked(key: int, body: bytes) -> bytes:
    """Return what is stored under a key: a checksum of both before the body."""
    return xxh3_64_digest(body, key) + body


def check(where: str, key: int, row: Any) -> None:
    """Compare a row with its checksum.

    Args:
        where: Whose row this is, for the message. key: Under which it is stored. row: What is.

    Raises:
        StoreError: It is not what was stored.
    """
    if type(row) is not bytes or xxh3_64_digest(row[_SUM_BYTES:], key) != row[:_SUM_BYTES]:
        raise StoreError(f"row {key} of its {where} is damaged")


def body_of(row: bytes) -> bytes:
    """Return what was put behind a checksum, unchecked."""
    return row[_SUM_BYTES:]
