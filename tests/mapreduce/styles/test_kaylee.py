"""Kaylee's programs: what its documentation shows, and what becomes of mistakes."""

from __future__ import annotations

import os
import signal
import sys
import threading
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from mapreduce import InvalidJobError, InvalidPairsError, RecordFailedError
from mapreduce.styles.kaylee import Frame, Server

cloudpickle.register_pickle_by_value(sys.modules[__name__])

TEXT = "".join(
    f"{n} the whale, the {'white' if n % 3 else 'great'} whale of {n % 11} seas\n"
    for n in range(400)
)
#: As in the documentation: lines of a mapped file, counted; but for the import, and Python 3.
PROGRAM = """
import mmap
from itertools import count

from mapreduce.styles.kaylee import Server

book = open("book.txt")
pages = mmap.mmap(book.fileno(), 0, access=mmap.ACCESS_READ)

def datafn():
    number = count()
    while pages.tell() < pages.size():
        yield next(number), memoryview(pages.readline())
    pages.close()

def mapfn(number, line):
    for word in line.bytes.split():
        yield word, 1

def reducefn(word, ones):
    return sum(ones)

s = Server()
s.connect()
s.mapfn = mapfn
s.reducefn = reducefn
s.datafn = datafn
s.start()
print(sorted(s.results().items(), key=lambda item: item[1], reverse=True)[:25])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the program and the book that it reads."""
    (tmp_path / "book.txt").write_text(TEXT)
    (tmp_path / "example.py").write_text(PROGRAM)
    return tmp_path


def check_printed(printed: str) -> None:
    counts = Counter(TEXT.encode().split())
    shown = eval(printed)
    assert dict(shown).items() <= counts.items()
    assert [count for _, count in shown] == [count for _, count in counts.most_common(25)]


def word_count(space: Any = None, **options: Any) -> Server:
    server = Server(space, **options)
    server.mapfn = lambda number, line: ((word, 1) for word in line.split())
    server.reducefn = lambda word, ones: sum(ones)
    server.datafn = lambda: enumerate(TEXT.splitlines())
    return server


EXPECTED = Counter(TEXT.split())


# --- the documented example, and clients ----------------------------------------------------------


