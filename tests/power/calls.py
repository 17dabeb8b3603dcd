"""The system calls a process makes on the files of one folder, as strace saw them, in order."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
#: What the model of a disk understands ...
UNDERSTOOD = [
    "openat",
    "open",
    "creat",
    "lseek",
    "write",
    "pwrite64",
    "ftruncate",
    "fallocate",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "mmap",
]
#: ... and what it does not: a store that uses one of these makes the test fail, not blind.
FOREIGN = [
    "writev",
    "pwritev",
    "pwritev2",
    "truncate",
    "sync_file_range",
    "copy_file_range",
    "sendfile",
    "splice",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "mkdir",
    "mkdirat",
    "rmdir",
    "msync",
    "io_uring_setup",
    "io_submit",
]

_BEGUN = re.compile(r"(\d+) +(\w+)\((.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)$")
_WHOLE = re.compile(r"(\d+) +(\w+)\((.*)$")
_RESULT = re.compile(r"^(.*)\) += (-?\d+|\?|0x[0-9a-f]+)(?:<([^>]*)>)?(.*)$")
_DESCRIPTOR = re.compile(r"(-?\d+|AT_FDCWD)<([^>]*)>")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')


class Call(NamedTuple):
    """A system call on a file of the folder; `begin` and `end` are moments of one order.

    `end` is None when the process died in it; `result` is negative when it failed.
    """

    begin: int
    end: int | None
    name: str
    path: str
    descriptor: int
    data: bytes
    numbers: tuple[int, ...]
    flags: str
    target: str
    result: int


def can_trace() -> str:
    """Return why no process can be traced here; "": it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(
        ["strace", "-f", "-o", os.devnull, "true"], capture_output=True, check=False
    )
    return "" if tried.returncode == 0 else "strace may not trace processes here"


def traced(log: Path, inject: str = "") -> list[str]:
    """Return the beginning of a command line that writes what a command does into a log.

    Args:
        inject: Which calls fail, as strace says it: "fdatasync:error=EIO:when=3".
    """
    names = ",".join(UNDERSTOOD + FOREIGN)
    return ["strace", "-f", "--seccomp-bpf", "-y", "-xx", "-s", str(1 << 26), "-o", str(log),
            "-e", f"trace={names}", *(["-e", f"inject={inject}"] if inject else [])]  # fmt: skip


def failing(inject: str) -> list[str]:
    """Return the beginning of a command line that makes some calls of a command fail; see `traced`."""
    traced = inject.partition(":")[0]
    return ["strace", "-f", "--seccomp-bpf", "-qq", "-o", os.devnull,
            "-e", f"trace={traced}", "-e", f"inject={inject}"]  # fmt: skip


def run_traced(
    log: Path, *arguments: str, inject: str = "", within: float = 50.0
) -> tuple[int, str]:
    """Run a Python script under strace until it ends; return its status, 0 or 3, and what it said."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    done = subprocess.run(
        [*traced(log, inject), sys.executable, *arguments],
        env=environment, capture_output=True, text=True, timeout=within, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 3), done.stderr[-2000:]
    return done.returncode, done.stderr


def read_calls(log: Path, folder: Path, *besides: Path) -> list[Call]:
    """Return the calls on the folder, on the files in it, and on the files named besides."""
    roots = [os.path.realpath(path) for path in (folder, *besides)]
    return [
        call for call in _calls(log)
        if any(_within(path, roots) for path in (call.path, call.target) if path)
    ]  # fmt: skip


def _within(path: str, roots: list[str]) -> bool:
    return any(path == root or path.startswith(root + "/") for root in roots)


def _calls(log: Path) -> Iterator[Call]:
    begun: dict[tuple[str, str], tuple[int, str]] = {}
    with open(log, encoding="ascii") as lines:
        for moment, raw in enumerate(lines):
            line = raw.rstrip("\n")
            if match := _BEGUN.match(line):
                begun[match[1], match[2]] = (moment, match[3])
            elif match := _RESUMED.match(line):
                begin, arguments = begun.pop((match[1], match[2]))
                yield _call(begin, moment, match[2], arguments + match[3])
            elif match := _WHOLE.match(line):
                yield _call(moment, moment, match[2], match[3])
    for (_, name), (begin, arguments) in begun.items():
        yield _call(begin, None, name, arguments + ") = ?")


def _text(escaped: str) -> str:
    return bytes.fromhex(escaped.replace("\\x", "")).decode()


def _call(begin: int, end: int | None, name: str, rest: str) -> Call:
    match = _RESULT.match(rest)
    assert match, f"strace said {rest[-200:]!r}"
    arguments, result = match[1], match[2]
    if result == "?":  # it died in it
        end, result = None, "0"
    strings = _STRING.findall(arguments)
    assert not any(cut for _, cut in strings), "strace cut a string short"
    bare = _STRING.sub("''", arguments)
    descriptors = _DESCRIPTOR.findall(bare)
    bare = _DESCRIPTOR.sub("", bare)
    paths = []
    if name.startswith(("open", "creat", "rename", "unlink")) or name in FOREIGN:
        bases = [_text(base) for _, base in descriptors] + [""] * 2
        texts = [_text(text) for text, _ in strings]
        paths = [
            os.path.normpath(os.path.join(base, text))
            for base, text in zip(bases, texts, strict=False)
        ]
    elif descriptors:
        paths = [_text(descriptors[0][1])]
    data = b""
    if name in ("write", "pwrite64") and strings:
        data = bytes.fromhex(strings[0][0].replace("\\x", ""))
    number = int(result, 0)
    opened = name in ("openat", "open", "creat")
    return Call(
        begin, end, name,
        path=paths[0] if paths else "",
        descriptor=number if opened else _descriptor(descriptors),
        data=data,
        numbers=tuple(int(word) for word in re.findall(r"(?<![\w'])\d+(?![\w'])", bare)),
        flags=bare,
        target=paths[1] if len(paths) > 1 else "",
        result=number,
    )  # fmt: skip


def _descriptor(descriptors: list[tuple[str, str]]) -> int:
    return int(descriptors[0][0]) if descriptors and descriptors[0][0].lstrip("-").isdigit() else -1
