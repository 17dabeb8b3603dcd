"""What a store has reported durable is there after a power loss at any moment: see tests/power/disk.py."""

from __future__ import annotations

import random

import pytest

from power.calls import Call, can_trace
from power.cuts import Trace, choose, in_memory, inspect, trace_lives
from power.disk import Disk, Style

pytestmark = pytest.mark.skipif(bool(can_trace()), reason=can_trace())

#: A fresh store that is killed, one that is closed well, one that is killed, and one that is closed.
LIVES = ("50:kill", "50:close", "30:kill", "10:close")
CUTS = 200


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    seed = f"{random.randrange(1 << 32):x}"
    print(f"the seed of the lives is {seed}")
    return trace_lives(tmp_path_factory.mktemp("lives"), seed, *LIVES)


def losses(trace: Trace, cuts: int) -> list[object]:
    seed = f"{random.randrange(1 << 32):x}"
    print(f"of the lives {trace.seed}, of the cuts {seed}; {len(trace.calls)} calls")
    return list(trace.losses(choose(trace, cuts, seed)))


def test_nothing_durable_is_lost_when_the_power_goes(trace):
    # Its log has been written from the beginning again and again: what was checkpointed is in the file.
    begun = [
        call for call in trace.calls if call.path.endswith("-wal") and call.numbers[-1:] == (0,)
    ]
    assert len(begun) > 2 * len(LIVES)
    assert losses(trace, CUTS) == []


def test_a_store_without_full_syncs_loses_what_was_durable(tmp_path):
    # If this did not fail, the test above would prove nothing.
    trace = trace_lives(tmp_path, "normal", "pragma:synchronous=NORMAL", *LIVES)
    found = losses(trace, CUTS)
    assert any("appends were durable" in loss.what for loss in found)


@pytest.mark.parametrize("lie", ["files", "folder"])
def test_a_disk_that_lies_about_syncs_is_found_out(trace, lie):
    def honest(call):
        of_folder = call.path == str(trace.folder)
        return call.name not in ("fsync", "fdatasync") or of_folder != (lie == "folder")

    lying = Trace(
        trace.folder, trace.marks, trace.seed, trace.appends,
        [call for call in trace.calls if honest(call)], trace.before,
    )  # fmt: skip
    assert losses(lying, CUTS) != []


def test_a_store_lives_on_after_power_losses(tmp_path):
    seed = f"{random.randrange(1 << 32):x}"
    print(f"the seed is {seed}")
    live_on(tmp_path, seed, rounds=3, cuts=30)


def live_on(folder, seed, rounds, cuts):
    """Cut the power again and again: each time lives begin with what the last cut has left."""
    chance = random.Random(seed)
    before, done = None, 0
    for number in range(rounds):
        lives = [f"{chance.randrange(1, 40)}:{chance.choice(['kill', 'close'])}" for _ in range(2)]
        trace = trace_lives(folder / str(number), f"{seed}/{number}", *lives, before=before)
        assert losses(trace, cuts) == []
        done += cuts
        moment = chance.randrange(len(trace.calls) // 4, len(trace.calls) + 1)
        style = Style(f"{seed}/{number}/next")
        [(_, _, disk, promises)] = trace.states_on_disk({moment: [style]})
        before = disk.remains(style), promises.copy()
        with in_memory() as scratch:
            assert inspect(*before, scratch) == ""
    return done


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_nothing_durable_is_lost_in_ten_thousand_power_losses(tmp_path):
    done = 0
    for number in range(12):
        seed = f"{random.randrange(1 << 32):x}"
        print(f"the seed is {seed}")
        done += live_on(tmp_path / str(number), seed, rounds=4, cuts=210)
    assert done >= 10_000


def test_a_write_that_died_under_way_shortens_nothing_that_was_synced_after_it(tmp_path):
    def call(begin, end, name, *numbers, data=b""):
        return Call(begin, end, name, str(tmp_path.resolve() / "log"), -1, data, numbers,
                    "O_CREAT", "", len(data))  # fmt: skip

    disk = Disk(tmp_path, {"log": b""})
    died = call(1, None, "pwrite64", 0, data=b"a" * 24)
    for each in (died, call(2, 2, "pwrite64", 0, data=b"b" * 5000), call(3, 3, "fdatasync")):
        disk.play(each)
    for way in Style.WAYS:
        assert disk.remains(Style("", way)) == {"log": b"b" * 5000}
