"""Piping: a program fed through its standard input while what it prints is read.

One thread does it all, by asking the system which of the three pipes is ready: no pipe can fill up
while we wait for another, so the program may print before, while or after it reads; and whatever
makes the input runs where the task runs, with its connections and context.
"""

from __future__ import annotations

import errno
import fcntl
import os
import selectors
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

from mapreduce.errors import ProgramFailedError
from workers.errors import summary

_READ_BYTES: Final = 64 << 10
#: A file just written may still be open in a process that another thread is about to start.
_BUSY_SECONDS: Final = 5.0
_BUSY_PAUSE: Final = 0.005
#: Fewer changes between us and the program, where the system lets us have such pipes.
_PIPE_BYTES: Final = 1 << 20
_LAST_LINES: Final = 20
_LINE_BYTES: Final = 4 << 10


def piped(
    command: Sequence[str],
    blocks: Iterable[bytes],
    folder: Path,
    environment: dict[str, str],
    hear: Callable[[str], bool],
) -> Generator[bytes, None, None]:
    """Run a program and yield what it prints, as it comes, in whole lines.

    Closed before its end, the generator kills the program. One that ends without having read all is
    fine, as in a shell.

    Args:
        command: It and its arguments. blocks: What it gets to read. folder: Where it runs.
        environment: Its variables. hear: Is told each line that it writes to its standard error;
            says whether that is for people, to be shown should it fail.

    Yields:
        One or more lines, without the end of the last one.

    Raises:
        ProgramFailedError: It cannot be started, or ended with another status than 0.
    """
    told: deque[str] = deque(maxlen=_LAST_LINES)

    def listen(line: bytes) -> None:
        text = line.decode("utf-8", "backslashreplace")
        if hear(text):
            told.append(text)

    with _started(command, folder, environment) as process:
        try:
            yield from _exchange(process, iter(blocks), listen)
            status = process.wait()
        except BaseException:
            process.kill()
            raise
    if status:
        raise ProgramFailedError(list(command), socket.gethostname(), status, "\n".join(told))


def _started(
    command: Sequence[str], folder: Path, environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    deadline = time.monotonic() + _BUSY_SECONDS
    try:
        while (started := _unless_busy(command, folder, environment, deadline)) is None:
            threading.Event().wait(_BUSY_PAUSE)
    except OSError as error:
        host = socket.gethostname()
        if isinstance(error, FileNotFoundError):
            why = (
                "there is no such program (or, of a script, no program of its first line): install "
                "it there, or send it along: run_program(..., files=[path])"
            )
        else:
            why = f"it cannot be run: {summary(error)}"
        raise ProgramFailedError(list(command), host, None, "", why) from None
    return started


def _unless_busy(
    command: Sequence[str], folder: Path, environment: dict[str, str], deadline: float
) -> subprocess.Popen[bytes] | None:
    try:
        return subprocess.Popen(
            command, bufsize=0, cwd=folder, env=environment, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
    except OSError as error:
        if error.errno != errno.ETXTBSY or time.monotonic() > deadline:
            raise
        return None


def _exchange(
    process: subprocess.Popen[bytes], blocks: Iterator[bytes], listen: Callable[[bytes], None]
) -> Iterator[bytes]:
    stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
    assert stdin is not None
    assert stdout is not None
    assert stderr is not None
    printed, told = _Lines(), _Lines(_LINE_BYTES)
    pending = memoryview(b"")
    os.set_blocking(stdin.fileno(), False)
    for pipe in (stdin, stdout):
        _widen(pipe)
    with selectors.DefaultSelector() as ready:
        ready.register(stdin, selectors.EVENT_WRITE)
        ready.register(stdout, selectors.EVENT_READ)
        ready.register(stderr, selectors.EVENT_READ)
        while ready.get_map():
            for key, _ in ready.select():
                if key.fileobj is stdin:
                    left = _feed(stdin, pending, blocks)
                    if left is None:
                        ready.unregister(stdin)
                        stdin.close()
                    else:
                        pending = left
                    continue
                data = os.read(key.fd, _READ_BYTES)
                if not data:
                    ready.unregister(key.fileobj)
                if key.fileobj is stdout:
                    yield from printed.add(data)
                else:
                    for lines in told.add(data):
                        for line in lines.split(b"\n"):
                            listen(line)


def _feed(
    stdin: IO[bytes], pending: memoryview[int], blocks: Iterator[bytes]
) -> memoryview[int] | None:
    """Write as much as the pipe takes; return what is left of it, None: there is no more to write."""
    while True:
        while not pending:
            block = next(blocks, None)  # what fails in here is no failure of the pipe
            if block is None:
                return None
            pending = memoryview(block)
        try:
            pending = pending[os.write(stdin.fileno(), pending) :]
        except BlockingIOError:
            return pending
        except BrokenPipeError:  # it wants no more; its status says whether that is well
            return None


def _widen(pipe: IO[Any]) -> None:
    size = getattr(fcntl, "F_SETPIPE_SZ", None)  # Linux only
    if size is not None:
        with suppress(OSError):  # a user may have so many large pipes only
            fcntl.fcntl(pipe.fileno(), size, _PIPE_BYTES)


class _Lines:
    """Puts what comes in pieces together to whole lines.

    Args:
        longest: Bytes after which a line is cut; None: never.
    """

    def __init__(self, longest: int | None = None) -> None:
        self._begun: list[bytes] = []
        self._held = 0
        self._longest = longest

    def add(self, data: bytes) -> Iterator[bytes]:
        """Yield the lines that end in the next piece, if any; b"" is the end, of a last line too."""
        cut = data.rfind(b"\n")
        if cut >= 0 or (not data and self._held):
            yield b"".join((*self._begun, data[: max(cut, 0)]))
            self._begun, self._held = [], 0
        if rest := data[cut + 1 :]:
            self._begun.append(rest)
            self._held += len(rest)
            if self._longest is not None and self._held >= self._longest:
                yield b"".join(self._begun)
                self._begun, self._held = [], 0
