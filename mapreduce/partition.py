"""Which partition a key belongs to: a hash that is the same everywhere.

Python's own ``hash`` differs between processes (PYTHONHASHSEED) and builds, so it cannot say
which reduce task a key goes to. ``stable_hash`` can. Like ``hash`` it agrees where keys are equal.

A hash is xxh64 over the value's bytes, and the *seed* tells the kinds apart, so that ``"a"`` and
``b"a"`` differ. A container is hashed over the 8-byte hashes of what it holds: fixed widths need
no separators, and ``("ab", "c")`` cannot be mistaken for ``("a", "bc")``.

Changing any number below moves keys between partitions: the results of old jobs no longer line up
with those of new ones.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import math
import numbers
import operator
import struct
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from xxhash import xxh64_intdigest

from mapreduce.errors import PartitionError, UnstableKeyError, shorten

Partitioner = Callable[[Any, int], int]
"""Gets a key and R; returns 0..R-1."""

_STR, _BYTES, _INT, _NONE, _FLOAT, _RATIO, _INFINITY, _COMPLEX = range(8)
_TUPLE, _FROZENSET, _UUID, _DATE, _NAIVE, _AWARE, _ENUM, _FLAG = range(8, 16)

_EPOCH = datetime.datetime(1970, 1, 1)  # noqa: DTZ001 - what naive times are measured from
_EPOCH_UTC = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_MICROSECOND = datetime.timedelta(microseconds=1)

_DECIMAL_EXPONENT_LIMIT = 10_000
_INSTEAD: dict[type, str] = {
    list: "a tuple",
    set: "a frozenset",
    dict: "a tuple of its sorted items",
    bytearray: "bytes",
    memoryview: "bytes",
}


def stable_hash(key: Any) -> int:
    """Return an unsigned 64-bit hash, the same on every machine and in every process.

    Equal keys have equal hashes: ``1``, ``1.0``, ``True``, ``Decimal(1)`` and ``Fraction(1)`` do.

    Args:
        key: None, a number, str, bytes, UUID, date, datetime or Enum member, or a tuple or
            frozenset of such.

    Raises:
        UnstableKeyError: The key is something else, or NaN, which does not even equal itself.
    """
    kind = type(key)
    if kind is str:
        try:
            return xxh64_intdigest(key.encode())
        except UnicodeEncodeError:  # lone surrogates, as in file names
            return xxh64_intdigest(key.encode("utf-8", "surrogatepass"))
    if kind is int:
        return _hash_int(key)
    if kind is bytes:
        return xxh64_intdigest(key, _BYTES)
    if kind is tuple:
        return _hash_hashes(map(stable_hash, key), _TUPLE)
    return _hash_other(key)


def hash_partition(key: Any, R: int) -> int:  # noqa: N803 - R, as in the paper
    """Return the partition of a key: its stable hash modulo R. The default partitioner."""
    return stable_hash(key) % R


def check_partition(value: Any, key: Any, R: int) -> int:  # noqa: N803 - R, as in the paper
    """Return what a user's partitioner said as an int in 0..R-1.

    Raises:
        PartitionError: It is no int (a bool is none), or outside the range.
    """
    try:
        # A bool is what `lambda key, R: key > 5` returns: more likely a slip than a number.
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or not 0 <= number < R:
        msg = (
            f"the partitioner returned {shorten(value)} for key {shorten(key)}: "
            f"expected an int in 0..{R - 1} (R is {R})"
        )
        raise PartitionError(msg)
    return number


def _hash_other(key: Any) -> int:
    """Hash what is not exactly a str, int, bytes or tuple, subclasses of those included."""
    if key is None:
        return xxh64_intdigest(b"", _NONE)
    if isinstance(key, enum.Enum) and type(key).__eq__ is object.__eq__:
        return _hash_enum(key)  # an IntEnum equals its int, so it is hashed as one below
    for kind, hash_kind in _KINDS:
        if isinstance(key, kind):
            return hash_kind(key)
    raise _unstable(key)


def _hash_int(value: int, seed: int = _INT) -> int:
    try:
        return xxh64_intdigest(value.to_bytes(8, "little", signed=True), seed)
    except OverflowError:
        size = value.bit_length() // 8 + 1
        return xxh64_intdigest(value.to_bytes(size, "little", signed=True), seed)


def _hash_hashes(hashes: Iterable[int], seed: int) -> int:
    parts = list(hashes)
    return xxh64_intdigest(struct.pack(f"<{len(parts)}Q", *parts), seed)


def _hash_number(key: Any) -> int:
    """Hash a number by its value: an int as one, else a float as one, else as a ratio."""
    if isinstance(key, numbers.Integral):
        return _hash_int(int(key))
    if isinstance(key, numbers.Complex) and not isinstance(key, numbers.Real):
        if key.imag == 0:
            return stable_hash(key.real)
        return _hash_hashes((stable_hash(key.real), stable_hash(key.imag)), _COMPLEX)
    if _is_nan(key):
        raise _unstable(key)
    if isinstance(key, decimal.Decimal):
        # 1E+999999999 equals an int of 400 MB.
        if key.is_finite() and key and abs(key.adjusted()) > _DECIMAL_EXPONENT_LIMIT:
            raise _unstable(key)
    elif not hasattr(key, "as_integer_ratio"):
        raise _unstable(key)
    try:
        numerator, denominator = key.as_integer_ratio() if key else (0, 1)
    except OverflowError:
        return _hash_int(1 if key > 0 else -1, _INFINITY)
    if denominator == 1:
        return _hash_int(int(numerator))
    return _hash_ratio(int(numerator), int(denominator))


def _hash_ratio(numerator: int, denominator: int) -> int:
    try:
        nearest = numerator / denominator
    except OverflowError:
        nearest = math.inf
    # Equal numbers are equal ratios; those a float can hold take the short way.
    if math.isfinite(nearest) and nearest.as_integer_ratio() == (numerator, denominator):
        return xxh64_intdigest(struct.pack("<d", nearest), _FLOAT)
    return _hash_hashes((_hash_int(numerator), _hash_int(denominator)), _RATIO)


def _hash_datetime(key: datetime.datetime) -> int:
    if key.utcoffset() is None:
        return _hash_int((key.replace(tzinfo=None) - _EPOCH) // _MICROSECOND, _NAIVE)
    return _hash_int((key - _EPOCH_UTC) // _MICROSECOND, _AWARE)


def _hash_enum(key: enum.Enum) -> int:
    # Without the module: in the script that made it, that is __main__, and in a worker it is not.
    name = type(key).__qualname__
    if isinstance(key, enum.Flag):  # combined flags have no name, or another one in each Python
        return _hash_hashes((stable_hash(name), stable_hash(key.value)), _FLAG)
    return _hash_hashes((stable_hash(name), stable_hash(key.name)), _ENUM)


# In order: a datetime is a date, too. Subclasses equal their plain selves: a named tuple its tuple.
_KINDS: tuple[tuple[type, Callable[[Any], int]], ...] = (
    (numbers.Number, _hash_number),
    (str, lambda key: stable_hash(str.__str__(key))),
    (bytes, lambda key: xxh64_intdigest(key, _BYTES)),
    (tuple, lambda key: _hash_hashes(map(stable_hash, key), _TUPLE)),
    (frozenset, lambda key: _hash_hashes(sorted(map(stable_hash, key)), _FROZENSET)),
    (uuid.UUID, lambda key: xxh64_intdigest(key.bytes, _UUID)),
    (datetime.datetime, _hash_datetime),
    (datetime.date, lambda key: _hash_int(key.toordinal(), _DATE)),
)


def _is_nan(key: Any) -> bool:
    if isinstance(key, decimal.Decimal):  # a signalling NaN raises even when it is compared
        return key.is_nan()
    return bool(key != key)


def _unstable(key: Any) -> UnstableKeyError:
    kind = type(key)
    if isinstance(key, numbers.Number) and _is_nan(key):
        return UnstableKeyError(
            f"NaN ({kind.__name__}) cannot be a key, it does not even equal itself: "
            f"use None or a str instead"
        )
    if isinstance(key, decimal.Decimal):
        return UnstableKeyError(f"{key} has too large an exponent for a key: use a str instead")
    instead = next(
        (better for unstable, better in _INSTEAD.items() if isinstance(key, unstable)),
        "a str, a number, or a tuple of what makes it equal",
    )
    return UnstableKeyError(
        f"{_name(kind)} cannot be a key, it has no hash that is the same "
        f"on every machine: use {instead} instead (got {shorten(key)})"
    )


def _name(kind: type) -> str:
    plain = kind.__module__ == "builtins"
    return kind.__qualname__ if plain else f"{kind.__module__}.{kind.__qualname__}"
