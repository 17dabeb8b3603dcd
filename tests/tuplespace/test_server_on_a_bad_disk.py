"""A space server whose disk errs or is full: it loses nothing that a client was told is there."""

from __future__ import annotations

import random
import re
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest

from power import small_server
from power.calls import can_trace, failing
from power.full_disk import can_mount, fill, on_small_disk
from power.servers import ServerProcess, serving
from tuplespace import SpaceFullError, connect
from tuplespace.errors import ClosedError

traced = pytest.mark.skipif(bool(can_trace()), reason=can_trace())
pytestmark = pytest.mark.usefixtures("key_file")


def use_until_it_ends(server, seed):
    """Write, claim and take until the server ends; return what was acknowledged, and what is in doubt."""
    chance = random.Random(seed)
    there, taken, doubtful = set(), set(), set()

    def close_when_it_ends():  # a server that is slow, as on a busy disk, has not ended
        server.process.wait()
        space.close()

    with connect(server.uri, retry_for=30) as space, suppress(ClosedError):
        threading.Thread(target=close_when_it_ends, daemon=True).start()
        for number in range(500):
            values = [number * 10 + each for each in range(chance.choice([1, 1, 5]))]
            doubtful = set(values)
            space.write_many(
                [("value", value, bytes(chance.choice([10, 3000]))) for value in values]
            )
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
            there, taken, doubtful, ended = use_until_it_ends(server, seed)
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
def test_a_server_that_cannot_keep_the_last_write_while_it_stops_says_so(
    tmp_path, background, eventually
):
    file, log = tmp_path / "space.db", tmp_path / "space.db-wal"
    inject = "fdatasync:error=EIO:delay_enter=700000:when=12"
    with serving(file):
        pass  # making it takes some syncs, too
    with serving(file, before=failing(inject)) as server, connect(server.uri, retry_for=5) as space:
        for number in range(10):  # the log's beginning is synced, too
            space.write(("value", number))
        written = log.stat().st_mtime_ns
        last = background(space.write, ("value", 10))
        eventually(lambda: log.stat().st_mtime_ns != written)
        status, said = server.end()  # it is told to stop while its disk is about to err
        assert status == 1
        assert str(file) in said
        space.close()
        with pytest.raises(ClosedError):
            last.result(10)
    with serving(file) as server, connect(server.uri) as space:
        assert space.count(("value", None)) >= 10


@pytest.mark.skipif(bool(can_mount()), reason=can_mount())
def test_a_server_on_a_full_disk_refuses_writes_serves_takes_and_recovers(
    tmp_path, key_file, eventually
):
    disk = tmp_path / "disk"
    disk.mkdir()
    server = ServerProcess(
        small_server.__file__, str(key_file), str(disk / "space.db"), before=on_small_disk(disk)
    )
    with closing(server), connect(server.uri) as space:
        assert space.status()["shortage"] == ""
        written = write_until_it_is_full(space)
        assert len(written) > 100
        assert str(disk) in space.status()["shortage"]
        # Now something else takes the rest of the disk, to the last byte.
        seen = Path(f"/proc/{server.process.pid}/root") / str(disk).lstrip("/")
        foreign = fill(seen)
        for number in sorted(written)[:50]:
            assert space.take(("value", number, None), timeout=0)[1] == number
        confirmed = 0
        while confirmed < 50:  # what an answer holds is kept, and takes its room from the ballast
            claims = space.claim_many(("value", None, None), 50 - confirmed)
            assert 1 <= len(claims) < 30
            for claim in claims:
                claim.confirm()
            confirmed += len(claims)
        with pytest.raises(SpaceFullError, match=re.escape(str(disk))):
            space.write(("value", -1, b""))
        assert space.count(("value", None, None)) == len(written) - 100
        assert space.swap(("value", None, None), ("value", -2, b""))
        while space.count(("value", None, None)) > 50:
            space.take_many(("value", None, None), 500)
        foreign.unlink()
        while space.count(("value", None, None)):
            space.take_many(("value", None, None), 5)
        eventually(lambda: writes(space))
        assert len(write_until_it_is_full(space)) > 100
        space.close()
        status, said = server.end()  # its standard input does, too
        assert status == 0
        assert said.count("writes are refused for now") >= 2
        assert "writes go on" in said


def writes(space):
    try:
        space.write(("value", -3, b""))
    except SpaceFullError:
        return False
    return True


def write_until_it_is_full(space):
    written = set()
    for number in range(2000):
        try:
            space.write(("value", number, bytes(10_000)))
        except SpaceFullError:
            return written
        written.add(number)
    raise AssertionError("writes were never refused")


@traced
@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("call", ["fdatasync", "pwrite64"])
def test_any_of_40_calls_that_fails_ends_the_server_and_loses_nothing(tmp_path, call):
    for number in range(1, 41):
        (tmp_path / str(number)).mkdir()
        break_and_check(tmp_path / str(number), f"{call}:error=EIO:when={number}")
