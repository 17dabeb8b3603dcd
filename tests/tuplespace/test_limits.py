"""What a full space refuses, what it goes on doing, and how much that is in memory."""

from __future__ import annotations

import socket
import subprocess
import sys
import tracemalloc
from contextlib import ExitStack

import Pyro5.api
import pytest

import tuplespace
from tuplespace import (
    ClaimLostError,
    InvalidArgumentError,
    InvalidTemplateError,
    Limits,
    SpaceFullError,
    SpaceUnreachableError,
    TupleSpace,
    TupleTooLargeError,
    connect,
)
from tuplespace.core import SpaceCore
from tuplespace.frames import call_message
from tuplespace.values import Opaque
from tuplespace.wire import pack, unpack

#: Megabytes take long to become durable.
OFTEN_IN_MEMORY = pytest.mark.parametrize(
    "space", ["local", "remote", pytest.param("stored", marks=pytest.mark.faults)], indirect=True
)


@pytest.fixture(params=["local", "remote"])
def limited(request, start_server):
    """Make a space, near or far, with these limits."""
    with ExitStack() as stack:

        def make(**limits):
            if request.param == "local":
                return stack.enter_context(TupleSpace(Limits(**limits)))
            server = start_server(limits=Limits(**limits))
            return stack.enter_context(connect(server.uri, key_file=server.key_file, retry_for=5))

        yield make


def test_a_full_space_refuses_a_write_at_once_and_says_what_is_full(limited):
    space = limited(tuples=3)
    space.write_many([("k", 1), ("k", 2), ("k", 3)])
    with pytest.raises(SpaceFullError, match="4 tuples, and 3 are allowed") as caught:
        space.write(("k", 4))
    assert (caught.value.limit, caught.value.size) == (3, 4)
    assert 0 < caught.value.retry_after <= 5
    assert space.count(("k", None)) == 3


def test_write_many_stores_all_or_nothing(limited):
    space = limited(tuples=3)
    space.write(("k", 0))
    with pytest.raises(SpaceFullError):
        space.write_many([("k", 1), ("k", 2), ("k", 3)])
    assert space.read_all(("k", None)) == [("k", 0)]
    space.write_many([("k", 1), ("k", 2)])


def test_a_full_space_goes_on_serving_takes_confirms_and_swaps(limited):
    space = limited(tuples=2)
    space.write_many([("k", 1), ("k", 2)])
    assert space.swap(("k", 1), ("k", 3)) == ("k", 1)
    with space.claim(("k", 2)) as claim:
        claim.confirm(write=[("done", 2)])
    assert space.take(("k", None), timeout=0) == ("k", 3)
    space.write(("k", 4))
    assert space.count(("k", None)) == space.count(("done", None)) == 1


def test_a_tuple_that_somebody_waits_for_needs_no_room(limited, parked):
    space = limited(tuples=1)
    space.write(("k", 1))
    taking = parked(space, space.take, ("reply", int))
    reading = parked(space, space.read, ("reply", int))
    claiming = parked(space, space.claim, ("other", int))
    space.write(("reply", 1))
    assert (taking.result(), reading.result()) == (("reply", 1), ("reply", 1))
    for refused in (("reply", 2), ("other", 2)):  # nobody waits any more; what is claimed stays
        with pytest.raises(SpaceFullError):
            space.write(refused)
    space.take(("k", 1))
    space.write(("other", 3))
    claiming.result().confirm()


def test_confirms_may_go_a_third_beyond_the_limit_and_a_refused_one_costs_no_claim(limited):
    space = limited(tuples=6)
    space.write_many([("k", number) for number in range(6)])
    first, second = space.claim_many(("k", None), 2)
    with pytest.raises(SpaceFullError):
        first.confirm(write=[("result", number) for number in range(4)])
    first.confirm(write=[("result", number) for number in range(3)])
    with pytest.raises(SpaceFullError):
        space.write(("k", 7))
    second.confirm()  # writes nothing: there is always room for that
    assert space.status()["tuples"] == 7


def test_a_refused_renewal_writes_nothing_and_keeps_the_claim(limited):
    space = limited(tuples=1)
    space.write(("k", 1))
    claim = space.claim(("k", None))
    with pytest.raises(SpaceFullError):
        claim.renew(write=[("progress", 1)])
    claim.renew()
    claim.confirm()
    with pytest.raises(ClaimLostError):
        claim.confirm()


