"""What a driver tells of its job's progress while it runs, and that nobody else's is taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mapreduce.engine import heartbeat
from mapreduce.engine.heartbeat import Heartbeat
from mapreduce.report import Progress
from tuplespace import RemoteSpace

TOLD = ("progress", *[None] * 5)


@pytest.fixture
def begin(
    remote: RemoteSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Heartbeat]]:
    monkeypatch.setattr(heartbeat, "_RENEW_SECONDS", 0.02)
    handle = remote.write(("job", "j", {}), lease=60)
    begun = []

    def begin(driver: str, **options: Any) -> Heartbeat:
        begun.append(Heartbeat(remote, "j", driver, handle, 60, tmp_path / "j", **options))
        return begun[-1]

    yield begin
    for each in begun:
        each.stop()


def some_beats(space: RemoteSpace, eventually: Callable[..., Any]) -> None:
    before = space.status()["operations"]
    looks = iter(range(1, 1000))
    eventually(lambda: space.status()["operations"] > before + next(looks) + 5)


def test_progress_is_told_when_it_has_changed_and_not_again(
    remote: RemoteSpace, begin: Callable[..., Heartbeat], eventually: Callable[..., Any]
) -> None:
    beating = begin("lab1/7")
    some_beats(remote, eventually)
    assert remote.count(TOLD) == 0
    written = remote.notify("write", TOLD)
    beating.tell(Progress(1, 8, 0, 2, seconds=1.5))
    assert remote.read(TOLD, timeout=5) == ("progress", "j", "lab1/7", (1, 8), (0, 2), 1.5)
    beating.tell(Progress(1, 8, 0, 2, seconds=2.5, records=99))
    some_beats(remote, eventually)
    beating.tell(Progress(2, 8, 0, 2, seconds=3.5))

    assert [next(written).tuple[3:] for _ in range(2)] == [
        ((1, 8), (0, 2), 1.5), ((2, 8), (0, 2), 3.5),
    ]  # fmt: skip
    assert remote.count(TOLD) == 1
    beating.stop()
    beating.withdraw()
    assert remote.count(TOLD) == 0


def test_a_driver_that_was_superseded_takes_nothing_of_its_successors_back(
    remote: RemoteSpace, begin: Callable[..., Heartbeat], eventually: Callable[..., Any]
) -> None:
    first = begin("lab1/7")
    first.tell(Progress(1, 8, 0, 2))
    remote.read(TOLD, timeout=5)
    begin("lab2/9").tell(Progress(1, 8, 0, 2))

    eventually(lambda: [each[2] for each in remote.read_all(TOLD)] == ["lab2/9"])
    first.stop()
    first.withdraw()
    assert remote.count(TOLD) == 1


def test_nobody_is_told_of_a_job_in_a_space_of_its_own(
    remote: RemoteSpace, begin: Callable[..., Heartbeat], eventually: Callable[..., Any]
) -> None:
    begin("lab1/7", silent=True).tell(Progress(1, 8, 0, 2))
    some_beats(remote, eventually)

    assert remote.count(TOLD) == 0


def test_a_driver_hears_that_its_job_was_ended_elsewhere(
    remote: RemoteSpace, begin: Callable[..., Heartbeat], eventually: Callable[..., Any]
) -> None:
    beating = begin("lab1/7")
    assert not beating.ended_elsewhere
    remote.take(("job", "j", dict))

    eventually(lambda: beating.ended_elsewhere)
