"""Columns as bytes: what one frame of a block holds.

::

    kind of keys (1 byte), kind of values (1), length of the keys' bytes (8), keys, values

Pickle spends its time on one object after the other. Columns of text, or of bytes of one length,
need not: they are laid end to end and cut again in a few calls. All else is pickled, so a column
comes back as it was whatever it holds; only exact types go the short way.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache
from itertools import chain
from typing import Any, Final

from tuplespace.pickles import dump_data, load

Columns = tuple[list[Any], list[Any]]
"""The keys and the values of some pairs, in the order of the pairs."""

Dealt = Mapping[int, Columns]
"""The columns of each partition that has any pairs, by its number, in ascending order."""

_HEAD: Final = struct.Struct("<ccQ")
_COUNT: Final = struct.Struct("<Q")
_TOGETHER, _PICKLED, _TEXT, _BYTES = b"2", b"p", b"t", b"b"
_SEPARATOR: Final = "\0"
#: So many are cut at once; more cost a longer format to no gain.
_CUT: Final = 1000


def encode(columns: Columns) -> bytes:
    """Return columns as bytes."""
    keys, values = columns
    key_kind, key_bytes = _encode_column(keys)
    value_kind, value_bytes = _encode_column(values)
    if key_kind == value_kind == _PICKLED:  # one pickle, so that what both refer to goes once
        return _HEAD.pack(_TOGETHER, _TOGETHER, 0) + dump_data(columns)
    if key_kind == _PICKLED:
        key_bytes = dump_data(keys)
    elif value_kind == _PICKLED:
        value_bytes = dump_data(values)
    head = _HEAD.pack(key_kind, value_kind, len(key_bytes))
    return b"".join((head, key_bytes, value_bytes))


def decode(data: bytes | memoryview) -> Columns:
    """Return the columns that `encode` was given. The bytes must be checked: they may be a pickle."""
    key_kind, value_kind, length = _HEAD.unpack_from(data)
    body = memoryview(data)[_HEAD.size :]
    if key_kind == _TOGETHER:
        columns: Columns = load(body)
        return columns
    return _decode_column(key_kind, body[:length]), _decode_column(value_kind, body[length:])


def _encode_column(column: list[Any]) -> tuple[bytes, bytes]:
    """Return its kind and its bytes; none if it is to be pickled."""
    kinds = set(map(type, column))
    if kinds == {str}:
        joined = _SEPARATOR.join(column)
        if joined.count(_SEPARATOR) == len(column) - 1:
            try:
                return _TEXT, joined.encode()
            except UnicodeEncodeError:  # lone surrogates, as in file names
                pass
    elif kinds == {bytes} and column[0] and len(set(map(len, column))) == 1:
        return _BYTES, _COUNT.pack(len(column[0])) + b"".join(column)
    return _PICKLED, b""


def _decode_column(kind: bytes, body: memoryview) -> list[Any]:
    if kind == _PICKLED:
        column: list[Any] = load(body)
        return column
    if kind == _TEXT:
        return str(body, "utf-8").split(_SEPARATOR)
    (length,) = _COUNT.unpack_from(body)
    body = body[_COUNT.size :]
    even = len(body) - len(body) % (length * _CUT)
    items = list(chain.from_iterable(_cutter(length).iter_unpack(body[:even])))
    items += chain.from_iterable(struct.iter_unpack(f"{length}s", body[even:]))
    return items


@lru_cache(maxsize=8)
def _cutter(length: int) -> struct.Struct:
    return struct.Struct(f"{length}s" * _CUT)
