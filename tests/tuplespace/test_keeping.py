"""What is kept lives as long as its client, and not much longer."""

from __future__ import annotations

import math
import os
import signal
import threading

import pytest

from tuplespace import (
    ClaimLostError,
    ClosedError,
    InvalidArgumentError,
    LeaseExpiredError,
    Limits,
    connect,
)


def pass_time(seconds: float) -> None:
    """Let leases run that nothing announces the end of."""
    threading.Event().wait(seconds)


def test_a_kept_tuple_outlives_its_lease_and_a_let_go_one_does_not(space, eventually):
    kept = space.keep(space.write(("k", 1), lease=0.6), lease=0.6)
    pass_time(1.0)
    assert kept.alive
    assert space.count(("k", 1)) == 1
    kept.stop()
    assert not kept.alive
    eventually(lambda: space.count(("k", 1)) == 0)
    assert kept.error is None


def test_a_tuple_without_a_lease_gets_one_by_being_kept(space, eventually):
    with space.keep(space.write(("k", 1)), lease=0.6):
        assert space.count(("k", 1)) == 1
    eventually(lambda: space.count(("k", 1)) == 0)


def test_a_kept_claim_outlives_its_lease(space):
    space.write(("k", 1))
    claim = space.claim(("k", 1), lease=0.6)
    with space.keep(claim, lease=0.6):
        pass_time(1.0)
        claim.confirm()
    assert space.status()["tuples"] == 0


def test_what_is_taken_is_not_kept_any_more_and_says_why(space, eventually):
    kept = space.keep(space.write(("k", 1)), lease=0.15)
    space.write(("c", 1))
    claimed = space.keep(space.claim(("c", 1)), lease=0.15)
    claimed.what.release()
    space.take(("k", 1))
    eventually(lambda: kept.error and claimed.error)
    assert not kept.alive
    assert not claimed.alive
    assert isinstance(kept.error, LeaseExpiredError)
    assert isinstance(claimed.error, ClaimLostError)


# A space in a file takes longer to renew thousands one by one, at first, than their leases last.
@pytest.mark.parametrize(
    "space", [pytest.param("local", marks=pytest.mark.faults), "remote"], indirect=True
)
def test_thousands_are_kept_at_once_in_few_calls(space):
    handles = space.write_many([("k", number) for number in range(5_000)])
    space.write_many([("c", number) for number in range(200)])
    claims = space.claim_many(("c", None), 200)
    kept = [space.keep(each, lease=2.0) for each in [*claims, *handles]]
    before = space.status()["operations"]
    pass_time(4.0)
    assert space.status()["operations"] - before < 1_000
    assert space.count(("k", None)) == 5_000
    assert space.status()["claims"] == 200
    assert all(each.alive for each in kept)


def test_many_are_kept_where_only_small_calls_are_taken(start_server):
    server = start_server(limits=Limits(tuple_bytes=500))
    with connect(server.uri, key_file=server.key_file) as space:
        for number in range(300):
            space.keep(space.write(("k", number)), lease=0.8)
        pass_time(1.2)
        assert space.count(("k", None)) == 300


def test_one_that_is_gone_ends_alone(space, eventually):
    space.write_many([("c", number) for number in range(5)])
    handles = space.write_many([("k", number) for number in range(5)])
    claims = space.claim_many(("c", None), 5)
    kept = [space.keep(each, lease=0.8) for each in [*handles, *claims]]
    space.take(("k", 2))
    claims[3].confirm()
    eventually(lambda: sum(each.alive for each in kept) == 8)
    pass_time(1.2)
    assert [each.alive for each in kept] == [number not in (2, 8) for number in range(10)]
    assert isinstance(kept[2].error, LeaseExpiredError)
    assert isinstance(kept[8].error, ClaimLostError)
    assert space.count(("k", None)) == space.status()["claims"] == 4


def test_what_is_kept_cannot_be_kept_twice(space):
    space.write(("c", 1))
    for what, there in (
        (space.write(("k", 1)), lambda: space.count(("k", 1))),
        (space.claim(("c", 1)), lambda: space.status()["claims"]),
    ):
        kept = space.keep(what, lease=10)
        with pytest.raises(InvalidArgumentError, match="is kept already"):
            space.keep(what, lease=0.1)
        pass_time(0.2)  # the second's lease, if it had got one
        kept.stop()
        kept.stop()
        with space.keep(what, lease=0.6) as again:
            kept.stop()
            pass_time(0.8)
            assert again.alive
            assert not kept.alive
            assert there() == 1


def test_what_could_not_be_kept_is_not_kept_already(space):
    handle = space.write(("k", 1))
    handle.cancel()
    for _ in range(2):
        with pytest.raises(LeaseExpiredError):
            space.keep(handle)


def test_two_threads_keep_one_thing_once(space, background):
    handle = space.write(("k", 1))
    start = threading.Barrier(8)

    def keep():
        start.wait()
        try:
            return space.keep(handle, lease=5)
        except InvalidArgumentError:
            return None

    kept = [thread.result() for thread in [background(keep) for _ in range(8)]]
    assert sum(each is not None for each in kept) == 1


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
    eventually(lambda: remote.count(("k", 1)) == 0)


def test_closing_while_renewals_are_under_way_ends_them(space, eventually):
    kept = [space.keep(space.write(("k", number)), lease=0.06) for number in range(50)]
    thread = space._keeper._thread
    assert thread.is_alive()
    space.close()
    eventually(lambda: not thread.is_alive())
    assert not any(each.alive for each in kept)
    with pytest.raises(ClosedError):
        space.keep(kept[0].what)


def test_closing_while_the_space_is_away_ends_the_renewals(start_server, eventually):
    server = start_server()
    with connect(server.uri, key_file=server.key_file) as space:
        kept = space.keep(space.write(("k", 1)), lease=0.3)
        thread = space._keeper._thread
        server.stop()
        eventually(lambda: space._keeper._renewing)
    eventually(lambda: not thread.is_alive())
    assert not kept.alive


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
    eventually(lambda: remote.count(("k", 1)) == 0)


def test_a_space_that_is_away_for_a_while_finds_it_kept(space_server, remote, eventually):
    """The connections break; the client's renewals find new ones."""
    kept = remote.keep(remote.write(("k", 1)), lease=1.0)
    for _ in range(3):
        for lane in [*remote._idle, *remote._busy]:
            lane.interrupt()
        pass_time(0.4)
    assert kept.alive
    assert remote.count(("k", 1)) == 1


def test_a_space_that_does_not_answer_is_soon_asked_again(space_server, forwarder, eventually):
    """Not a third of a lease later: the leases may have run out by then."""

    def expires():
        return max(entry.expires for entry in list(space_server.daemon.core._entries.values()))

    with connect(f"127.0.0.1:{forwarder.port}", retry_for=0.05) as space:
        handles = space.write_many([("k", number) for number in range(20)])
        kept = [space.keep(handle, lease=4.5) for handle in handles]
        first = expires()
        forwarder.refuse = True
        forwarder.cut_all()
        eventually(lambda: space._keeper._renewing)
        eventually(lambda: not space._keeper._renewing)  # they were given up
        forwarder.refuse = False
        eventually(lambda: expires() > first, within=1)
        assert all(each.alive for each in kept)


def test_what_is_kept_counts_as_alive_only_while_its_lease_runs(start_server, eventually):
    server = start_server()
    with connect(server.uri, key_file=server.key_file, retry_for=30) as space:
        kept = space.keep(space.write(("k", 1)), lease=0.5)
        assert kept.alive
        server.stop()
        eventually(lambda: not kept.alive)
        assert kept.error is None  # nobody has told us that it is gone
