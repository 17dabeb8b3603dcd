"""Clients at work on a space in a file, whose process is killed again and again."""

from __future__ import annotations

import threading
import time

from history.recorder import History
from history.workloads import drain, mix
from tuplespace import connect

#: Seconds a client may take to come back, and then to be served.
BOUND = 20.0


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