def test_the_documented_example_runs_with_its_import_changed(
    folder: Path, run_python: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TUPLESPACE_URI", raising=False)
    program = run_python("example.py", cwd=folder)
    printed, errors = program.communicate(timeout=30)
    assert (program.returncode, errors) == (0, "")
    check_printed(printed)


def test_on_a_cluster_it_runs_by_the_environment_alone_and_its_client_ends_when_it_is_done(
    folder: Path, cluster: Any, run_python: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUPLESPACE_URI", cluster.uri)
    cluster.kill_server()
    client = run_python("-m", "mapreduce.styles.kaylee")  # before the server, and even its space
    cluster.start_server()
    program = run_python("example.py", cwd=folder)
    printed, errors = program.communicate(timeout=30)
    assert (program.returncode, errors) == (0, "")
    check_printed(printed)
    client.communicate(timeout=20)
    assert client.returncode == 0


def test_clients_started_after_servers_serve_them_all_and_end_with_the_last(
    cluster: Any, run_python: Any, background: Any, eventually: Any
) -> None:
    space, gate = cluster.connect(), threading.Event()

    def slowly() -> Iterator[tuple[int, str]]:
        yield from enumerate(["the"] * 10_001)  # more than is read before the job begins
        assert gate.wait(50)
        yield 0, "end"

    slow = word_count(cluster.uri)
    slow.datafn = slowly
    running = background(slow.start)
    eventually(lambda: space.count(("job", str, dict)))
    by_hand = (
        "import signal, sys; from mapreduce.styles.kaylee import Client\n"
        "c = Client(); c.connect(sys.argv[1]); c.start()\n"
        "print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)"
    )
    clients = [
        run_python("-c", by_hand, cluster.uri),
        run_python("-m", "mapreduce.styles.kaylee", cluster.uri),
        run_python("-m", "mapreduce.styles.kaylee", cluster.uri, "--stay"),
    ]
    eventually(lambda: space.count(("worker", str, str, str, int)) == 3, 20)
    for _ in range(2):  # the first that ends leaves its clients to the others
        server = word_count(cluster.uri)
        server.start()
        assert server.results() == EXPECTED
    assert slow.results() is None
    assert [client.poll() for client in clients] == [None] * 3
    gate.set()
    running.result(20)
    assert slow.results() == {"the": 10_001, "end": 1}
    printed = [client.communicate(timeout=20)[0] for client in clients[:2]]
    assert [client.returncode for client in clients[:2]] == [0, 0]
    assert printed[0].endswith("True\n")  # Ctrl-C is the program's own again
    server = word_count(cluster.uri)
    server.start()
    assert server.results() == EXPECTED
    clients[2].send_signal(signal.SIGTERM)
    clients[2].communicate(timeout=20)
    assert clients[2].returncode == 0


# --- data and results -----------------------------------------------------------------------------


def test_there_are_no_results_until_it_is_complete() -> None:
    server, seen = word_count(), []
    server.mapfn = lambda number, line: [(line, seen.append(server.results()))]
    server.reducefn = lambda line, nothing: seen.append(server.results())
    assert server.results() is None
    server.start()
    assert server.results() == dict.fromkeys(TEXT.splitlines())
    assert set(seen) == {None}
    assert len(seen) == 800


def test_started_again_it_reads_its_data_again() -> None:
    server = word_count()
    server.start()
    first = server.results()
    assert first is not None
    assert list(first) == list(EXPECTED)  # in the order of the data
    server.start()
    assert server.results() == first == EXPECTED
    server.mapfn = lambda number, line: 1 / 0
    with pytest.raises(RecordFailedError, match="record"):
        server.start()
    assert server.results() is None


def test_the_data_are_never_all_in_memory() -> None:
    yielded = mapped = most = 0

    def datafn() -> Iterator[tuple[int, bytes]]:
        nonlocal yielded
        for yielded in range(1, 161):
            yield yielded, bytes(1 << 16)

    def mapfn(number: int, block: bytes) -> list[tuple[str, int]]:
        nonlocal mapped, most
        mapped += 1
        most = max(most, yielded - mapped)
        return [("bytes", len(block))]

    server = Server()
    server.datafn, server.mapfn = datafn, mapfn
    server.reducefn = lambda key, sizes: sum(sizes)
    server.start()
    assert server.results() == {"bytes": 160 << 16}
    assert mapped == 160
    assert most < 64  # 4 MiB


def test_the_data_may_be_a_mapping() -> None:
    server = word_count()
    server.datafn, server.data = None, {1: "a b", 2: "a"}
    server.start()
    assert server.results() == {"a": 2, "b": 1}


@pytest.mark.parametrize("value", [memoryview(b"xaby")[1:3], bytearray(b"ab"), b"ab"])
def test_what_shows_memory_reaches_mapfn_as_bytes_with_bytes(value: Any) -> None:
    server, seen = Server(), []
    server.data = {1: value, 2: "ab"}
    server.mapfn = lambda key, value: [(key, seen.append(value))]
    server.reducefn = lambda key, values: list(values)
    server.start()
    assert seen == [b"ab", "ab"]
    assert [type(each) for each in seen] == [Frame, str]
    assert type(seen[0].bytes) is bytes is type(seen[0].bytes.split()[0])


def test_reducefn_gets_an_iterator_and_each_key_once_whatever_the_partitions(
    standing_cluster: Any,
) -> None:
    def reducefn(key: Any, values: Any) -> Any:
        assert iter(values) is values
        return sorted(values)

    server = Server(standing_cluster.uri, reduce_tasks=5, retries=0)
    server.data = {n: n for n in range(60)}
    server.mapfn = lambda key, value: [(key % 7, value), (str(key % 3), value)]
    server.reducefn = reducefn
    server.start()
    assert server.results() == {n: list(range(n, 60, 7)) for n in range(7)} | {
        str(n): list(range(n, 60, 3)) for n in range(3)
    }


def test_arrays_are_results_as_they_are(standing_cluster: Any) -> None:
    server = Server(standing_cluster.uri)
    server.data = {n: array("d", [n]) * 100_000 for n in range(4)}
    server.mapfn = lambda key, values: [(key % 2, values)]
    server.reducefn = lambda key, arrays: next(arrays) + next(arrays)
    server.start()
    found = server.results()
    assert found == {n: server.data[n] + server.data[n + 2] for n in range(2)}


def test_numpy_arrays_are_values_and_results(standing_cluster: Any) -> None:
    numpy = pytest.importorskip("numpy")
    server = Server(standing_cluster.uri)
    server.data = {n: numpy.full(100_000, n) for n in range(4)}
    server.mapfn = lambda key, values: [(key % 2, values * 2)]
    server.reducefn = lambda key, arrays: sum(arrays)
    server.start()
    found = server.results()
    assert found is not None
    assert {key: (each.shape, set(each.tolist())) for key, each in found.items()} == {
        0: ((100_000,), {4}), 1: ((100_000,), {8})
    }  # fmt: skip


# --- where it runs, and mistakes ------------------------------------------------------------------


def test_connect_prefers_what_it_is_given_then_the_constructor_then_the_environment(
    monkeypatch: pytest.MonkeyPatch, standing_cluster: Any
) -> None:
    def runs_here(server: Server) -> bool:
        server.data = {1: 1}
        server.mapfn = lambda key, value: [("pid", os.getpid())]
        server.reducefn = lambda key, pids: next(pids)
        server.start()
        return bool(server.results() == {"pid": os.getpid()})

    monkeypatch.setenv("TUPLESPACE_URI", "127.0.0.1:1")  # nobody is there
    given = Server("127.0.0.1:1")
    given.connect(standing_cluster.uri)
    constructed = Server(standing_cluster.uri)
    constructed.connect()
    assert not runs_here(given)
    assert not runs_here(constructed)
    monkeypatch.setenv("TUPLESPACE_URI", standing_cluster.uri)
    by_environment = Server()
    by_environment.connect()
    assert not runs_here(by_environment)
    monkeypatch.delenv("TUPLESPACE_URI")
    alone = Server()
    alone.connect()
    assert runs_here(alone)


def test_what_datafn_raises_midway_reaches_the_caller() -> None:
    def datafn() -> Iterator[tuple[int, str]]:
        yield 1, "a b"
        raise OSError("the disk is gone")

    server = word_count()
    server.datafn = datafn
    with pytest.raises(OSError, match="the disk is gone"):
        server.start()
    assert server.results() is None


def test_no_data_no_results() -> None:
    server = word_count()
    server.datafn = lambda: iter(())
    server.start()
    assert server.results() == {}


@pytest.mark.parametrize(
    "name, value, error, message",
    [
        ("mapfn", None, InvalidJobError, "server.mapfn is missing"),
        ("reducefn", 7, InvalidJobError, "server.reducefn is no function: 7"),
        ("datafn", ["a"], InvalidJobError, "server.datafn is no function"),
        ("datafn", None, InvalidJobError, "set server.datafn or server.data"),
        ("datafn", lambda: ["abc"], InvalidJobError, "number 0 is 'abc'"),
        ("mapfn", lambda key, line: None, InvalidPairsError, "<lambda> returned None"),
        ("mapfn", lambda key, line: [([], 1)], TypeError, "key"),
    ],
)
def test_what_is_filled_in_wrongly_is_named(
    name: str, value: Any, error: type[Exception], message: str
) -> None:
    server = word_count()
    setattr(server, name, value)
    with pytest.raises(error, match=message):
        server.start()


def test_options_are_those_of_a_job() -> None:
    with pytest.raises(InvalidJobError, match=r"'retrys' is no option here; is it retries\?"):
        Server(retrys=3)
    with pytest.raises(InvalidJobError, match="'output' is no option"):
        Server(output="folder")
    server = word_count(skip_bad_records=400)
    server.mapfn = lambda number, line: [(1, 1 // (number % 2))]
    server.start()
    assert server.results() == {1: 200}
