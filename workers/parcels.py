"""Parcels written and read as files: in frames, so that nobody holds all of a big one.

A parcel's frames lie one after the other from the start of its block file, so the file is the
same bytes as the parcel, whoever copies it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from workers.blocks import FRAME_BYTES, BlockWriter, Frame, Location, digest
from workers.errors import BlockLostError
from workers.task import INLINE_BYTES, Parcel


class ParcelWriter(io.RawIOBase):
    """A file whose bytes become a parcel; closed without `finish`, it leaves nothing.

    Args:
        new_file: Makes the block file, once it is sure to need one. locate: Says where that is.
    """

    def __init__(
        self, new_file: Callable[[], BlockWriter], locate: Callable[[Path], Location]
    ) -> None:
        super().__init__()
        self._new_file, self._locate = new_file, locate
        self._file: BlockWriter | None = None
        self._pending = bytearray()
        self._frames: list[Frame] = []
        self._size = 0

    def writable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Return how many bytes it has taken."""
        return self._size

    def write(self, data: Any, /) -> int:
        """Take some bytes; all of them, at once."""
        with memoryview(data).cast("B") as view:
            size = len(view)
            start = 0
            while len(self._pending) + size - start >= FRAME_BYTES:
                end = start + FRAME_BYTES - len(self._pending)
                self._pending += view[start:end]
                self._write_frame()
                start = end
            self._pending += view[start:]
        self._size += size
        return size

    def _write_frame(self) -> None:
        if self._file is None:
            self._file = self._new_file()
        self._frames.append(self._file.write(bytes(self._pending)))
        self._pending.clear()

    def finish(self) -> Parcel:
        """End it and return the parcel."""
        if self._file is None and self._size <= INLINE_BYTES:
            return Parcel(bytes(self._pending))
        if self._pending:
            self._write_frame()
        file, self._file = self._file, None
        assert file is not None
        file.__exit__(None, None, None)
        return Parcel(None, self._locate(file.path), tuple(self._frames))

    def close(self) -> None:
        """Drop it, unless it is finished."""
        file, self._file = self._file, None
        if file is not None:
            file.__exit__(BlockLostError, None, None)
        super().close()

    def __enter__(self) -> ParcelWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()


class FramesFile(io.RawIOBase):
    """A file of this host's that consists of frames, each checked before any of it is given out.

    Args:
        path: Its. frames: Them, in order.

    Raises:
        BlockLostError: While it is read: it is damaged or gone.
    """

    def __init__(self, path: Path, frames: Sequence[Frame]) -> None:
        super().__init__()
        self._path = path
        self._left = list(reversed(frames))
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes; see `io.RawIOBase.readinto`."""
        while not self._piece and self._left:
            self._piece = memoryview(self._read(self._left.pop()))
        size = min(len(buffer), len(self._piece))
        buffer[:size] = self._piece[:size]
        self._piece = self._piece[size:]
        return size

    def _read(self, frame: Frame) -> bytes:
        try:
            with open(self._path, "rb") as file:
                file.seek(frame.offset)
                data = file.read(frame.length)
        except OSError as error:
            raise BlockLostError(f"{self._path} cannot be read: {error}") from None
        if digest(data) != frame.digest:
            raise BlockLostError(f"{self._path} is damaged")
        return data


def open_frames(path: Path, frames: Sequence[Frame]) -> IO[bytes]:
    """Return a buffered file over a `FramesFile`."""
    return io.BufferedReader(FramesFile(path, frames))
