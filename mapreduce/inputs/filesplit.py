"""A planned split whose records are in files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sized
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import IO

from mapreduce.inputs.counted import Records
from mapreduce.inputs.filerange import FileRange, LocalFile
from mapreduce.inputs.readers import Reader
from workers.task import Parcel
from workers.workplace import Workplace

#: (block server, path, size, mtime_ns) -> the file on the block server's host
OpenAt = Callable[[str, str, int, int], IO[bytes]]


@dataclass(frozen=True)
class FileSplit:
    """The records of some ranges of files, one range after the other.

    Attributes:
        ranges: Them. reader: What finds the records. affinity, wait: See `Split`.
        home: A block server of the driver's host that hands out the files; empty: none does.
    """

    ranges: tuple[FileRange, ...]
    reader: Reader
    affinity: str | None = None
    home: str = ""
    wait: float = 0.0

    @property
    def blocks(self) -> tuple[Parcel, ...]:
        """None."""
        return ()

    @property
    def files(self) -> tuple[str, ...]:
        """The paths it reads of the driver's host: URLs are not among them."""
        return tuple(part.file.path for part in self.ranges if isinstance(part.file, LocalFile))

    def at_home(self, uri: str) -> FileSplit:
        """Return the same split, whose files the block server at this URI has."""
        return replace(self, home=uri)

    def read_by(self, workplace: Workplace) -> FileSplit:
        """Return the same split."""
        return self

    @property
    def size(self) -> int:
        """How many bytes of the files the split spans."""
        return sum(part.size for part in self.ranges)

    def records(self, open_at: OpenAt | None = None, *, lenient: bool = False) -> Records:
        """Return the records.

        Args:
            open_at: See `PlannedSplit`. lenient: An `Unreadable` stands for each that cannot be
                read, where the reader can go on after it.

        Raises:
            InputError: While they are read: a file has vanished or changed since the job was
                planned, or does not have such records.
        """
        read = self.reader.lenient if lenient else self.reader.batches
        runs = (read(part) for part in self._readable(open_at))
        return Records.of(chain.from_iterable(runs))

    def describe(self) -> str:
        """Say which records these are, in a few words."""
        if not self.ranges:
            return "no records"
        others = len(self.ranges) - 1
        more = f" (+{others} file{'s' if others > 1 else ''})" if others else ""
        return f"{self.reader.kind} of {self.ranges[0]}{more}"

    def locate(
        self, position: int, open_at: OpenAt | None = None, *, with_byte: bool = False
    ) -> str:
        """Say which line or record of which file a record is. Reads the files once more."""
        left = position
        for part in self._readable(open_at):
            number = 0
            for records in self.reader.lenient(part):
                count = len(records) if isinstance(records, Sized) else sum(1 for _ in records)
                if left < count:
                    place = self.reader.place(part, number + left)
                    byte = self.reader.byte(part, number + left) if with_byte else None
                    return place if byte is None else f"{place}, byte {byte}"
                left -= count
                number += count
        return f"record {position} of the {self.describe()}"

    def _readable(self, open_at: OpenAt | None) -> Iterable[FileRange]:
        if open_at is None or not self.home:
            return self.ranges
        elsewhere = partial(open_at, self.home)
        return (replace(part, elsewhere=elsewhere) for part in self.ranges)
