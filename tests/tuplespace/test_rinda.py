"""What Rinda's own tests cover, and what they leave out: each has a test here or where it is named.

The differential runner (test_rinda_differential.py) plays scripts against Rinda itself. Left out here
are Rinda's ring servers and finders: test_discovery.py.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

import Pyro5.api
import pytest

from tuplespace import (
    ANY,
    Exactly,
    InvalidTemplateError,
    InvalidTupleError,
    LeaseExpiredError,
    MatchTimeoutError,
    connect,
)

HERE = Path(__file__).parent

#: Rinda's test, or what it has none for -> the file and the tests that hold it here.
COVERED = {
    "00_tuple": ("test_rinda", "test_a_tuple_lives_from_its_write_on"),
    "00_template": (
        "test_contract", "test_a_template_matches_what_it_says_and_nothing_else",
        "test_what_is_no_template_is_refused_and_changes_nothing",
    ),
    "00_template, keys": ("test_rinda", "test_a_dict_with_other_keys_than_str_is_refused"),
    "00_DRbObject": ("test_rinda", "test_a_proxy_is_found_by_what_stands_beside_it"),
    "inp_rdp": ("test_rinda", "test_a_take_that_does_not_wait_says_at_once_whether_there_was_one"),
    "ruby_talk_264062": (
        "test_contract", "test_a_timeout_is_waited_and_not_longer",
    ),
    "ruby_talk_264062, several": ("test_rinda", "test_many_timeouts_at_once_are_true_to_some_milliseconds"),
    "symbol_tuple": ("test_rinda", "test_heads_of_different_types_are_apart"),
    "core_01": ("test_rinda", "test_requests_and_answers_meet_whoever_comes_first"),
    "core_02": ("test_rinda", "test_requests_and_answers_meet_whoever_comes_first"),
    "core_03_notify": ("test_rinda", "test_a_notify_hears_the_whole_of_a_conversation"),
    "cancel_01": ("test_rinda", "test_a_cancelled_tuple_is_gone_for_every_verb"),
    "00_renewer": ("test_keeping", "test_a_kept_tuple_outlives_its_lease_and_a_let_go_one_does_not",
                   "test_a_killed_client_keeps_nothing"),
    "cancel_02": ("test_contract", "test_close_wakes_blocked_calls_and_refuses_new_ones",
                  "test_ctrl_c_in_a_blocked_take_swallows_no_tuple"),
    "proxy: remote_array_and_hash": ("test_contract", "test_what_is_no_tuple_is_refused_and_changes_nothing",
                                     "test_a_named_tuple_is_written_and_matched_as_a_tuple"),
    "proxy: take_bug_8215": ("test_server", "test_a_killed_client_swallows_no_tuple_and_keeps_no_claim",
                             "test_a_dead_taker_is_gone_before_the_write_that_came_after_its_death"),
    "bag: push, delete": ("test_rinda", "test_of_equal_tuples_one_goes_at_a_time"),
    "bag: delete_unless_alive": ("test_rinda", "test_what_has_expired_is_invisible_and_forgotten"),
    "bag: find, find_all": ("test_rinda", "test_what_is_not_alive_is_never_found"),
    "bag: find_all_template": ("test_contract", "test_one_write_serves_all_matching_readers_then_one_taker"),
    "bag: has_expires_eh": ("test_core", "test_everything_falls_due_at_its_time_and_in_order"),
    "expired write": ("test_rinda", "test_a_write_that_has_expired_is_told_of_twice"),
    # untested there
    "order": ("test_contract", "test_tuples_are_taken_first_in_first_out"),
    "several takers": ("test_contract", "test_waiters_are_served_in_order_of_arrival",
                       "test_threads_that_write_and_take_lose_and_double_nothing"),
    "fairness": ("test_rinda", "test_a_taker_that_comes_back_stands_at_the_end",
                 "test_a_taker_that_never_waits_does_not_get_ahead"),
    "timeouts by the real clock": ("test_rinda", "test_many_timeouts_at_once_are_true_to_some_milliseconds"),
    "lost replies": ("test_client", "test_a_call_whose_connection_breaks_is_repeated_and_applied_once"),
    "notify expiry": ("test_contract", "test_a_notify_ends_with_close_at_the_end_of_its_lease"),
    "death of a waiting client": ("test_stock_proxy", "test_a_killed_stock_proxy_swallows_no_tuple"),
    "death of a writer": ("test_rinda", "test_what_a_killed_client_wrote_stays_for_its_lease"),
}  # fmt: skip


def test_every_behaviour_that_is_listed_has_its_test():
    for behaviour, (module, *names) in COVERED.items():
        source = (HERE / f"{module}.py").read_text(encoding="utf-8")
        for name in names:
            assert f"def {name}(" in source, f"{behaviour}: {module}.py has no {name}"


# -- tuples and templates


def test_a_tuple_lives_from_its_write_on(space):
    handle = space.write(("t", 1, 2.5))
    assert space.count(("t", None, None)) == 1
    handle.renew(60)
    assert space.take(("t", 1, 2.5), 0) == ("t", 1, 2.5)
    with pytest.raises(LeaseExpiredError):
        handle.renew(60)


@pytest.mark.parametrize("keys", [{1: 2}, {"a": 1, None: 2}, {("a",): 1}])
def test_a_dict_with_other_keys_than_str_is_refused(space, keys):
    with pytest.raises(InvalidTupleError):
        space.write(keys)
    with pytest.raises(InvalidTemplateError):
        space.read(keys, 0)
    assert space.status()["tuples"] == 0


def test_a_proxy_is_found_by_what_stands_beside_it(space):
    """Rinda looks into references to remote objects; here their address is a field of its own."""
    uris = [f"PYRO:{name}@127.0.0.1:9" for name in ("printer", "scanner")]
    for uri in uris:
        space.write(("service", uri, Pyro5.api.Proxy(uri)))
    _, uri, proxy = space.read(("service", uris[1], ANY), 0)
    assert proxy == Pyro5.api.Proxy(uri)
    assert space.count(("service", None, None)) == 2


def test_heads_of_different_types_are_apart(space):
    heads = ["sym", b"sym", 1, True, ("sym",), Exactly(None)]
    for number, head in enumerate(heads):
        space.write((None if type(head) is Exactly else head, number))
    for number, head in enumerate(heads):
        assert [found[1] for found in space.read_all((head, None))] == [number]
    assert space.count((None, None)) == len(heads)


def test_a_take_that_does_not_wait_says_at_once_whether_there_was_one(space):
    for verb in (space.take, space.read):
        with pytest.raises(MatchTimeoutError):
            verb(("inp",), 0)
    space.write(("inp",))
    assert space.read(("inp",), 0) == space.take(("inp",), 0) == ("inp",)
    with pytest.raises(MatchTimeoutError):
        space.take(("inp",), 0)


# -- conversations


@pytest.mark.parametrize("worker_first", [True, False], ids=["worker first", "requests first"])
def test_requests_and_answers_meet_whoever_comes_first(space, background, parked, worker_first):
    def work():
        for _ in range(10):
            _, number = space.take(("req", int))
            space.write(("ans", number, number * number))

    if worker_first:
        worker = parked(space, work)
    for number in range(10):
        space.write(("req", number))
    if not worker_first:
        worker = background(work)
    for number in reversed(range(10)):
        assert space.take(("ans", number, None), 5) == ("ans", number, number * number)
    worker.result()
    assert space.status()["tuples"] == 0


def test_a_notify_hears_the_whole_of_a_conversation(space, parked):
    writes = space.notify("write", ("req", int))
    takes = space.notify("take", ("req", int))
    both = space.notify(None, ("req", None))
    answers = space.notify(None, ("ans", None))

    def work():
        for _ in range(5):
            _, number = space.take(("req", int))
            space.write(("ans", number))

    worker = parked(space, work)
    for number in range(5):
        space.write(("req", number))
        assert space.take(("ans", number), 5)
    worker.result()
    expected = [("req", number) for number in range(5)]
    assert [tuple(writes.next(5)) for _ in expected] == [("write", each) for each in expected]
    assert [tuple(takes.next(5)) for _ in expected] == [("take", each) for each in expected]
    assert [tuple(both.next(5)) for _ in range(10)] == [
        (event, each) for each in expected for event in ("write", "take")
    ]
    assert [answers.next(5).event for _ in range(10)] == ["write", "take"] * 5
    for events in (writes, takes, both, answers):
        with pytest.raises(MatchTimeoutError):
            events.next(0)


# -- what is not alive


def test_a_cancelled_tuple_is_gone_for_every_verb(space):
    handle = space.write(("removeme", 1))
    assert space.read(("removeme", None), 0) == ("removeme", 1)
    handle.cancel()
    template = ("removeme", None)
    for call in (
        lambda: space.read(template, 0), lambda: space.take(template, 0),
        lambda: space.take_many(template, 5, 0), lambda: space.claim(template, timeout=0),
        lambda: space.swap(template, ("other",)),
    ):  # fmt: skip
        with pytest.raises(MatchTimeoutError):
            call()
    assert space.read_all(template) == []
    assert space.status()["tuples"] == 0


def test_of_equal_tuples_one_goes_at_a_time(space):
    handles = space.write_many([("same",)] * 4)
    assert handles[2].cancel()
    for left in (2, 1, 0):
        assert space.take(("same",), 0) == ("same",)
        assert space.count(("same",)) == left
    assert not any(handle.cancel() for handle in handles)


def test_what_is_not_alive_is_never_found(space):
    """Expired, cancelled and claimed tuples lie between those that are there."""
    kinds = ["alive", "expired", "cancelled", "claimed"]
    for number in range(12):
        lease = 0 if number % 4 == 1 else None
        handle = space.write(("t", number, kinds[number % 4]), lease)
        if number % 4 == 2:
            handle.cancel()
    space.claim_many(("t", None, "claimed"), 3)
    assert [found[1] for found in space.read_all(("t", None, None))] == [0, 4, 8]
    assert [space.take(("t", None, None), 0)[1] for _ in range(3)] == [0, 4, 8]


def test_what_has_expired_is_invisible_and_forgotten(space, eventually):
    gone = space.notify("delete", ("t", None))
    space.write_many([("t", number) for number in range(50)], lease=0.05)
    space.write(("t", "stays"))
    assert {gone.next(5).tuple[1] for _ in range(50)} == set(range(50))
    assert space.read_all(("t", None)) == [("t", "stays")]
    assert space.status()["tuples"] == 1


def test_a_write_that_has_expired_is_told_of_twice(space):
    events = space.notify(None, ("t",))
    space.write(("t",), lease=0)
    assert [tuple(events.next(5)) for _ in range(2)] == [("write", ("t",)), ("delete", ("t",))]


# -- what Rinda's tests leave out


def test_many_timeouts_at_once_are_true_to_some_milliseconds(space, background, promptly):
    """Of twenty threads at once, so that a machine which others use too is allowed for."""

    def late_by(ready, verb, timeout):
        space.count(("never",))  # a thread's first call makes its connection
        ready.wait(10)
        started = time.monotonic()
        with pytest.raises(MatchTimeoutError):
            verb(("never", timeout), timeout)
        return time.monotonic() - started - timeout

    def median():
        ready = threading.Barrier(20)
        timeouts = [0.05 + 0.01 * number for number in range(20)]
        waiting = [
            background(late_by, ready, (space.take, space.read)[number % 2], timeout)
            for number, timeout in enumerate(reversed(timeouts))
        ]
        late = sorted(each.result() for each in waiting)
        assert late[0] > -0.001
        return late[len(late) // 2]

    promptly(median, 0.05)


def test_a_taker_that_comes_back_stands_at_the_end(space, parked, eventually):
    """However fast it works, one worker of three gets every third tuple."""
    done = {name: [] for name in "abc"}
    turn = threading.Semaphore(0)

    def work(name):
        while (number := space.take(("t", int))[1]) >= 0:
            done[name].append(number)
            turn.release()

    workers = [parked(space, work, name) for name in done]
    for number in range(30):
        space.write(("t", number))
        assert turn.acquire(timeout=5)
        eventually(lambda: space.status()["waiters"] == 3)
    space.write_many([("t", -1)] * len(workers))
    for worker in workers:
        worker.result()
    assert done == {
        "a": list(range(0, 30, 3)), "b": list(range(1, 30, 3)), "c": list(range(2, 30, 3)),
    }  # fmt: skip


def test_a_taker_that_never_waits_does_not_get_ahead(space, parked):
    waiting = parked(space, space.take, ("t", None))
    space.write(("t", 1))
    with pytest.raises(MatchTimeoutError):
        space.take(("t", None), 0)
    assert waiting.result() == ("t", 1)


@pytest.mark.faults
def test_what_a_killed_client_wrote_stays_for_its_lease(space_server, remote, run_python):
    script = (
        "import sys, tuplespace; space = tuplespace.connect(sys.argv[1]); "
        "space.write(('w', 'for ever')); space.write(('w', 'leased'), lease=1.5); "
        "print('written', flush=True); space.take(('never',))"
    )
    process = run_python("-c", script, space_server.uri)
    assert process.stdout.readline() == "written\n"
    gone = remote.notify("delete", ("w", None))
    process.kill()
    process.wait()
    assert remote.count(("w", None)) == 2
    assert gone.next(5).tuple == ("w", "leased")
    assert remote.read_all(("w", None)) == [("w", "for ever")]
    with connect(space_server.uri) as another:
        assert another.take(("w", None), 0) == ("w", "for ever")
