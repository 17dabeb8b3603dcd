"""The store in a file: SQLite's, for its crash safety; what is in it is a log and what it adds up to.

::

    append --queue--> writer thread: net --a row of the log: one statement, one fsync--> durable
                                      |
                         tidy, now and then: what is left of the log into the tables

Most tuples live briefly: what was written and taken since the last tidy never reaches the tables.
And a commit is one statement, since beside a busy thread each costs a wait for the interpreter.
What if the process dies right here? A commit or a tidy is one transaction: it was made, or it was
not. The next `load` adds up what the log holds.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from tuplespace.store.database import Database, sync
from tuplespace.store.interface import Change, Contents, StoredEntry, StoreError
from tuplespace.store.netting import Net, checked
from tuplespace.store.room import Room
from tuplespace.store.tables import (
    Meta,
    add_to_log,
    fold,
    read_entries,
    read_log,
    read_meta,
    read_replies,
    read_subscriptions,
    verify,
)

#: A commit keeps about so many changes at most, or bytes, so that no answer waits long for others.
_COMMIT_CHANGES: Final = 4096
_COMMIT_BYTES: Final = 8 << 20
#: The log is folded into the tables when it has so many bytes, or leaves so many rows to change.
_TIDY_BYTES: Final = 8 << 20
_TIDY_ROWS: Final = 32768
#: What a commit writes besides its row, about.
_COMMIT_OVERHEAD: Final = 8192
#: Pages are given back to the disk, some at a time while nothing else is to do, when more are free.
_SPARE_PAGES: Final = 16384
_VACUUM_PAGES: Final = 1024
_PAGE_BYTES: Final = 4096

#: What was appended: the changes, the time and the position.
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
        self._look_bytes = free_bytes // 16
        # What takes the place of the ballast must do with less than it.
        self._tidy_bytes = min(_TIDY_BYTES, ballast_bytes // 4 or _TIDY_BYTES)
        self._queue: SimpleQueue[_Append | None] = SimpleQueue()
        self._wake: Callable[[], None] = lambda: None
        self._writer: threading.Thread | None = None
        self._database: Database | None = None
        self._entries: Generator[StoredEntry, None, None] | None = None
        # From `start` on the writer's own.
        self._meta = Meta("", 0, 0.0)
        self._net = Net()  # what the log adds up to
        self._log_number = self._log_bytes = self._unlooked = 0
        self._bytes_per_change = 256.0
        self._has_spare = self._ending = False

    # -- for the host's thread

    def load(self) -> Contents:
        """Return what the file holds, and count this opening in it.

        Raises:
            StoreError: It is damaged, none of ours, in use, or cannot be read or written; it is
                left as it is. Says what to do.
        """
        self._database = Database(self._path, self._synchronous)
        try:
            with self._told("if it is damaged, move it away and put a backup in its place"):
                return self._load(self._database.connection)
        except BaseException:
            self._let_go()
            raise

    def _load(self, connection: sqlite3.Connection) -> Contents:
        verify(connection)
        space_id, generation, folded = read_meta(connection)
        self._net, now = read_log(connection)
        self._meta = Meta(space_id, generation + 1, folded if now is None else now)
        self._with_room(self._fold)
        self._checkpoint()
        sync(self._path.parent)  # the name of SQLite's own log; it ignores an error of that
        self._room.make_ballast()
        self._entries = read_entries(connection)
        return Contents(
            *self._meta, self._entries, read_replies(connection), read_subscriptions(connection)
        )

    def start(self, wake: Callable[[], None]) -> None:
        """Begin to keep; see `Store`."""
        self._wake = wake
        self._end_load()
        self._writer = threading.Thread(target=self._write, name="store-writer", daemon=True)
        self._writer.start()

    def append(self, changes: list[Change], now: float) -> int:
        """Keep these soon; see `Store`."""
        self.position += 1
        if self.failure is None:
            self._queue.put((changes, now, self.position))
        return self.position

    def shortage(self) -> str:
        """Return why no more tuples should be written now; see `Store`."""
        shortage = self._room.shortage()
        if self._room.wants_ballast:
            self._room.wants_ballast = False
            self._queue.put(([], 0.0, self.position))
        return shortage

    def _end_load(self) -> None:
        """Let go of entries that nobody looked at: while they are read nothing can be tidied."""
        if self._entries is not None:
            self._entries.close()
            self._entries = None

    def close(self) -> None:
        """Keep all that was appended, and let the file go; see `Store`."""
        self._end_load()
        self._queue.put(None)
        if self._writer is not None:
            self._writer.join()
            self._writer = None
        elif self._database is not None:
            self._write()

    # -- the writer's thread

    def _write(self) -> None:
        """Keep what is appended, until the end or a failure."""
        advice = "what it was told to keep until then is safe; see to its disk, then start it again"
        try:
            with self._told(f"the space cannot keep more: {advice}"):
                while not self._ending:
                    self._keep_some(self._appended())
            with contextlib.suppress(sqlite3.Error):  # else the next `load` does it
                self._tidy()
        except StoreError as failure:
            self.failure = failure
        self._let_go()
        if self.failure is not None:
            self._wake()

    def _appended(self) -> list[_Append]:
        """Wait for something, then return all that is there, up to a limit."""
        queue = self._queue
        if self._has_spare and queue.empty():
            self._give_back()
            return []
        found = list[_Append]()
        left = min(_COMMIT_CHANGES, int(_COMMIT_BYTES / self._bytes_per_change))
        each = queue.get()
        while each is not None:
            found.append(each)
            left -= len(each[0])
            if left <= 0:
                return found
            try:
                each = queue.get_nowait()
            except Empty:
                return found
        self._ending = True
        return found

    def _keep_some(self, appended: list[_Append]) -> None:
        if not appended:
            return
        net, count = Net(), 0
        for changes, _, _ in appended:
            net.apply(changes)
            count += len(changes)
        if count or appended[-1][2] != self.durable:  # the time alone counts, too
            self._meta = self._meta._replace(now=max(self._meta.now, appended[-1][1]))
            self._commit(net, count)
        position = appended[-1][2]
        if position != self.durable:
            self.durable = position
            self._wake()
        if not count:
            self._room.make_ballast()
        self._net.add(net)
        if self._log_bytes >= self._tidy_bytes or len(self._net) >= _TIDY_ROWS:
            self._tidy()

    def _commit(self, net: Net, count: int) -> None:
        """Add a net to the log; when this returns it is durable."""
        rows = [
            (number, checked(number, body))
            for number, body in enumerate(net.log_rows(self._meta.now), self._log_number + 1)
        ]
        self._with_room(lambda connection: add_to_log(connection, rows))
        size = sum(len(row) for _, row in rows)
        self._log_number += len(rows)
        self._log_bytes += size + _COMMIT_OVERHEAD
        self._bytes_per_change = (self._bytes_per_change + size / max(count, 1)) / 2
        self._unlooked += size
        if self._unlooked > self._look_bytes:
            self._unlooked = 0
            self._room.look_soon()

    def _tidy(self) -> None:
        """Fold the log into the tables, and give SQLite's own log back to the file."""
        self._with_room(self._fold)
        self._checkpoint()

    def _fold(self, connection: sqlite3.Connection) -> None:
        fold(connection, self._net, self._meta)
        self._net = Net()
        self._log_number = self._log_bytes = 0

    def _checkpoint(self) -> None:
        """Write what SQLite's own log holds into the file, and look what is free in it."""

        def checkpoint(connection: sqlite3.Connection) -> None:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            (spare,) = connection.execute("PRAGMA freelist_count").fetchone()
            self._room.reusable = spare * _PAGE_BYTES
            self._has_spare = spare > (_VACUUM_PAGES if self._room.is_short else _SPARE_PAGES)

        self._with_room(checkpoint)

    def _give_back(self) -> None:
        """Give some of what is free in the file back to the disk."""
        assert self._database is not None
        connection = self._database.connection
        try:
            connection.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()
        except sqlite3.OperationalError as error:
            if not _is_full(error):
                raise
            self._has_spare = False  # it takes room to make room; the ballast is for takes
        else:
            self._checkpoint()

    def _with_room(self, write: Callable[[sqlite3.Connection], Any]) -> None:
        """Write; if the disk is full, give up the ballast and write again.

        Full means that nothing was written. After any other error nobody knows: the system may have
        dropped what it could not write, and say that all is well when asked once more.
        """
        assert self._database is not None
        connection = self._database.connection
        try:
            write(connection)
        except sqlite3.OperationalError as error:
            if not _is_full(error) or not self._room.give_up_ballast():
                raise
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            write(connection)

    def _let_go(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            with contextlib.suppress(sqlite3.Error):
                database.close()

    @contextlib.contextmanager
    def _told(self, advice: str) -> Iterator[None]:
        """Let whatever goes wrong say which file, and what to do."""
        try:
            yield
        except Exception as error:  # the host waits for what is kept, so it must hear of any
            raise StoreError(f"{self.name}: {error}; {advice}") from error


def _is_full(error: sqlite3.OperationalError) -> bool:
    """Say whether there was no room on the disk; Python 3.10 knows no codes of errors."""
    return "disk is full" in str(error)
