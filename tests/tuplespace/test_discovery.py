"""The ring, on loopback: who is found, who is not believed, and what junk does to a space."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuplespace import InvalidArgumentError, connect
from tuplespace.connect import normalize_uri
from tuplespace.discovery import DATAGRAM_BYTES, RING_PORT, Responder, find
from tuplespace.networks import is_loopback, places
from tuplespace.security import load_key, make_key, throwaway_key
from tuplespace.server import SpaceDaemon


@pytest.fixture
def ring_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", 0))
        return sock.getsockname()[1]


@pytest.fixture
def look(ring_port, key_file):
    """Look for spaces on this machine, with this test's key; nothing leaves the machine."""

    def look(name=None, timeout=1.0, key=None):
        key = key or load_key(key_file)
        return find(key, name, timeout, port=ring_port, loopback_only=True)

    return look


@pytest.fixture
def start(ring_port, key_file):
    """Start a space that answers the ring by a name; all are stopped afterwards."""
    with contextlib.ExitStack() as stack:

        def start(name="tuplespace", host="127.0.0.1", key=None):
            daemon = SpaceDaemon(key or load_key(key_file), host, 0)
            daemon.answer_ring(name, ring_port)
            thread = threading.Thread(target=daemon.serve)
            thread.start()
            stack.callback(thread.join, 10)
            stack.callback(daemon.stop)
            return daemon

        yield start


@pytest.fixture
def forger(ring_port):
    """Answer every request on the ring with what a function makes of it; ends by itself."""
    stopping = threading.Event()
    sock = listen(ring_port)
    sock.settimeout(0.02)
    threads = []

    def run(forge):
        while not stopping.is_set():
            with contextlib.suppress(TimeoutError):
                request, address = sock.recvfrom(2000)
                for answer in forge(request):
                    sock.sendto(answer, address)

    def start(forge):
        threads.append(threading.Thread(target=run, args=[forge]))
        threads[-1].start()

    yield start
    stopping.set()
    for thread in threads:
        thread.join()
    sock.close()


def listen(port):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("", port))
    return sock


@pytest.fixture
def request_bytes(ring_port, key_file):
    """A genuine request for any space, as somebody on the network sees it."""
    with listen(ring_port) as sock:
        find(load_key(key_file), None, 0.05, port=ring_port, loopback_only=True)
        sock.settimeout(5)
        return sock.recv(2000)


def answer_to(request, key, port=1, name="tuplespace"):
    """Return what a space would answer, by way of a space's own socket."""
    responder = Responder(key, name, "f" * 16, "127.0.0.1", port, ring_port=0)
    with contextlib.closing(responder), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(5)
        (sock,) = [each for each in responder.sockets if each.family == socket.AF_INET]
        asker.sendto(request, ("127.0.0.1", sock.getsockname()[1]))
        sock.settimeout(0.01)
        responder.answer(sock)
        return asker.recv(2000)


# -- who is found


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
def test_a_space_is_found_with_nothing_given_and_once_however_often_it_answers(start, look, host):
    daemon = start("lab", host)

    (found,) = look()

    assert (found.name, found.space_id) == ("lab", daemon.space_id)
    with connect(found.uri) as space:
        assert space.space_id == daemon.space_id


def test_a_space_on_ipv6_is_found_at_an_address_of_ipv6(start, look):
    try:
        start("six", "::1")
    except OSError:
        pytest.skip("this machine has no IPv6")

    (found,) = look()

    assert "@[::1]:" in found.uri
    with connect(found.uri) as space:
        assert space.status()["tuples"] == 0


def test_of_several_spaces_of_one_machine_a_name_chooses(start, look):
    start("left")
    right = start("right")

    assert [space.name for space in look()] == ["left", "right"]
    assert [space.space_id for space in look("right")] == [right.space_id]


def test_two_spaces_with_one_name_are_both_found(start, look):
    ids = {start("lab").space_id, start("lab").space_id}

    assert {space.space_id for space in look("lab")} == ids


def test_nobody_of_that_name_is_known_within_a_second(start, look, promptly):
    start("lab")

    def ask():
        started = time.monotonic()
        assert look("laboratory") == []
        return time.monotonic() - started

    promptly(ask, 2)


def test_a_space_that_has_ended_is_not_found(start, look, eventually):
    daemon = start("lab")
    assert look()
    daemon.stop()

    eventually(lambda: look(timeout=0.1) == [])


