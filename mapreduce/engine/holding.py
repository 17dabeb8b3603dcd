"""Holding: blocks that stay on the workers' disks when their job has ended; see `outputs.chained`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from tuplespace import errors
from tuplespace.connect import connect
from tuplespace.security import Key
from workers.folders import occupy

_RETRY_SECONDS: Final = 5.0


def hold(
    uri: str, key: Key, root: Path, job: str, description: dict[str, Any], lease: float
) -> tuple[Callable[[], None], Callable[[], set[str]]]:
    """See `Engine.hold`.

    Args:
        uri: The space's. root: Its folder of blocks. lease: How long they outlive this process.
    """
    # A client of its own: the user may close the other.
    space = connect(uri, key_file=str(key.path), retry_for=_RETRY_SECONDS)
    occupied = occupy(root)
    predecessors = space.count(("job", job, dict))
    handle = space.write(("job", job, description), lease=lease)
    space.keep(handle, lease)
    for _ in range(predecessors):  # a driver's that is gone; it is older
        with suppress(errors.MatchTimeoutError):
            space.take(("job", job, dict), timeout=0)

    def release() -> None:
        # It may be the garbage collector that waits: a space that is away is left to the lease.
        space.retry_for = 0
        with suppress(errors.TupleSpaceError):
            handle.cancel()  # the agents' sweep deletes the blocks
        space.close()
        occupied.close()

    def hosts() -> set[str]:
        return {value[2] for value in space.read_all(("worker", str, str, str, int))}

    return release, hosts
