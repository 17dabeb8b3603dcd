"""The network fails, or the space stands still: nothing is lost, nothing doubled, and work goes on."""

from __future__ import annotations

import random
import signal
import threading
import time
from pathlib import Path

import pytest

from history.checker import check
from history.hosts import LONGEST_WAIT, Crowd, connect_on, drain_on, slowest
from history.network import CUTS, Network, NoNamespacesError
from history.recorder import History, Op, RecordedSpace
from history.server_process import ServerProcess
from tuplespace import ClaimLostError, SpaceUnreachableError

#: Seconds that a call may take once the network is there again, on a busy machine, besides what TCP takes: it
#: doubles its pauses, so a cut of n seconds may last 2 n.
BOUND = 10.0
#: Seconds for those who are not cut off.
PROMPT = 2.0
#: Seconds until a host that vanished is known to be dead: keepalive and TCP_USER_TIMEOUT, and the grace.
KNOWN = 34.0
TESTS = Path(__file__).resolve().parent


@pytest.fixture
def network():
    try:
        with Network("space", "near", "far", "other") as network:
            yield network
    except NoNamespacesError:
        pytest.skip("this machine lets us make no network namespaces")


@pytest.fixture
def server(network, key_file, tmp_path):
    """A space in a file, on a host of its own."""
    server = ServerProcess(
        tmp_path / "space.sqlite", key_file, "--host", network.address["space"]
    )  # fmt: skip
    with network.inside("space"):
        server.start()
    yield server
    server.kill()


@pytest.fixture
def join(network, server):
    """Connect from a host."""
    spaces = []

    def join(host, retry_for=60.0):
        spaces.append(connect_on(network, host, server.uri, server.key_file, retry_for))
        return spaces[-1]

    yield join
    for space in spaces:
        space.close()


def wait(seconds):
    """Let time pass in which others work."""
    threading.Event().wait(seconds)


def freeze(server, seconds):
    server.signal(signal.SIGSTOP)
    wait(seconds)
    server.signal(signal.SIGCONT)


def goes_on(crowd, host, answers, within=BOUND):
    """Wait until a host's client has had so many answers."""
    give_up = time.monotonic() + within
    while crowd.answered(host) < answers:
        assert time.monotonic() < give_up, f"{host} does not go on within {within} s"
        wait(0.005)


def ended_well(network, server, history, crowd, *, longest, steady=False):
    crowd.end(within=2 * longest + BOUND)
    drain_on(network, "space", server.uri, server.key_file, history)
    assert len(history.ops) > 100
    assert check(history, steady=steady, bound=2 * longest + BOUND) == []


@pytest.mark.parametrize(
    "seconds", [1.5, pytest.param(10.0, marks=[pytest.mark.faults, pytest.mark.timeout(120)])]
)
def test_a_space_that_is_stopped_under_load_goes_on_where_it_was(network, server, seconds):
    history = History()
    with Crowd(network, server.uri, server.key_file, history, ["near", "far"]) as crowd:
        goes_on(crowd, "far", 60)
        freeze(server, seconds)
        goes_on(crowd, "far", crowd.answered("far") + 60)
        ended_well(network, server, history, crowd, longest=seconds, steady=True)


@pytest.mark.parametrize(
    ("cuts", "seconds"),
    [
        (list(CUTS), 1.5),
        *(pytest.param([cut], seconds, marks=[pytest.mark.faults, pytest.mark.timeout(200)])
          for cut in CUTS for seconds in (5.0, 32.0)),
    ],
)  # fmt: skip
def test_a_host_that_was_cut_off_goes_on_and_has_held_up_nobody(network, server, cuts, seconds):
    history = History()
    with Crowd(network, server.uri, server.key_file, history, ["near", "far"]) as crowd:
        for cut in cuts:
            before = crowd.answered("far")
            goes_on(crowd, "far", before + 30, 2 * seconds + BOUND)
            CUTS[cut](network, "far")
            began, before = time.monotonic(), crowd.answered("far")
            wait(seconds)
            until, after = time.monotonic(), crowd.answered("far")
            network.mend("far")
            assert slowest(history, "near", began, until) < min(PROMPT, 0.7 * seconds)
            assert after - before <= 2  # what was on its way
            goes_on(crowd, "far", after + 5, 2 * seconds + BOUND)
        ended_well(network, server, history, crowd, longest=seconds)


@pytest.mark.faults
@pytest.mark.timeout(120)
def test_calls_whose_answers_are_lost_until_the_connection_breaks_are_applied_once(
    network, join, background, eventually
):
    near, far = join("near"), join("far")
    near.write_many([("old", n) for n in range(9)])
    others = [join("far") for _ in range(3)]
    claim = far.claim(("old", None))
    for other in others:
        assert other.count(("new", None)) == 0  # it is connected
    network.deafen("far")
    with network.inside("far"):  # so that they reconnect there
        calls = [
            background(claim.confirm, [("new", 1)]),
            background(others[0].write, ("new", 2)),
            background(others[1].write_many, [("new", 3), ("new", 4)]),
            background(others[2].take, ("old", None)),
        ]
    eventually(lambda: (near.count(("new", None)), near.count(("old", None))) == (4, 7))
    wait(28.0)  # until both ends have given their connections up
    network.mend("far")

    results = [call.result(BOUND + 5) for call in calls]
    near = join("near")
    assert sorted(near.read_all(("new", None))) == [("new", n) for n in (1, 2, 3, 4)]
    assert near.count(("old", None)) == 7
    assert results[-1] == ("old", 1)


