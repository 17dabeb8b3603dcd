"""Shared blocks: bytes that many tasks of a job need, such as a big closure, once per host.

They lie under the hash of their content, on the driver's host and on each host that has fetched
them::

    <root>/<space id>/<job>/shared-<digest>.blocks
    <root>/<space id>/<job>/shared-<digest>.lock        held by the process that makes it

What if ... right here? Whoever makes it dies: the kernel opens the lock, and the next one makes
it. The folder goes, or the disk is full: each reads it for itself and keeps nothing.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from workers.blocks import BlockReader, Frame, Location, digest


def write_shared(root: Path, job: str, data: bytes) -> tuple[Path, Frame]:
    """Return where these bytes lie, written only if they do not lie there yet.

    Args:
        root: The folder of blocks of a space.

    Raises:
        OSError: They cannot be written.
    """
    frame = Frame(0, len(data), digest(data))
    path = _path(root, job, frame)
    with _alone(path):
        if _read_here(path, frame) is None:
            _keep(path, data)
    return path, frame


def read_shared(
    root: Path, job: str, location: Location, frame: Frame, reader: BlockReader
) -> bytes:
    """Return what `write_shared` wrote; of all processes of a host at most one fetches it.

    Blocks while another one of them does.

    Raises:
        BlockLostError: It is gone, damaged, or nobody who has it answers.
    """
    path = _path(root, job, frame)
    data = _read_here(path, frame)
    if data is None and location.host == reader.host:  # in the folder of another agent
        data = _read_here(Path(location.path), frame)
    if data is not None:
        return data
    with suppress(OSError), _alone(path):
        data = _read_here(path, frame)
        if data is None:
            [data] = reader.read(location, [frame])
            with suppress(OSError):
                _keep(path, data)
        return data
    return reader.read(location, [frame])[0]


def _path(root: Path, job: str, frame: Frame) -> Path:
    return root / job / f"shared-{frame.digest.hex()}.blocks"


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read_here(path: Path, frame: Frame) -> bytes | None:
    with suppress(OSError), open(path, "rb") as file:
        file.seek(frame.offset)
        data = file.read(frame.length)
        if digest(data) == frame.digest:
            return data
    return None


def _keep(path: Path, data: bytes) -> None:
    draft = path.with_suffix(".draft")
    try:
        draft.write_bytes(data)
        draft.rename(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