def test_many_confirms_fail_one_by_one(limited):
    space = limited(tuples=3)
    space.write_many([("k", number) for number in range(3)])
    claims = space.claim_many(("k", None), 3)
    errors = space.confirm_many(
        [(claims[0], []), (claims[1], [("r", n) for n in range(9)]), (claims[2], [("r", 1)])]
    )
    assert [type(error) for error in errors] == [type(None), SpaceFullError, type(None)]


def test_bytes_are_limited_too(limited):
    space = limited(bytes=1 << 20)
    written = 0
    with pytest.raises(SpaceFullError, match="bytes") as caught:
        while written < 2000:
            space.write(("k", written, b"x" * 1000))
            written += 1
    assert 600 < written < 1000
    assert caught.value.limit == 1 << 20 < caught.value.size
    space.take_many(("k", None, None), 10)
    space.write(("k", written, b"x" * 1000))


def test_what_is_stored_is_counted_and_what_has_gone_is_not(space):
    assert space.status()["bytes"] == 0
    space.write_many([("k", number, b"x" * 10_000) for number in range(10)])
    assert 100_000 < space.status()["bytes"] < 120_000
    handle = space.write(("handle",))
    space.write(("lease",), lease=0.0)
    claims = space.claim_many(("k", None, None), 3)
    claims[0].confirm(write=[("r", b"y" * 50_000)])
    claims[1].release()
    space.swap(("r", None), ("s",))
    space.take_many(("k", None, None), 20)
    space.take(("s",))
    handle.cancel()
    assert 10_000 < space.status()["bytes"] < 12_000  # what is claimed is stored
    claims[2].confirm()
    assert space.status()["bytes"] == space.status()["tuples"] == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda n: ("task", n, b"payload"),
        lambda n: (n,),
        lambda n: ("text", str(n) * 40),
        lambda n: ("bytes", n, bytes(500)),
        lambda n: ("list", [n + i for i in range(300, 350)]),
        lambda n: ("nested", n, ((n, str(n)), (n + 1, [str(n), {"k": float(n)}]))),
        lambda n: {"name": str(n), "n": n, "more": 1.5 * n},
        lambda n: ("object", Opaque(bytes(200))),
        lambda n: ("emoji", "a" * 500 + chr(0x1F600)),
        lambda n: ("empty", [[], {}, (), [[]] * 20, {1: 1}]),
        lambda n: {f"key {n}": n},
    ],
    ids=[
        "task",
        "one",
        "text",
        "bytes",
        "list",
        "nested",
        "dict",
        "object",
        "emoji",
        "empty",
        "keys",
    ],
)
def test_the_estimate_is_about_what_memory_they_take(make):
    sent = [pack((make(number),)) for number in range(1000)]
    # Twice, for what Python itself may have to enlarge meanwhile, such as its table of names.
    measured = [memory_and_estimate(sent) for _ in range(2)]
    taken = min(memory for memory, _ in measured)
    assert 0.7 * taken < measured[0][1] == measured[1][1] < 2.5 * taken


def memory_and_estimate(sent):
    core = SpaceCore()
    lane = core.connect("client", 0.0).lane(1)
    tracemalloc.start()
    try:
        for number, data in enumerate(sent):
            core.call(lane, number, "write", (unpack(data), None), 0.0)
            core.effects.clear()
        return tracemalloc.get_traced_memory()[0], core.status(0.0)["bytes"]
    finally:
        tracemalloc.stop()


def test_as_many_calls_wait_as_are_allowed(limited, parked):
    space = limited(waiters=2)
    first, second = (parked(space, space.take, ("k", number)) for number in range(2))
    with pytest.raises(SpaceFullError, match="2 calls wait") as caught:
        space.take(("k", 9))
    assert caught.value.limit == 2
    space.write(("k", 9))
    assert space.take(("k", 9)) == ("k", 9)  # it need not wait
    space.write_many([("k", 0), ("k", 1)])
    assert (first.result(), second.result()) == (("k", 0), ("k", 1))
    with pytest.raises(TimeoutError):
        space.take(("k", 2), timeout=0.01)


def test_a_tuple_may_be_so_large_and_no_larger(limited):
    space = limited(tuple_bytes=10_000)
    space.write(("k", b"x" * 9_000))
    space.write_many([("k", b"x" * 9_000)] * 5)
    claim = space.claim(("k", None))
    for call in (
        lambda: space.write(("k", b"x" * 10_001)),
        lambda: space.write_many([("k",), ("k", "x" * 10_001)]),
        lambda: space.swap(("k", None), ("k", b"x" * 10_001)),
        lambda: claim.confirm(write=[("k", b"x" * 10_001)]),
        lambda: claim.renew(write=[("k", ("x" * 5_001, "y" * 5_001))]),
        lambda: space.write(("k", list(range(10_000)))),
    ):
        with pytest.raises(TupleTooLargeError, match="10,000"):
            call()
    claim.confirm()
    assert space.count(("k", None)) == 5


