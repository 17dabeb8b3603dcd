"""The server against clients of every kind: strangers, dead ones, slow ones, hostile ones."""

from __future__ import annotations

import contextlib
import itertools
import random
import signal
import socket
import threading
import time

import Pyro5.api
import Pyro5.core
import Pyro5.errors
import pytest
from Pyro5 import protocol, serializers

from tuplespace import connect, handshake
from tuplespace.frames import call_message
from tuplespace.proxy import GuardedProxy
from tuplespace.security import load_key, make_key
from tuplespace.transport import HANDSHAKE_BYTES
from tuplespace.wire import pack, pack_template


@pytest.fixture
def raw(space_server):
    """Connect without a word; the sockets are closed afterwards."""
    with contextlib.ExitStack() as stack:

        def open_one():
            sock = socket.create_connection(("127.0.0.1", space_server.port), timeout=10)
            return stack.enter_context(sock)

        yield open_one


@pytest.fixture
def admitted(space_server):
    """Connect and prove the key, as our client does, and hand out the bare sockets."""
    numbers = itertools.count(1)
    with contextlib.ExitStack() as stack:

        def open_one():
            key = load_key(space_server.key_file)
            guest = GuardedProxy(
                space_server.uri, key, {"session": f"raw{next(numbers)}", "lane": 1}
            )
            guest.connect(5)
            stack.callback(guest._pyroRelease)
            return guest._pyroConnection.sock

        yield open_one


def test_a_peer_that_vanishes_is_noticed_within_half_a_minute(space_server, remote):
    ours = remote._idle[0]._sock
    (theirs,) = (each.sock for each in space_server.daemon.transportServer._connections)
    for sock in (ours, theirs):
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            assert 0 < sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 30_000
            idle, interval, count = (
                sock.getsockopt(socket.IPPROTO_TCP, option)
                for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            )
            assert 0 < idle + interval * count <= 30


# -- who may in


@pytest.mark.parametrize("serializer", ["serpent", "msgpack"])
@pytest.mark.parametrize(
    "shown",
    ["hello", None, {}, {"ticket": "x"}, {"proof": "x"}, {"nonce": 1, "ticket": 2}, {"client": []}],
)
def test_without_the_key_nothing_is_reached(space_server, serializer, shown):
    with Pyro5.api.Proxy(space_server.uri) as proxy:
        proxy._pyroSerializer = serializer
        proxy._pyroHandshake = shown
        with pytest.raises(Pyro5.errors.CommunicationError):
            proxy.status()


def test_with_another_key_nothing_is_reached(space_server, tmp_path, stock):
    make_key(tmp_path / "other")
    shown = handshake(tmp_path / "other")
    refused = pytest.raises(Pyro5.errors.CommunicationError, match="cluster key")
    with stock(space_server, shown=shown) as proxy, refused:
        proxy.status()


def test_half_a_proof_reaches_nothing(space_server, raw):
    sock = raw()
    serializer = serializers.serializers["msgpack"]
    data = serializer.dumps({"handshake": {"client": "n"}, "object": "tuplespace"})
    sock.sendall(protocol.SendingMessage(protocol.MSG_CONNECT, 0, 0, 4, data).data)
    assert sock.recv(1000)[6] == protocol.MSG_CONNECTOK
    sock.sendall(call_message(1, pack((1, "status", ()))))
    answer = sock.recv(1000)
    assert answer == b"" or answer[6] == protocol.MSG_CONNECTFAIL
    assert b"operations" not in answer


@pytest.mark.parametrize("serializer", ["marshal", "json"])
def test_marshal_and_json_are_refused_before_they_are_decoded(space_server, serializer, stock):
    refused = pytest.raises(Pyro5.errors.CommunicationError, match="serpent and msgpack")
    with stock(space_server, serializer) as proxy, refused:
        proxy.status()


def _message(kind=protocol.MSG_CONNECT, flags=0, serializer=4, data=b"", magic=b"M\xc5", size=None):
    message = bytearray(protocol.SendingMessage(kind, flags, 0, serializer, data).data)
    message[9], message[38:40] = flags, magic  # SendingMessage clears what it does not do
    if size is not None:
        message[12:16] = size.to_bytes(4, "big")
    return bytes(message)


