"""A disk that errs: the store says so and stops at once, and what it has reported durable is there."""

from __future__ import annotations

import random

import pytest

from power.calls import can_trace
from power.cuts import choose, in_memory, inspect, trace_lives

pytestmark = pytest.mark.skipif(bool(can_trace()), reason=can_trace())

LIFE = "60:close"


def break_and_check(folder, call, number, repeated=False):
    """Let the nth call of a thread fail, once or from then on; return whether there were so many."""
    seed = f"{random.randrange(1 << 32):x}"
    inject = f"{call}:error=EIO:when={number}{'+' if repeated else ''}"
    print(f"of the life {seed}, {inject}")
    trace = trace_lives(folder, seed, LIFE, inject=inject)
    if trace.status == 3:
        assert "space.db" in trace.said
        assert trace.said.count("\n") == 1, trace.said
    # The process alone has died: what the kernel holds is there.
    [(_, _, _, promises)] = trace.states_on_disk({len(trace.calls): [None]})
    files = {path.name: path.read_bytes() for path in trace.folder.iterdir()}
    with in_memory() as scratch:
        assert inspect(files, promises, scratch) == ""
    # The power went as well, then or later; and what a failed sync should have written never comes.
    assert list(trace.losses(choose(trace, 40, seed))) == []
    failed = [made for made in trace.calls if made.result < 0 and made.name == call]
    if any(must_be_told(trace, made) for made in failed):
        assert trace.status == 3, "it failed without a word"
    if trace.status == 3:
        assert failed, "it said so without a reason"
    assert promises.failed == (trace.status == 3)
    return bool(failed)


def must_be_told(trace, made):
    """Say whether a call that failed has left something unkept: not so while a store is closed, nor of names.

    A failed sync of the folder may be followed by one that succeeds. What SQLite does not remove or
    shorten it finds again.
    """
    closing = [call.begin for call in trace.calls if call.data.startswith(b"closing")]
    if made.path == str(trace.folder) or made.path.endswith(".ballast"):
        return False
    return made.name in ("fdatasync", "pwrite64") and (not closing or made.begin < closing[0])


@pytest.mark.parametrize("number", [2, 9, 21])
def test_a_sync_that_fails_stops_the_store(tmp_path, number):
    assert break_and_check(tmp_path, "fdatasync", number)


@pytest.mark.parametrize("number", [30])
def test_a_write_that_fails_stops_the_store(tmp_path, number):
    assert break_and_check(tmp_path, "pwrite64", number, repeated=True)


@pytest.mark.faults
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize("call", ["fdatasync", "fsync", "pwrite64", "ftruncate", "unlink"])
def test_any_of_the_first_40_calls_may_fail(tmp_path, call, repeated):
    for number in range(1, 41):
        if not break_and_check(tmp_path / str(number), call, number, repeated):
            break
