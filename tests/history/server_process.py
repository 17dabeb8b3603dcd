"""A space kept in a file, served by a process that is killed and started again at the same address."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent.parent


class ServerProcess:
    """``python -m tuplespace --store FILE``.

    Args:
        store: The file. key_file: Of the cluster key, which is there. options: More of the command.
        program: What Python runs, if it is not the product as it is.

    Attributes:
        uri: The space's, the same after every start. starts: How often it was started.
    """

    def __init__(self, store, key_file, *options, program=("-m", "tuplespace")):
        self.program, self.store, self.key_file, self.options = program, store, key_file, options
        self.uri, self.port, self.starts = "", 0, 0
        self._process = None

    def start(self):
        """Start it, and return once it answers; the seconds that took are its clients' business."""
        command = [
            sys.executable, *self.program, "--embedded", "--port", str(self.port),
            "--store", str(self.store), "--key-file", str(self.key_file), *self.options,
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(_ROOT)},
        )  # fmt: skip
        self.uri = self._process.stdout.readline().strip()
        assert self.uri, self._process.stderr.read()
        self.port, self.starts = int(self.uri.rpartition(":")[2]), self.starts + 1

    def signal(self, number):
        """Send it a signal."""
        self._process.send_signal(number)

    def kill(self):
        """Kill it with -9."""
        self._process.kill()
        self._process.communicate()

    def stop(self):
        """End it well; return its exit status."""
        self._process.send_signal(signal.SIGTERM)
        self._process.communicate(timeout=10)
        return self._process.returncode
