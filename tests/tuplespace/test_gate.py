"""A server with a store whose disk we are: no answer goes out before what it saw is durable."""

from __future__ import annotations

import threading

import pytest

from history.dict_store import DictStore
from tuplespace import MatchTimeoutError, SpaceFullError, SpaceUnreachableError, connect
from tuplespace.store.interface import StoreError
from tuplespace.store.sqlite import SqliteStore


@pytest.fixture
def store():
    """A store that makes nothing durable until it is told to."""
    return DictStore(is_quick=False)


@pytest.fixture
def server(start_server, store):
    return start_server(open_store=lambda: store)


@pytest.fixture
def client(server):
    space = connect(server.uri, retry_for=5)
    yield space
    server.daemon.store.is_quick = True
    space.close()


def _appended(store, count):
    return lambda: store.position - store.durable >= count


def test_an_answer_waits_until_what_it_tells_is_durable(store, client, background, eventually):
    writing = background(client.write, ("a", 1))
    eventually(_appended(store, 1))
    assert writing.running
    store.sync()
    writing.result()


@pytest.mark.parametrize("verb", ["count", "read", "take", "status"])
def test_who_sees_what_is_not_durable_waits_for_it(verb, store, client, background, eventually):
    writing = background(client.write, ("a", 1))
    eventually(_appended(store, 1))
    arguments = [("a", None)] if verb != "status" else []
    other = background(getattr(client, verb), *arguments)
    missing = background(client.take, ("b", None), 0)
    eventually(lambda: len(client._busy) == 3)
    for each in (writing, other, missing):
        with pytest.raises(AssertionError):
            each.result(0.05)
    while store.position > store.durable:
        store.sync()
        threading.Event().wait(0.02)  # a take is appended when its turn ends
    writing.result()
    other.result()
    with pytest.raises(MatchTimeoutError):
        missing.result()


def test_a_timeout_waits_for_what_was_decided_before(store, client, background, eventually):
    client.count(("a", None))
    writing = background(client.write, ("b", 1))
    eventually(_appended(store, 1))
    taking = background(client.take, ("a", None), 0.01)
    with pytest.raises(AssertionError):
        taking.result(0.1)
    store.sync()
    writing.result()
    with pytest.raises(MatchTimeoutError):
        taking.result()


def test_what_sees_only_what_is_durable_goes_out_at_once(store, client):
    assert client.count(("a", None)) == 0
    assert client.status()["store"] == "dicts"
    assert store.position == 0


def test_answers_wait_for_their_own_changes_only(store, client, background, eventually):
    first = background(client.write, ("a", 1))
    eventually(_appended(store, 1))
    second = background(client.write, ("a", 2))
    eventually(_appended(store, 2))
    store.sync(1)
    first.result()
    assert second.running
    store.sync()
    second.result()


def test_a_stock_proxys_answers_wait_too(store, server, client, stock, background, eventually):
    def write():
        with stock(server) as proxy:
            return proxy.write(("a", 1))

    writing = background(write)
    eventually(_appended(store, 1))
    assert writing.running

    def look():
        with stock(server) as proxy:
            return proxy.count(("a", None))

    looking = background(look)
    with pytest.raises(AssertionError):
        looking.result(0.1)
    store.sync()
    assert writing.result() > 0
    assert looking.result() == 1


def test_an_answer_whose_connection_broke_meanwhile_is_kept_for_the_repetition(
    store, server, client, forward, background, eventually
):
    forwarder = forward(server.port)
    with connect(f"127.0.0.1:{forwarder.port}", retry_for=10) as far:
        writing = background(far.write, ("a", 1))
        eventually(_appended(store, 1))
        forwarder.cut_all()
        store.sync()
        writing.result()
        assert far.count(("a", None)) == 1
        store.is_quick = True


def test_a_store_that_fails_stops_the_space_and_nobody_is_answered(
    store, server, background, eventually
):
    client = connect(server.uri, retry_for=0.2)
    writing = background(client.write, ("a", 1))
    eventually(_appended(store, 1))
    store.fail(StoreError("the disk is gone"))
    with pytest.raises(SpaceUnreachableError) as caught:
        writing.result()
    assert caught.value.outcome_unknown
    eventually(lambda: not server.running)
    client.close()


