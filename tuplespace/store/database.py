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
from tuplespace.store.tables import APPLICATION_ID, VERSION, create

#: One connection, so nobody else need ever see the log of the database itself: no shared memory.
_MODES: Final = ("locking_mode=EXCLUSIVE", "secure_delete=OFF", "cache_size=-16384",
          "journal_size_limit=67108864", "wal_autocheckpoint=0")  # fmt: skip
#: What SQLite puts beside a file.
_COMPANIONS: Final = ("-wal", "-journal")
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
        connection: To be used by one thread at a time.

    Raises:
        StoreError: It is none of ours, in use, or cannot be read or written.
    """

    def __init__(self, path: Path, synchronous: str) -> None:
        self.path = path
        with _opening, _told(path):
            _make_folder(path.parent)
            with _alone(path.parent):
                if not path.exists() or not path.stat().st_size:
                    _make(path)
            found = path.stat()
            self._identity = (found.st_dev, found.st_ino)
            if self._identity in _open_here:
                raise _in_use(path)
            _check_header(path)
            self.connection = _open(path)
            try:
                for mode in (*_MODES, f"synchronous={synchronous}"):
                    self.connection.execute(f"PRAGMA {mode}").fetchall()
                # Locks, once taken, are kept.
                self.connection.execute("BEGIN EXCLUSIVE")
                self.connection.execute("COMMIT")
            except BaseException:
                self.connection.close()
                raise
            _open_here.add(self._identity)

    def close(self) -> None:
        """Let the file go."""
        with _opening:
            self.connection.close()
            _open_here.discard(self._identity)


def _open(path: Path) -> sqlite3.Connection:
    """Open a file that exists, without waiting for who has it open; transactions by hand."""
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
        os.fsync(descriptor)  # the name of a new file
    finally:
        os.close(descriptor)


def _make(path: Path) -> None:
    """Make a store without entries."""
    for end in _COMPANIONS:
        rest = path.with_name(path.name + end)
        if rest.exists():
            raise StoreError(
                f"{path} is gone, but {rest} is there and may hold the last of what it kept; put the "
                "file back, or move that away to begin anew"
            )
    draft = path.with_name(path.name + ".new")
    for end in ("", *_COMPANIONS):
        path.with_name(draft.name + end).unlink(missing_ok=True)
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        with contextlib.closing(_open(draft)) as connection:
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
            for mode in (*_MODES, "synchronous=FULL", "journal_mode=WAL"):
                connection.execute(f"PRAGMA {mode}").fetchall()
            create(connection, secrets.token_hex(8))
            # Here, since closing it tells of no error.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        sync(draft)
        draft.replace(path)
    except BaseException:
        for end in ("", *_COMPANIONS):
            path.with_name(draft.name + end).unlink(missing_ok=True)
        raise


def _make_folder(folder: Path) -> None:
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for each in missing:
        sync(each.parent)


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, outlive a loss of power.

    Raises:
        OSError: It cannot be known that they do.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
