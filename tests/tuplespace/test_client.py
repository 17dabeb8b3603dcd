"""The remote space's client: finding the space, and losing and finding it again."""

from __future__ import annotations

import pickle
import socket
import threading
import time
from contextlib import suppress

import pytest
from Pyro5 import protocol, serializers

from history.forwarder import Forwarder
from tuplespace import (
    AuthenticationError,
    ClaimLostError,
    ClosedError,
    InvalidArgumentError,
    MatchTimeoutError,
    SpaceLostError,
    SpaceUnreachableError,
    TupleTooLargeError,
    connect,
)
from tuplespace.limits import Limits
from tuplespace.security import make_key


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


# -- connecting


def test_no_space_there_says_what_was_tried_and_what_to_do(key_file):
    port, started = free_port(), time.monotonic()
    with pytest.raises(SpaceUnreachableError) as caught:
        connect(f"127.0.0.1:{port}")
    assert time.monotonic() - started < 5
    message = str(caught.value)
    assert f"PYRO:tuplespace@127.0.0.1:{port}" in message
    assert "invoke tuplespace" in message
    assert "\n" not in message
    assert caught.value.outcome_unknown is False


def test_somebody_who_accepts_and_says_nothing_is_no_space(key_file):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(SpaceUnreachableError):
            connect(f"127.0.0.1:{silent.getsockname()[1]}", timeout=0.5)
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("start", [b"", b"PYRO\x01\xf6"], ids=["header", "rest"])
def test_somebody_who_says_a_byte_now_and_then_is_no_space(key_file, background, start):
    """No receive takes long, but all of them together would."""

    def trickle():
        sock, _ = server.accept()
        with sock, suppress(OSError):  # the client hangs up
            sock.sendall(start)
            for byte in (b"PYRO\x01\xf6" + bytes(60))[len(start) :]:
                sock.sendall(bytes([byte]))
                if gone.wait(0.1):
                    return

    gone = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        trickling, threads = background(trickle), threading.active_count()
        started = time.monotonic()
        with pytest.raises(SpaceUnreachableError):
            connect(f"127.0.0.1:{server.getsockname()[1]}", timeout=0.6)
        assert time.monotonic() - started < 4  # of six that it would talk
        assert threading.active_count() <= threads
        gone.set()
        trickling.result()


def test_what_is_not_safe_to_decode_is_not_decoded_before_the_key_is_proved(
    key_file, background, monkeypatch
):
    def refuse(data):
        raise AssertionError("it was decoded")

    monkeypatch.setattr(serializers.MarshalSerializer, "loads", lambda self, data: refuse(data))
    marshal = serializers.MarshalSerializer.serializer_id
    answer = protocol.SendingMessage(protocol.MSG_CONNECTOK, 0, 0, marshal, b"{").data
    test_somebody_who_says_something_else_is_no_space(key_file, background, answer)


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n" * 9, b"PYRO" + bytes(60), b""]
)
def test_somebody_who_says_something_else_is_no_space(key_file, background, answer):
    def once():
        sock, _ = server.accept()
        with sock:
            sock.recv(1)
            sock.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        answering = background(once)
        with pytest.raises(SpaceUnreachableError):
            connect(f"127.0.0.1:{server.getsockname()[1]}", timeout=2)
        answering.result()


def test_without_a_key_the_error_names_the_file_and_the_option(space_server, tmp_path):
    with pytest.raises(AuthenticationError) as caught:
        connect(space_server.uri, key_file=tmp_path / "none")
    assert str(tmp_path / "none") in str(caught.value)
    assert "--key-file" in str(caught.value)


def test_with_another_key_neither_side_believes_the_other(space_server, tmp_path):
    make_key(tmp_path / "other")
    with pytest.raises(AuthenticationError) as caught:
        connect(space_server.uri, key_file=tmp_path / "other")
    assert str(tmp_path / "other") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    ["PYRO:tuplespace", "host:port", "PYRO:@", ":", "PYRO:x@host", "::1", "a:b:c", "host:99999999"],
)
def test_what_is_no_address_is_refused_at_once(key_file, uri):
    with pytest.raises((InvalidArgumentError, SpaceUnreachableError)):
        connect(uri, timeout=1)


def test_the_space_is_looked_for_where_the_environment_says(space_server, monkeypatch):
    for address in (space_server.uri, f"127.0.0.1:{space_server.port}"):
        monkeypatch.setenv("TUPLESPACE_URI", address)
        with connect() as space:
            assert space.status()["tuples"] == 0
    monkeypatch.setenv("TUPLESPACE_URI", f"127.0.0.1:{free_port()}")
    with pytest.raises(SpaceUnreachableError, match="TUPLESPACE_URI"):
        connect()


