"""Stock Pyro5 proxies: what they can do with a space, with every Pyro5 that is supported.

`invoke test --all-pyros` runs this file with each of them.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid

import Pyro5
import Pyro5.api
import Pyro5.errors
import pytest
from Pyro5 import protocol

from tuplespace import connect


@pytest.fixture(params=["serpent", "msgpack"])
def proxy(request, space_server, stock):
    with stock(space_server, request.param) as proxy:
        yield proxy


def as_it_came(proxy, *fields):
    """A tuple as this proxy's serializer delivers it."""
    if proxy._pyroSerializer == "serpent":
        return fields

    def lists(value):
        return list(map(lists, value)) if isinstance(value, (tuple, list)) else value

    return lists(fields)


def test_a_stock_proxy_writes_reads_and_takes(proxy, remote):
    proxy.write(("t", 1, b"bytes", ("n", None), 1.5))
    assert remote.count(("t", int, bytes, None, float)) == 1
    expected = as_it_came(proxy, "t", 1, b"bytes", ("n", None), 1.5)
    assert proxy.read(("t", None, None, None, None)) == expected
    assert proxy.read_all(("t", 1, b"bytes", None, None)) in ((expected,), [expected])
    assert proxy.count(("t", 1, None, None, None)) == 1
    assert proxy.swap(("t", None, None, None, None), ("u", 2)) == expected
    assert proxy.take(("u", None)) == as_it_came(proxy, "u", 2)
    proxy.write_many([("v", i) for i in range(3)])
    assert len(proxy.take_many(("v", None), 2)) == 2
    assert proxy.status()["tuples"] == 1


def test_a_stock_proxy_sees_what_ours_wrote_and_the_other_way_round(proxy, remote):
    remote.write(("o", 7, "x", (1, 2)))
    assert proxy.take(("o", 7, None, None)) == as_it_came(proxy, "o", 7, "x", (1, 2))
    proxy.write(("p", 8))
    assert remote.take(("p", int), 0) == ("p", 8)


def test_a_stock_proxy_that_waits_gets_the_next_tuple(proxy, remote, parked, space_server):
    def take():
        proxy._pyroClaimOwnership()
        return proxy.take(("later", None))

    waiting = parked(remote, take)
    remote.write(("later", 1))
    assert waiting.result() == as_it_came(proxy, "later", 1)
    proxy._pyroClaimOwnership()


def test_a_stock_proxy_gets_pythons_own_errors_and_keeps_its_connection(proxy):
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        proxy.take(("none",), 0.1)
    assert 0.09 < time.monotonic() - started < 10
    connection = proxy._pyroConnection
    for error, call in (
        (TimeoutError, lambda: proxy.take(("none",), 0)),
        (TimeoutError, lambda: proxy.swap(("none",), ("x",))),
        (TypeError, lambda: proxy.write("text")),
        (TypeError, lambda: proxy.take("text")),
        (ValueError, lambda: proxy.take(("a",), -1.5j and "soon")),
        (ValueError, lambda: proxy.take_many(("a",), 0)),
        (AttributeError, lambda: proxy.burn(("a",))),
    ):
        with pytest.raises(error):
            call()
    assert proxy._pyroConnection is connection
    assert proxy.status()["tuples"] == 0


def test_a_stock_proxys_batch_and_oneway_and_ping_work(proxy, remote, eventually):
    batch = Pyro5.api.BatchProxy(proxy)
    batch.write(("b", 1))
    batch.write(("b", 2))
    batch.take(("b", None), 0)
    batch.count(("b", None))
    assert list(batch())[2:] == [as_it_came(proxy, "b", 1), 1]
    waits = Pyro5.api.BatchProxy(proxy)
    waits.take(("never",))
    with pytest.raises(TimeoutError):
        list(waits())
    proxy._pyroOneway.add("write")
    assert proxy.write(("o", 1)) is None
    eventually(lambda: remote.count(("o", None)) == 1)
    proxy._pyroOneway.add("take")
    assert proxy.take(("never",)) is None
    proxy._pyroBind()
    proxy.count(("o", None))
    assert remote.status()["waiters"] == 0
    message = protocol.SendingMessage(protocol.MSG_PING, 0, 7, 1, b"ping")
    proxy._pyroConnection.send(message.data)
    assert protocol.recv_stub(proxy._pyroConnection, [protocol.MSG_PING]).seq == 7


