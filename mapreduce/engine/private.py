"""Private: how a driver writes to a space that ends with it, where nobody could take over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mapreduce.records import Event
from tuplespace import errors
from tuplespace.interface import Handle, Space


class Private:
    """What `Tenure` is, without token and ledger; see there."""

    def __init__(self, space: Space) -> None:
        self._space = space

    def begin(self) -> None:
        """See `Tenure.begin`."""

    def check(self) -> None:
        """See `Tenure.check`."""

    def stand(self) -> None:
        """See `Tenure.stand`."""

    def record(self, event: Event) -> None:
        """See `Tenure.record`: nobody would read it."""

    def write(self, tuples: Sequence[tuple[Any, ...]]) -> Sequence[Handle]:
        """See `Tenure.write`."""
        return self._space.write_many(tuples)

    def take(self, template: Any, limit: int, timeout: float) -> list[Any]:
        """See `Tenure.take`."""
        try:
            return self._space.take_many(template, limit, timeout)
        except errors.MatchTimeoutError:
            return []

    def taken_in(self) -> None:
        """See `Tenure.taken_in`."""

    def lift(self, template: Any, replacement: tuple[Any, ...]) -> bool:
        """See `Tenure.lift`."""
        try:
            self._space.swap(template, replacement)
        except (errors.MatchTimeoutError, errors.SpaceFullError):
            return False
        return True

    def end(self) -> None:
        """See `Tenure.end`."""

    def release(self) -> None:
        """See `Tenure.release`."""
