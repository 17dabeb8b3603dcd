"""What is kept lives as long as its client, and not much longer."""

from __future__ import annotations

import math
import os
import signal
import threading

import pytest

from tuplespace import ClaimLostError, InvalidArgumentError, LeaseExpiredError, connect


def pass_time(seconds: float) -> None:
    """Let leases run that nothing announces the end of."""
    threading.Event().wait(seconds)


def test_a_kept_tuple_outlives_its_lease_and_a_let_go_one_does_not(space, eventually):
    kept = space.keep(space.write(("k", 1), lease=0.3), lease=0.3)
    pass_time(0.8)
    assert kept.alive
    assert space.count(("k", 1)) == 1
    kept.stop()
    assert not kept.alive
    eventually(lambda: space.count(("k", 1)) == 0, within=2)
    assert kept.error is None


def test_a_tuple_without_a_lease_gets_one_by_being_kept(space, eventually):
    with space.keep(space.write(("k", 1)), lease=0.2):
        assert space.count(("k", 1)) == 1
    eventually(lambda: space.count(("k", 1)) == 0, within=2)


def test_a_kept_claim_outlives_its_lease(space):
    space.write(("k", 1))
    claim = space.claim(("k", 1), lease=0.3)
    with space.keep(claim, lease=0.3):
        pass_time(0.8)
        claim.confirm()
    assert space.status()["tuples"] == 0


def test_what_is_taken_is_not_kept_any_more_and_says_why(space, eventually):
    kept = space.keep(space.write(("k", 1)), lease=0.15)
    space.write(("c", 1))
    claimed = space.keep(space.claim(("c", 1)), lease=0.15)
    claimed.what.release()
    space.take(("k", 1))
    eventually(lambda: not kept.alive and not claimed.alive, within=2)
    assert isinstance(kept.error, LeaseExpiredError)
    assert isinstance(claimed.error, ClaimLostError)


def test_many_are_kept_at_once(space):
    handles = space.write_many([("k", number) for number in range(20)], lease=0.4)
    kept = [space.keep(handle, lease=0.4) for handle in handles]
    pass_time(1.0)
    assert space.count(("k", None)) == 20
    assert all(each.alive for each in kept)


@pytest.mark.parametrize("lease", [0, -1, None, math.inf, "5", True])
def test_what_is_kept_has_a_lease_that_ends(space, lease):
    handle = space.write(("k", 1))
    with pytest.raises(InvalidArgumentError):
        space.keep(handle, lease=lease)
    assert space.count(("k", 1)) == 1


def test_only_a_handle_or_a_claim_that_is_there_can_be_kept(space):
    handle = space.write(("k", 1))
    space.take(("k", 1))
    with pytest.raises(LeaseExpiredError):
        space.keep(handle)
    with pytest.raises(InvalidArgumentError, match="a handle or a claim"):
        space.keep(("k", 1))


def test_a_closed_client_keeps_nothing(space_server, remote, eventually):
    with connect(space_server.uri, key_file=space_server.key_file) as other:
        kept = other.keep(other.write(("k", 1)), lease=0.2)
    assert not kept.alive
    eventually(lambda: remote.count(("k", 1)) == 0, within=2)


def test_a_killed_client_keeps_nothing(space_server, remote, run_python, eventually):
    code = (
        "import sys, threading, tuplespace\n"
        "space = tuplespace.connect(sys.argv[1])\n"
        "kept = space.keep(space.write(('k', 1)), lease=0.5)\n"
        "print('kept', flush=True)\n"
        "threading.Event().wait()\n"
    )
    process = run_python("-c", code, space_server.uri)
    assert process.stdout.readline() == "kept\n"
    pass_time(0.8)
    assert remote.count(("k", 1)) == 1
    os.kill(process.pid, signal.SIGKILL)
    eventually(lambda: remote.count(("k", 1)) == 0, within=3)


def test_a_space_that_is_away_for_a_while_finds_it_kept(space_server, remote, eventually):
    """The connections break; the client's renewals find new ones."""
    kept = remote.keep(remote.write(("k", 1)), lease=1.0)
    for _ in range(3):
        for lane in [*remote._idle, *remote._busy]:
            lane.interrupt()
        pass_time(0.4)
    assert kept.alive
    assert remote.count(("k", 1)) == 1
