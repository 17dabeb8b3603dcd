"""Workplace: what a running task may use of the process and host it runs in."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tuplespace.pickles import dump_data
from tuplespace.security import Key
from workers.blocks import BlockReader, BlockWriter, Frame, Location
from workers.shared import read_shared, write_shared
from workers.task import INLINE_BYTES, SHARED_INLINE_BYTES, Parcel


class Workplace:
    """Given to every task's function beside its argument.

    Attributes:
        name: The worker's, as "host/pid". host: The host's. reader: Fetches blocks.
        memory: Bytes of data that a task may hold before it spills.

    Args:
        root: The folder of blocks of this space. uri: This host's block server; "" if there is
            none yet. near: The space's URI, if so.
    """

    def __init__(
        self, name: str, host: str, root: Path, uri: str, key: Key, near: str = "",
        memory: int = sys.maxsize,
    ) -> None:  # fmt: skip
        self.name, self.host, self.memory = name, host, memory
        self.reader = BlockReader(host, key, uri or near)
        self._root, self._uri = root, uri

    def block_file(self, job: str, name: str, inline_bytes: int = -1) -> BlockWriter:
        """Return a writer of one new block file of a job; see there."""
        return BlockWriter(self._root / job, name, inline_bytes)

    def location(self, path: Path) -> Location:
        """Return where others find a block file of this host."""
        return Location(self.host, str(path), self._uri)

    @contextmanager
    def scratch(self, job: str) -> Iterator[Callable[[], Path]]:
        """Give what returns a folder, made when it is first called and deleted with the block.

        A worker that dies leaves it to the sweep of the job's folder.
        """
        made: list[Path] = []

        def folder() -> Path:
            if not made:
                (self._root / job).mkdir(parents=True, exist_ok=True)
                made.append(Path(tempfile.mkdtemp(prefix="scratch-", dir=self._root / job)))
            return made[0]

        try:
            yield folder
        finally:
            for path in made:
                shutil.rmtree(path, ignore_errors=True)

    def send(self, job: str, name: str, value: object) -> Parcel:
        """Return a value as a parcel: pickled, in a block of its own if it is big."""
        return self.send_bytes(job, name, dump_data(value))

    def send_bytes(self, job: str, name: str, data: bytes, inline: int = INLINE_BYTES) -> Parcel:
        """Return bytes as a parcel, in a block of its own if they are more than `inline`."""
        if len(data) <= inline:
            return Parcel(data)
        with self.block_file(job, name) as file:
            frame = file.write(data)
        return Parcel(None, self.location(file.path), frame)

    def send_shared(self, job: str, data: bytes) -> Parcel:
        """Return bytes that many tasks need as a parcel, in a block under their hash if need be."""
        if len(data) <= SHARED_INLINE_BYTES:
            return Parcel(data)
        path, frame = write_shared(self._root, job, data)
        return Parcel(None, self.location(path), frame)

    def is_here(self, location: Location) -> bool:
        """Say whether this block file is on this host's disk."""
        return location.host == self.host and Path(location.path).exists()

    def receive(self, parcel: Parcel) -> bytes:
        """Return the bytes of a parcel.

        Raises:
            BlockLostError: Its block cannot be had.
        """
        if parcel.content is not None:
            return parcel.content
        assert parcel.location is not None
        assert parcel.frame is not None
        return self.reader.read(parcel.location, [parcel.frame])[0]

    def receive_shared(self, job: str, parcel: Parcel) -> bytes:
        """Return the bytes of a parcel that `send_shared` made, fetched once per host.

        Raises:
            BlockLostError: Its block cannot be had.
        """
        if parcel.content is not None:
            return parcel.content
        assert parcel.location is not None
        assert parcel.frame is not None
        return read_shared(self._root, job, parcel.location, parcel.frame, self.reader)

    def open_at(self, uri: str, path: str, size: int, mtime_ns: int) -> IO[bytes]:
        """Open an input file of the host whose block server this is; see `files`."""
        return self.reader.open_at(uri, path, size, mtime_ns)

    def distant_bytes(self) -> int:
        """Return how many bytes of input files came from other hosts so far."""
        return self.reader.distant_bytes

    def read(self, location: Location, frames: Iterable[Frame]) -> list[bytes]:
        """See `BlockReader.read`."""
        return self.reader.read(location, frames)
