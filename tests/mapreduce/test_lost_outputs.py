"""Lost outputs: what runs again when a host dies after its tasks are done, and what does not.

Two hosts, each with a folder of its own; what the tasks do, they note in one file.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from ledgers import Ledgers
from mapreduce import MapReduceJob, Split, collect
from tuplespace.pickles import dump, load

cloudpickle.register_pickle_by_value(sys.modules[__name__])

MAPS = 6
REDUCES = 3
#: The maps that run on the host that is going to die, if it has a worker then.
EAST = range(3)
#: For so long only, or what runs again would wait for the dead.
WAIT = 1.0
#: Too much to travel with the outcome.
PADDING = "x" * 2000
ENDS = {f"reduce {number} ends" for number in range(REDUCES)}


def wait_for_file(path: Path, within: float = 30.0) -> None:
    """For tasks: wait until somebody makes a file."""
    deadline = time.monotonic() + within
    while not path.exists():
        assert time.monotonic() < deadline, f"no {path}"
        time.sleep(0.005)


class Notes:
    """What the tasks of a job have done, in order, line by line."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notes"
        self.path.touch()

    def add(self, line: str) -> None:
        """Add a line; for tasks of any process at once."""
        with open(self.path, "a") as file:
            file.write(line + "\n")

    def lines(self) -> list[str]:
        return self.path.read_text().splitlines()

    def count(self, line: str) -> int:
        return self.lines().count(line)

    def maps_ended(self) -> Counter[int]:
        """Return how often each map has come to its end."""
        found = re.findall(r"map (\d+) ends", self.path.read_text())
        return Counter(map(int, found))


def lossy_job(
    folder: Path, *, value: Callable[[int], Any] = lambda number: number, first_go: int = 0,
    map_waits: bool = False, result_bytes: int = 0,
) -> MapReduceJob:  # fmt: skip
    """Return a job of three maps on east and three on west, which notes what it does.

    Its reduces wait for the file `go` before they read anything, and no attempt of a task may fail.

    Args:
        value: What a map makes, beside its number. first_go: How many reduces do not wait.
        map_waits: Map 5 waits for the file `map` too. result_bytes: More that a reduce returns.
    """
    notes = Notes(folder)

    def map_function(number: int) -> list[Any]:
        notes.add(f"map {number}")
        if map_waits and number == MAPS - 1:
            wait_for_file(folder / "map")
        made = value(number)
        notes.add(f"map {number} ends")
        return [(key, (number, made, PADDING)) for key in range(4 * REDUCES)]

    def may_go() -> bool:
        for place in range(first_go):
            with suppress(FileExistsError):
                (folder / f"pass-{place}").mkdir()
                return True
        return False

    def reduce_function(pairs: Any) -> Any:
        notes.add("reduce begins")
        if not may_go():
            wait_for_file(folder / "go")
        found = [(key, number, made) for key, (number, made, _) in pairs]
        notes.add(f"reduce {found[0][0]} ends")
        return found, bytes(result_bytes)

    job = MapReduceJob(
        [
            Split(number, affinity="east" if number in EAST else "west", wait=WAIT)
            for number in range(MAPS)
        ],
        map_function, reduce_function, reduce_tasks=REDUCES, retries=0,
    )  # fmt: skip
    job.partition = lambda key, R: key % R
    return job


