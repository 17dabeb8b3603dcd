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


def bulk_under_kills(server, folder, *, clients, seconds, rng, pace):
    """Let client processes work in batches, and kill the server again and again.

    Args:
        server: A `server_process.ServerProcess`, started. folder: For the clients' logs. clients: How
            many. seconds: For how long. rng: Chooses the moments. pace: Seconds from one start of the
            server to the next kill, on average.

    Returns:
        The finished history, and how often the server was killed.
    """
    history, logs = History(), [folder / f"b{number}.log" for number in range(clients)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), str(_ROOT / "tests")])}
    working = [
        subprocess.Popen(
            [sys.executable, "-m", "history.client", "bulk", server.uri, log.stem, str(log), str(rng.random())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
        )
        for log in logs
    ]  # fmt: skip
    kills = 0
    try:
        for client in working:
            assert client.stdout.readline() == b"connected\n"
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            threading.Event().wait(2 * pace * rng.random())  # a kill comes at any moment
            down = time.monotonic()
            server.kill()
            server.start()
            history.restarts.append((down, time.monotonic()))
            kills += 1
        for client in working:
            client.stdin.close()
        for client in working:
            assert client.wait(60) == 0
    finally:
        for client in working:
            client.kill()
            client.wait()
            client.stdin.close()
            client.stdout.close()
    for log in logs:
        history.read_log(log)
    with connect(server.uri, key_file=server.key_file) as space:
        drain(space, history, patience=BOUND)
    return history, kills


def operations(history):
    """Return how many operations were answered: each tuple of a batch is one, and each call that found none."""
    answered = (op for op in history.ops if op.outcome in ("ok", "no match", "refused"))
    return sum(max(1, len(op.written) if op.verb == "write" else _found(op)) for op in answered)


def calls(history):
    """Return how many calls of the clients were answered, batches being one each; of those that are recorded so."""
    each = ("confirm", "renew", "release")
    return len({(op.client, op.ended if op.verb in each else op.number) for op in history.ops if op.ended})


def _found(op):
    return len(op.found) if isinstance(op.found, list) else 1
