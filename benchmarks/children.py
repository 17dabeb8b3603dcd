"""Processes that a benchmark asks to do something, in lines of JSON; they end when it does."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
from contextlib import suppress
from typing import Any

# How long a child may take to end, and how long after an error or a Ctrl-C.
_GRACE_SECONDS, _HASTE_SECONDS = 5.0, 0.5


class Child:
    """A process that reads commands and writes answers, and ends when its standard input does.

    In a session of its own: a Ctrl-C reaches us alone, and we end it.

    Args:
        words: Its command line.
    """

    def __init__(self, *words: str) -> None:
        self._name = " ".join(words[:3])
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self.pid = self._process.pid

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *error: object) -> None:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(OSError):
            process.stdin.close()
        try:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_SECONDS if error[0] is None else _HASTE_SECONDS)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            process.stdout.close()

    def tell(self, **command: Any) -> None:
        """Send a command; `hear` returns its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def hear(self) -> Any:
        """Return the answer to the oldest command that has not been heard. Blocks."""
        return json.loads(self.line())

    def ask(self, **command: Any) -> Any:
        """Send a command and return its answer. Blocks."""
        self.tell(**command)
        return self.hear()

    def line(self) -> str:
        """Return the next line that it prints. Blocks.

        Raises:
            RuntimeError: It has ended.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._name} has ended")
        return line


def allow_open_files(wanted: int) -> int:
    """Let this process and its children open so many files; return how many they may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(ValueError, OSError):  # some systems allow less than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return wanted if soft == resource.RLIM_INFINITY else min(wanted, soft)
