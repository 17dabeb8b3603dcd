"""A space kept in a file, served by a process that is killed and started again at the same address.

A test that kills hundreds of them has them forked by a `Nursery`, which has imported the product: of what
happens to the store and to the clients nothing is different.
"""

from __future__ import annotations

import json
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


class ForkedServer(ServerProcess):
    """The same, started in a few milliseconds: a fork of a process that has imported all there is to import."""

    def __init__(self, store, key_file, *options, program=""):
        super().__init__(store, key_file, *options)
        self._nursery = subprocess.Popen(
            [sys.executable, __file__], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
        )  # fmt: skip
        self._program, self._pid = program, 0

    def start(self):
        arguments = ["--embedded", "--port", str(self.port), "--store", str(self.store),
                     "--key-file", str(self.key_file), *self.options]  # fmt: skip
        self._ask({"program": self._program, "arguments": arguments})
        for line in (self._nursery.stdout.readline(), self._nursery.stdout.readline()):
            if line.startswith("PYRO:"):
                self.uri = line.strip()
            else:
                self._pid = int(line)
        self.port, self.starts = int(self.uri.rpartition(":")[2]), self.starts + 1

    def kill(self):
        os.kill(self._pid, signal.SIGKILL)
        self._ask({"wait": self._pid})
        assert int(self._nursery.stdout.readline()) == -signal.SIGKILL

    def close(self):
        """End its nursery, too."""
        self._nursery.communicate()

    def _ask(self, what):
        self._nursery.stdin.write(json.dumps(what) + "\n")
        self._nursery.stdin.flush()


def _nurse():
    """Start servers, and say how they have ended, as standard input asks; each line is a wish."""
    import tuplespace.store.sqlite  # noqa: F401  # what a server would import later
    from tuplespace.__main__ import main

    quiet, _keep = os.pipe()  # a server ends when its standard input does
    for line in sys.stdin:
        wish = json.loads(line)
        if "wait" in wish:
            _say(os.waitstatus_to_exitcode(os.waitpid(wish["wait"], 0)[1]))
        elif pid := os.fork():
            _say(pid)
        else:
            os.dup2(quiet, 0)
            os.close(_keep)
            sys.argv[1:] = wish["arguments"]
            exec(wish["program"], {"__name__": "__main__"})
            os._exit(main())


def _say(number):
    os.write(1, b"%d\n" % number)


if __name__ == "__main__":
    _nurse()