@pytest.mark.parametrize(
    "message",
    [_message(size=HANDSHAKE_BYTES), _message(size=2**32 - 1), _message(magic=b"xx"),
     _message(serializer=3), _message(flags=protocol.FLAGS_COMPRESSED),
     _message(flags=protocol.FLAGS_KEEPSERIALIZED), b"GET / HTTP/1.1\r\nHost: somebody.example\r\n\r\n",
     _message(data=b"\xc1"), _message(serializer=1, data=b"(" * 3000),
     _message(serializer=1, data=b"-" * 4000), _message(serializer=1, data=b"[" * 1999 + b"]" * 1999),
     _message(data=b"\x91" * 3000), _message(kind=protocol.MSG_INVOKE), _message(kind=99)],
    ids=lambda message: f"{message[:12]!r}{len(message)}",
)  # fmt: skip
def test_what_a_stranger_may_not_send_ends_its_connection(space_server, remote, raw, message):
    sock = raw()
    sock.sendall(message)
    answer = b""
    with contextlib.suppress(ConnectionError):
        while data := sock.recv(4096):
            answer += data
    assert answer == b"" or answer[6] in (protocol.MSG_CONNECTFAIL, protocol.MSG_RESULT)
    assert remote.count(("x",)) == 0


@pytest.mark.parametrize("flags", [protocol.FLAGS_COMPRESSED, protocol.FLAGS_KEEPSERIALIZED])
def test_nobody_may_send_compressed_or_preserialized_messages(remote, admitted, flags):
    sock = admitted()
    sock.sendall(_message(protocol.MSG_INVOKE, flags, data=b"x" * 100))
    assert sock.recv(100) == b""


# -- slow, silent and dead clients


def test_silent_and_half_sending_and_unreading_clients_slow_nobody(
    space_server, remote, raw, admitted
):
    for _ in range(50):
        raw()
        raw().sendall(b"PYRO\x01")
        admitted().sendall(call_message(1, pack((1, "status", ())))[:50])
    remote.write(("big", bytes(8 << 20)))
    for _ in range(5):
        sock = admitted()
        for number in range(50):
            sock.sendall(call_message(1, pack((number, "read", (pack_template(("big", None)), 0)))))
    longest = 0.0
    for i in range(300):
        started = time.monotonic()
        remote.write(("s", i))
        remote.take(("s", i), 0)
        longest = max(longest, time.monotonic() - started)
    assert longest < 0.5


def test_a_client_that_reads_late_gets_all_its_replies(remote, admitted):
    remote.write(("big", bytes(4 << 20)))
    sock = admitted()
    for number in range(1, 9):
        sock.sendall(
            call_message(number, pack((number, "read", (pack_template(("big", None)), 0))))
        )
    remote.count(("big", None))
    expected = 8 * (4 << 20)
    received = 0
    while received < expected:
        data = sock.recv(1 << 20)
        assert data
        received += len(data)


def test_a_message_in_single_bytes_is_a_message(admitted):
    sock = admitted()
    for byte in call_message(5, pack((1, "count", (pack_template(("x",)),)))):
        sock.sendall(bytes((byte,)))
    assert sock.recv(1000)[6] == protocol.MSG_RESULT


def test_a_late_call_of_a_connection_that_was_replaced_is_not_applied(
    space_server, remote, eventually
):
    key = load_key(space_server.key_file)
    old, new = (GuardedProxy(space_server.uri, key, {"session": "s", "lane": 1}) for _ in range(2))
    old.connect(5)
    new.connect(5)
    new._pyroConnection.sock.sendall(call_message(1, pack((2, "count", (pack_template(("x",)),)))))
    assert new._pyroConnection.sock.recv(1000)
    old._pyroConnection.sock.sendall(call_message(1, pack((3, "write", ((("x",),), None)))))
    assert old._pyroConnection.sock.recv(1000) == b""
    assert remote.count(("x",)) == 0
    for each in (old, new):
        each._pyroRelease()


TAKER = """
import sys, tuplespace
space = tuplespace.connect(sys.argv[1])
if len(sys.argv) > 2:
    space.claim((sys.argv[2], None), lease=None)
    print("claimed", flush=True)
space.take(("t", None))
print("took", flush=True)
"""


