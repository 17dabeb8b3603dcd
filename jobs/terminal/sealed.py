"""A client that leaves opaque fields closed: whoever only looks into a space unpickles nothing.

Nothing that somebody has written can then end a command that shows it, or run in it.
"""

from __future__ import annotations

from typing import Any

from tuplespace import RemoteSpace, connect
from tuplespace.opaque import Opener
from tuplespace.values import Opaque


def look_into(
    uri: str = "", name: str = "", key_file: str = "", retry_for: float = 60.0
) -> SealedSpace:
    """Connect as `tuplespace.connect` does, with the options of a command.

    Raises:
        TupleSpaceError: As `tuplespace.connect` raises it.
    """
    with connect(uri or None, name=name or None, key_file=key_file or None) as found:
        return SealedSpace(found, retry_for)


class SealedSpace(RemoteSpace):
    """A `RemoteSpace` whose opaque fields are `Opaque` s, which can be written again as they are.

    Args:
        found: The space. retry_for: See `tuplespace.connect`.
    """

    def __init__(self, found: RemoteSpace, retry_for: float = 60.0) -> None:
        super().__init__(found.uri, found.key, retry_for, found.name)
        self._opener = _Closed(found.key)


class _Closed(Opener):
    """Opens nothing."""

    def restore(self, sealed: bytes) -> Any:
        return Opaque(sealed)

    def _plain(self, value: Any, left: int) -> Any:
        return value if type(value) is Opaque else super()._plain(value, left)
