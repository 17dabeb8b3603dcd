"""What the space stores: an entry is a tuple with its id and lease; a claim is who holds it."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

from tuplespace.errors import InvalidArgumentError
from tuplespace.template import Tuple, shape_of

_FOR_EVER = 1e9


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
        claim: Who holds it; None while it is ready.
    """

    __slots__ = ("claim", "expires", "id", "shape", "value", "written")

    def __init__(self, id: int, value: Tuple, written: float, expires: float) -> None:
        self.id, self.value, self.written, self.expires = id, value, written, expires
        self.shape: Hashable = shape_of(value)
        self.claim: Claim | None = None


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
    raise InvalidArgumentError(f"{name} is None or seconds >= 0, not {seconds!r}")


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
    raise InvalidArgumentError(f"limit is an int >= 1, not {limit!r}")
