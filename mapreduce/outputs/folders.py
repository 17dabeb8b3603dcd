"""Output folders: what a job needs of a directory or of a URL, to write files and move them."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any, Protocol

from mapreduce.errors import InvalidJobError

_REMOVE_TRIES = 10
_MAKE_TRIES = 100


class Folder(Protocol):
    """Where a job writes. Paths are whole; all may raise OSError."""

    root: str

    def path(self, *names: str) -> str:
        """Return the path of something below."""

    def shown(self, name: str) -> str:
        """Return what a user opens a file in the folder itself by."""

    def names(self) -> list[str]:
        """Return what is in the folder itself; nothing if there is no folder."""

    def make(self, path: str) -> None:
        """Make a folder, and those above it."""

    def alone(self) -> AbstractContextManager[None]:
        """Make the folder itself, and keep other drivers of this host from beginning in it."""

    def open(self, path: str, mode: str) -> IO[bytes]:
        """Open a file, to read ("rb") or as a new one ("xb")."""

    def size(self, path: str) -> int:
        """Return the size of a file."""

    def move(self, path: str, to: str) -> None:
        """Give a file another name, in one step where there is such a thing."""

    def remove(self, path: str) -> None:
        """Delete a file, or a folder with all in it; nothing happens if there is none."""

    def undo(self) -> None:
        """Delete the folders that `make` has made, as far as they are empty."""

    def hold(self, path: str) -> bool:
        """Mark a file as this process's for as long as it lives; False if it is another's."""

    def let_go(self) -> None:
        """End all that `hold` has marked."""


class LocalFolder:
    """A folder that this host sees.

    Args:
        root: Its path.
    """

    def __init__(self, root: str) -> None:
        self.root = str(Path(root).absolute())
        self._made: list[Path] = []
        self._held: list[IO[bytes]] = []

    def __reduce__(self) -> Any:
        return LocalFolder, (self.root,)

    def path(self, *names: str) -> str:
        """See `Folder.path`."""
        return str(Path(self.root, *names))

    def shown(self, name: str) -> str:
        """See `Folder.shown`."""
        return self.path(name)

    def names(self) -> list[str]:
        """See `Folder.names`."""
        try:
            return os.listdir(self.root)  # noqa: PTH208  # names are wanted
        except FileNotFoundError:
            return []

    def make(self, path: str) -> None:
        """See `Folder.make`."""
        folder = Path(path)
        for above in reversed([folder, *folder.parents]):
            try:
                above.mkdir()
            except FileExistsError:
                if not above.is_dir():
                    raise
            except OSError:
                if not above.is_dir():  # a parent that we may not write to is there all the same
                    raise
            else:
                self._made.append(above)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """See `Folder.alone`; where a network file system locks no folders, it keeps nobody out."""
        for _ in range(_MAKE_TRIES):
            with ExitStack() as stack:
                try:
                    self.make(self.root)
                    still_there = stack.enter_context(_locked(self.root, wait=True))
                except FileNotFoundError:  # a driver that has failed deletes what it has made
                    continue
                if still_there:
                    yield
                    return
        raise FileNotFoundError(errno.ENOENT, "it vanishes again and again", self.root)

    def open(self, path: str, mode: str) -> IO[bytes]:
        """See `Folder.open`."""
        return open(path, mode)

    def size(self, path: str) -> int:
        """See `Folder.size`."""
        return Path(path).stat().st_size

    def move(self, path: str, to: str) -> None:
        """See `Folder.move`."""
        Path(path).rename(to)

    def remove(self, path: str) -> None:
        """See `Folder.remove`; a worker may still be making files in it."""
        with suppress(OSError):
            Path(path).unlink()
            return
        for _ in range(_REMOVE_TRIES):
            shutil.rmtree(path, ignore_errors=True)
            if not Path(path).exists():
                return

    def undo(self) -> None:
        """See `Folder.undo`."""
        for folder in reversed(self._made):
            # Without waiting, as this may be called by the garbage collector: who holds it stays.
            with suppress(OSError), _locked(folder, wait=False) as still_there:
                if still_there:
                    folder.rmdir()
        self._made.clear()

    def hold(self, path: str) -> bool:
        """See `Folder.hold`."""
        try:
            file = open(path, "rb")  # noqa: SIM115  # it is held open
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return False
        self._held.append(file)
        return True

    def let_go(self) -> None:
        """See `Folder.let_go`."""
        for file in self._held:
            file.close()
        self._held.clear()


class UrlFolder:
    """A folder of a file system that fsspec knows.

    Args:
        root: Its URL.

    Raises:
        InvalidJobError: fsspec is missing, or knows no such URL.
    """

    def __init__(self, root: str) -> None:
        self.root = root if root.endswith("://") else root.rstrip("/")
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            raise InvalidJobError(
                f"the output {root} is a URL, which needs fsspec: pip install 'tuplemill[remote]'"
            ) from None
        try:
            self._system, self._base = url_to_fs(self.root)
        except (ImportError, ValueError) as error:
            raise InvalidJobError(f"the output {root} cannot be used: {error}") from error
        # Listings that another process has made old are no use.
        self._system.use_listings_cache = False
        self._made: list[str] = []

    def __reduce__(self) -> Any:
        return UrlFolder, (self.root,)

    def path(self, *names: str) -> str:
        """See `Folder.path`."""
        return "/".join((self._base, *names))

    def shown(self, name: str) -> str:
        """See `Folder.shown`."""
        return f"{self.root}/{name}"

    def names(self) -> list[str]:
        """See `Folder.names`."""
        self._system.invalidate_cache()
        try:
            found = self._system.ls(self._base, detail=False)
        except FileNotFoundError:
            return []
        return [str(path).rstrip("/").rpartition("/")[2] for path in found]

    def make(self, path: str) -> None:
        """See `Folder.make`."""
        for folder in (self._base, path):
            if not self._system.exists(folder):
                self._system.makedirs(folder, exist_ok=True)
                self._made.append(folder)

    def alone(self) -> AbstractContextManager[None]:
        """See `Folder.alone`; there are no locks, so of drivers that begin at once all may refuse."""
        return nullcontext()

    def open(self, path: str, mode: str) -> IO[bytes]:
        """See `Folder.open`; names are random, so nothing is there that "wb" could harm."""
        opened: IO[bytes] = self._system.open(path, mode.replace("x", "w"))
        return opened

    def size(self, path: str) -> int:
        """See `Folder.size`."""
        self._system.invalidate_cache()
        return int(self._system.size(path))

    def move(self, path: str, to: str) -> None:
        """See `Folder.move`; on object stores it is a copy, then a delete."""
        self._system.mv(path, to)

    def remove(self, path: str) -> None:
        """See `Folder.remove`."""
        self._system.invalidate_cache()
        with suppress(OSError):
            if self._system.exists(path):
                self._system.rm(path, recursive=True)

    def undo(self) -> None:
        """See `Folder.undo`."""
        for folder in reversed(self._made):
            with suppress(OSError, NotImplementedError):
                self._system.rmdir(folder)
        self._made.clear()

    def hold(self, path: str) -> bool:
        """See `Folder.hold`; nobody can tell, so what is there is another's."""
        return not self._system.exists(path)

    def let_go(self) -> None:
        """See `Folder.let_go`."""


@contextmanager
def _locked(folder: str | Path, *, wait: bool) -> Iterator[bool]:
    """Hold the lock of a folder; yield whether it is still the one of that name.

    Raises:
        BlockingIOError: Another has it, and we do not wait. OSError: It cannot be opened.
    """
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise
        except OSError:
            pass  # the file system has no such locks
        try:
            same = os.path.samestat(os.fstat(number), os.stat(folder))  # noqa: PTH116
        except FileNotFoundError:
            same = False
        yield same
    finally:
        os.close(number)


def folder_at(directory: str) -> Folder:
    """Return the folder at a path or URL.

    Raises:
        InvalidJobError: It is a URL that cannot be used.
    """
    return UrlFolder(directory) if "://" in directory else LocalFolder(directory)
