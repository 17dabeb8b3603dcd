"""Compressed files: what their names tell, and how they are read."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import IO, Any, Final

from mapreduce.errors import InputError

#: What reading a file raises that is damaged, or cannot be had.
UNREADABLE: Final = (OSError, EOFError, zlib.error, lzma.LZMAError)

# Compressed well, one byte becomes thousands; so much is given to a decompressor at a time.
_FEED_BYTES: Final = 16 << 10
_BUFFER_BYTES: Final = 128 << 10
_MAX_ZSTD_WINDOW: Final = 1 << 31  # what `zstd --long=31` makes; by default more than 128 MiB fail


def is_compressed(name: str) -> bool:
    """Say whether the file's name ends as those of compressed files do."""
    return _suffix(name) in _OPEN


def open_plain(file: IO[bytes], name: str) -> IO[bytes]:
    """Return what is in the file: itself, or its content decompressed.

    Raises:
        InputError: A package that it takes is not installed.
    """
    open_it = _OPEN.get(_suffix(name))
    return file if open_it is None else open_it(file)


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


class _Decompressed(io.RawIOBase):
    """The content of a file of compressed frames, one after the other.

    Args:
        file: It. make: Makes what decompresses one frame. error: What that raises.
    """

    def __init__(self, file: IO[bytes], make: Callable[[], Any], error: type[Exception]) -> None:
        super().__init__()
        self._file, self._make, self._error = file, make, error
        self._decompressor: Any = None
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes; see `io.RawIOBase.readinto`."""
        while not self._ready:
            rest = b"" if self._decompressor is None else self._decompressor.unused_data
            ended = self._decompressor is None or self._decompressor.eof
            data = (ended and rest) or self._file.read(_FEED_BYTES)
            if not data and ended:
                return 0
            if not data:
                raise EOFError("it ends in the middle of its compressed data")
            if ended:
                self._decompressor = self._make()
            try:
                self._ready = memoryview(self._decompressor.decompress(data))
            except self._error as error:
                raise OSError(str(error)) from error
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count


def _frames(file: IO[bytes], make: Callable[[], Any], error: type[Exception]) -> IO[bytes]:
    return io.BufferedReader(_Decompressed(file, make, error), _BUFFER_BYTES)


def _open_zstd(file: IO[bytes]) -> IO[bytes]:
    try:
        import zstandard
    except ImportError:
        pass
    else:
        options = zstandard.ZstdDecompressor(max_window_size=_MAX_ZSTD_WINDOW)
        return _frames(file, options.decompressobj, zstandard.ZstdError)
    try:
        from compression import zstd  # since Python 3.14
    except ImportError:
        raise _missing(".zst", "zstandard") from None
    limit = {zstd.DecompressionParameter.window_log_max: _MAX_ZSTD_WINDOW.bit_length() - 1}
    return _frames(file, lambda: zstd.ZstdDecompressor(options=limit), zstd.ZstdError)


def _open_lz4(file: IO[bytes]) -> IO[bytes]:
    try:
        from lz4.frame import LZ4FrameDecompressor
    except ImportError:
        raise _missing(".lz4", "lz4") from None
    return _frames(file, LZ4FrameDecompressor, RuntimeError)


def _missing(suffix: str, package: str) -> InputError:
    return InputError(
        f"reading {suffix} files takes the package {package}, which is not installed here: "
        f"pip install 'tuplemill[compress]'"
    )


_OPEN: Final[dict[str, Callable[[IO[bytes]], Any]]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".lzma": lzma.open,
    ".zst": _open_zstd,
    ".lz4": _open_lz4,
}
