"""The file of a store: made whole or not at all, opened by one process at a time, never mistaken.

What if the process dies right here? A new file is made under another name, complete and synced,
before it gets its own; a draft that was left behind is made anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tuplespace.store.interface import StoreError
from tuplespace.store.netting import checked
from tuplespace.wire import pack

#: "TMil", in the header of every file of ours; and the version of what is in it.
APPLICATION_ID: Final = 0x544D696C
VERSION: Final = 1
#: One connection, so nobody else need ever see the log of the database itself: no shared memory.
_MODES: Final = ("locking_mode=EXCLUSIVE", "secure_delete=OFF", "cache_size=-16384")
_TABLES: Final = (
    "log(key INTEGER PRIMARY KEY, row BLOB)",
    "meta(key INTEGER PRIMARY KEY, row BLOB)",
    "entries(key INTEGER PRIMARY KEY, row BLOB)",
    "expires(key INTEGER PRIMARY KEY, row BLOB)",
    "claims(key INTEGER PRIMARY KEY, row BLOB)",
    "subscriptions(key INTEGER PRIMARY KEY, row BLOB)",
    "replies(session BLOB, lane BLOB, row BLOB, PRIMARY KEY (session, lane))",
)
_MAGIC: Final = b"SQLite format 3\0"
_HEADER_BYTES: Final = 100

#: The files that this process has open: the system's locks do not tell a process from itself, and
#: are gone as soon as it closes the file anywhere.
_open_here: set[tuple[int, int]] = set()
_opening = threading.Lock()


class Database:
    """An open file; the only one who has it.

    Args:
        path: The file, made if there is none. synchronous: SQLite's; anything below FULL may lose
            what was said to be durable when the power goes.

    Attributes:
        connection: To be used by one thread at a time. fresh: Whether the file was made just now.

    Raises:
        StoreError: It is none of ours, in use, or cannot be read or written.
    """

    def __init__(self, path: Path, synchronous: str) -> None:
        self.path = path
        self._identity: tuple[int, int] | None = None
        with _opening, _told(path):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _alone(path.parent):
                if not path.exists() or not path.stat().st_size:
                    _make(path)
            self._claim()
            try:
                self.connection = self._connect(synchronous)
            except BaseException:
                _open_here.discard(self._identity)  # type: ignore[arg-type]
                raise

    def _claim(self) -> None:
        found = self.path.stat()
        identity = (found.st_dev, found.st_ino)
        if identity in _open_here:
            raise _in_use(self.path)
        _check_header(self.path)
        _open_here.add(identity)
        self._identity = identity

    def _connect(self, synchronous: str) -> sqlite3.Connection:
        connection = connect(self.path)
        try:
            for mode in (*_MODES, f"synchronous={synchronous}", "wal_autocheckpoint=0"):
                connection.execute(f"PRAGMA {mode}").fetchall()
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Let the file go."""
        with _opening:
            self.connection.close()
            if self._identity is not None:
                _open_here.discard(self._identity)
                self._identity = None


def connect(path: Path) -> sqlite3.Connection:
    """Open a database that exists, without waiting for who has it open; transactions by hand."""
    return sqlite3.connect(
        f"{path.as_uri()}?mode=rw", uri=True, timeout=0, isolation_level=None,
        check_same_thread=False,
    )  # fmt: skip


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Let whatever goes wrong say which file, and what to do."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot use {path} as a store: {error}; name a file in a folder that this user may "
            "write to"
        ) from error
    except sqlite3.Error as error:
        if "locked" in str(error):
            raise _in_use(path) from error
        raise StoreError(
            f"cannot use {path} as a store: {error}; if it is damaged, move it and its -wal away "
            "and restore a backup, or name another file"
        ) from error


def _in_use(path: Path) -> StoreError:
    return StoreError(
        f"{path} is in use: another space keeps its tuples there; stop that one, or name another file"
    )


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes from making files of ours in this folder meanwhile."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make(path: Path) -> None:
    """Make a store without entries."""
    for end in ("-wal", "-journal"):
        rest = path.with_name(path.name + end)
        if rest.exists():
            raise StoreError(
                f"{path} is gone, but {rest} is there and may hold the last of what it kept; put the "
                "file back, or move that away to begin anew"
            )
    draft = path.with_name(path.name + ".new")
    for end in ("", "-wal", "-journal"):
        path.with_name(draft.name + end).unlink(missing_ok=True)
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with contextlib.closing(connect(draft)) as connection:
        for mode in (
            "auto_vacuum=INCREMENTAL", f"application_id={APPLICATION_ID}",
            f"user_version={VERSION}", *_MODES, "synchronous=FULL", "journal_mode=WAL",
        ):  # fmt: skip
            connection.execute(f"PRAGMA {mode}").fetchall()
        connection.execute("BEGIN IMMEDIATE")
        for table in _TABLES:
            connection.execute(f"CREATE TABLE {table}")
        meta = checked(1, pack((secrets.token_hex(8), 0, 0.0)))
        connection.execute("INSERT INTO meta VALUES (1, ?)", (meta,))
        connection.execute("COMMIT")
    descriptor = os.open(draft, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    draft.replace(path)


def _check_header(path: Path) -> None:
    """Refuse a file that is none of ours, before SQLite may touch it."""
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    application = int.from_bytes(header[68:72], "big")
    if header[:16] != _MAGIC or len(header) < _HEADER_BYTES or application != APPLICATION_ID:
        raise StoreError(f"{path} is no file of a space; it is left as it is; name another file")
    version = int.from_bytes(header[60:64], "big")
    if version != VERSION:
        raise StoreError(
            f"{path} was written by another version of tuplemill, in format {version}; this one reads "
            f"{VERSION}; use that version, or name another file"
        )
