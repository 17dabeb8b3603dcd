"""Clients at work on a space in a file, whose process is killed again and again."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from history.recorder import History
from history.workloads import drain, mix
from tuplespace import connect

#: Seconds a client may take to come back, and then to be served.
BOUND = 20.0
_ROOT = Path(__file__).resolve().parent.parent.parent


def work_under_kills(server, *, clients, steps, rng, least=30, within=60.0):
    """Let clients work, and kill the server whenever they have got on a little.

    Args:
        server: A `server_process.ServerProcess`, started. clients: How many, a thread and a session
            each. steps: What each does. rng: Chooses the moments. least: Answers between two kills.
        within: Seconds in which they must get on so far.

    Returns:
        The finished history, and how often the server was killed.
    """
    history, kills = History(), 0
    spaces = {f"k{n}": connect(server.uri, key_file=server.key_file) for n in range(clients)}
    problems = []

    def work():
        try:
            mix(spaces, history, steps, rng.random())
        except BaseException as error:  # noqa: BLE001  # it is raised below
            problems.append(error)

    working = threading.Thread(target=work)
    working.start()
    while working.is_alive():
        wanted = sum(op.ended is not None for op in list(history.ops)) + least
        give_up = time.monotonic() + within
        while sum(op.ended is not None for op in list(history.ops)) < wanted:
            working.join(0.01 * rng.random())
            if not working.is_alive():
                break
            assert time.monotonic() < give_up, "nobody gets on"
        else:
            working.join(0.02 * rng.random())
            down = time.monotonic()
            server.kill()
            server.start()
            history.restarts.append((down, time.monotonic()))
            kills += 1
    if problems:
        raise problems[0]
    drain(next(iter(spaces.values())), history, patience=BOUND)
    for space in spaces.values():
        space.close()
    return history, kills


def bulk_under_kills(server, folder, *, clients, rng, pace, kills, answers, within):
    """Let client processes work in batches, and kill the server again and again.

    Args:
        server: A `server_process.ServerProcess`, started. folder: For the clients' logs. clients: How
            many. rng: Chooses the moments. pace: Seconds from a start of the server to the next kill, on
            average. kills, answers: How many kills, and operations that were answered, at least.
        within: Seconds in which these must be reached.

    Returns:
        The finished history.
    """
    history, logs = History(), [folder / f"b{number}.log" for number in range(clients)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), str(_ROOT / "tests")])}
    working = [
        _Worker("bulk", server.uri, log.stem, str(log), str(rng.random()), environment=environment)
        for log in logs
    ]
    try:
        for worker in working:
            assert worker.began.wait(20), "a client did not begin"
        give_up = time.monotonic() + within
        while len(history.restarts) < kills or sum(worker.answered for worker in working) < answers:
            assert time.monotonic() < give_up, "nobody gets on"
            threading.Event().wait(2 * pace * rng.random())  # a kill comes at any moment
            down = time.monotonic()
            server.kill()
            server.start()
            history.restarts.append((down, time.monotonic()))
        for worker in working:
            worker.process.stdin.close()
        for worker in working:
            assert worker.process.wait(60) == 0
    finally:
        for worker in working:
            worker.close()
    for log in logs:
        history.read_log(log)
    with connect(server.uri, key_file=server.key_file) as space:
        drain(space, history, patience=BOUND)
    return history


class _Worker:
    """A `client` at work in bulk.

    Attributes:
        began: Set when it has had answers. answered: How many, as of late.
    """

    def __init__(self, *arguments, environment):
        self.began, self.answered = threading.Event(), 0
        self.process = subprocess.Popen(
            [sys.executable, "-m", "history.client", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
        )  # fmt: skip
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self):
        for line in self.process.stdout:
            self.answered = int(line)
            self.began.set()

    def close(self):
        self.process.kill()
        self.process.wait()
        self._reading.join()
        self.process.stdin.close()
        self.process.stdout.close()


def operations(ops):
    """Return how many operations were answered.

    Each tuple of a batch that was written, found, confirmed, renewed or released is one, and so is each
    other call, as one that found nothing.
    """
    answered = (op for op in ops if op.outcome in ("ok", "no match", "refused"))
    return sum(max(1, len(op.written) if op.verb == "write" else _found(op)) for op in answered)


def _found(op):
    return len(op.found) if isinstance(op.found, list) else 1
