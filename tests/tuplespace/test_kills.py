"""A space in a file whose process is killed with -9 under load loses and doubles nothing."""

from __future__ import annotations

import random

import pytest

from history.checker import check
from history.kills import BOUND, work_under_kills
from history.server_process import ServerProcess

# A space that answers first, and keeps what it answered a moment later.
_EARLY = """
import sys, threading
from tuplespace.__main__ import main
from tuplespace.gate import Gate
from tuplespace.store.sqlite import SqliteStore

append = SqliteStore.append
def late(store, changes, now):
    threading.Timer(0.05, append, (store, changes, now)).start()
SqliteStore.append = late
Gate.answer = lambda gate, connection, message, journal: connection.send(message)
sys.exit(main())
"""


def test_a_killed_space_comes_back_with_all_it_had(server_process):
    history, kills = work_under_kills(
        server_process, clients=3, steps=100, rng=random.Random(0), least=60
    )
    assert kills >= 3
    assert check(history, bound=BOUND) == []


@pytest.mark.faults
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(1, 4))
def test_a_space_that_is_killed_for_long_comes_back_with_all_it_had(seed, server_process):
    history, kills = work_under_kills(
        server_process, clients=6, steps=600, rng=random.Random(seed), least=100
    )
    assert kills >= 20
    assert check(history, bound=BOUND) == []


def test_a_space_that_answers_before_it_keeps_is_noticed(tmp_path, key_file):
    server = ServerProcess(tmp_path / "space.sqlite", key_file, program=("-c", _EARLY))
    server.start()
    history, _ = work_under_kills(server, clients=3, steps=100, rng=random.Random(0), least=60)
    server.kill()
    assert check(history, bound=BOUND) != []
