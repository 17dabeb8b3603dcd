"""The network fails, or the space stands still: nothing is lost, nothing doubled, and work goes on."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from history.checker import check
from history.hosts import Crowd, connect_on, drain_on, slowest
from history.network import CUTS, Network, NoNamespacesError
from history.recorder import History
from history.server_process import ServerProcess
from tuplespace import ClaimLostError

#: Seconds that a call may take once the network is there again, on a busy machine, besides what TCP takes: it
#: doubles its pauses, so a cut of n seconds may last 2 n.
BOUND = 10.0
#: Seconds for those who are not cut off.
PROMPT = 2.0


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
        (list(CUTS), 1.2),
        *(pytest.param([cut], seconds, marks=[pytest.mark.faults, pytest.mark.timeout(200)])
          for cut in CUTS for seconds in (5.0, 32.0)),
    ],
)  # fmt: skip
def test_a_host_that_was_cut_off_goes_on_and_has_held_up_nobody(
    network, server, cuts, seconds
):
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
            assert slowest(history, "near", began, until) < PROMPT
            assert after - before <= 2  # what was on its way
            goes_on(crowd, "far", after + 5, 2 * seconds + BOUND)
        ended_well(network, server, history, crowd, longest=seconds)


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
