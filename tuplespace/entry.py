"""What the space stores: an entry is a tuple with its id and lease; a claim is who holds it."""

from __future__ import annotations

import math
from collections.abc import Hashable
from sys import getsizeof
from typing import Any, Final

from tuplespace.errors import InvalidArgumentError, InvalidTupleError
from tuplespace.values import DEPTH, SCALARS, Opaque, Tuple, brief, shape_of

#: Weights are kept in units of so many bytes, because Python keeps small ints but once.
WEIGHT_UNIT: Final = 64
#: What a lease adds to it.
LEASE_WEIGHT: Final = 4
# Measured with a million tuples: the entry, its places in line, in a dict and in an index.
_ENTRY_BYTES: Final = 300
# A dict tuple remembers its keys, which may be nobody else's.
_KEYS_BYTES: Final = 500
_FOR_EVER: Final = 1e9


class Claim:
    """A take that waits for its confirm.

    Attributes:
        token: The fencing number: never used again once the claim has ended.
        session: Whoever holds it. lease: Seconds it lives unless renewed.
    """

    __slots__ = ("lease", "session", "token")

    def __init__(self, token: int, session: Any, lease: float) -> None:
        self.token, self.session, self.lease = token, session, lease


class Entry:
    """A stored tuple. Its id is its place in line: older entries have smaller ids.

    Attributes:
        written: When it was stored. expires: When its own lease ends, or infinity. Both by the
            space's clock.
        claim: Who holds it; None while it is ready. weight: What it takes of memory, in
            WEIGHT_UNIT s.
    """

    __slots__ = ("claim", "expires", "id", "shape", "value", "weight", "written")

    def __init__(
        self, id: int, value: Tuple, written: float, expires: float, weight: int = 0
    ) -> None:
        self.id, self.value, self.written, self.expires = id, value, written, expires
        self.weight = weight
        self.shape: Hashable = shape_of(value)
        self.claim: Claim | None = None


def weight_of(value: Tuple) -> int:
    """Return about what an entry of this tuple takes of memory, in WEIGHT_UNIT s.

    Raises:
        InvalidTupleError: It is nested too deeply.
    """
    if type(value) is tuple and SCALARS.issuperset(map(type, value)):
        size = getsizeof(value) + sum(map(getsizeof, value))
    else:
        size = _size_of(value, DEPTH + 1)
        if type(value) is dict:
            size += _KEYS_BYTES
    return (_ENTRY_BYTES + size) // WEIGHT_UNIT + 1


def _size_of(value: Any, left: int) -> int:
    """Return the bytes of a value with all that is in it."""
    kind = type(value)
    if kind in SCALARS:
        return getsizeof(value)
    if not left:
        raise InvalidTupleError(f"a tuple is nested at most {DEPTH} deep")
    size = getsizeof(value)
    if kind is dict:
        size += sum(_size_of(key, left - 1) for key in value)
        value = value.values()
    elif kind is Opaque:
        value = (value.sealed,)
    return size + sum(_size_of(each, left - 1) for each in value)


def check_seconds(name: str, seconds: Any) -> float:
    """Return a lease or timeout as float seconds, infinity for None.

    Raises:
        InvalidArgumentError: It is no number, negative or not a number.
    """
    if seconds is None:
        return math.inf
    if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and seconds >= 0:
        # Longer than any clock goes is for ever; an int may be too large for a float.
        return float(seconds) if seconds < _FOR_EVER else math.inf
    raise InvalidArgumentError(f"{name} is None or seconds >= 0, not {brief(seconds)}")


def check_timeout(seconds: Any) -> float:
    """Return a timeout as float seconds; below 0 is 0, as deadlines that passed give."""
    if isinstance(seconds, (int, float)) and seconds < 0:
        return 0.0
    return check_seconds("timeout", seconds)


def check_limit(limit: Any) -> int:
    """Return a limit.

    Raises:
        InvalidArgumentError: It is no int >= 1.
    """
    if isinstance(limit, int) and not isinstance(limit, bool) and limit >= 1:
        return limit
    raise InvalidArgumentError(f"limit is an int >= 1, not {brief(limit)}")