def test_a_nearly_full_disk_refuses_what_adds_and_nothing_else(store, client):
    store.is_quick = True
    client.write_many([("a", number) for number in range(4)])
    claim = client.claim(("a", None))
    store.full = "3 MiB are left on the disk"
    client.take(("a", None))
    with pytest.raises(SpaceFullError, match="3 MiB") as caught:
        client.write(("b", 1))
    assert caught.value.retry_after > 0
    with pytest.raises(SpaceFullError):
        client.notify(None, ("a", None))
    claim.renew()
    claim.confirm([("done", 1)])
    client.claim(("a", None)).release()
    store.full = ""
    client.take(("done", 1))
    client.write(("b", 1))


def test_a_server_that_stops_keeps_and_answers_what_was_asked(
    store, server, client, background, eventually
):
    writing = background(client.write, ("a", 1))
    eventually(_appended(store, 1))
    server.stop()
    writing.result()
    assert store.closed


def test_a_space_that_comes_back_goes_on_where_it_was(start_server, background, eventually):
    first = DictStore()
    server = start_server(open_store=lambda: first)
    with connect(server.uri, retry_for=10) as client, connect(server.uri, retry_for=10) as other:
        handle, kept = client.write(("a", 1)), client.write(("a", 2), lease=5.0)
        claim = client.claim(("a", 1))
        heard = client.notify("write", ("n", None))
        client.write(("n", 1))
        assert heard.next().tuple == ("n", 1)
        waiting = background(other.take, ("wanted", None))
        eventually(lambda: client.status()["waiters"] == 1)
        with client.keep(kept, 1.0):
            server.stop()
            start_server(server.port, open_store=lambda: DictStore(first.disk))
            assert client.count(("a", None)) == 1
            claim.confirm([("wanted", 1)])
            assert waiting.result() == ("wanted", 1)
            assert not handle.cancel()
            assert heard.next().event == "overflow"
            client.write(("n", 2))
            assert heard.next().tuple == ("n", 2)
            kept.renew(9.0)


def test_a_store_is_told_the_time_while_something_is_to_fall_due(store, server, client, eventually):
    store.is_quick = True
    daemon = server.daemon
    client.write(("a", 1))
    assert store.position == 1
    daemon._gate._told -= 20.0  # it was long ago
    client.write(("b", 1), lease=60.0)  # which tells it, too
    daemon._gate._told -= 20.0
    eventually(lambda: store.position == 3)
    assert store.disk.safe.now > 0


def test_a_file_keeps_the_time_alone(tmp_path):
    for seconds in (50.0, 60.0):
        store = SqliteStore(tmp_path / "space.sqlite", ballast_bytes=0)
        store.load()
        store.start(lambda: None)
        store.append([], seconds)
        store.close()
    store = SqliteStore(tmp_path / "space.sqlite", ballast_bytes=0)
    assert store.load().now == 60.0
    store.close()


def test_what_many_clients_ask_in_one_turn_is_appended_together(
    store, server, client, background, eventually
):
    client.count(("a", None))
    clients = [connect(server.uri, retry_for=5) for _ in range(8)]
    for each in clients:
        each.count(("a", None))
    # While the loop is held up, all of them ask.
    held, go = threading.Event(), threading.Event()
    count = server.daemon.core._verbs["count"]
    server.daemon.core._verbs["count"] = lambda *args: (held.set(), go.wait(5), count(*args))[2]
    waiting = background(client.count, ("a", None))
    assert held.wait(5)
    writing = [background(each.write, ("a", number)) for number, each in enumerate(clients)]
    eventually(lambda: all(each._busy for each in clients))
    threading.Event().wait(0.1)  # what they sent is at the server
    go.set()
    waiting.result()
    eventually(_appended(store, 1))
    eventually(lambda: store.sync() or not any(each.running for each in writing))
    assert store.position <= 2
    store.is_quick = True
    for each in clients:
        each.close()
