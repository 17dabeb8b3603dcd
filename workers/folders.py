"""Folders: where blocks and code lie on this host, and when they may go.

One folder for all agents of a user on a host::

    <root>/<space id>/<job>/map-12-5f0c.blocks
    <root>/<space id>/.in-use                     locked by everybody who works for the space
    <root>/<space id>/<job>/.until                when it may go at the earliest: its time of change
    <root>/code/<digest>/                         modules of jobs, see `bundles`; locked by the workers
                                                  that have imported them, and changed by each use

A lock ends with its process, however that ends; a pid may be another's by then. What if the file
system has no locks? Then whoever wants to delete gets none either, and such folders stay.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import IO, Any, Final

from workers.errors import WorkFolderError

_MARK, _UNTIL = ".in-use", ".until"
_OCCUPY_TRIES: Final = 100


def work_folder(path: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder for blocks and code, made if need be, private to this user.

    Args:
        path: None: one in the system's temporary folder, the same for all agents of this user.

    Raises:
        WorkFolderError: It belongs to somebody else, or cannot be made.
    """
    uid = os.getuid()
    folder = Path(path) if path else Path(tempfile.gettempdir()) / f"tuplemill-{uid}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat(follow_symlinks=bool(path))
    except OSError as error:
        raise WorkFolderError(f"cannot use {folder} for blocks: {error}; see --work-dir") from None
    if found.st_uid != uid or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o022:
        raise WorkFolderError(
            f"{folder} belongs to another user or is open to others; name a folder of your own "
            "with --work-dir"
        )
    return folder.resolve()


def occupy(folder: Path) -> Any:
    """Make a space's folder and mark it as in use for as long as the returned file is open.

    Raises:
        WorkFolderError: It cannot be made.
    """
    vanished = (FileNotFoundError, FileExistsError)  # the latter if it does while mkdir looks
    for _ in range(_OCCUPY_TRIES):
        try:
            with contextlib.suppress(*vanished), contextlib.ExitStack() as stack:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                mark = stack.enter_context(open(folder / _MARK, "a+"))
                _lock(mark)
                # Somebody may have deleted it as deserted just before we had the lock.
                if os.path.samestat(os.fstat(mark.fileno()), (folder / _MARK).stat()):
                    stack.pop_all()
                    return mark
        except OSError as error:
            raise WorkFolderError(
                f"cannot make the folder {folder}: {error}; see --work-dir"
            ) from None
    raise WorkFolderError(f"cannot make the folder {folder}; see --work-dir")


def occupy_new(folder: Path) -> IO[str]:
    """Mark a folder that we have just made as in use for as long as the returned file is open.

    Raises:
        OSError: It cannot be marked.
    """
    draft = folder / f"{_MARK}.draft"
    with contextlib.ExitStack() as stack:
        mark = stack.enter_context(open(draft, "a+"))
        _lock(mark)
        draft.rename(folder / _MARK)  # who sees the mark sees it locked
        stack.pop_all()
    return mark


def _lock(mark: IO[str]) -> None:
    with contextlib.suppress(OSError):
        fcntl.flock(mark, fcntl.LOCK_SH)


def keep_for(folder: Path, seconds: float) -> None:
    """Let a job's folder, if there is one, outlive its driver by so many seconds."""
    with contextlib.suppress(OSError):
        (folder / _UNTIL).touch()
        os.utime(folder / _UNTIL, times=(time.time() + seconds,) * 2)


def remove_deserted(root: Path, pattern: str = "*") -> None:
    """Delete the folders that are marked as in use and are not any more.

    Args:
        root: Where they are. pattern: Of their names. Those of other users are left alone.
    """
    with contextlib.suppress(OSError):  # of the search itself: the root may vanish meanwhile
        for mark in root.glob(f"{pattern}/{_MARK}"):
            with contextlib.suppress(OSError):
                if mark.parent.stat(follow_symlinks=False).st_uid == os.getuid():
                    _remove_if_deserted(mark)


def _remove_if_deserted(mark: Path) -> None:
    with open(mark, "r+") as file:  # over NFS an exclusive lock is for writers only
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if any(each.stat().st_mtime > time.time() for each in mark.parent.glob(f"*/{_UNTIL}")):
            return
        remove(mark.parent)


def remove(folder: Path) -> None:
    """Delete a folder, its mark last: if we are killed meanwhile, somebody will delete the rest."""
    with contextlib.suppress(OSError):
        for each in folder.iterdir():
            shutil.rmtree(each, ignore_errors=True)  # folders; the few files go with the mark
    shutil.rmtree(folder, ignore_errors=True)


def use(folder: Path) -> int | None:
    """Mark a folder of code as used now, and as in use while the returned descriptor is open.

    Returns:
        The descriptor; None: the folder is not there, or was deleted just now.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    with contextlib.suppress(OSError):  # not every file system has locks
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        os.utime(descriptor)
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(descriptor), folder.stat()):
            return descriptor
    os.close(descriptor)
    return None


def remove_unused(root: Path, seconds: float) -> None:
    """Delete the folders of code beneath this one that are not in use, nor were for so long."""
    for folder in root.glob("*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if time.time() - os.fstat(descriptor).st_mtime > seconds:
                    # Killed while we delete it, we leave no half of it for anybody to import.
                    gone = root / f".gone-{secrets.token_hex(8)}"
                    folder.rename(gone)
                    shutil.rmtree(gone, ignore_errors=True)
            finally:
                os.close(descriptor)