@pytest.mark.parametrize("name", ["", "n" * 64, "é" * 32, "two\nlines", "\ud800", "\0"])
def test_what_cannot_be_a_name_is_refused(look, ring_port, name):
    with pytest.raises(InvalidArgumentError, match="name"):
        look(name)
    with pytest.raises(InvalidArgumentError, match="name"):
        Responder(throwaway_key(), name, "0" * 16, "127.0.0.1", 1, ring_port)


@pytest.mark.parametrize("name", ["n" * 63, "Müllers Werkstatt"])
def test_what_can_be_a_name_is_found(look, start, name):
    start(name)
    assert [space.name for space in look(name)] == [name]


def test_an_address_and_a_name_are_one_too_many(key_file):
    with pytest.raises(InvalidArgumentError, match="not both"):
        connect("127.0.0.1:1", name="lab")


@pytest.mark.parametrize("address", ["127.255.255.255", "239.255.92.17", "127.0.0.1"])
def test_a_request_goes_out_by_broadcast_multicast_and_to_this_machine(ring_port, address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hearer:
        hearer.settimeout(5)
        try:
            hearer.bind((address, ring_port))  # so it hears nothing that is sent elsewhere
        except OSError:
            pytest.skip(f"this system lets nobody listen on {address} alone")
        for place in places(loopback_only=True):
            if place.family == socket.AF_INET:
                place.join(hearer)
        find(throwaway_key(), timeout=0.05, port=ring_port, loopback_only=True)

        assert len(hearer.recv(2000)) == DATAGRAM_BYTES


def test_the_interface_of_a_link_local_address_may_have_its_name():
    number, name = socket.if_nameindex()[0]

    assert normalize_uri(f"[fe80::1%{name}]:1") == f"PYRO:tuplespace@[fe80::1%{number}]:1"
    assert normalize_uri("[fe80::1%7]:1") == "PYRO:tuplespace@[fe80::1%7]:1"
    with pytest.raises(InvalidArgumentError):
        normalize_uri("[fe80::1%nowhere]:1")


# -- who is not believed


def test_a_space_with_another_key_is_not_found_but_its_address_is_noted(start, look):
    start("lab", key=throwaway_key())

    found = look(timeout=0.3)

    assert found == []
    assert found.strangers == ["127.0.0.1"]


def forgeries(genuine_key):
    """Return functions that make answers of a request; nobody must believe any."""

    def old(request):
        yield answer_to(bytes([request[9] ^ 1]).join([request[:9], request[10:]]), genuine_key)

    def of_another_key(request):
        yield answer_to(request, throwaway_key())

    def changed(request):
        answer = answer_to(request, genuine_key)
        for place in range(len(answer)):
            yield answer[:place] + bytes([answer[place] ^ 1]) + answer[place + 1 :]

    def of_another_size(request):
        answer = answer_to(request, genuine_key)
        for size in (0, 1, 9, 100, len(answer) - 1):
            yield answer[:size]
        for more in (1, 1000, 60_000):
            yield answer + bytes(more)

    def echo(request):
        yield request

    def sealed_for_another_use(request):
        body = answer_to(request, genuine_key)[:-32]
        yield body + genuine_key.seal("", body)[1:33]

    return old, of_another_key, changed, of_another_size, echo, sealed_for_another_use


@pytest.mark.parametrize("number", range(6))
def test_forged_answers_are_ignored_and_the_space_is_found_beside_them(
    start, look, forger, key_file, number
):
    forge = forgeries(load_key(key_file))[number]
    forger(forge)
    assert look(timeout=0.1) == []
    daemon = start("lab")

    assert [space.space_id for space in look()] == [daemon.space_id]


def test_the_forger_would_be_believed_if_its_answers_were_genuine(look, forger, key_file):
    forger(lambda request: [answer_to(request, load_key(key_file), port=4711)])

    (found,) = look()

    assert found.uri == "PYRO:tuplespace@127.0.0.1:4711"


def test_no_answer_is_longer_than_its_request(request_bytes, key_file):
    answer = answer_to(request_bytes, load_key(key_file), 65535, "n" * 63)

    assert len(request_bytes) == DATAGRAM_BYTES
    assert len(answer) <= DATAGRAM_BYTES


@pytest.fixture
def responder(ring_port, key_file):
    responder = Responder(load_key(key_file), "lab", "0" * 16, "127.0.0.1", 1, ring_port)
    yield responder
    responder.close()


def test_datagrams_of_any_kind_are_no_requests(responder, ring_port, request_bytes):
    (sock,) = [each for each in responder.sockets if each.family == socket.AF_INET]
    head = request_bytes[:25]
    junk = st.one_of(
        st.binary(max_size=2 * DATAGRAM_BYTES),
        st.binary(min_size=DATAGRAM_BYTES - 9, max_size=DATAGRAM_BYTES - 9).map(
            lambda rest: request_bytes[:8] + b"\2" + rest
        ),
        st.binary(max_size=DATAGRAM_BYTES).map(lambda rest: head + b"\4labs" + rest),
        st.integers(0, DATAGRAM_BYTES - 1).map(lambda size: request_bytes[:size]),
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.bind(("127.0.0.1", 0))
        asker.setblocking(False)

        @settings(max_examples=300, deadline=None)
        @given(junk)
        def each_is_dropped(data):
            asker.sendto(data, ("127.0.0.1", ring_port))
            responder.answer(sock)
            with pytest.raises(BlockingIOError):
                asker.recv(2000)

        each_is_dropped()
        asker.sendto(request_bytes, ("127.0.0.1", ring_port))
        responder.answer(sock)
        assert asker.recv(2000)


def test_a_space_on_loopback_tells_nothing_to_other_machines(responder, ring_port, request_bytes):
    (sock,) = [each for each in responder.sockets if each.family == socket.AF_INET]
    ours = [
        place.address for place in places()
        if place.family == socket.AF_INET and not is_loopback(place.address)
    ]  # fmt: skip
    if not ours:
        pytest.skip("this machine has no address but loopback")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.bind((ours[0], 0))  # our own address: it stays on this machine
        asker.setblocking(False)
        asker.sendto(request_bytes, (ours[0], ring_port))
        responder.answer(sock)
        with pytest.raises(BlockingIOError):
            asker.recv(2000)


def test_a_flood_of_junk_stops_neither_the_space_nor_the_finding(
    start, look, ring_port, background, request_bytes
):
    daemon = start("lab", "0.0.0.0")
    stopping = threading.Event()

    def flood():
        sent = 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            while not stopping.is_set():
                for junk in (b"", b"x" * DATAGRAM_BYTES, bytes(1400), request_bytes):
                    sock.sendto(junk, ("127.0.0.1", ring_port))
                    sent += 1
        return sent

    with connect(f"127.0.0.1:{daemon.port}") as space:
        flooding = background(flood)
        try:
            for number in range(200):
                space.write(("n", number))
                assert space.take(("n", None), timeout=5) == ("n", number)
            assert [found.name for found in look()] == ["lab"]
        finally:
            stopping.set()
        assert flooding.result() > 1000


# -- servers as processes

SERVE = (
    "import sys; from tuplespace.serve import say, serve; "
    "serve(port=0, name='lab', ring_port=int(sys.argv[1]), announce=say)"
)


def test_a_space_whose_ring_port_is_taken_serves_and_says_so(run_python, ring_port, look):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("", ring_port))
        process = run_python("-c", SERVE, str(ring_port))
        first, second = process.stdout.readline(), process.stdout.readline()

        assert str(ring_port) in second
        assert "--space" in second
        uri = next(word.rstrip(",") for word in first.split() if word.startswith("PYRO:"))
        with connect(uri) as space:
            space.write(("a",))


def test_a_space_server_ends_well_with_its_ring(run_python, ring_port, look, eventually):
    process = run_python("-c", SERVE, str(ring_port))
    (found,) = eventually(lambda: look(timeout=0.5))
    process.terminate()

    assert found.name == "lab"
    assert process.wait(10) == 0
    assert process.stderr.read() == ""


@pytest.mark.parametrize(("options", "names"), [([], []), (["--name", "mine"], ["mine"])])
def test_an_embedded_server_is_found_only_if_it_has_a_name(run_python, tmp_path, options, names):
    key = make_key(tmp_path / "cluster.key")
    process = run_python("-m", "tuplespace", "--embedded", "--port", "0", *options)
    assert process.stdout.readline().startswith("PYRO:")

    found = find(key, timeout=0.3, port=RING_PORT, loopback_only=True)

    assert [space.name for space in found] == names
