"""What a store's file holds: tables of rows under keys, and the log of what is not in them yet.

The tables hold what was so at the last fold; the rows of the log, in order, hold what was decided
since. A lease renewed and a claim stand beside their entry, whose value is not written again.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from tuplespace.store.interface import CLAIM, UNCLAIM, StoredClaim, StoredEntry, StoreError
from tuplespace.store.netting import Net, body_of, changes_of, check, checked
from tuplespace.wire import pack, unpack

#: "TMil", in the header of every file of ours; and the version of what is in it.
APPLICATION_ID: Final = 0x544D696C
VERSION: Final = 1

_KEYED: Final = ("log", "meta", "entries", "expires", "claims", "subscriptions")
_META: Final = 1
#: How many rows a statement has: each is prepared once, and each costs a wait for the interpreter.
_ROWS: Final = (256, 16, 1)


class Meta(NamedTuple):
    """What is kept of the space itself; see `Contents`."""

    space_id: str
    generation: int
    now: float


def create(connection: sqlite3.Connection, space_id: str) -> None:
    """Make the tables of a store without entries, never opened."""
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={VERSION}")
    connection.execute("BEGIN IMMEDIATE")
    for table in _KEYED:
        connection.execute(f"CREATE TABLE {table}(key INTEGER PRIMARY KEY, row BLOB)")
    connection.execute(
        "CREATE TABLE replies(session BLOB, lane BLOB, row BLOB, PRIMARY KEY(session, lane))"
    )
    _put(connection, "meta", [(_META, checked(_META, pack(tuple(Meta(space_id, 0, 0.0)))))])
    connection.execute("COMMIT")


def verify(connection: sqlite3.Connection) -> None:
    """Look at every page and every row.

    Raises:
        StoreError: One of them is damaged. sqlite3.DatabaseError: So is the whole.
    """
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise StoreError(found)
    for table in _KEYED:
        for key, row in connection.execute(f"SELECT key, row FROM {table}"):  # noqa: S608
            check(table, key, row)
    for (row,) in connection.execute("SELECT row FROM replies"):
        check("replies", 0, row)


# -- reading


def read_meta(connection: sqlite3.Connection) -> Meta:
    """Return what is kept of the space itself."""
    rows = dict(_rows(connection, "meta"))
    if _META not in rows:
        raise StoreError("it has no row of the space itself")
    return Meta(*rows[_META])


def read_log(connection: sqlite3.Connection) -> tuple[Net, float | None]:
    """Return what the log adds up to, and the time of its last row, if it has any."""
    net, now = Net(), None
    for _, row in connection.execute("SELECT key, row FROM log ORDER BY key"):
        now, changes = changes_of(body_of(row))
        net.apply(changes)
    return net, now


def read_replies(connection: sqlite3.Connection) -> list[tuple[str, int, int, bytes]]:
    """Return the kept replies; see `Contents`."""
    found = connection.execute("SELECT row FROM replies")
    return [unpack(body_of(row)) for (row,) in found]


def read_subscriptions(
    connection: sqlite3.Connection,
) -> list[tuple[int, str, str | None, bytes, float]]:
    """Return the subscriptions; see `Contents`."""
    return [(key, *fields) for key, fields in _rows(connection, "subscriptions")]


def read_entries(connection: sqlite3.Connection) -> Generator[StoredEntry, None, None]:
    """Return the entries in order of their ids."""
    claims = {key: StoredClaim(*fields) for key, fields in _rows(connection, "claims")}
    renewed = {key: expires for key, (expires,) in _rows(connection, "expires")}
    for key, (value, written, expires) in _rows(connection, "entries"):
        yield StoredEntry(key, value, written, renewed.get(key, expires), claims.get(key))


def _rows(connection: sqlite3.Connection, table: str) -> Iterator[tuple[int, Any]]:
    found = connection.execute(f"SELECT key, row FROM {table} ORDER BY key")  # noqa: S608
    for key, row in found:
        yield key, unpack(body_of(row))


# -- writing


def add_to_log(connection: sqlite3.Connection, rows: Sequence[tuple[int, bytes]]) -> None:
    """Add rows to the log, all or none; when this returns they are durable."""
    statement = "INSERT INTO log VALUES (?, ?)"
    if len(rows) == 1:  # a statement outside a transaction is one
        connection.execute(statement, rows[0])
        return
    connection.execute("BEGIN IMMEDIATE")
    for row in rows:
        connection.execute(statement, row)
    connection.execute("COMMIT")


def fold(connection: sqlite3.Connection, net: Net, meta: Meta) -> None:
    """Change the tables by what the log adds up to, and empty it, all or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    ended = [change[1] for change in net.claims.values() if change[0] == UNCLAIM]
    _delete(connection, "entries", net.gone)
    _delete(connection, "expires", net.gone)
    _delete(connection, "claims", net.gone + ended)
    _delete(connection, "subscriptions", list(net.unlistened))
    held = (change for change in net.claims.values() if change[0] == CLAIM)
    _put(connection, "entries", _keyed(net.puts.values()))
    _put(connection, "expires", _keyed((None, *each) for each in net.expires.items()))
    _put(connection, "claims", _keyed(held))
    _put(connection, "subscriptions", _keyed(net.listens.values()))
    _put(connection, "meta", [(_META, checked(_META, pack(tuple(meta))))])
    _change_replies(connection, net)
    connection.execute("DELETE FROM log")
    connection.execute("COMMIT")


def _change_replies(connection: sqlite3.Connection, net: Net) -> None:
    for sessions in _in_statements([_bytes_of(each) for each in net.forgotten]):
        marks = ",".join("?" * len(sessions))
        connection.execute(f"DELETE FROM replies WHERE session IN ({marks})", sessions)  # noqa: S608
    rows = (
        (_bytes_of(change[1]), pack(change[2]), checked(0, pack(change[1:])))
        for lanes in net.replies.values()
        for change in lanes.values()
    )
    _put(connection, "replies", rows)


def _bytes_of(session: str) -> bytes:
    return session.encode("utf-8", "surrogatepass")


def _delete(connection: sqlite3.Connection, table: str, keys: list[int]) -> None:
    if keys:
        connection.execute(
            f"DELETE FROM {table} WHERE key IN (SELECT value FROM json_each(?))",  # noqa: S608
            (json.dumps(keys),),
        )


def _keyed(changes: Iterable[Sequence[Any]]) -> Iterator[tuple[int, bytes]]:
    """Return rows of changes whose first field after the kind is the key."""
    return ((change[1], checked(change[1], pack(tuple(change[2:])))) for change in changes)


def _put(connection: sqlite3.Connection, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
    """Insert rows, in place of those under the same keys."""
    for some in _in_statements(list(rows)):
        marks = "(" + ",".join("?" * len(some[0])) + ")"
        connection.execute(
            f"INSERT OR REPLACE INTO {table} VALUES " + ",".join([marks] * len(some)),  # noqa: S608
            [field for row in some for field in row],
        )


def _in_statements(rows: list[Any]) -> Iterator[list[Any]]:
    """Return the rows by statements, of few different lengths, so that few are to be prepared."""
    start = 0
    for many in _ROWS:
        while len(rows) - start >= many:
            yield rows[start : start + many]
            start += many
