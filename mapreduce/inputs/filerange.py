"""Input files and ranges of them: found by the driver, opened by whoever reads them."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from mapreduce.errors import InputError
from mapreduce.inputs.compressed import UNREADABLE, is_compressed, open_plain
from workers.files import OpenElsewhere

#: What a file counts for whose size nobody knows.
UNKNOWN_BYTES = 8 << 20


class InputFile(Protocol):
    """A file as the driver saw it; picklable."""

    @property
    def name(self) -> str:
        """How the user calls it."""

    @property
    def path(self) -> str:
        """What it is opened by."""

    @property
    def file_size(self) -> int | None:
        """Its bytes; None: nobody knows before it is read."""

    @property
    def suffixed(self) -> str:
        """Its name, ending in what tells whether it is compressed."""

    @property
    def seekable(self) -> bool:
        """Whether it can be read from any byte on."""

    def open(self, upto: int | None, elsewhere: OpenElsewhere | None) -> IO[bytes]:
        """Open it for reading if it still is what the driver saw.

        Args:
            upto: Little of it will be read from this byte on; None: who knows.
            elsewhere: What opens the driver's file where this host has no such file.

        Raises:
            InputError: It has changed. OSError: It cannot be opened.
        """


@dataclass(frozen=True)
class LocalFile:
    """A file by its path.

    Attributes:
        name: The path as the user knows it. path: The absolute path.
        file_size: Its size, and mtime_ns: its time of change, as the driver saw them.
    """

    name: str
    path: str
    file_size: int
    mtime_ns: int
    seekable = True

    @classmethod
    def named(cls, name: str) -> LocalFile:
        """Look at a file.

        Raises:
            InputError: There is no such file.
        """
        try:
            status = Path(name).stat()
        except OSError as error:
            raise InputError(f"{name}: {error.strerror}") from error
        path = os.path.abspath(name)  # noqa: PTH100 - Path.absolute leaves `..` in
        return cls(name, path, status.st_size, status.st_mtime_ns)

    @property
    def suffixed(self) -> str:
        """The path, here."""
        return self.path

    def open(self, upto: int | None, elsewhere: OpenElsewhere | None) -> IO[bytes]:
        """Open it here, else through `elsewhere`; see `InputFile`."""
        try:
            return self._open_here()
        except (InputError, OSError):
            if elsewhere is None:
                raise
        return elsewhere(self.path, self.file_size, self.mtime_ns)

    def _open_here(self) -> IO[bytes]:
        file = Path(self.path).open("rb")  # noqa: SIM115  # the caller closes it
        status = os.fstat(file.fileno())
        if (status.st_size, status.st_mtime_ns) != (self.file_size, self.mtime_ns):
            file.close()
            msg = (
                f"{self.path}: has changed since the job was planned ({self.file_size} "
                f"bytes then, {status.st_size} now): run the job again"
            )
            raise InputError(msg)
        return file


@dataclass(frozen=True)
class FileRange:
    """The records that start in a file from byte ``start`` on and before byte ``end``.

    Attributes:
        file: It. start: The first byte.
        end: The byte after the last one; None: the file is read as a whole, from its start.
        elsewhere: What opens the driver's file where this host has no such file; None: nothing.
    """

    file: InputFile
    start: int
    end: int | None
    elsewhere: OpenElsewhere | None = field(default=None, compare=False, repr=False)

    @classmethod
    def whole(cls, file: InputFile, *, cuttable: bool) -> FileRange:
        """Make the range of all of a file, with an end if it may be cut.

        Args:
            file: It. cuttable: Whether its records can be found from any byte on.
        """
        plain = file.seekable and not is_compressed(file.suffixed)
        return cls(file, 0, file.file_size if cuttable and plain else None)

    @property
    def name(self) -> str:
        """How the user calls the file."""
        return self.file.name

    @property
    def size(self) -> int:
        """How many bytes of the file the range spans; a guess if nobody knows."""
        end = self.file.file_size if self.end is None else self.end
        return UNKNOWN_BYTES if end is None else end - self.start

    def __str__(self) -> str:
        return self.name if self.end is None else f"{self.name}, bytes {self.start}-{self.end}"

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Open the file if it is still the one that the driver saw, and decompress it.

        Raises:
            InputError: It is not, or cannot be read, now or in the body.
        """
        try:
            opened = self.file.open(self.end, self.elsewhere)
            with opened, open_plain(opened, self.file.suffixed) as plain:
                yield plain
        except FileNotFoundError as error:
            msg = f"{self.file.path}: has vanished since the job was planned"
            raise InputError(msg) from error
        except UNREADABLE as error:
            raise InputError(f"{self.file.path}: cannot be read: {error}") from error


def local_files(pattern: str) -> list[LocalFile]:
    """Look up the files of a path or pattern, sorted.

    Raises:
        InputError: There are none.
    """
    return [LocalFile.named(name) for name in _names_matching(pattern)]


def _names_matching(pattern: str) -> list[str]:
    if os.path.isfile(pattern):  # noqa: PTH113 - "data[1].txt" can be a name, too
        return [pattern]
    if os.path.isdir(pattern):  # noqa: PTH112 - a str it is, and a str it stays
        msg = f"{pattern}: is a directory; for all files in it, give {os.path.join(pattern, '**')}"  # noqa: PTH118
        raise InputError(msg)
    names = [name for name in glob.glob(pattern, recursive=True) if not os.path.isdir(name)]  # noqa: PTH112
    if not names:
        kind = "no file matches" if glob.has_magic(pattern) else "there is no such file"
        msg = f"{pattern}: {kind} (seen from {os.getcwd()})"  # noqa: PTH109
        raise InputError(msg)
    return sorted(names)