def test_who_does_not_check_sizes_is_checked(start_server, monkeypatch):
    server = start_server(limits=Limits(tuple_bytes=10_000))
    with connect(server.uri, key_file=server.key_file) as space:
        monkeypatch.setattr("tuplespace.client.check_sizes", lambda *_: None)
        with pytest.raises(TupleTooLargeError):
            space.write(("k", b"x" * 10_001))
    with Pyro5.api.Proxy(server.uri) as proxy:
        proxy._pyroHandshake = tuplespace.handshake(server.key_file)
        with pytest.raises(ValueError, match="TupleTooLargeError"):
            proxy.write(("k", "x" * 10_001))
        proxy.write(("k", "x" * 9_000))
        assert proxy.count(("k", None)) == 1


@OFTEN_IN_MEMORY
def test_a_reply_of_many_large_tuples_holds_as_many_as_fit(space):
    for number in range(10):
        space.write(("k", number, bytes(15 << 20)))
    first = [found[1] for found in space.take_many(("k", None, None), 100)]
    claims = space.claim_many(("k", None, None), 100)
    assert first == [0, 1, 2, 3]
    assert [claim.tuple[1] for claim in claims] == [4, 5, 6, 7]
    assert space.count(("k", None, None)) == 2


@OFTEN_IN_MEMORY
def test_a_subscriber_far_behind_in_bytes_gets_an_overflow(space):
    events = space.notify("write", ("k", None))
    for _ in range(6):
        space.write(("k", bytes(15 << 20)))
        space.take(("k", None))
    event = events.next(1.0)
    while event.event == "write":
        event = events.next(1.0)
    assert (event.event, event.tuple) == ("overflow", None)


@OFTEN_IN_MEMORY
def test_subscribers_far_behind_together_get_overflows(space):
    listening = [space.notify("write", ("k", None)) for _ in range(8)]
    for _ in range(4):
        space.write(("k", bytes(15 << 20)))
        space.take(("k", None))
    heard = []
    for events in listening:
        while (event := events.next(1.0)).event == "write" and event.sequence < 4:
            pass
        heard.append(event.event)
    assert "overflow" in heard
    assert "write" in heard


def test_replies_that_may_be_asked_for_again_count_while_they_are_kept(start_server):
    server = start_server(limits=Limits(bytes=10 << 20))
    with connect(server.uri, key_file=server.key_file) as space:
        space.write(("k", bytes(8 << 20)))
        thief = connect(server.uri, key_file=server.key_file)
        assert len(thief.take(("k", None))[1]) == 8 << 20
        assert space.status()["reply_bytes"] > 8 << 20
        for lane in thief._idle:
            lane.disconnect()  # it has vanished, and may come back
        with pytest.raises(SpaceFullError):
            space.write(("k", bytes(8 << 20)))
        assert thief.count(("k", None)) == 0  # it is back, and its next call says it has the reply
        assert space.status()["reply_bytes"] == 0
        space.write(("k", bytes(8 << 20)))
        thief.close()


def test_a_template_may_be_so_large_and_no_larger(remote, stock, space_server):
    large = "x" * (257 << 10)
    for call in (remote.take, remote.read, remote.claim):
        with pytest.raises(InvalidTemplateError, match="template of"):
            call((large,), timeout=0)
    with stock(space_server) as proxy, pytest.raises(TypeError, match="template of"):
        proxy.take((large,), 0)
    remote.write((large,))
    assert remote.take((str,), 0) == (large,)


def test_what_a_stock_proxy_swaps_in_may_be_larger_than_a_template(remote, stock, space_server):
    with stock(space_server) as proxy:
        proxy.write(("k", 1))
        assert proxy.swap(("k", None), ("k", "x" * (300 << 10))) == ("k", 1)
    assert len(remote.take(("k", str), 0)[1]) == 300 << 10


def test_no_more_listen_than_may_wait(limited):
    space = limited(waiters=3)
    listening = [space.notify("write", ("k",)) for _ in range(3)]
    with pytest.raises(SpaceFullError, match="listen"):
        space.notify("write", ("k",))
    listening[0].cancel()
    space.notify("write", ("k",))


