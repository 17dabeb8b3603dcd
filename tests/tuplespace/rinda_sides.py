"""The two sides that `rinda_play.Play` holds together: a space, and Ruby's Rinda in its process.

Both say what they found as the JSON of `rinda_script.encode`, and ("error", ...) for what raised.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from pathlib import Path

from rinda_script import encode

from tuplespace import (
    InvalidArgumentError,
    InvalidTemplateError,
    InvalidTupleError,
    LeaseExpiredError,
    MatchTimeoutError,
)

RUBY = shutil.which("ruby")
PEER = Path(__file__).with_name("rinda_peer.rb")
#: Our errors, and what Rinda raises in their place.
ERRORS = {
    MatchTimeoutError: {"RequestExpiredError"},
    InvalidTupleError: {"InvalidHashTupleKey", "NoMethodError"},
    InvalidTemplateError: {"InvalidHashTupleKey"},
    InvalidArgumentError: set(),
    LeaseExpiredError: set(),
}
#: Seconds that a side gets to hand its tuples to waiting threads.
PATIENCE = 5


class Ours:
    """A space.

    Args:
        space: Empty. park: The fixture `parked`. code: Encodes what it found.
    """

    def __init__(self, space, park, code=encode):
        self.space, self._park, self._code = space, park, code
        self._handles, self._subscriptions, self._calls = {}, {}, {}

    def call(self, verb, *arguments):
        """Return ("ok", the result) or ("error", what was raised)."""
        try:
            return "ok", getattr(self, verb)(*arguments)
        except tuple(ERRORS) as error:
            return "error", error

    def write(self, name, value, lease=None):
        self._handles[name] = self.space.write(value, lease)

    def take(self, template, timeout=0):
        return self._code(self.space.take(template, timeout))

    def read(self, template, timeout=0):
        return self._code(self.space.read(template, timeout))

    def read_all(self, template):
        return list(map(self._code, self.space.read_all(template)))

    def renew(self, name, lease):
        self._handles[name].renew(lease)

    def cancel(self, name):
        return self._handles[name].cancel()

    def notify(self, name, event, template):
        self._subscriptions[name] = self.space.notify(event, template)

    def unnotify(self, name):
        self._subscriptions[name].cancel()

    def events(self, name):
        """Return [event, tuple] of all that have come, and forget them."""
        found = []
        while (event := self._next_event(name)) is not None:
            found.append([event.event, event.tuple and self._code(event.tuple)])
        return found

    def _next_event(self, name):
        try:
            return self._subscriptions[name].next(0)
        except (MatchTimeoutError, StopIteration):
            return None

    def park(self, name, verb, template, timeout=None):
        self._calls[name] = self._park(self.space, self.call, verb, template, timeout)

    def ended(self, expected=0):
        """Return the outcomes of the parked calls that have ended; the space knows how many."""
        waiters = self.space.status()["waiters"]
        deadline = time.monotonic() + PATIENCE
        while sum(call.running for call in self._calls.values()) > waiters:
            assert time.monotonic() < deadline, "a call that was served goes on waiting"
            threading.Event().wait(0.001)
        over = {name: call.result() for name, call in self._calls.items() if not call.running}
        for name in over:
            del self._calls[name]
        return over


class Rinda:
    """The Ruby program at the other end of a pipe.

    Args:
        drb: The space in a process of its own, behind a TupleSpaceProxy.
    """

    def __init__(self, drb=False):
        self.drb = drb
        words = [RUBY, str(PEER), *(["--drb"] if drb else [])]
        self._process = subprocess.Popen(
            words, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def call(self, command, *arguments):
        """Return ("ok", the answer) or ("error", the name of Ruby's)."""
        self._process.stdin.write(json.dumps((command, *arguments)) + "\n")
        self._process.stdin.flush()
        ((kind, answer),) = json.loads(self._process.stdout.readline()).items()
        return kind, answer

    def ask(self, command, *arguments):
        """Return the answer to what cannot fail."""
        kind, answer = self.call(command, *arguments)
        assert kind == "ok", (command, arguments, answer)
        return answer

    def events(self, name):
        """Return [event, tuple] of all that have come, and forget them."""
        return [[kind, *(value or [None])] for kind, *value in self.ask("events", name)]

    def ended(self, expected=0, patience=PATIENCE):
        """Return the outcomes of the parked calls that have ended; wait for so many."""
        outcomes = self.ask("ended", expected, patience)
        return {name: next(iter(outcome.items())) for name, outcome in outcomes}

    def close(self):
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()