@pytest.mark.faults
def test_a_killed_client_swallows_no_tuple_and_keeps_no_claim(
    space_server, remote, run_python, eventually
):
    remote.write(("c", 1))
    process = run_python("-c", TAKER, space_server.uri, "c")
    assert process.stdout.readline() == "claimed\n"
    eventually(lambda: remote.status()["waiters"] == 1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed = time.monotonic()
    remote.write(("t", 1))
    assert remote.take(("t", 1), 1) == ("t", 1)
    assert remote.take(("c", None), 5) == ("c", 1)
    assert 0.5 < time.monotonic() - killed < 2.5


def test_a_dead_taker_is_gone_before_the_write_that_came_after_its_death(
    remote, admitted, eventually, space_server
):
    """Both may reach the server in one turn of its loop."""
    for i in range(50):
        sock, writer = admitted(), admitted()
        sock.sendall(call_message(1, pack((1, "take", (pack_template(("d", i)), None)))))
        eventually(lambda: remote.status()["waiters"] == 1)
        release = threading.Event()
        space_server.daemon.next_deadline = lambda wait=release.wait: wait(5) and 0.0
        space_server.daemon.transportServer.wake()
        sock.shutdown(socket.SHUT_RDWR)
        writer.sendall(call_message(1, pack((1, "write", ((("d", i),), None)))))
        release.set()
        del space_server.daemon.next_deadline
        assert remote.take(("d", i), 5) == ("d", i)


def test_two_hundred_connections_wait_at_once_and_each_gets_its_tuple(
    space_server, remote, background, eventually
):
    with connect(space_server.uri) as many:
        waiting = [background(many.take, ("p", i)) for i in range(200)]
        eventually(lambda: remote.status()["waiters"] == 200)
        assert remote.status()["connections"] >= 200
        assert sum(thread.name == "space-server" for thread in threading.enumerate()) == 1
        remote.write_many([("p", i) for i in reversed(range(200))])
        assert [each.result() for each in waiting] == [("p", i) for i in range(200)]


# -- hostile bytes


def _flipped(rng, message):
    changed = bytearray(message)
    for _ in range(rng.choice((1, 1, 2, 8))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def test_hostile_bytes_leave_the_server_serving(space_server, remote, raw, admitted):
    rng = random.Random(7)
    template = pack_template(("x", None, ("n", int)))
    calls = [
        call_message(1, pack(call))
        for call in (
            (1, "write", ((("x", 1, ("n", 2)), {"k": [1]}), 60.0)), (2, "take", (template, 0)),
            (3, "claim", (template, 5.0, 0)), (4, "confirm_many", ((7,), ((("y",),),))),
            (5, "notify", (template, None, None)), (6, "next_events", (3, 0, 0)),
            (7, "cancel_entry", (1,)), (8, "goodbye", ()), (9, "status", ()),
        )
    ]  # fmt: skip
    greeting = protocol.SendingMessage(
        protocol.MSG_CONNECT, 0, 0, 4,
        serializers.serializers["msgpack"].dumps({"handshake": {"client": "n"}, "object": "tuplespace"}),
    ).data  # fmt: skip
    for _ in range(150):
        with contextlib.suppress(ConnectionError):
            raw().sendall(
                rng.choice((rng.randbytes(rng.randrange(1, 300)), _flipped(rng, greeting)))
            )
    for _ in range(120):
        sock = admitted()
        with contextlib.suppress(ConnectionError):
            for _ in range(5):
                sock.sendall(rng.choice((_flipped(rng, rng.choice(calls)), rng.choice(calls))))
    for odd in (
        b"", b"\xc1", b"\x93\x01\xa4take\x91\xc4\x00", pack((1,)), pack((None, "take", ())),
        pack(("x", "status", ())), pack((1, (), ())), pack((1, ["write"], ())), pack((1, "take", (5, 5))),
        pack((1, "write", (5, 5))), pack((2**70, "status", ())), pack((1, "next_events", ((), ()))),
        b"\x91" * 900, pack((1, "write", (((((),) * 3,) * 3,), "soon"))),
    ):  # fmt: skip
        with contextlib.suppress(ConnectionError):
            admitted().sendall(call_message(1, odd))
    remote.write(("alive",))
    assert remote.take(("alive",), 5) == ("alive",)
