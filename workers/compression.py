"""Compression of what travels between hosts; on one host nothing is compressed.

LZ4 and zstandard come with the extra ``tuplemill[compress]``. Who asks says what it can read, so
hosts with and without them work together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache
from typing import Any, Final

#: Nothing is gained below.
_LEAST: Final = 1024


class _Codec:
    def __init__(
        self, compress: Callable[[bytes], bytes], decompress: Callable[[bytes, int], bytes]
    ) -> None:
        self.compress, self.decompress = compress, decompress


@cache
def _codecs() -> dict[str, _Codec]:
    """Return those that are installed, the fastest first."""
    found: dict[str, _Codec] = {}
    try:
        from lz4 import block
    except ImportError:
        pass
    else:
        found["lz4"] = _Codec(
            lambda data: block.compress(data, store_size=False),
            lambda data, size: block.decompress(data, uncompressed_size=size),
        )
    try:
        import zstandard
    except ImportError:
        pass
    else:
        found["zstd"] = _Codec(
            lambda data: zstandard.ZstdCompressor(level=1).compress(data),
            _unpack_zstd,
        )
    return found


def _unpack_zstd(data: bytes, size: int) -> bytes:
    import zstandard

    # Before it is unpacked: max_output_size is not heeded where the header names a size.
    if zstandard.frame_content_size(data) > size:
        raise ValueError("it says to be larger")
    return zstandard.ZstdDecompressor().decompress(data, max_output_size=size)


def known() -> tuple[str, ...]:
    """Return the names of the codecs there are here, the best first."""
    return tuple(_codecs())


def compress(data: bytes, accepted: Collection[str]) -> tuple[str, bytes]:
    """Return the bytes compressed as the reader accepts it: the codec's name, "" for none, and them."""
    name = next((name for name in known() if name in accepted), "")
    if not name or len(data) < _LEAST:
        return "", data
    smaller = _codecs()[name].compress(data)
    return (name, smaller) if len(smaller) < len(data) else ("", data)


def decompress(name: str, data: Any, size: int) -> bytes:
    """Return the bytes that were compressed.

    Args:
        name: The codec's. size: How many bytes come out; what makes more is refused.

    Raises:
        ValueError: They are no such bytes.
    """
    if not name:
        return bytes(data)
    codec = _codecs().get(name)
    if codec is None:
        raise ValueError(f"compressed as {name!r}, which nobody asked for")
    try:
        plain = codec.decompress(data, size)
    except Exception as error:  # noqa: BLE001  # each library has errors of its own
        raise ValueError(f"damaged on its way: {error}") from None
    if len(plain) > size:
        raise ValueError("damaged on its way: more bytes than were asked for")
    return plain
