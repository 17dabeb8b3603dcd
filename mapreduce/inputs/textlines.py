r"""The lines in a byte range of a text file, and the JSON in such lines.

A range owns the lines that *start* in it: it skips the line it begins in the middle of, and
finishes its last one beyond its end. So ranges can be cut anywhere, without a look at the file.

::

    bytes   a b c \n d e | f \n g h \n      cut at the bar, the left range has "abc" and "def",
                                            the right one has "gh"

That takes an encoding in which a byte 10 is always a newline. Other files, and compressed ones,
are read as a whole.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import IO, Any, Final

from mapreduce.errors import InputError, shorten
from mapreduce.inputs.filerange import FileRange
from mapreduce.inputs.readers import Reader, Unreadable

_READ_BYTES = 128 << 10  # the lines of a block stay in the cache until they are used

# In these a byte 10 can be half of a character, or a byte can mean what those before it say.
_STATEFUL = ("utf-16", "utf-32", "utf-7", "iso2022", "hz")


@dataclass(frozen=True)
class Lines(Reader):
    """Lines, without their line ends.

    Attributes:
        encoding: The files'. errors: What to do with bytes that are not so encoded.
    """

    encoding: str = "utf-8"
    errors: str = "strict"
    kind = "lines"

    @property
    def cuttable(self) -> bool:
        """Whether a byte 10 is always a newline."""
        codec = codecs.lookup(self.encoding).name
        if codec.startswith(_STATEFUL):
            return False
        return codec == "utf-8-sig" or "\n".encode(codec) == b"\n"

    def in_text(self, encoding: str, errors: str) -> Reader:
        """Return the reader for this encoding."""
        return type(self)(encoding, errors)

    def batches(self, part: FileRange) -> Iterator[list[Any]]:
        """Yield the lines, in lists."""
        return self.lines(part)

    def lenient(self, part: FileRange) -> Iterator[list[Any]]:
        """Yield the lines, an `Unreadable` for each with bytes that are not so encoded."""
        if self.errors != "strict" or not self.cuttable:
            return self.batches(part)
        return self._lenient_lines(part)

    def _lenient_lines(self, part: FileRange) -> Iterator[list[Any]]:
        for lines in replace(self, errors=_ESCAPE).lines(part):
            if _is_text("".join(lines)):
                yield lines
            else:
                yield [line if _is_text(line) else self._decoded(line) for line in lines]

    def _decoded(self, line: str) -> str | Unreadable:
        content = line.encode(self.encoding, _ESCAPE)
        try:
            return content.decode(self.encoding)
        except UnicodeDecodeError as error:
            bad = f"0x{content[error.start]:02x}, its byte {error.start}, is not {self.encoding}"
            return Unreadable(content, InputError(f"{bad}: {error.reason}"))

    def lines(self, part: FileRange) -> Iterator[list[str]]:
        """Yield the lines without their line ends, in lists.

        Raises:
            InputError: The file has vanished or changed, or its bytes are not so encoded.
        """
        encoding = self.encoding
        if part.start and codecs.lookup(encoding).name == "utf-8-sig":
            encoding = "utf-8"  # only the start of the file has a mark to skip
        decoder = codecs.getincrementaldecoder(encoding)(self.errors)
        unfinished: list[str] = []
        read_to = newlines = 0
        try:
            for offset, block in _blocks(part):
                read_to = offset + len(block)
                text = decoder.decode(block, not block)
                # A "\r\n" may be cut in two by the border between blocks.
                after_return = text.startswith("\n")
                if "\r" in text:
                    text = text.replace("\r\n", "\n")
                lines = text.split("\n")  # splitlines() also splits at \x0b, \x85, \u2028 ...
                newlines += len(lines) - 1
                if len(lines) == 1:  # a line longer than a block
                    unfinished.append(text)
                    continue
                if unfinished:
                    lines[0] = "".join((*unfinished, lines[0]))
                    if after_return and lines[0].endswith("\r"):
                        lines[0] = lines[0][:-1]
                unfinished = [last] if (last := lines.pop()) else []
                yield lines
        except UnicodeDecodeError as error:
            # What the decoder looked at ends where the block ends, but may start before it.
            offset = read_to - len(error.object) + error.start
            # Its encoding tells the byte order, too, which "utf-16" would guess anew.
            newlines += error.object[: error.start].decode(error.encoding, "replace").count("\n")
            msg = (
                f"{part.name}, line {lines_before(part) + newlines + 1}: byte {offset} "
                f"(0x{error.object[error.start]:02x}) is not {encoding}: {error.reason}. "
                f'Give TextFiles the right encoding=, or errors="replace".'
            )
            raise InputError(msg) from error
        if last := "".join(unfinished):
            yield [last]

    def place(self, part: FileRange, number: int) -> str:
        """Say which line it is. Reads what is before the range."""
        return f"{part.name}, line {lines_before(part) + number + 1}"

    def byte(self, part: FileRange, number: int) -> int | None:
        """Return where this line starts. Reads the range once more."""
        if not self.cuttable:
            return None
        left = number
        for offset, block in _blocks(part):
            if not left:
                return offset
            newlines = block.count(b"\n")
            if newlines >= left:
                at = -1
                for _ in range(left):
                    at = block.index(b"\n", at + 1)
                return offset + at + 1
            left -= newlines
        return None


#: As an encoding's `errors`: bytes that are not so encoded become characters that are in no text.
_ESCAPE: Final = "surrogateescape"


def _is_text(decoded: str) -> bool:
    try:
        decoded.encode()
    except UnicodeEncodeError:
        return False
    return True


_decode: Final = json.JSONDecoder().raw_decode
#: What no JSON raises; the second where it is nested too deeply.
_NO_JSON: Final = (ValueError, RecursionError)


@dataclass(frozen=True)
class JsonLines(Lines):
    """What the lines are in JSON; blank lines are none."""

    def batches(self, part: FileRange) -> Iterator[list[Any]]:
        """Yield what is in the lines, in lists."""
        read = 0
        for lines in self.lines(part):
            yield _parse(lines, part, read)
            read += len(lines)

    def lenient(self, part: FileRange) -> Iterator[list[Any]]:
        """Yield what is in the lines, an `Unreadable` for each that is no JSON."""
        for lines in super().lenient(part):
            yield [_parse_one(line) for line in lines if not _is_blank(line)]

    def place(self, part: FileRange, number: int) -> str:
        """Say which line it is. Reads the range once more, and what is before it."""
        return super().place(part, self._line_number(part, number))

    def byte(self, part: FileRange, number: int) -> int | None:
        """Return where its line starts."""
        return super().byte(part, self._line_number(part, number))

    def _line_number(self, part: FileRange, number: int) -> int:
        left = number
        for line_number, line in enumerate(chain.from_iterable(super().lenient(part))):
            if not _is_blank(line):
                if not left:
                    return line_number
                left -= 1
        return number


#: A reader of lines that are a JSON value each, for ``TextFiles(records=json_lines)``: the records
#: are what ``json.loads`` makes of them. Blank lines are skipped; another line that is no JSON is
#: an `InputError` that names it.
json_lines: Final = JsonLines()


def _parse(lines: Iterable[str], part: FileRange, lines_read: int) -> list[Any]:
    records = []
    for number, line in enumerate(lines):
        # A third faster than json.loads, which is for what has white space or errors in it.
        try:
            record, end = _decode(line)
        except _NO_JSON:
            end = -1
            record = None
        if end != len(line):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except _NO_JSON as error:
                line_number = lines_before(part) + lines_read + number + 1
                raise InputError(
                    f"{part.name}, line {line_number}: is no JSON: {error}: {shorten(line)}"
                ) from error
        records.append(record)
    return records


def _parse_one(line: str | Unreadable) -> Any:
    if isinstance(line, Unreadable):
        return line
    try:
        return json.loads(line)
    except _NO_JSON as error:
        return Unreadable(line, InputError(f"is no JSON: {error}"))


def _is_blank(line: str | Unreadable) -> bool:
    return isinstance(line, str) and not line.strip()


def lines_before(part: FileRange) -> int:
    """Count the lines of the file that start before this range."""
    if part.start == 0:
        return 0
    lines = 1
    left = part.start - 1  # a newline just before the range starts no line before it
    with part.open() as file:
        while left and (block := file.read(min(_READ_BYTES, left))):
            lines += block.count(b"\n")
            left -= len(block)
    return lines


def _blocks(part: FileRange) -> Iterator[tuple[int, bytes]]:
    """Yield the bytes of the lines in big blocks, each with its offset; an empty one ends them."""
    position, end = part.start, part.end
    with part.open() as file:
        if end is None:
            while block := file.read(_READ_BYTES):
                yield position, block
                position += len(block)
        else:
            for offset, block in _cut_blocks(file, position, end):
                yield offset, block
                position = offset + len(block)
    yield position, b""


def _cut_blocks(file: IO[bytes], position: int, end: int) -> Iterator[tuple[int, bytes]]:
    if position >= end:
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
