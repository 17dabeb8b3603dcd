"""What many tasks share, such as a big closure: once per host, however many read it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from mapreduce import MapReduceJob
from mapreduce.engine.space import SpaceEngine
from tuplespace.pickles import dump, dump_data, load
from tuplespace.security import Key, throwaway_key
from workers.blocks import BlockReader, BlockServer, Frame, Location
from workers.errors import BlockLostError
from workers.shared import read_shared, write_shared
from workers.task import ANYWHERE, OK, SHARED_INLINE_BYTES, Outcome, Task, this_runtime
from workers.workplace import Workplace

# Functions of this module travel by value, as those of a script do.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

DATA = os.urandom(3 << 20)
NOBODY = "PYRO:blocks@127.0.0.1:1"


@pytest.fixture(scope="module")
def key() -> Key:
    return throwaway_key()


@pytest.fixture
def shared(key: Key, tmp_path: Path) -> Iterator[tuple[Location, Frame]]:
    """A shared block of the job "j" on the host "home", and its server."""
    server = BlockServer(tmp_path / "home", key)
    path, frame = write_shared(tmp_path / "home", "j", DATA)
    yield Location("home", str(path), server.uri), frame
    server.stop()


@pytest.fixture
def reader(key: Key) -> Iterator[Callable[..., BlockReader]]:
    readers: list[BlockReader] = []

    def make(host: str = "away") -> BlockReader:
        readers.append(BlockReader(host, key))
        return readers[-1]

    yield make
    for each in readers:
        each.close()


def read_elsewhere(
    root: Path, location: Location, frame: Frame, reader: BlockReader
) -> tuple[bytes, int]:
    """For a thread of its own, as a reader is: what is read, and how much of it was fetched."""
    try:
        return read_shared(root, "j", location, frame, reader), reader.fetched_bytes
    finally:
        reader.close()


# --- the block ------------------------------------------------------------------------------------


def test_it_is_written_once(tmp_path: Path) -> None:
    path, frame = write_shared(tmp_path, "j", DATA)
    written = path.stat()

    assert write_shared(tmp_path, "j", DATA) == (path, frame)
    assert path.stat().st_mtime_ns == written.st_mtime_ns
    assert path.stat().st_ino == written.st_ino
    assert write_shared(tmp_path, "j", b"other")[0] != path


def test_readers_of_one_host_fetch_it_once_even_at_the_same_time(
    shared: tuple[Location, Frame], reader: Callable[..., BlockReader], background: Any,
    tmp_path: Path,
) -> None:  # fmt: skip
    away = tmp_path / "away"

    reading = [background(read_elsewhere, away, *shared, reader()) for _ in range(4)]

    found = [each.result() for each in reading]
    assert [data == DATA for data, _ in found] == [True] * 4
    assert sum(fetched for _, fetched in found) == len(DATA)
    assert len(list(away.glob("j/*.blocks"))) == 1


def test_the_drivers_host_needs_no_server_and_no_copy(
    shared: tuple[Location, Frame], reader: Callable[..., BlockReader], tmp_path: Path
) -> None:
    location, frame = shared[0]._replace(uri=NOBODY), shared[1]
    other_folder = tmp_path / "of-another-agent"

    assert read_shared(tmp_path / "home", "j", location, frame, reader("home")) == DATA
    assert read_shared(other_folder, "j", location, frame, reader("home")) == DATA
    assert not other_folder.exists()


def test_another_hosts_path_is_not_tried_here(
    shared: tuple[Location, Frame], reader: Callable[..., BlockReader], tmp_path: Path
) -> None:
    location, frame = shared[0]._replace(uri=NOBODY), shared[1]

    with pytest.raises(BlockLostError):
        read_shared(tmp_path / "away", "j", location, frame, reader())


def test_a_damaged_copy_is_fetched_again(
    shared: tuple[Location, Frame], reader: Callable[..., BlockReader], tmp_path: Path
) -> None:
    away = tmp_path / "away"
    read_shared(away, "j", *shared, reader())
    [copy] = away.glob("j/*.blocks")
    copy.write_bytes(DATA[:-1] + bytes([DATA[-1] ^ 1]))

    second = reader()

    assert read_shared(away, "j", *shared, second) == DATA
    assert second.fetched_bytes == len(DATA)
    assert copy.read_bytes() == DATA


def test_where_no_copy_can_be_kept_it_is_read_all_the_same(
    shared: tuple[Location, Frame], reader: Callable[..., BlockReader], tmp_path: Path
) -> None:
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "j").write_text("no folder")

    assert read_shared(tmp_path / "away", "j", *shared, reader()) == DATA


def test_a_process_that_dies_while_it_fetches_holds_up_nobody(
    shared: tuple[Location, Frame], reader: Callable[..., BlockReader], background: Any,
    run_python: Any, tmp_path: Path,
) -> None:  # fmt: skip
    location, frame = shared
    hold = (
        "import sys; from pathlib import Path; from workers.shared import _alone, _path, Frame\n"
        f"path = _path(Path({str(tmp_path / 'away')!r}), 'j', Frame{tuple(frame)!r})\n"
        "with _alone(path):\n"
        "    path.with_suffix('.draft').write_bytes(b'half')\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    holder = run_python("-c", hold)
    assert holder.stdout.readline() == "held\n"
    reading = background(read_elsewhere, tmp_path / "away", location, frame, reader())
    with pytest.raises(AssertionError, match="still running"):
        reading.result(0.2)

    holder.send_signal(signal.SIGKILL)

    assert reading.result() == (DATA, len(DATA))
    assert [path.suffix for path in sorted((tmp_path / "away" / "j").iterdir())] == [
        ".blocks",
        ".lock",
    ]


def test_what_is_small_travels_with_the_task(key: Key, tmp_path: Path) -> None:
    workplace = Workplace("driver", "home", tmp_path, "", key)

    small = workplace.send_shared("j", b"s" * SHARED_INLINE_BYTES)
    big = workplace.send_shared("j", b"b" * (SHARED_INLINE_BYTES + 1))

    assert small.content == b"s" * SHARED_INLINE_BYTES
    assert big.content is None
    assert workplace.receive_shared("j", big) == b"b" * (SHARED_INLINE_BYTES + 1)
    workplace.reader.close()


# --- jobs -----------------------------------------------------------------------------------------


def test_a_closure_of_8_mb_crosses_to_another_host_once_and_is_unpickled_once_a_worker(
    cluster: Any, tmp_path: Path
) -> None:
    cluster.start_agent("--host", "far", "--work-dir", str(tmp_path / "far"))
    big = os.urandom(8 << 20)

    def function(argument: int, workplace: Workplace, task: Task) -> Any:
        (tmp_path / f"worker-{os.getpid()}").touch()
        waiting = threading.Event()
        for _ in range(1000):  # until both have begun
            if len(list(tmp_path.glob("worker-*"))) == 2 or waiting.wait(0.01):
                break
        return os.getpid(), workplace.reader.fetched_bytes, id(big), big[argument]

    pickled = dump(function)
    engine = SpaceEngine(cluster.connect(), work_dir=str(tmp_path / "home"), host="home")
    try:
        engine.open("j", {})
        code = engine.send("function", pickled, shared=True)
        engine.write(
            Task("j", "work", number, this_runtime(), ANYWHERE, 0, code,
                 engine.send(f"{number}", dump_data(number)))
            for number in range(100)
        )  # fmt: skip
        outcomes: list[Outcome] = []
        while len(outcomes) < 100:
            outcomes += engine.outcomes(20)
    finally:
        engine.close()

    assert [outcome.status for outcome in outcomes] == [OK] * 100
    answers = [load(outcome.value.content) for outcome in outcomes if outcome.value]
    assert all(byte == big[each.number] for each, (*_, byte) in zip(outcomes, answers, strict=True))
    workers = {pid for pid, *_ in answers}
    assert len(workers) == 2
    assert sum(max(n for pid, n, *_ in answers if pid == each) for each in workers) == len(pickled)
    assert len({(pid, place) for pid, _, place, _ in answers}) == 2


def test_a_jobs_big_closure_is_on_disk_once_and_its_tasks_stay_small(
    cluster: Any, tmp_path: Path
) -> None:
    big = os.urandom(8 << 20)
    job = MapReduceJob(data=range(100), map_tasks=100, reduce_tasks=1)
    job.map = lambda numbers: [(number, big[number]) for number in numbers]
    job.reduce = list
    with cluster.connect() as space:
        run = job.submit(space)
        space.read(("task", run.id, "map", 99, None, None, None), timeout=20)

        tasks = space.read_all(("task", run.id, *[None] * 5))
        files = [path for path in cluster.temporary.rglob("*") if path.is_file()]
        assert len(tasks) == 100
        assert max(len(task[-1]) for task in tasks) < 2000
        assert len(big) < sum(path.stat().st_size for path in files) < len(big) + 100_000

        cluster.start_agent()
        assert run.result(30) == [list(enumerate(big[:100]))]
    assert not [path for path in cluster.temporary.rglob("shared-*") if path.is_file()]
