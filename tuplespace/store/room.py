"""Room on the disk of a store: when to refuse writes early, and the ballast for when it is full.

A full disk fails a take as it fails a write, since both are changes. So writes are refused while
there is still room; and if something else fills the disk all the same, a file that was made for
this is given up so that takes go on.
"""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

#: Seconds from one look at the disk to the next.
_LOOK_EVERY = 0.25


class Room:
    """The disk beneath a store's file.

    Args:
        path: The store's file. free_bytes: With less free than this no more should be written.
        ballast_bytes: What is kept to be given up.

    Attributes:
        reusable: Bytes in the file that are free for what comes.
        wants_ballast: There is room, and no ballast: call `make_ballast`.
    """

    def __init__(self, path: Path, free_bytes: int, ballast_bytes: int) -> None:
        self._path, self._free_bytes, self._ballast_bytes = path, free_bytes, ballast_bytes
        self._ballast = path.with_name(path.name + ".ballast")
        self._look_at = 0.0
        self._shortage = ""
        self._has_ballast = not ballast_bytes
        self.reusable = 0
        self.wants_ballast = False

    def look_soon(self) -> None:
        """Look at the disk when next asked: much was written."""
        self._look_at = 0.0

    def shortage(self) -> str:
        """Return why nothing more should be written; "": it may."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_EVERY
            self._shortage = self._look()
        return self._shortage

    @property
    def is_short(self) -> bool:
        """Whether nothing more should be written, as of the last look."""
        return bool(self._shortage)

    def _look(self) -> str:
        free = self._free()
        roomy = self._is_roomy(free)
        self.wants_ballast = roomy and not self._has_ballast
        if not self._has_ballast:
            return self._full()
        return (
            ""
            if roomy
            else (
                f"the disk of {self._path} has {free:,} bytes free, and writes need {self._free_bytes:,}; "
                "make room there"
            )
        )

    def _is_roomy(self, free: int) -> bool:
        """Say whether writes may go on, with a ballast besides."""
        missing = 0 if self._has_ballast else self._ballast_bytes
        # What is free inside the file is as good, but to use it takes some room in the log beside it.
        least, wanted = self._free_bytes // 4 + missing, self._free_bytes + missing
        return free >= least and free + self.reusable >= wanted

    def _full(self) -> str:
        return (
            f"the disk of {self._path} is full: {self._free_bytes + self._ballast_bytes:,} bytes "
            "must be free before it takes writes again; make room there"
        )

    def _free(self) -> int:
        found = os.statvfs(self._path.parent)
        return found.f_bavail * found.f_frsize

    def make_ballast(self) -> None:
        """Make the ballast, unless it is there or there is no room for it."""
        self.wants_ballast = False
        if not self._ballast_bytes:
            return
        self._look_at = 0.0
        try:
            size = self._ballast.stat().st_size
        except FileNotFoundError:
            size = -1
        if size == self._ballast_bytes:
            self._has_ballast = True
        elif self._is_roomy(self._free()):
            self._has_ballast = _allocate(self._ballast, self._ballast_bytes)

    def give_up_ballast(self) -> bool:
        """Remove the ballast; say whether there was one."""
        self._look_at = 0.0
        self._has_ballast = not self._ballast_bytes
        try:
            self._ballast.unlink()
        except FileNotFoundError:
            return False
        return True


def _allocate(path: Path, size: int) -> bool:
    """Make a file that takes so many bytes of the disk; say whether there was room."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        try:
            os.posix_fallocate(descriptor, 0, size)
        except (AttributeError, OSError) as problem:
            if getattr(problem, "errno", None) == errno.ENOSPC:
                raise
            zeros = memoryview(bytes(1 << 20))
            for start in range(0, size, len(zeros)):
                os.write(descriptor, zeros[: size - start])
        os.fsync(descriptor)
    except OSError as problem:
        path.unlink()
        if problem.errno != errno.ENOSPC:
            raise
        return False
    finally:
        os.close(descriptor)
    return True
