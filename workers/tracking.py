"""Tracking: where a task notes which record it has in hand, so that the agent can read it.

A few numbers in a file that is mapped into memory: to note one is to store it there, and it is
there after any death of the process. Only attempts that are asked to track their records do.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

#: What the numbers are called in an outcome's details.
#: position: Of the record in hand; -1: none. bound: The task is among the first so many records;
#: 0: nothing is known. named: 1: the last of these is the one in hand, if any is.
FIELDS: Final = ("position", "bound", "named")
POSITION, BOUND, NAMED = range(len(FIELDS))
_LAYOUT: Final = struct.Struct("qqq")
_START: Final = (-1, 0, 0)

Page = memoryview | list[int]


def blank_page() -> list[int]:
    """Return a page for a task of this very process."""
    return list(_START)


def facts_of(page: Page) -> dict[str, int]:
    """Return what a page says, for an outcome's details."""
    return dict(zip(FIELDS, page, strict=True))


@contextmanager
def tracked(folder: Path) -> Iterator[memoryview]:
    """Give this process's page in a folder, which is made; it goes with the block."""
    pid = os.getpid()
    folder.mkdir(parents=True, exist_ok=True)
    path = _path(folder, pid)
    path.write_bytes(_LAYOUT.pack(*_START))
    with open(path, "r+b") as file:
        mapped = mmap.mmap(file.fileno(), _LAYOUT.size)
    page = memoryview(mapped).cast("q")
    try:
        yield page
    finally:
        if os.getpid() == pid:  # or the task has forked, and returns in both
            page.release()
            mapped.close()
            path.unlink(missing_ok=True)


def last_words(folder: Path, pid: int) -> dict[str, int]:
    """Return, and delete, what a process that has died has noted there; nothing: it did not track."""
    path = _path(folder, pid)
    with suppress(OSError, struct.error):
        numbers = _LAYOUT.unpack(path.read_bytes())
        path.unlink()
        return dict(zip(FIELDS, numbers, strict=True))
    return {}


def _path(folder: Path, pid: int) -> Path:
    return folder / f"track-{pid}"