# -- breaking connections


@pytest.mark.parametrize("how", ["cut_instead_of_reply", "cut_after_request"])
def test_a_call_whose_connection_breaks_is_repeated_and_applied_once(far, remote, forwarder, how):
    def broken(call, *args):
        cuts = forwarder.cuts
        setattr(forwarder, how, True)
        result = call(*args)
        assert forwarder.cuts == cuts + 1
        return result

    for _ in range(3):
        broken(far.write, ("r",))
    assert remote.count(("r",)) == 3
    assert broken(far.take, ("r",), 0) == ("r",)
    assert remote.count(("r",)) == 2
    assert broken(far.swap, ("r",), ("s",)) == ("r",)
    assert (remote.count(("r",)), remote.count(("s",))) == (1, 1)
    claim = broken(far.claim, ("r",))
    broken(claim.confirm, [("done",)])
    assert remote.read_all((None,)) == [("s",), ("done",)]
    with pytest.raises(MatchTimeoutError):
        broken(far.take, ("none",), 0)


def test_a_parked_take_survives_its_connection(far, remote, forwarder, parked, eventually):
    waiting = parked(remote, far.take, ("p",))
    for _ in range(3):
        forwarder.cut_all()
        eventually(lambda: remote.status()["waiters"] == 0)
        eventually(lambda: remote.status()["waiters"] == 1)
    remote.write(("p",))
    assert waiting.result() == ("p",)
    assert far.take_many is not None
    remote.write(("p", 2))
    assert far.take(("p", None), 0) == ("p", 2)


def test_a_parked_take_keeps_its_place_if_its_session_stays(
    far, remote, forwarder, space_server, parked
):
    before = parked(remote, far.take, ("p", None))
    remote.write(("busy",))
    claims = far.claim(("busy",))
    after = parked(remote, remote.take, ("p", None))
    forwarder.cut_all()
    remote.write_many([("p", 1), ("p", 2)])
    assert {before.result(), after.result()} == {("p", 1), ("p", 2)}
    claims.confirm()


def test_a_wait_for_events_survives_its_connection(far, remote, forwarder, background, eventually):
    events = far.notify("write", ("n", None))
    operations = remote.status()["operations"]
    waiting = background(lambda: [next(events) for _ in range(3)])
    for number in range(3):
        eventually(lambda seen=operations: remote.status()["operations"] > seen + 1)
        forwarder.cut_all()
        remote.write(("n", number))
        operations = remote.status()["operations"]
    assert [(event.sequence, event.tuple[1]) for event in waiting.result()] == [
        (1, 0),
        (2, 1),
        (3, 2),
    ]


def test_claims_outlive_a_short_break_and_not_a_long_one(far, remote, forwarder, eventually):
    remote.write_many([("c", 1), ("c", 2)])
    claims = far.claim_many(("c", None), 2, lease=60)
    forwarder.cut_all()
    claims[0].confirm()
    forwarder.cut_all()
    started = time.monotonic()
    eventually(lambda: remote.count(("c", None)) == 1)
    assert 0.8 < time.monotonic() - started < 10
    with pytest.raises(ClaimLostError):
        claims[1].confirm()


def test_many_threads_lose_and_double_nothing_over_breaking_connections(
    far, remote, forwarder, background
):
    def work(number):
        for i in range(40):
            far.write(("w", number, i))
            claim = far.claim(("w", number, None))
            claim.confirm([("r", *claim.tuple[1:])])

    workers = [background(work, number) for number in range(4)]
    while any(worker.running for worker in workers):
        threading.Event().wait(0.05)
        forwarder.cut_all()
    for worker in workers:
        worker.result()
    assert sorted(remote.read_all(("r", None, None))) == [
        ("r", n, i) for n in range(4) for i in range(40)
    ]
    assert remote.count(("w", None, None)) == 0


def test_a_space_that_cannot_be_reached_for_long_is_unreachable(space_server):
    forwarder = Forwarder(space_server.port)
    try:
        with connect(f"127.0.0.1:{forwarder.port}", retry_for=0.4) as space:
            space.write(("a",))
            forwarder.refuse = True
            forwarder.cut_all()
            started = time.monotonic()
            with pytest.raises(SpaceUnreachableError) as caught:
                space.write(("a",))
            assert 0.3 < time.monotonic() - started < 10
            forwarder.refuse = False
            forwarder.cut_all()
            assert space.count(("a",)) in (1, 2)
            forwarder.cut_after_request = forwarder.refuse = True
            with pytest.raises(SpaceUnreachableError) as caught:
                space.write(("b", 1))
            assert caught.value.outcome_unknown is True
    finally:
        forwarder.stop()