@pytest.mark.parametrize("cut", CUTS)
def test_a_claim_of_one_who_is_cut_off_goes_to_another_and_the_late_confirm_is_refused(
    network, join, background, cut
):
    near, far = join("near"), join("far")
    near.write(("task", 1))
    claim = far.claim(("task", None), lease=0.5)
    CUTS[cut](network, "far")

    began = time.monotonic()
    other = near.claim(("task", None), lease=30.0, timeout=PROMPT + 0.5)
    assert time.monotonic() - began < PROMPT + 0.5
    late = background(claim.confirm, [("result", "late")])
    other.confirm([("result", "in time")])
    network.mend("far")

    with pytest.raises(ClaimLostError):
        late.result(BOUND)
    assert near.read_all((None, None)) == [("result", "in time")]


@pytest.fixture
def hold(network, server, join, eventually, run_python, tmp_path):
    """Start a process on a host that holds ("held", host) and waits for ("wanted", host)."""

    def hold(host, lease):
        space = join("space")
        waiters = space.status()["waiters"]
        space.write(("held", host))
        arguments = server.uri, host, str(tmp_path / host), str(lease)
        with network.inside(host):
            process = run_python("-m", "history.client", "hold", *arguments, cwd=TESTS)
        eventually(lambda: space.status()["waiters"] > waiters or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        return process

    return hold


def vanish(network, host, process):
    """Let a host disappear, so that nobody hears of the end of its process."""
    network.pull(host)
    process.kill()
    process.wait()


def test_what_a_vanished_host_held_is_back_when_its_lease_ends(network, join, hold):
    vanish(network, "far", hold("far", lease=1.0))
    near = join("near")
    near.write(("wanted", "far"))

    began = time.monotonic()
    assert near.take(("held", "far"), timeout=1.0 + PROMPT) == ("held", "far")
    assert near.take(("wanted", "far"), timeout=1.0 + PROMPT) == ("wanted", "far")
    assert time.monotonic() - began < 1.0 + PROMPT


@pytest.mark.faults
@pytest.mark.timeout(120)
def test_what_vanished_hosts_held_for_ever_is_back_in_half_a_minute_and_they_swallow_nothing(
    network, server, join, hold, tmp_path
):
    history = History()
    near = RecordedSpace(join("near"), history, "near")
    for host in ("far", "other"):
        vanish(network, host, hold(host, lease=0))
        history.ops.append(
            Op("by hand", 0, "write", written=[("held", host)], outcome="ok", ended=0.0)
        )
    began = time.monotonic()
    near.write(("wanted", "other"))  # goes to one that is no more, and nobody knows yet

    for name in ("held", "wanted"):
        assert near.take((name, "other"), timeout=KNOWN) == (name, "other")
    near.take(("held", "far"), timeout=KNOWN)
    assert 10 < time.monotonic() - began < KNOWN

    near.write(("wanted", "far"))
    assert near.count(("wanted", None)) == 1
    assert near.status()["waiters"] == near.status()["claims"] == 0
    for host in ("far", "other"):
        history.read_log(tmp_path / host)
        history.died(host)
    drain_on(network, "space", server.uri, server.key_file, history)
    assert check(history, steady=False, bound=KNOWN) == []


def test_a_client_whose_space_has_vanished_is_told_so_when_its_patience_ends(network, join):
    near = join("near", retry_for=1.0)
    near.write(("a", 1))
    network.pull("space")
    began = time.monotonic()
    with pytest.raises(SpaceUnreachableError) as caught:
        near.take(("a", None), timeout=0)
    assert 1.0 <= time.monotonic() - began < 1.0 + PROMPT
    assert caught.value.outcome_unknown


@pytest.mark.faults
@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(20))
def test_schedules_of_cuts_freezes_and_vanishing_hosts_lose_nothing(
    network, server, run_python, eventually, tmp_path, seed
):
    rng, history, hosts = random.Random(f"cuts {seed}"), History(), ["near", "far"]
    log = tmp_path / "other.log"
    with network.inside("other"):
        doomed = run_python("-m", "history.client", "work", server.uri, "other", str(log), str(seed),
                            cwd=TESTS)  # fmt: skip
    eventually(lambda: log.exists() and log.stat().st_size > 5_000)
    vanishes = rng.randrange(8)
    with Crowd(network, server.uri, server.key_file, history, hosts, seed=seed) as crowd:
        for turn in range(6):
            kind = rng.choice([*CUTS, "all", "freeze", "kill"])
            host = rng.choice([*hosts, "other"])
            seconds = rng.choice((0.05, 0.3, 0.6, 1.0, 2.5)) * rng.random()
            print(f"seed {seed}: {kind} {host} {seconds:.3f} s")
            if turn == vanishes:
                vanish(network, "other", doomed)
            elif kind == "freeze":
                freeze(server, seconds)
            elif kind == "kill":
                down = time.monotonic()
                server.kill()
                wait(seconds)
                with network.inside("space"):
                    server.start()
                history.restarts.append((down, time.monotonic()))
            else:
                for each in hosts if kind == "all" else [host]:
                    CUTS.get(kind, rng.choice([*CUTS.values()]))(network, each)
                wait(seconds)
                for each in hosts if kind == "all" else [host]:
                    if each != "other" or doomed.poll() is None:
                        network.mend(each)
            wait(rng.random())
        for host in hosts:
            goes_on(crowd, host, crowd.answered(host) + 5, 2 * 2.5 + BOUND)
        if doomed.poll() is None:
            vanish(network, "other", doomed)
        wait(LONGEST_WAIT)
        history.read_log(log)
        history.died("other")
        ended_well(network, server, history, crowd, longest=3 * 2.5)
