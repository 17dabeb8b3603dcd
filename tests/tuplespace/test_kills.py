"""A space in a file whose process is killed with -9 under load loses and doubles nothing."""

from __future__ import annotations

import random
import threading
import time
from contextlib import closing

import pytest

from history.checker import check
from history.kills import BOUND, bulk_under_kills, operations, work_under_kills
from history.server_process import ForkedServer, ServerProcess
from tuplespace import connect
from tuplespace.sessions import ABSENCE

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
Gate.answer = lambda gate, connection, message: connection.send(message)
sys.exit(main())
"""


def test_a_killed_space_comes_back_with_all_it_had(server_process):
    history, kills = work_under_kills(
        server_process, clients=3, steps=100, rng=random.Random(0), least=60
    )
    assert kills >= 3
    assert check(history, bound=BOUND) == []


def kill_and_check(folder, key_file, **how):
    """Kill a server again and again, and check what its clients were told."""
    seed = f"{random.randrange(1 << 32):x}"
    server = ForkedServer(folder / "space.sqlite", key_file, program=how.pop("program", ""))
    server.start()
    began = time.monotonic()
    with closing(server):
        history = bulk_under_kills(
            server, folder, clients=4, rng=random.Random(seed), pace=0.11, **how
        )
        server.kill()
    print(
        f"of the seed {seed}: {len(history.restarts)} kills, {operations(history.ops)} operations in "
        f"{time.monotonic() - began:.0f} s"
    )
    return check(history, bound=BOUND)


def test_a_dozen_kills_lose_and_double_nothing(tmp_path, key_file):
    assert kill_and_check(tmp_path, key_file, kills=12, answers=6_000, within=50) == []


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_400_kills_during_500_000_operations_lose_and_double_nothing(tmp_path, key_file):
    assert kill_and_check(tmp_path, key_file, kills=400, answers=500_000, within=400) == []


@pytest.mark.faults
def test_a_dozen_kills_of_a_space_that_answers_before_it_keeps_are_noticed(tmp_path, key_file):
    how = {"kills": 15, "answers": 1000, "within": 50, "program": _EARLY}
    found = kill_and_check(tmp_path, key_file, **how)
    assert any(violation.startswith("lost") for violation in found)


@pytest.mark.faults
def test_a_space_that_answers_before_it_keeps_is_noticed(tmp_path, key_file):
    server = ServerProcess(tmp_path / "space.sqlite", key_file, program=("-c", _EARLY))
    server.start()
    history, _ = work_under_kills(server, clients=3, steps=100, rng=random.Random(0), least=60)
    server.kill()
    assert check(history, bound=BOUND) != []


@pytest.mark.faults
def test_a_claim_that_is_kept_outlives_a_restart_however_long_its_lease(server_process):
    with connect(server_process.uri, retry_for=20) as space:
        space.write(("a", 1))
        claim = space.claim(("a", None))
        with space.keep(claim, 300.0):
            server_process.kill()
            server_process.start()
            threading.Event().wait(ABSENCE + 1.5)  # nothing happens: that is the point
            assert space.count(("a", None)) == 0
            claim.confirm()