def test_more_connections_than_allowed_wait_until_there_is_room(start_server, background):
    server = start_server(limits=Limits(connections=2))
    first = connect(server.uri, key_file=server.key_file)
    with connect(server.uri, key_file=server.key_file) as second:
        with pytest.raises(SpaceUnreachableError):
            connect(server.uri, key_file=server.key_file, timeout=0.3)
        late = background(connect, server.uri, key_file=server.key_file)
        first.close()
        with late.result() as third:
            third.write(("k", 1))
            assert second.take(("k", None)) == ("k", 1)


def test_strangers_beyond_their_limit_wait_and_then_it_is_their_turn(start_server, background):
    server = start_server(limits=Limits(unauthenticated=2))
    with ExitStack() as stack:
        strangers = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            for _ in range(2)
        ]
        with pytest.raises(SpaceUnreachableError):
            connect(server.uri, key_file=server.key_file, timeout=0.3)
        late = background(connect, server.uri, key_file=server.key_file)
        strangers[0].close()
        late.result().close()


def test_strangers_who_keep_others_out_have_less_time(start_server, monkeypatch):
    monkeypatch.setattr("tuplespace.transport._PRESSED_SECONDS", 0.2)
    server = start_server(limits=Limits(unauthenticated=2))
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        connect(server.uri, key_file=server.key_file, timeout=4).close()


def test_half_a_message_is_waited_for_so_long_and_no_longer(start_server, monkeypatch, eventually):
    monkeypatch.setattr("tuplespace.transport.SEND_SECONDS", 0.2)
    monkeypatch.setattr("tuplespace.transport._HOUSEKEEPING_SECONDS", 0.1)
    server = start_server()
    with connect(server.uri, key_file=server.key_file, retry_for=5) as space:
        space.write(("k", 1))
        half = call_message(99, pack((99, "write", ((("k", bytes(100_000)),), None))))[:50_000]
        space._idle[0]._sock.sendall(half)
        (connection,) = server.daemon.transportServer._connections
        eventually(lambda: connection.closed, within=5)
        assert space.count(("k", None)) == 1


@pytest.mark.parametrize(
    "settings, expected",
    [
        ([], Limits()),
        (["bytes=4G"], Limits(bytes=4 << 30)),
        (["tuples=1000", "waiters=none"], Limits(tuples=1000, waiters=None)),
        (["tuple-bytes=1MiB", "connections=9"], Limits(tuple_bytes=1 << 20, connections=9)),
        (["bytes=64kB"], Limits(bytes=64 << 10)),
    ],
)
def test_limits_are_set_by_name(settings, expected):
    assert Limits().changed(settings) == expected


@pytest.mark.parametrize(
    "setting",
    [
        "bytes",
        "bytes=",
        "=4",
        "tuples=-1",
        "tuples=0",
        "tuples=1.5",
        "tuple_bytes=none",
        "x=3",
        "bytes=4Q",
    ],
)
def test_what_is_no_limit_is_refused_with_the_names_there_are(setting):
    with pytest.raises(InvalidArgumentError, match="tuple_bytes, tuples, bytes, waiters"):
        Limits().changed([setting])


def test_by_default_tuples_may_take_three_fifths_of_the_memory_allowed():
    code = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))\n"
        "from tuplespace.resources import server_limits\n"
        "limits = server_limits()\n"
        "print(limits.bytes, limits.connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0])\n"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    found, connections, files = map(int, output.stdout.split())
    assert found == int(0.6 * (1 << 30))
    assert connections < files == 200
    assert connections > 100


def test_a_server_says_its_limits_and_refuses_nonsense(run_python):
    process = run_python(
        "-m",
        "tuplespace",
        "--embedded",
        "--port",
        "0",
        "--limit",
        "tuples=2",
        "--limit",
        "bytes=1M",
    )
    with connect(process.stdout.readline().strip()) as space:
        limits = space.status()["limits"]
        assert (limits["tuples"], limits["bytes"], limits["waiters"]) == (2, 1 << 20, 100_000)
        space.write_many([("k", 1), ("k", 2)])
        with pytest.raises(SpaceFullError):
            space.write(("k", 3))
    wrong = run_python("-m", "tuplespace", "--port", "0", "--limit", "tuples=many")
    _, errors = wrong.communicate(timeout=20)
    assert wrong.returncode == 1
    assert errors.startswith("tuplespace: 'tuples=many' is no limit")
    assert len(errors.splitlines()) == 1
