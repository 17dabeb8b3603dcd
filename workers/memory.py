"""Memory: what a worker process may use, and what it does use.

The limit is for one worker process and all that its tasks have started. What counts is memory
that the system cannot have back: anonymous and shared memory, swapped out or not. Pages of files
do not count, since they are in memory only as long as nobody needs the room: a task may map a file
of any size.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from tuplespace.errors import InvalidArgumentError
from tuplespace.resources import memory_allowed
from workers.sizes import in_words, parse_size

#: A worker process that has done nothing yet takes about 16 MB, 30 with the pages of its files.
LEAST: Final = 64 * 10**6
#: The share of the host's memory that its workers may use, if nobody has said how much.
_HOST_SHARE: Final = 0.8
#: The share of what is left beside the fresh process that a task may fill with data; the rest is
#: for what handling the data takes, and for the user's functions.
_DATA_SHARE: Final = 0.55
_LEAST_DATA: Final = 8 << 20
_OOM_SCORE: Final = "500"
#: A family changes while it is looked at: it has too much if it has so many times in a row.
_LOOKS: Final = 3
_STATUS: Final = re.compile(
    rb"^(VmSize|VmRSS|VmData|VmPTE|VmSwap|Rss\w+):\s*(\d+) kB", re.MULTILINE
)
_PSS: Final = re.compile(rb"^(?:Pss_Anon|Pss_Shmem|SwapPss):\s*(\d+) kB", re.MULTILINE)
_KERNEL_TEXT: Final = 8192
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def worker_limit(wanted: int | str | None, processes: int) -> int:
    """Return the bytes that each of so many worker processes may use.

    Args:
        wanted: See `parse_size`; None: a fair share of 80 % of what this host has.

    Raises:
        InvalidArgumentError: It is no size, or too small for a worker to start in.
    """
    if wanted is None:
        return max(int(_HOST_SHARE * memory_allowed()) // processes, LEAST)
    limit = parse_size(wanted)
    if limit < LEAST:
        raise InvalidArgumentError(
            f"a worker process wants at least {in_words(LEAST)} of memory, and {wanted!r} is less; "
            "--memory is what each worker process may use"
        )
    return limit


def data_share(limit: int, used: int) -> int:
    """Return the bytes of data that a task may hold in a worker which used so much when fresh."""
    return max(int(_DATA_SHARE * (limit - used)), _LEAST_DATA)


def die_first() -> None:
    """Have the kernel, when the host's memory ends, end us before it ends others; Linux only."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, "ascii")


def memory_of(pid: int, enough: int = sys.maxsize) -> int:
    """Return the bytes of memory of a process and its descendants; 0 if it has gone.

    Args:
        pid: Its pid. enough: Up to here, what they share may count for each of them; beyond, it is
            counted once, which takes 4 ms for each GB.
    """
    total = 0
    for _ in range(_LOOKS):
        parts = list(_family(pid))
        total = sum(part.bytes for part in parts)
        if total <= enough or (len(parts) == 1 and not parts[0].shared):
            break
        total = sum(map(_exact, parts))
        if total <= enough:
            break
    return total


def resident(pid: int) -> int:
    """Return the bytes of memory a process has in use, with pages of files; 0 if it has gone.

    For people: it takes one look of 10 us, where `memory_of` takes several.
    """
    return _resident(pid)


def family(pid: int) -> list[int]:
    """Return the pids of a process and its descendants, the process first; empty if it has gone."""
    return [part.pid for part in _family(pid)]


class _Part(NamedTuple):
    pid: int
    bytes: int
    shared: int = 0  # of these, bytes of memory made to be shared
    figures: tuple[int, ...] = ()


def _exact(part: _Part) -> int:
    """Return a process's memory, its part only of what it shares with others."""
    if not part.bytes:
        return 0
    found = _PSS.findall(_read(f"/proc/{part.pid}/smaps_rollup"))
    return 1024 * sum(map(int, found)) if found else part.bytes


def _figures(pid: int) -> dict[bytes, int]:
    return {name: int(kb) for name, kb in _STATUS.findall(_read(f"/proc/{pid}/status"))}


def _family_linux(pid: int, parent: _Part | None = None) -> Iterator[_Part]:
    found = _figures(pid)
    if not found:  # it has ended
        return
    shared = found.get(b"RssShmem", 0)
    total = found.get(b"RssAnon", found.get(b"VmRSS", 0)) + shared + found.get(b"VmSwap", 0)
    part = _Part(pid, 1024 * total, 1024 * shared, tuple(found.values()))
    # What has been started but has not begun its program yet (vfork) is in its parent's memory.
    if parent and part.figures in (parent.figures, tuple(_figures(parent.pid).values())):
        yield part._replace(bytes=0)
    else:
        yield part
    for child in children_of(pid):
        yield from _family_linux(child, part)


def _children_linux(pid: int) -> list[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208  # as cheap as it can be
    except OSError:
        return []
    # A kernel without this file knows of no children.
    found = (_read(f"/proc/{pid}/task/{thread}/children") for thread in threads)
    return [int(child) for children in found for child in children.split()]


def _children_elsewhere(pid: int) -> list[int]:
    import psutil

    with suppress(psutil.Error):
        return [child.pid for child in psutil.Process(pid).children()]
    return []


def _family_elsewhere(pid: int) -> Iterator[_Part]:
    """As on Linux, but pages of files count too: other systems tell them apart for root only."""
    import psutil

    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                yield _Part(each.pid, each.memory_info().rss)


def _resident_linux(pid: int) -> int:
    numbers = _read(f"/proc/{pid}/statm").split()
    return int(numbers[1]) * _PAGE_BYTES if numbers else 0


def _resident_elsewhere(pid: int) -> int:
    import psutil

    with suppress(psutil.Error):
        return int(psutil.Process(pid).memory_info().rss)
    return 0


#: Return the pids of a process's children.
children_of: Final = _children_linux if sys.platform == "linux" else _children_elsewhere
_family: Final = _family_linux if sys.platform == "linux" else _family_elsewhere
_resident: Final = _resident_linux if sys.platform == "linux" else _resident_elsewhere


def _read(path: str) -> bytes:
    """Return what the kernel says in a file, empty if there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(descriptor, _KERNEL_TEXT)
    except OSError:
        return b""
    finally:
        os.close(descriptor)
