"""Record readers: from the bytes of a file to records, other than lines.

A range owns the records that *start* in it, so ranges can be cut anywhere, without a look at the
file; see `textlines` for a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from typing import IO, Any, Final

from mapreduce.errors import InputError, InvalidJobError, MapReduceError, shorten
from mapreduce.inputs.compressed import is_compressed
from mapreduce.inputs.filerange import FileRange, InputFile
from workers.errors import WorkerError, summary

_READ_BYTES = 128 << 10  # the records of a block stay in the cache until they are used
_MOST_AT_ONCE: Final = 8192


@dataclass(frozen=True, repr=False)
class Unreadable:
    """What stands in a record's place that could not be read, where its reader can go on after it.

    Attributes:
        content: What is there. error: Why it is no record.
    """

    content: Any
    error: Exception

    def __repr__(self) -> str:
        return repr(self.content)


class Reader:
    """How the records in a range of a file are found. Picklable.

    Attributes:
        reads_empty: Whether an empty file may have a record. kind: What to call its records.
    """

    reads_empty: bool = False
    kind: str = "records"

    @property
    def cuttable(self) -> bool:
        """Whether they can be found from any byte of the file on."""
        return False

    def in_text(self, encoding: str, errors: str) -> Reader:
        """Return the same reader for files so encoded; see `TextFiles`."""
        return self

    def check(self, file: InputFile) -> None:
        """Refuse a file that cannot be right; the driver's look before the job starts.

        Raises:
            InputError: It cannot.
        """

    def batches(self, part: FileRange) -> Iterator[Iterable[Any]]:
        """Yield the records in runs, since a record should cost no yield.

        Raises:
            InputError: The file has vanished or changed, or does not have such records.
        """
        raise NotImplementedError

    def lenient(self, part: FileRange) -> Iterator[Iterable[Any]]:
        """Yield the records as `batches` does, an `Unreadable` for each that cannot be read."""
        return self.batches(part)

    def byte(self, part: FileRange, number: int) -> int | None:
        """Return at which byte of the (decompressed) file a record starts; None: nobody knows."""
        return None

    def place(self, part: FileRange, number: int) -> str:
        """Say which record of the file the one with this 0-based number in the range is."""
        return f"{part.name}, record {number}"


@dataclass(frozen=True)
class FixedLength(Reader):
    """Records of so many bytes each, cut at multiples of it from the file's start."""

    length: int

    @property
    def cuttable(self) -> bool:
        """They can."""
        return True

    def check(self, file: InputFile) -> None:
        """Refuse a size that is no multiple of the length."""
        size = file.file_size
        if size is not None and size % self.length and not is_compressed(file.suffixed):
            raise self._odd(file.name, size)

    def batches(self, part: FileRange) -> Iterator[Iterable[bytes]]:
        """Yield the records, as bytes."""
        position = self._first(part)
        stop = None if part.end is None else -(-part.end // self.length) * self.length
        if position == stop:
            return
        unpack, block_size = _unpacker(self.length, _READ_BYTES)
        with part.open() as file:
            if position:
                file.seek(position)
            while position != stop:
                wanted = block_size if stop is None else min(block_size, stop - position)
                block = file.read(wanted)
                position += len(block)
                if len(block) == block_size:
                    yield unpack(block)
                    continue
                starts = range(0, len(block), self.length)
                if len(block) % self.length:
                    raise self._odd(part.name, position)
                yield [block[start : start + self.length] for start in starts]
                if len(block) < wanted:
                    return

    def place(self, part: FileRange, number: int) -> str:
        """Say which record of the file it is, counted from 0, and its first byte."""
        start = self._first(part) + number * self.length
        return f"{part.name}, record {start // self.length} (byte {start})"

    def _first(self, part: FileRange) -> int:
        return -(-part.start // self.length) * self.length

    def _odd(self, name: str, size: int) -> InputError:
        return InputError(
            f"{name}: its {size} bytes are no multiple of {self.length}, so they are no records "
            f"of {self.length} bytes: the last one would have {size % self.length}"
        )


@lru_cache(maxsize=8)
def _unpacker(length: int, read_bytes: int) -> tuple[Callable[[bytes], tuple[Any, ...]], int]:
    """Return what cuts a block into records, twice as fast as slicing, and the block's size."""
    records = min(max(1, read_bytes // length), _MOST_AT_ONCE)
    struct = Struct(f"{length}s" * records)
    return struct.unpack, struct.size


class WholeFile(Reader):
    """One record a file: its name and its content."""

    reads_empty = True

    def batches(self, part: FileRange) -> Iterator[Iterable[tuple[str, bytes]]]:
        """Yield the record."""
        with part.open() as file:
            yield [(part.name, file.read())]

    def place(self, part: FileRange, number: int) -> str:
        """Say which file it is."""
        return part.name


@dataclass(frozen=True)
class Called(Reader):
    """The records that a function of the user's gets from an open file."""

    function: Callable[[IO[bytes]], Iterable[Any]]
    reads_empty = True

    def batches(self, part: FileRange) -> Iterator[Iterable[Any]]:
        """Yield the records, in one run: they may be large."""
        with part.open() as file:
            # The same wherever it is read: here, through the driver's block server, from a URL.
            named: Any = getattr(file, "raw", file)
            with suppress(AttributeError):  # one that cannot be set is the path that was opened
                named.name = part.name
            yield self._records(part, file)

    def _records(self, part: FileRange, file: IO[bytes]) -> Iterator[Any]:
        number = 0
        try:
            records = self.function(file)
            if records is None:
                raise TypeError("it returned None, where an iterable of records was due")
            for number, record in enumerate(records, 1):  # noqa: B007 - the handler needs it
                yield record
        except (MapReduceError, WorkerError):
            raise
        except Exception as error:
            raise InputError(
                f"{part.name}: the record reader {shorten(self.function)} failed after "
                f"{number} records: {summary(error)}"
            ) from error
        finally:
            file.close()  # before what the function wrapped it in, which would warn of it


def fixed_length(length: int) -> Reader:
    """Return a reader of records of ``length`` bytes each, for ``TextFiles(records=...)``.

    The records are bytes. A file whose size is no multiple of the length is an `InputError`.

    Raises:
        InvalidJobError: The length is no int from 1 on.
    """
    if type(length) is not int or length < 1:
        raise InvalidJobError(f"fixed_length takes a number of bytes from 1 on: {shorten(length)}")
    return FixedLength(length)


#: A reader of one record a file, a pair of its name (str) and its content, decompressed (bytes).
whole_file: Final = WholeFile()
