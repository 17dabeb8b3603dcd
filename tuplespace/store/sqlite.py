"""The store in a file: SQLite's, for its crash safety; what is in it is a log and what it adds up to.

::

    append --queue--> writer thread: net --one row of the log, one statement, one fsync--> durable
                                      |
                         tidy, now and then: what is left of the log into the tables

Tuples live briefly, most of them: what was written and taken since the last tidy never reaches
the tables, and a commit is one statement, for beside a busy thread each costs a wait for the
interpreter. What if the process dies right here? A commit or a tidy is one transaction: it was made,
or it was not. The next `load` adds up what the log holds.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from tuplespace.errors import TupleSpaceError
from tuplespace.store.database import Database
from tuplespace.store.interface import (
    CLAIM,
    UNCLAIM,
    Change,
    Contents,
    StoredClaim,
    StoredEntry,
    StoreError,
)
from tuplespace.store.netting import Net, changes_of, check, checked
from tuplespace.store.room import Room
from tuplespace.wire import pack, unpack

#: A commit keeps so many changes at most, or bytes, that no answer waits too long for others.
_COMMIT_CHANGES: Final = 4096
_COMMIT_BYTES: Final = 8 << 20
#: The log is folded into the tables when it has so many bytes, or leaves so many rows to change.
_TIDY_BYTES: Final = 8 << 20
_TIDY_ROWS: Final = 8192
#: What a commit writes besides its row.
_COMMIT_OVERHEAD: Final = 8192
#: Pages are given back to the disk, some at a time while nothing else is to do, when more are free.
_SPARE_PAGES: Final = 16384
_VACUUM_PAGES: Final = 1024
_PAGE_BYTES: Final = 4096
#: Rows in one statement, largest first.
_ROWS: Final = (256, 16, 1)

_Append = tuple[list[Change], float, int]


class SqliteStore:
    """A `Store` in one file of this machine; see there.

    Args:
        path: The file; made, with its folder, if it is not there. Beside it stand FILE-wal, a part
            of it, and FILE.ballast.
        free_bytes: What must be free on its disk for writes. ballast_bytes: What is kept for takes
            on a full disk; 0: nothing.
        synchronous: SQLite's; below FULL a loss of power may take what was said to be durable.
    """

    keeps = True

    def __init__(
        self, path: str | os.PathLike[str], *, free_bytes: int = 256 << 20,
        ballast_bytes: int = 32 << 20, synchronous: str = "FULL",
    ) -> None:  # fmt: skip
        self._path = Path(path).expanduser().resolve()
        self.name = str(self._path)
        self.position = self.durable = 0
        self.failure: StoreError | None = None
        self._synchronous = synchronous
        self._room = Room(self._path, free_bytes, ballast_bytes)
        # What takes the ballast's place must do with less than it.
        self._tidy_bytes = min(_TIDY_BYTES, ballast_bytes // 4 or _TIDY_BYTES)
        self._look_bytes = free_bytes // 16
        self._queue: SimpleQueue[_Append | None] = SimpleQueue()
        self._ending = False
        self._wake: Callable[[], None] = lambda: None
        self._writer: threading.Thread | None = None
        self._database: Database | None = None
        # The writer's own, from `start` on.
        self._net = Net()
        self._log_number = self._log_bytes = self._unlooked = 0
        self._bytes_per_change = 256.0
        self._meta: tuple[str, int] = ("", 0)
        self._now = 0.0
        self._may_vacuum = False

    # -- for the host's thread

    def load(self) -> Contents:
        """Return what the file holds, and count this opening in it.

        Raises:
            StoreError: It is damaged, none of ours, in use, or cannot be read or written; it is
                left as it is. Says what to do.
        """
        self._database = Database(self._path, self._synchronous)
        try:
            with self._told():
                return self._load(self._database.connection)
        except BaseException:
            self._let_go()
            raise

    def start(self, wake: Callable[[], None]) -> None:
        """Begin to keep; see `Store`."""
        self._wake = wake
        self._writer = threading.Thread(target=self._write, name="store-writer", daemon=True)
        self._writer.start()

    def append(self, changes: list[Change], now: float) -> int:
        """Keep these soon; see `Store`."""
        self.position += 1
        self._queue.put((changes, now, self.position))
        return self.position

    def shortage(self) -> str:
        """Return why no more tuples should be written now; see `Store`."""
        try:
            shortage = self._room.shortage()
        except OSError as error:
            return f"the disk of {self._path} cannot be looked at: {error}"
        if self._room.wants_ballast:
            self._room.wants_ballast = False
            self._queue.put(([], self._now, self.position))
        return shortage

    def close(self) -> None:
        """Keep all that was appended, and let the file go."""
        self._queue.put(None)
        if self._writer is not None:
            self._writer.join()
            self._writer = None
        elif self._database is not None:
            self._write()

    # -- loading

    def _load(self, connection: sqlite3.Connection) -> Contents:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise StoreError(found)
        for table in ("entries", "expires", "claims", "subscriptions", "meta", "log"):
            for key, row in connection.execute(f"SELECT key, row FROM {table}"):
                check(table, key, row)
        for (row,) in connection.execute("SELECT row FROM replies"):
            check("replies", 0, row)
        (meta,) = connection.execute("SELECT row FROM meta WHERE key = 1").fetchone()
        space_id, generation, self._now = unpack(check("meta", 1, meta))
        self._meta = (space_id, generation + 1)
        for _, row in connection.execute("SELECT key, row FROM log ORDER BY key"):
            self._now, changes = changes_of(check("log", _, row))
            self._net.apply(changes)
        self._with_room(self._fold)
        self._checkpoint()
        self._room.make_ballast()
        replies = [
            unpack(check("replies", 0, row))
            for (row,) in connection.execute("SELECT row FROM replies")
        ]
        subscriptions = [
            (key, *unpack(check("subscriptions", key, row)))
            for key, row in connection.execute("SELECT key, row FROM subscriptions ORDER BY key")
        ]
        return Contents(*self._meta, self._now, self._entries(connection), replies, subscriptions)

    def _entries(self, connection: sqlite3.Connection) -> Iterator[StoredEntry]:
        claims = {
            key: StoredClaim(*unpack(row[8:]))
            for key, row in connection.execute("SELECT key, row FROM claims")
        }
        renewed = {
            key: unpack(row[8:])[0]
            for key, row in connection.execute("SELECT key, row FROM expires")
        }
        for key, row in connection.execute("SELECT key, row FROM entries ORDER BY key"):
            value, written, expires = unpack(row[8:])
            yield StoredEntry(key, value, written, renewed.get(key, expires), claims.get(key))

    # -- the writer's thread

    def _write(self) -> None:
        """Keep what is appended, until the end or a failure."""
        try:
            with self._told():
                while self._keep_some():
                    pass
                if self._log_number:
                    self._with_room(self._fold)
                self._checkpoint()
        except StoreError as failure:
            self.failure = failure
        self._let_go()
        if self.failure is not None:
            self._wake()

    def _keep_some(self) -> bool:
        """Commit some of what was appended; say whether more may come."""
        batch = self._drain()
        if batch is None:
            return not self._ending
        net = Net()
        count = 0
        for changes, _, _ in batch:
            net.apply(changes)
            count += len(changes)
        _, now, position = batch[-1]
        if count:
            self._commit(net, now, count)
        if position != self.durable:
            self.durable = position
            self._wake()
        if self._room.wants_ballast or not count:
            self._room.make_ballast()
        self._net.add(net)
        if self._log_bytes >= self._tidy_bytes or len(self._net) >= _TIDY_ROWS:
            self._tidy()
        return not self._ending

    def _drain(self) -> list[_Append] | None:
        """Wait for something, then return all that is there, up to a limit; None: nothing."""
        queue = self._queue
        try:
            first = queue.get_nowait()
        except Empty:
            if self._may_vacuum:
                self._vacuum()
                return None
            first = queue.get()
        batch = list[_Append]()
        left = min(_COMMIT_CHANGES, int(_COMMIT_BYTES / self._bytes_per_change))
        each: _Append | None = first
        while True:
            if each is None:
                self._ending = True
                break
            batch.append(each)
            left -= len(each[0])
            if left <= 0:
                break
            try:
                each = queue.get_nowait()
            except Empty:
                break
        return batch or None

    def _commit(self, net: Net, now: float, count: int) -> None:
        """Add a row to the log; when this returns it is durable."""
        rows = []
        number = self._log_number
        for body in net.log_rows(now):
            number += 1
            rows.append((number, checked(number, body)))
        self._with_room(lambda: self._insert_log(rows))
        self._log_number, self._now = number, now
        size = sum(len(row) for _, row in rows)
        self._bytes_per_change = 0.5 * (self._bytes_per_change + size / count)
        self._log_bytes += size + _COMMIT_OVERHEAD
        self._unlooked += size
        if self._unlooked > self._look_bytes:
            self._unlooked = 0
            self._room.look_soon()

    def _insert_log(self, rows: Sequence[tuple[int, bytes]]) -> None:
        assert self._database is not None
        execute = self._database.connection.execute
        if len(rows) == 1:  # a statement outside a transaction is one
            execute("INSERT INTO log VALUES (?, ?)", rows[0])
            return
        execute("BEGIN IMMEDIATE")
        for row in rows:
            execute("INSERT INTO log VALUES (?, ?)", row)
        execute("COMMIT")

    def _with_room(self, write: Callable[[], None]) -> None:
        """Write; if the disk is full, give up the ballast and write again: nothing was written."""
        try:
            write()
        except sqlite3.OperationalError as error:
            if "disk is full" not in str(error):
                raise
            assert self._database is not None
            if self._database.connection.in_transaction:
                self._database.connection.execute("ROLLBACK")
            if not self._room.give_up_ballast():
                raise
            write()

    def _tidy(self) -> None:
        """Fold the log into the tables, and SQLite's own log into the file."""
        self._with_room(self._fold)
        self._checkpoint()
        assert self._database is not None
        spare = self._database.connection.execute("PRAGMA freelist_count").fetchone()[0]
        self._room.reusable = spare * _PAGE_BYTES
        self._may_vacuum = spare > _SPARE_PAGES

    def _vacuum(self) -> None:
        assert self._database is not None
        execute = self._database.connection.execute
        self._with_room(
            lambda: execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall() and None
        )
        self._checkpoint()
        spare = execute("PRAGMA freelist_count").fetchone()[0]
        self._room.reusable = spare * _PAGE_BYTES
        self._may_vacuum = spare > _SPARE_PAGES

    def _checkpoint(self) -> None:
        assert self._database is not None
        execute = self._database.connection.execute
        self._with_room(lambda: execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall() and None)

    def _fold(self) -> None:
        """Change the tables by what is left of the log, and empty it: one transaction."""
        assert self._database is not None
        net, execute = self._net, self._database.connection.execute
        execute("BEGIN IMMEDIATE")
        ended = [c[1] for c in net.claims.values() if c[0] == UNCLAIM]
        for table, keys in (
            ("entries", net.gone), ("expires", net.gone), ("claims", net.gone + ended),
            ("subscriptions", list(net.unlistened)),
        ):  # fmt: skip
            if keys:
                execute(
                    f"DELETE FROM {table} WHERE key IN (SELECT value FROM json_each(?))",
                    (json.dumps(keys),),
                )
        for session in net.forgotten:
            execute("DELETE FROM replies WHERE session = ?", (_bytes_of(session),))
        self._upsert("entries", ((c[1], pack(c[2:])) for c in net.puts.values()))
        self._upsert("expires", ((id, pack((expires,))) for id, expires in net.expires.items()))
        self._upsert("claims", ((c[1], pack(c[2:])) for c in net.claims.values() if c[0] == CLAIM))
        self._upsert("subscriptions", ((c[1], pack(c[2:])) for c in net.listens.values()))
        for lanes in net.replies.values():
            for change in lanes.values():
                execute(
                    "INSERT OR REPLACE INTO replies VALUES (?, ?, ?)",
                    (_bytes_of(change[1]), pack(change[2]), checked(0, pack(change[1:]))),
                )
        self._upsert("meta", [(1, pack((*self._meta, self._now)))])
        execute("DELETE FROM log")
        execute("COMMIT")
        self._net = Net()
        self._log_number = self._log_bytes = 0

    def _upsert(self, table: str, rows: Iterable[tuple[int, bytes]]) -> None:
        assert self._database is not None
        flat = list[Any]()
        for key, body in rows:
            flat += (key, checked(key, body))
        start = 0
        for many in _ROWS:
            statement = f"INSERT OR REPLACE INTO {table} VALUES " + ",".join(["(?,?)"] * many)
            while len(flat) - start >= 2 * many:
                self._database.connection.execute(statement, flat[start : start + 2 * many])
                start += 2 * many

    def _let_go(self) -> None:
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            self._database = None

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Let whatever goes wrong say which file, and what to do."""
        try:
            yield
        except (
            StoreError,
            TupleSpaceError,
            sqlite3.Error,
            OSError,
            ValueError,
            TypeError,
        ) as error:
            raise StoreError(f"{self.name}: {error}") from error


def _bytes_of(session: str) -> bytes:
    return session.encode("utf-8", "surrogatepass")