def test_a_space_that_came_back_empty_says_so_once_and_works(start_server, eventually, background):
    first = start_server()
    with connect(first.uri, retry_for=10) as space:
        space.write(("a",))
        waiting = background(space.take, ("b",))
        eventually(lambda: space.status()["waiters"] == 1)
        first.stop()
        second = start_server(first.port)
        with pytest.raises(SpaceLostError):
            space.count(("a",))
        with pytest.raises(SpaceLostError):
            waiting.result()
        assert space.count(("a",)) == 0
        space.write(("c",))
        assert space.take(("c",), 0) == ("c",)
    second.stop()


def test_a_call_made_while_the_space_is_down_waits_for_it(start_server, background):
    first = start_server()
    with connect(first.uri, retry_for=10) as space:
        first.stop()
        waiting = background(space.write, ("a",))
        start_server(first.port)
        with pytest.raises(SpaceLostError):
            waiting.result()
        space.write(("a",))


def test_a_closed_client_interrupts_its_retries(start_server, background):
    server = start_server()
    space = connect(server.uri, retry_for=60)
    server.stop()
    waiting = background(space.count, ("a",))
    threading.Event().wait(0.05)
    space.close()
    with pytest.raises(ClosedError):
        waiting.result(3)


# -- the rest


def test_close_is_a_goodbye_that_releases_claims_at_once(
    space_server, remote, eventually, promptly
):
    """Without one they are back after a second."""

    def close():
        space = connect(space_server.uri)
        space.write(("c",))
        space.claim(("c",))
        started = time.monotonic()
        space.close()
        assert remote.take(("c",), 10) == ("c",)
        return time.monotonic() - started

    promptly(close, 0.5)
    eventually(lambda: remote.status()["sessions"] == 1)


def test_a_pickled_client_reconnects_where_it_arrives(remote):
    remote.write(("a",))
    with pickle.loads(pickle.dumps(remote)) as copy:
        assert copy.take(("a",), 0) == ("a",)
        copy.write(("b",))
        claim = copy.claim(("b",))
        assert remote.status()["sessions"] == 2
        claim.confirm()


FORKED = """
import os, sys, tuplespace
space = tuplespace.connect(sys.argv[1], retry_for=5)
space.write(("c",))
claim = space.claim(("c",))
for number in range(3):
    child = os.fork()
    if child == 0:
        if number:
            space.write(("child", number))
            assert space.take(("parent", number), 5)
        sys.exit(0)
    if number:
        assert space.take(("child", number), 5)
        space.write(("parent", number))
    assert os.waitpid(child, 0)[1] == 0
while space.status()["connections"] > 2:  # our own, and the test's
    pass
claim.confirm([("confirmed", space.count(("none",)))])
print("fine")
"""


def test_a_forked_client_makes_connections_of_its_own(space_server, remote, run_python):
    out, err = run_python("-c", FORKED, space_server.uri).communicate(timeout=20)
    assert (out, err) == ("fine\n", "")
    assert remote.count(("confirmed", 0)) == 1


def test_a_tuple_that_is_too_large_is_refused_and_costs_no_claim(remote):
    remote.write(("c",))
    claim = remote.claim(("c",))
    large = bytes(Limits.tuple_bytes)
    for call in (
        lambda: remote.write(("x", large)), lambda: claim.confirm([("x", large)]),
        lambda: remote.write_many([("x",), ("x", large)]), lambda: claim.renew(write=[("x", large)]),
    ):  # fmt: skip
        with pytest.raises(TupleTooLargeError, match="16,777,"):
            call()
    quarter = bytes(Limits.tuple_bytes // 4)
    claim.confirm([("y", quarter)] * 5)
    assert remote.status()["tuples"] == 5
    assert remote.take_many(("y", None), 5) == [("y", quarter)] * 5


def test_a_client_used_by_many_threads_gives_each_its_own_answer(remote, background):
    def work(number):
        for i in range(100):
            remote.write(("t", number, i))
            assert remote.take(("t", number, None), 0) == ("t", number, i)

    for worker in [background(work, number) for number in range(8)]:
        worker.result(30)
