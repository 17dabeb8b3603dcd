"""What this process may use of its machine: cores, memory and open files."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Final

from tuplespace.limits import Limits

#: The share of the memory that may be tuples; the rest is for indexes, waiters, and calls under way.
_SHARE: Final = 0.6
#: Files that are no connections: the key, the logs, the sockets that listen.
_OTHER_FILES: Final = 64
#: What is asked for where the system sets no limit of its own.
_MANY_FILES: Final = 1 << 17
_CGROUPS: Final = Path("/sys/fs/cgroup")


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_limits() -> Limits:
    """Return the limits of a space in this process when its user has set none."""
    return Limits(bytes=int(_SHARE * memory_allowed()))


def server_limits() -> Limits:
    """Return those of a server: as many connections as it may open files, which it raises."""
    return replace(default_limits(), connections=max(_raise_open_files() - _OTHER_FILES, 1))


@lru_cache(maxsize=1)
def memory_allowed() -> int:
    """Return the bytes of memory this process may use: the machine's, its container's, its own."""
    return min(_memory_limits())


def _memory_limits() -> Iterator[int]:
    yield os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        yield soft
    for file in (*_own_cgroup(), _CGROUPS / "memory" / "memory.limit_in_bytes"):
        try:
            text = file.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if text.isdigit():  # it may be "max"
            yield int(text)


def _own_cgroup() -> Iterator[Path]:
    """Yield the files that may limit our control group, from the root down."""
    try:
        text = Path("/proc/self/cgroup").read_text("utf-8", "replace")
    except OSError:
        return
    for line in text.splitlines():
        if line.startswith("0::/"):
            group = _CGROUPS
            yield group / "memory.max"
            for part in line[4:].split("/"):
                group /= part
                yield group / "memory.max"


def _raise_open_files() -> int:
    """Raise the soft limit of open files to the hard one; return what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MANY_FILES if hard == resource.RLIM_INFINITY else hard
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    except (OSError, ValueError):
        pass  # some systems have a lower limit still, and do not say which
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
