"""Tuples and templates that are nested deeply, hard to show, or made to do harm."""

from __future__ import annotations

import re
import subprocess
import sys
import threading

import msgpack
import pytest

from tuplespace import (
    Between,
    Exactly,
    InvalidTemplateError,
    InvalidTupleError,
    MatchTimeoutError,
    OneOf,
    TupleSpaceError,
    connect,
)
from tuplespace.values import DEPTH
from tuplespace.wire import pack, unpack


def nested(make, depth, core=1):
    for _ in range(depth):
        core = make(core)
    return core


MAKERS = [lambda v: [v], lambda v: (v,), lambda v: {"k": v}]


@pytest.mark.parametrize("make", MAKERS)
def test_what_is_nested_as_deep_as_may_be_comes_back(space, make):
    value = ("deep", nested(make, DEPTH))
    space.write(value)
    assert space.take(("deep", None), 0) == value


@pytest.mark.parametrize("depth", [DEPTH + 1, 200, 450, 980, 5000])
@pytest.mark.parametrize("make", MAKERS)
def test_what_is_nested_deeper_is_refused_and_the_space_goes_on(space, make, depth):
    space.write(("before",))
    with pytest.raises(InvalidTupleError):
        space.write(("deep", nested(make, depth)))
    with pytest.raises(InvalidTupleError):
        space.swap(("before",), ("deep", nested(make, depth)))
    assert space.take_many((None,), 10, 0) == [("before",)]
    assert space.status()["tuples"] == 0


@pytest.mark.parametrize("depth", [DEPTH + 1, 200, 980])
@pytest.mark.parametrize("make", [*MAKERS, lambda v: OneOf(v, "x"), lambda v: Exactly([v])])
def test_templates_too(space, make, depth):
    with pytest.raises(InvalidTemplateError):
        space.take(("deep", nested(make, depth)), 0)
    assert space.count((None,)) == 0


def test_a_stock_proxy_writes_nothing_deeper_either(space_server, remote, stock):
    with stock(space_server, "msgpack") as proxy:
        with pytest.raises(TypeError, match="nested"):
            proxy.write(("deep", nested(lambda v: [v], 100)))
        proxy.write(("fine",))
    assert remote.take((None,), 0) == ("fine",)
    assert remote.status()["tuples"] == 0


def test_a_list_is_read_in_a_thread_with_a_small_stack(space_server, remote, background):
    value = ("deep", nested(lambda v: [v], DEPTH))
    remote.write(value)
    code = (
        "import sys, threading, tuplespace\n"
        "threading.stack_size(256 << 10)\n"
        "def read():\n"
        "    with tuplespace.connect(sys.argv[1]) as space:\n"
        "        print(space.read(('deep', None)) == eval(sys.argv[2]))\n"
        "thread = threading.Thread(target=read)\n"
        "thread.start()\n"
        "thread.join()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, space_server.uri, repr(value)],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stdout) == (0, "True\n"), result.stderr


@pytest.mark.parametrize(
    "forged",
    [
        (1, msgpack.ExtType(1, b"")),
        (msgpack.ExtType(1, b""), msgpack.ExtType(1, b"")),
        {"k": msgpack.ExtType(1, b"")},
        msgpack.ExtType(1, b""),
        nested(lambda v: (msgpack.ExtType(1, b""), v), 300),
    ],
)
def test_a_lists_mark_out_of_place_is_refused(forged):
    with pytest.raises(TupleSpaceError):
        unpack(msgpack.packb(forged))


def test_a_tuple_of_lists_takes_the_shortest_way_through():
    value = ([], [[]], ([1], {"k": [2, (3, [4])]}), [None, b"", "x"], ())
    assert unpack(pack(value)) == value
    assert repr(unpack(pack(value))) == repr(value)


HUGE = 10**5000


@pytest.mark.parametrize(
    "field",
    [HUGE, "x" * 200_000, Between(HUGE, None), OneOf(HUGE, 1), (HUGE,)],
    ids=["int", "str", "between", "oneof", "nested"],
)
@pytest.mark.parametrize("timeout", [0, 0.05])
def test_a_template_that_cannot_be_shown_times_out_as_any_other(space, field, timeout):
    with pytest.raises(MatchTimeoutError) as caught:
        space.take(("huge", field), timeout)
    assert len(str(caught.value)) < 1000
    space.write(("fine",))
    assert space.take(("fine",), 0) == ("fine",)


def test_values_that_cannot_be_shown_are_refused_in_a_short_message(space):
    class Rude:
        def __repr__(self):
            raise RuntimeError("no")

        def __reduce__(self):
            raise RuntimeError("no pickle either")

    for value in (HUGE, Rude(), "x" * 100_000):
        with pytest.raises(InvalidTupleError) as caught:
            space.write(value)
        assert len(str(caught.value)) < 1000
    with pytest.raises(InvalidTupleError):
        space.write(("k", Rude()))
    with pytest.raises(InvalidTemplateError):
        space.take(("k", Rude()), 0)


def test_alternatives_that_are_equal_come_and_go_as_one(space, parked):
    with pytest.raises(MatchTimeoutError):
        space.take((OneOf(1, True, 1.0),), 0.05)
    taking = parked(space, space.take, (OneOf(0, False),))
    listening = space.notify("write", (OneOf(1, True),))
    space.write((False,))
    assert taking.result() == (False,)
    listening.cancel()
    assert space.status()["waiters"] == 0


def test_a_pattern_prints_nothing_in_the_server(run_python):
    server = run_python("-m", "tuplespace", "--embedded", "--port", "0")
    with connect(server.stdout.readline().strip()) as space:
        space.write(("abc",))
        assert space.read((re.compile("b", re.DEBUG),), 0) == ("abc",)
        for _ in range(20):
            space.count((re.compile("b" * 500, re.DEBUG),))
    output, _ = server.communicate(timeout=10)
    assert output == ""


def test_what_falls_due_and_fails_does_not_end_the_space(space_server, remote, monkeypatch):
    core = space_server.daemon.core
    fell = threading.Event()

    def fail(key):
        fell.set()
        raise ZeroDivisionError

    monkeypatch.setitem(core._when_due, "entry", fail)
    remote.write(("k", 1), lease=0.05)
    remote.write(("other", 1))
    assert fell.wait(5)
    assert remote.take(("other", 1), 10) == ("other", 1)
