"""Recorded histories of concurrent clients show nothing that a correct space could not do."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import pytest

from history.checker import check
from history.recorder import History, RecordedSpace
from history.workloads import drain, mix
from tuplespace import MatchTimeoutError, TupleSpace, connect


@pytest.mark.parametrize("seed", range(2))
def test_threads_of_one_process_see_a_correct_space(seed):
    history = History()
    with TupleSpace() as space:
        mix({f"t{number}": space for number in range(4)}, history, 400, seed)
        drain(space, history)
    assert check(history) == []


def test_clients_of_a_server_see_a_correct_space(space_server):
    history = History()
    with connect(space_server.uri) as one, connect(space_server.uri) as two:
        mix({"one/a": one, "one/b": one, "two/a": two, "two/b": two}, history, 150)
        drain(one, history)
    assert check(history) == []


def test_clients_whose_connections_break_see_a_correct_space(
    far, remote, forwarder, background, eventually
):
    history = History()
    working = background(mix, {"near": remote, "far/a": far, "far/b": far}, history, 120)
    seen = 0

    def answered():
        return sum(op.client != "near" and op.ended is not None for op in list(history.ops))

    for how in itertools.cycle(("cut_all", "cut_instead_of_reply", "cut_after_request")):
        eventually(lambda seen=seen: answered() > seen + 5 or not working.running, 30)
        seen = answered()
        if not working.running:
            break
        if how == "cut_all":
            forwarder.cut_all()
        else:
            setattr(forwarder, how, True)
    forwarder.cut_instead_of_reply = forwarder.cut_after_request = False
    working.result()
    drain(remote, history)
    assert forwarder.cuts > 3
    assert check(history, steady=False) == []


def _pipeline(space, name, history, number, ended):
    """Take what others wrote and write anew, until all has been done so often."""
    recorded = RecordedSpace(space, history, name)
    for turn in range(number):
        recorded.write((f"q{turn % 3}", name, turn))
        try:
            recorded.take((f"q{(turn + 1) % 3}", None, None), timeout=0)
            recorded.read(("q0", name, None), timeout=0)
        except MatchTimeoutError:
            pass
    ended.append(name)


def _check_of(operations):
    history, ended = History(), []
    with TupleSpace() as space:
        arguments = [(space, f"t{n}", history, operations // 12, ended) for n in range(4)]
        threads = [threading.Thread(target=_pipeline, args=each) for each in arguments]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        drain(space, history)
    assert len(ended) == 4
    assert len(history.ops) > 0.8 * operations
    return check(history)


def test_takers_of_each_others_tuples_see_a_correct_space():
    assert _check_of(12_000) == []


@pytest.mark.faults
@pytest.mark.timeout(300)
def test_the_checker_takes_seconds_for_hundreds_of_thousands_of_operations():
    # Whatever compared each with each would not end before the timeout.
    assert _check_of(300_000) == []


@pytest.mark.faults
@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", range(3))
def test_clients_that_are_killed_lose_and_double_nothing(
    seed, space_server, remote, run_python, tmp_path, eventually
):
    history = History()

    def start(number):
        name, log = f"client-{number}", tmp_path / f"{number}.log"
        process = run_python(
            "-m", "history.client", "mix", space_server.uri, name, str(log), f"{seed}-{number}",
            cwd=Path(__file__).parent.parent,
        )  # fmt: skip
        eventually(lambda: log.exists() and log.stat().st_size > 20_000, 30)
        return process, name, log

    running = [start(number) for number in range(2)]
    for number in range(2, 10):
        process, name, log = running.pop(0)
        connections = remote.status()["connections"]
        process.kill()
        process.wait()
        # What it asked last may still be on its way: it counts as dead when the space has noticed.
        eventually(lambda before=connections: remote.status()["connections"] < before)
        history.died(name)
        assert history.read_log(log) > 20
        running.append(start(number))
    for process, name, log in running:
        process.communicate(timeout=10)
        history.died(name)
        history.read_log(log)
    drain(remote, history)
    assert check(history) == []