class Hosts:
    """Two hosts of a cluster: east, which is going to die, and west."""

    def __init__(self, cluster: Any, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        self.east, self.west = self.start("east"), self.start("west")

    def start(self, host: str) -> Any:
        return self.cluster.start_agent(
            "--host", host, "--work-dir", str(self.folder / host), processes=1
        )

    def tasks_of_east(self, phase: str) -> set[int]:
        """Return the tasks whose outputs lie on east."""
        blocks = (self.folder / "east").rglob(f"{phase}-*.blocks")
        return {int(path.name.split("-")[1]) for path in blocks if "-argument-" not in path.name}

    def kill_east(self, *, with_blocks: bool = True) -> set[int]:
        """Kill its first agent; return the maps whose outputs it had."""
        self.east.kill()
        maps = self.tasks_of_east("map")
        assert maps
        if with_blocks:
            shutil.rmtree(self.folder / "east")
        return maps


@pytest.fixture
def hosts(cluster: Any, tmp_path: Path) -> Hosts:
    return Hosts(cluster, tmp_path)


def expected(folder: Path, **options: Any) -> list[Any]:
    """Return what one process makes of the job, with nobody to wait for."""
    (folder / "alone").mkdir()
    for gate in ("go", "map"):
        (folder / "alone" / gate).touch()
    return lossy_job(folder / "alone", **options).run_sequential()


# --- a host is gone with its blocks ---------------------------------------------------------------


@pytest.mark.parametrize(
    "when",
    [
        pytest.param("before the reduces begin", marks=pytest.mark.faults),
        "while the reduces run",
    ],
)
def test_just_the_maps_of_a_host_that_is_gone_run_again_and_the_reduces_wait_for_them(
    when: str, hosts: Hosts, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    before = when.startswith("before")
    notes = Notes(tmp_path)
    run = lossy_job(tmp_path, map_waits=before).submit(hosts.cluster.connect())
    if before:
        eventually(lambda: run.progress().map_done == MAPS - 1)
        lost = hosts.kill_east()
        (tmp_path / "map").touch()
    else:
        eventually(lambda: notes.count("reduce begins") == 2)
        lost = hosts.kill_east()
    (tmp_path / "go").touch()

    result = run.result(30)

    assert dump(result) == dump(expected(tmp_path, map_waits=before))
    assert notes.maps_ended() == Counter([*range(MAPS), *lost])
    lines = notes.lines()
    # Whoever ends has begun after the last of them was there, and each of them ends once.
    last_map = max(place for place, line in enumerate(lines) if line.startswith("map"))
    ends = [place for place, line in enumerate(lines) if line in ENDS]
    assert len(ends) == REDUCES
    assert ends[0] > last_map
    # A lost block costs no attempt: the job has none to lose.
    assert run.progress().attempts_failed > 0
    assert run.report.moved_blocks == 0


@pytest.mark.faults
def test_a_map_that_gives_something_else_when_it_runs_again_runs_all_reduces_again_that_read_it(
    hosts: Hosts, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    notes = Notes(tmp_path)
    job = lossy_job(tmp_path, value=lambda number: os.urandom(8), first_go=1)
    run = job.submit(hosts.cluster.connect())
    eventually(lambda: run.progress().reduce_done == 1 and notes.count("reduce begins") == 3)
    [done] = [line for line in notes.lines() if line in ENDS]
    lost = hosts.kill_east()
    (tmp_path / "go").touch()

    result = run.result(30)

    # One value for each map, whichever partition it is in: all of them read the same outputs.
    made = {(number, made) for part, _ in result for _, number, made in part}
    assert sorted(number for number, _ in made) == [*range(MAPS)]
    assert notes.count(done) == 2
    assert notes.maps_ended() == Counter([*range(MAPS), *lost])


@pytest.mark.faults
def test_maps_that_give_the_same_again_run_no_reduce_again_that_is_done(
    hosts: Hosts, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    notes = Notes(tmp_path)
    run = lossy_job(tmp_path, first_go=1).submit(hosts.cluster.connect())
    eventually(lambda: run.progress().reduce_done == 1 and notes.count("reduce begins") == 3)
    lost = hosts.kill_east()
    (tmp_path / "go").touch()

    assert dump(run.result(30)) == dump(expected(tmp_path))
    assert [notes.count(line) for line in sorted(ENDS)] == [1] * REDUCES
    assert notes.maps_ended() == Counter([*range(MAPS), *lost])


# --- a block is gone --------------------------------------------------------------------------------


@pytest.mark.faults
def test_a_block_that_is_gone_is_made_again(
    cluster: Any, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    cluster.start_agent()
    blocks = cluster.temporary

    def map_function(records: Any) -> list[Any]:
        [number] = records
        (tmp_path / f"ran-{number}-{time.monotonic_ns()}").touch()
        if number == 3:  # the last one; all others are done, or will be lost later
            wait_for_file(tmp_path / "go")
        return [(number, b"x" * 10_000), ("all", number)]  # too much to travel with the outcome

    job = MapReduceJob([0, 1, 2, 3], map_function, collect, map_tasks=4, reduce_tasks=2)
    run = job.submit(cluster.connect())
    eventually(lambda: run.progress().map_done == 3)
    for file in blocks.rglob("map-[012]-*.blocks"):
        file.unlink()
    (tmp_path / "go").touch()

    results = run.result(30)

    found = {key: values for part in results for key, values in part}
    assert found == {**{n: [b"x" * 10_000] for n in range(4)}, "all": [0, 1, 2, 3]}
    assert len(list(tmp_path.glob("ran-*"))) == 7


# --- an agent is gone, its blocks are not ---------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    ["that was there before", pytest.param("that was started again", marks=pytest.mark.faults)],
)
def test_another_agent_of_the_host_hands_out_the_blocks_of_one_that_is_gone(
    other: str, hosts: Hosts, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    space = hosts.cluster.connect()
    notes, ledgers = Notes(tmp_path), Ledgers(space)
    run = lossy_job(tmp_path).submit(space)
    eventually(lambda: notes.count("reduce begins") == 2)
    listed = ("blocks", "east", str)
    if other.startswith("that was there"):
        hosts.start("east")
        eventually(lambda: space.count(listed) == 2)
        lost = hosts.kill_east(with_blocks=False)
    else:
        lost = hosts.kill_east(with_blocks=False)
        hosts.start("east")
        eventually(lambda: space.count(listed) == 2)  # the old one's lease is running still
    (tmp_path / "go").touch()

    result = run.result(30)

    assert dump(result) == dump(expected(tmp_path))
    assert notes.maps_ended() == Counter(range(MAPS))
    assert run.report.moved_blocks >= len(lost)
    moved = [event[2] for event in ledgers.events(run.id) if event[:2] == ("call", "relocate")]
    assert len(moved) == run.report.moved_blocks


# --- results --------------------------------------------------------------------------------------

DRIVER = """
import sys
from pathlib import Path
sys.path[:0] = [sys.argv[1], str(Path(sys.argv[1]).parent)]
import test_lost_outputs
from tuplespace.pickles import dump

folder = Path(sys.argv[3])
job = test_lost_outputs.lossy_job(folder, result_bytes=int(sys.argv[4]))
run = job.submit(sys.argv[2])
Path(folder, "result").write_bytes(dump(run.result()))
Path(folder, "moved").write_text(str(run.report.moved_blocks))
"""


@pytest.mark.faults
@pytest.mark.parametrize("gone", ["with its blocks", "and another serves its blocks"])
def test_results_that_the_driver_has_not_fetched_when_their_host_dies(
    gone: str, cluster: Any, tmp_path: Path, eventually: Callable[..., Any],
    run_python: Callable[..., subprocess.Popen[str]],
) -> None:  # fmt: skip
    """They are made again, or come from another agent of the host."""
    big = 400_000
    notes = Notes(tmp_path)
    space = cluster.connect()
    hosts = Hosts(cluster, tmp_path)
    with_blocks = gone == "with its blocks"
    if not with_blocks:
        hosts.start("east")
        eventually(lambda: space.count(("blocks", "east", str)) == 2)
    driver = run_python(
        "-c", DRIVER, str(Path(__file__).parent), cluster.uri, str(tmp_path), str(big)
    )
    eventually(lambda: notes.count("reduce begins") >= 2, 20)
    driver.send_signal(signal.SIGSTOP)
    (tmp_path / "go").touch()
    # All has been done and handed in, and the driver has heard of nothing.
    eventually(lambda: sum(line in ENDS for line in notes.lines()) == REDUCES, 20)
    eventually(lambda: not space.claimed(("task", *[None] * 6)))
    made_on_east = hosts.tasks_of_east("reduce")
    assert made_on_east
    hosts.kill_east(with_blocks=with_blocks)
    driver.send_signal(signal.SIGCONT)
    _, error = driver.communicate(timeout=30)

    assert driver.returncode == 0, error
    assert load((tmp_path / "result").read_bytes()) == expected(tmp_path, result_bytes=big)
    again = {number for number in range(REDUCES) if notes.count(f"reduce {number} ends") == 2}
    assert again == (made_on_east if with_blocks else set())


@pytest.mark.faults
def test_maps_that_are_lost_with_their_host_do_not_wait_for_it(
    hosts: Hosts, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    notes = Notes(tmp_path)
    job = lossy_job(tmp_path)
    job.data = [split if split.affinity == "west" else Split(split.data, "east", 60.0)
                for split in job.data]  # fmt: skip
    run = job.submit(hosts.cluster.connect())
    eventually(lambda: notes.count("reduce begins") == 2)
    hosts.kill_east()
    (tmp_path / "go").touch()
    began = time.monotonic()

    assert dump(run.result(30)) == dump(expected(tmp_path))
    assert time.monotonic() - began < 8  # its worker is listed for 10 s more