def test_a_stock_proxy_finds_out_what_it_may_call_and_reconnects(proxy):
    proxy._pyroBind()
    assert {"write", "take", "read", "status"} <= proxy._pyroMethods
    assert not any(name.startswith("_") for name in proxy._pyroMethods)
    proxy.write(("a",))
    proxy._pyroRelease()
    proxy._pyroReconnect(1)
    assert proxy.count(("a",)) == 1


def test_what_a_serializer_cannot_say_is_an_error_and_the_server_goes_on(proxy, remote):
    remote.write(("odd", 2**80, "\ud800", {1: {(2, 3): b"x"}}, [1], {5}))
    with contextlib.suppress(Exception):
        proxy.read(("odd", None, None, None, None, None))
    remote.write(("fine",))
    assert tuple(proxy.take(("fine",))) == ("fine",)


def test_a_stock_proxys_error_says_which_of_ours_it_was_and_carries_its_traceback(proxy):
    with pytest.raises(TimeoutError, match="MatchTimeoutError: no tuple matched") as caught:
        proxy.take(("none",), 0)
    assert any("MatchTimeoutError" in line for line in caught.value._pyroTraceback)


def test_a_stock_proxys_correlation_id_and_annotations_do_no_harm(proxy):
    Pyro5.api.current_context.correlation_id = uuid.uuid4()
    Pyro5.api.current_context.annotations = {"XYZZ": b"note"}
    try:
        proxy.write(("a", 1))
        assert proxy.take(("a", None)) == as_it_came(proxy, "a", 1)
    finally:
        Pyro5.api.current_context.correlation_id = None
        Pyro5.api.current_context.annotations = {}


def test_a_copy_of_a_stock_proxy_is_for_another_thread(proxy, background):
    proxy.write(("a", 1))

    def take():
        with proxy.__copy__() as mine:
            return mine.take(("a", None))

    assert background(take).result() == as_it_came(proxy, "a", 1)


def test_a_stock_proxy_reconnects_to_a_space_that_has_restarted(start_server, stock):
    server = start_server()
    with stock(server) as proxy:
        proxy.write(("a", 1))
        server.stop()
        with pytest.raises(Pyro5.errors.CommunicationError):
            proxy.count(("a", None))
        again = start_server(server.port)
        proxy._pyroReconnect(5)
        assert proxy.count(("a", None)) == 0
        proxy.write(("b", 1))
        with connect(again.uri, key_file=again.key_file) as ours:
            assert ours.take(("b", None)) == ("b", 1)


def test_a_stock_proxys_timeout_is_its_own_and_what_it_waited_for_is_not_lost(
    proxy, remote, eventually
):
    proxy._pyroTimeout = 0.2
    with pytest.raises(Pyro5.errors.TimeoutError):
        proxy.take(("late", None))
    eventually(lambda: remote.status()["waiters"] == 0)
    remote.write(("late", 1))
    assert remote.take(("late", 1), 0) == ("late", 1)


def test_fifty_stock_proxies_wait_at_once_without_a_thread_each(
    space_server, stock, remote, eventually
):
    before = threading.active_count()
    with contextlib.ExitStack() as stack:
        proxies = [stack.enter_context(stock(space_server)) for _ in range(50)]
        for number, proxy in enumerate(proxies):
            proxy._pyroBind()
            serializer = Pyro5.serializers.serializers["serpent"]
            request = serializer.dumpsCall("tuplespace", "take", (("n", number), None), {})
            message = protocol.SendingMessage(
                protocol.MSG_INVOKE, 0, number + 1, serializer.serializer_id, request
            )
            proxy._pyroConnection.send(message.data)
        eventually(lambda: remote.status()["waiters"] == 50)
        assert threading.active_count() == before
        remote.write_many([("n", number) for number in range(50)])
        for number, proxy in enumerate(proxies):
            reply = protocol.recv_stub(proxy._pyroConnection, [protocol.MSG_RESULT])
            assert reply.seq == number + 1
            assert serializer.loads(reply.data) == ("n", number)


@pytest.mark.faults
def test_a_killed_stock_proxy_swallows_no_tuple(space_server, remote, run_python, eventually):
    script = (
        "import sys, Pyro5.api, tuplespace; p = Pyro5.api.Proxy(sys.argv[1]); "
        "p._pyroHandshake = tuplespace.handshake(); p.take(('t', None))"
    )
    process = run_python("-c", script, space_server.uri)
    eventually(lambda: remote.status()["waiters"] == 1)
    process.kill()
    process.wait()
    remote.write(("t", 1))
    assert remote.take(("t", 1), 1) == ("t", 1)
