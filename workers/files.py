"""Input files of the driver's host, read from another host through the driver's block server.

A worker opens a path only if size and time of change are what the driver saw; where they are not,
because it is another host's disk, it reads the same bytes from here.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import IO, Any, Final

#: (path, size, mtime_ns as the driver saw them) -> the file, open for reading.
OpenElsewhere = Callable[[str, int, int], IO[bytes]]

_BUFFER_BYTES: Final = 1 << 20


class DistantFile(io.RawIOBase):
    """A file that is elsewhere, for sequential reading with seeks.

    Args:
        fetch: Returns up to so many bytes from an offset on. size: The file's.
    """

    def __init__(self, fetch: Callable[[int, int], bytes], size: int) -> None:
        super().__init__()
        self._fetch, self._size = fetch, size
        self._position = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; see `io.IOBase.seek`."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read some bytes; see `io.RawIOBase.readinto`."""
        wanted = min(len(buffer), self._size - self._position)
        if wanted <= 0:
            return 0
        data = self._fetch(self._position, wanted)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def readall(self) -> bytes:
        """Read the rest, in pieces as large as may be; see `io.RawIOBase.readall`."""
        pieces = []
        while self._position < self._size:
            piece = self._fetch(self._position, self._size - self._position)
            if not piece:
                break
            self._position += len(piece)
            pieces.append(piece)
        return b"".join(pieces)


def open_distant(
    fetch: Callable[[int, int], bytes], size: int, buffer_bytes: int = _BUFFER_BYTES
) -> IO[bytes]:
    """Return a buffered file over a `DistantFile`; so many bytes are fetched at a time."""
    return io.BufferedReader(DistantFile(fetch, size), buffer_bytes)
