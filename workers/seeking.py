"""Seeking: where a space is now that the ring had found by its name."""

from __future__ import annotations

from contextlib import suppress

from tuplespace.client import RemoteSpace
from tuplespace.connect import connect
from tuplespace.errors import TupleSpaceError


def seek(space: RemoteSpace, key_file: str | None) -> bool:
    """Look for a space that is away by its name; have its client go where it is now.

    Returns:
        Whether it is elsewhere. Blocks for some seconds.
    """
    if space.name:
        with (
            suppress(TupleSpaceError),
            connect(name=space.name, key_file=key_file, retry_for=0) as found,
        ):
            if found.uri != space.uri:
                space.uri = found.uri
                return True
    return False
