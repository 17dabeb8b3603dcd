"""A space that has moved: one that the ring has found may be started again elsewhere."""

from __future__ import annotations

from contextlib import suppress

from tuplespace import errors
from tuplespace.client import RemoteSpace
from tuplespace.connect import connect


def follow(space: RemoteSpace, key_file: str | None) -> bool:
    """Look for a space by the name under which it was found; True if it is elsewhere now.

    Blocks for as long as the ring needs. A space that was given by its address does not move.
    """
    if space.name:
        with (
            suppress(errors.TupleSpaceError),
            connect(name=space.name, key_file=key_file, retry_for=0) as found,
        ):
            if found.uri != space.uri:
                space.uri = found.uri
                return True
    return False
