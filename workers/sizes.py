"""Sizes of memory as people write them, and as they read them."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

from tuplespace.errors import InvalidArgumentError

_SIZE: Final = re.compile(r"\s*(\d{1,18}(?:\.\d{1,18})?)\s*([KMGT]?)(i?)(B?)\s*", re.IGNORECASE)


def parse_size(size: object) -> int:
    """Return the bytes in a size.

    Args:
        size: An int of bytes, or a text: "200MB" and "1.5 GB" count by thousands, "512MiB" and, as
            in ``--limit bytes=4G``, a letter alone by 1024.

    Raises:
        InvalidArgumentError: It is neither, or less than a byte.
    """
    if type(size) is int and size > 0:
        return size
    found = _SIZE.fullmatch(size) if isinstance(size, str) else None
    if found is not None:
        number, letter, binary, b = found.groups()
        step = 1000 if b and not binary else 1024
        whole = int(Fraction(number) * step ** " KMGT".index(letter.upper() or " "))
        if whole > 0 and (letter or not binary):
            return whole
    raise InvalidArgumentError(
        f"{size!r} is no size of memory; write bytes as an int, or a text like '200MB', '1.5 GB' or "
        "'512MiB'"
    )


def in_words(size: int) -> str:
    """Return a size as people read it, in whole MB, rounded up."""
    return f"{-(-size // 10**6):,} MB"
