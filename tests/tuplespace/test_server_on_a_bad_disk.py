"""A space server whose disk errs or is full: it loses nothing that a client was told is there."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest

from power.calls import can_trace, failing
from power.servers import serving
from tuplespace import SpaceUnreachableError, connect

traced = pytest.mark.skipif(bool(can_trace()), reason=can_trace())
pytestmark = pytest.mark.usefixtures("key_file")


def use_until_it_ends(uri, seed):
    """Write, claim and take until the space is gone; return what was acknowledged, and what is in doubt."""
    chance = random.Random(seed)
    there, taken, doubtful = set(), set(), set()
    with connect(uri, retry_for=0.1) as space, suppress(SpaceUnreachableError):
        for number in range(500):
            values = [number * 10 + each for each in range(chance.choice([1, 1, 5]))]
            doubtful = set(values)
            space.write_many([("value", value, bytes(chance.choice([10, 3000]))) for value in values])
            there |= doubtful
            if chance.random() < 0.3:
                value = chance.choice(sorted(there))
                doubtful = {value}
                if chance.random() < 0.5:
                    space.take(("value", value, None), timeout=0)
                else:
                    space.claim(("value", value, None), timeout=0).confirm()
                there.discard(value)
                taken.add(value)
            doubtful = set()
        return there, taken, doubtful, False
    return there - doubtful, taken - doubtful, doubtful, True


def break_and_check(folder, inject):
    seed = f"{random.randrange(1 << 32):x}"
    print(f"of the seed {seed}, {inject}")
    file = folder / "space.db"
    with serving(file) as server, connect(server.uri) as space:
        space.write(("value", -1, b""))
    with serving(file, before=failing(inject)) as server:
        if server.uri:
            there, taken, doubtful, ended = use_until_it_ends(server.uri, seed)
        else:  # it has not come so far
            there, taken, doubtful, ended = set(), set(), set(), True
        assert ended, "it never came so far"
        status, said = server.end()
    assert status == 1
    assert said.count("\n") == 1, said
    assert str(file) in said
    with serving(file) as server, connect(server.uri) as space:
        found = {value for _, value, _ in space.read_all(("value", None, None))}
    assert found - doubtful == there | {-1}
    assert not found & taken


@traced
@pytest.mark.parametrize("number", [1, 15])
def test_a_sync_that_fails_ends_the_server_and_loses_nothing(tmp_path, number):
    break_and_check(tmp_path, f"fdatasync:error=EIO:when={number}")


@traced
@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("call", ["fdatasync", "pwrite64"])
def test_any_of_40_calls_that_fails_ends_the_server_and_loses_nothing(tmp_path, call):
    for number in range(1, 41):
        (tmp_path / str(number)).mkdir()
        break_and_check(tmp_path / str(number), f"{call}:error=EIO:when={number}")
