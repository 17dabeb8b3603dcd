"""The store that keeps nothing: what is in the space dies with its process."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from tuplespace.store.interface import Change, Contents, StoreError


class MemoryStore:
    """A `Store` whose space begins empty; see there."""

    name = "memory"
    keeps = False
    failure: StoreError | None = None

    def __init__(self) -> None:
        self.position = self.durable = 0

    def load(self) -> Contents:
        """Return the contents of a fresh space."""
        return Contents(secrets.token_hex(8), 1, 0.0, (), [], [])

    def start(self, wake: Callable[[], None]) -> None:
        """Do nothing: nothing ever changes."""

    def append(self, changes: list[Change], now: float) -> int:
        """Keep nothing."""
        return self.position

    def shortage(self) -> str:
        """Return "": memory has limits of its own, see `limits`."""
        return ""

    def close(self) -> None:
        """Do nothing."""
