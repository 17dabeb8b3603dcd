r"""The lines in a byte range of a text file.

A range owns the lines that *start* in it: it skips the line it begins in the middle of, and
finishes its last one beyond its end. So ranges can be cut anywhere, without a look at the file.

::

    bytes   a b c \n d e | f \n g h \n      cut at the bar, the left range has "abc" and "def",
                                            the right one has "gh"

That takes an encoding in which a byte 10 is always a newline. Other files, and compressed ones,
are read as a whole.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from mapreduce.errors import InputError
from workers.files import OpenElsewhere

_READ_BYTES = 1 << 18  # the lines of a block stay in the cache until they are used

_DECOMPRESS: dict[str, Any] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".lzma": lzma.open,
}
_UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError)

# In these a byte 10 can be half of a character, or a byte can mean what those before it say.
_STATEFUL = ("utf-16", "utf-32", "utf-7", "iso2022", "hz")


@dataclass(frozen=True)
class TextRange:
    """The lines that start in a file from byte ``start`` on and before byte ``end``.

    Attributes:
        name: The path as the user knows it. path: The absolute path.
        start: The first byte. end: The byte after the last one; None: read the file as a whole.
        file_size: The size of the file, and
        file_mtime_ns: its time of change, as the driver saw them. No other file is read.
        elsewhere: What opens the driver's file where this host has no such file; None: nothing.
    """

    name: str
    path: str
    start: int
    end: int | None
    file_size: int
    file_mtime_ns: int
    elsewhere: OpenElsewhere | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of_file(cls, name: str, encoding: str) -> TextRange:
        """Look at a file and make the range of all of it, with an end if it may be cut."""
        try:
            status = Path(name).stat()
        except OSError as error:
            raise InputError(f"{name}: {error.strerror}") from error
        end = status.st_size if _is_cuttable(name, encoding) else None
        path = os.path.abspath(name)  # noqa: PTH100 - Path.absolute leaves `..` in
        return cls(name, path, 0, end, status.st_size, status.st_mtime_ns)

    @property
    def size(self) -> int:
        """How many bytes of the file the range spans."""
        return (self.file_size if self.end is None else self.end) - self.start

    def __str__(self) -> str:
        return self.name if self.end is None else f"{self.name}, bytes {self.start}-{self.end}"

    def lines(self, encoding: str, errors: str) -> Iterator[list[str]]:
        """Yield the lines without their line ends, in lists, since a line should cost no yield.

        Raises:
            InputError: The file has vanished or changed, or its bytes are not so encoded.
        """
        unfinished: list[str] = []
        for text in self._text(encoding, errors):
            lines = text.split("\n")  # splitlines() also splits at \x0b, \x85, \u2028 ...
            if len(lines) == 1:  # a line longer than a block
                unfinished.append(text)
                continue
            lines[0] = "".join((*unfinished, lines[0]))
            unfinished = [lines.pop()]
            if "\r" in text or lines[0].endswith("\r"):
                lines = [line[:-1] if line.endswith("\r") else line for line in lines]
            yield lines
        if last := "".join(unfinished):
            yield [last]

    def lines_before(self) -> int:
        """Count the lines of the file that start before this range."""
        if self.start == 0:
            return 0
        lines = 1
        left = self.start - 1  # a newline just before the range starts no line before it
        with self._open() as file:
            while left and (block := file.read(min(_READ_BYTES, left))):
                lines += block.count(b"\n")
                left -= len(block)
        return lines

    def _text(self, encoding: str, errors: str) -> Iterator[str]:
        if self.start and codecs.lookup(encoding).name == "utf-8-sig":
            encoding = "utf-8"  # only the start of the file has a mark to skip
        decoder = codecs.getincrementaldecoder(encoding)(errors)
        read_to = newlines = 0
        try:
            for offset, block in self._blocks():
                read_to = offset + len(block)
                text = decoder.decode(block)
                newlines += text.count("\n")
                yield text
            yield decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            # What the decoder looked at ends where the block ends, but may start before it.
            offset = read_to - len(error.object) + error.start
            # Its encoding tells the byte order, too, which "utf-16" would guess anew.
            newlines += error.object[: error.start].decode(error.encoding, "replace").count("\n")
            msg = (
                f"{self.name}, line {self.lines_before() + newlines + 1}: byte {offset} "
                f"(0x{error.object[error.start]:02x}) is not {encoding}: {error.reason}. "
                f'Give TextFiles the right encoding=, or errors="replace".'
            )
            raise InputError(msg) from error

    def _blocks(self) -> Iterator[tuple[int, bytes]]:
        """Yield the bytes of the lines in big blocks, each with its offset in the file."""
        position = self.start
        end = self.end
        with self._open() as file:
            if end is None:
                while block := file.read(_READ_BYTES):
                    yield position, block
                    position += len(block)
                return
            if position:  # a line starts here only if another ends just before
                file.seek(position - 1)
                position += len(file.readline(end - position + 1)) - 1
            block = b"\n"
            while position < end and (block := file.read(min(_READ_BYTES, end - position))):
                yield position, block
                position += len(block)
            while not block.endswith(b"\n") and (block := file.readline(_READ_BYTES)):
                yield position, block
                position += len(block)

    @contextmanager
    def _open(self) -> Iterator[IO[bytes]]:
        """Open the file if it is still the one that the driver saw, and decompress it."""
        try:
            with self._open_here_or_elsewhere() as file:
                decompress = _DECOMPRESS.get(_suffix(self.path))
                if decompress is None:
                    yield file
                else:
                    with decompress(file) as plain:
                        yield plain
        except FileNotFoundError as error:
            msg = f"{self.path}: has vanished since the job was planned"
            raise InputError(msg) from error
        except _UNREADABLE as error:
            raise InputError(f"{self.path}: cannot be read: {error}") from error

    def _open_here_or_elsewhere(self) -> IO[bytes]:
        try:
            return self._open_here()
        except (InputError, OSError):
            if self.elsewhere is None:
                raise
        return self.elsewhere(self.path, self.file_size, self.file_mtime_ns)

    def _open_here(self) -> IO[bytes]:
        file = Path(self.path).open("rb")  # noqa: SIM115  # the caller closes it
        status = os.fstat(file.fileno())
        if (status.st_size, status.st_mtime_ns) != (self.file_size, self.file_mtime_ns):
            file.close()
            msg = (
                f"{self.path}: has changed since the job was planned ({self.file_size} "
                f"bytes then, {status.st_size} now): run the job again"
            )
            raise InputError(msg)
        return file


def _is_cuttable(name: str, encoding: str) -> bool:
    codec = codecs.lookup(encoding).name
    if _suffix(name) in _DECOMPRESS or codec.startswith(_STATEFUL):
        return False
    return codec == "utf-8-sig" or "\n".encode(codec) == b"\n"


def _suffix(name: str) -> str:
    return Path(name).suffix.lower()
