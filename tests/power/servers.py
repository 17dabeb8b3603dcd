"""Real space servers on a disk that errs or is full, or beneath a wall clock that jumps."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class ServerProcess:
    """A space server in a process; what stands before its command line may do anything to it.

    Attributes:
        uri: Of its space; "" if it did not start.
    """

    def __init__(
        self,
        *command: str,
        before: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        self.process = subprocess.Popen(
            [*before, sys.executable, *command], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path, **(environment or {})},
        )  # fmt: skip
        assert self.process.stdout is not None
        words = self.process.stdout.readline().split()
        self.uri = next((word.rstrip(",") for word in words if word.startswith("PYRO:")), "")
        self.port = int(self.uri.rpartition(":")[2]) if self.uri else 0

    def end(self, within: float = 15.0) -> tuple[int, str]:
        """Wait until it has ended of itself; return its status and what it said on standard error."""
        _, said = self.process.communicate(timeout=within)
        return self.process.returncode, said

    def close(self) -> None:
        """End it: its standard input does."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.communicate(timeout=10)
        self.process.kill()
        self.process.communicate()


@contextmanager
def serving(
    file: Path | str,
    *options: str,
    port: int = 0,
    before: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[ServerProcess]:
    """A ``python -m tuplespace`` that keeps its space in a file."""
    command = ["-m", "tuplespace", "--embedded", "--port", str(port), "--store", str(file),
               "--key-file", os.environ["TUPLESPACE_KEY_FILE"], *options]  # fmt: skip
    server = ServerProcess(*command, before=before, environment=environment)
    try:
        yield server
    finally:
        server.close()
