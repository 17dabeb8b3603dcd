"""A disk that is nearly full, full, or broken: what a store says, and what it keeps."""

from __future__ import annotations

import math
import os
import resource
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from history.stored import OFTEN, Running, held
from tuplespace.store import sqlite
from tuplespace.store.interface import GONE, PUT


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "space.db"


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """What the disk seems to have free."""
    free, real = {"bytes": 1 << 40}, os.statvfs

    def statvfs(where: Any) -> Any:
        fields = list(real(where))
        fields[1], fields[4] = 1, free["bytes"]  # f_frsize, f_bavail
        return os.statvfs_result(fields)

    monkeypatch.setattr(os, "statvfs", statvfs)
    return free


def test_writes_are_refused_while_the_disk_is_nearly_full(
    path: Path, disk: dict[str, int], eventually: Callable[..., Any]
) -> None:
    with Running(path, free_bytes=1000, ballast_bytes=OFTEN) as running:
        assert running.store.shortage() == ""
        disk["bytes"] = 999
        eventually(running.store.shortage)
        assert "999 bytes free" in running.store.shortage()
        running.keep((PUT, 1, ("what a confirm writes",), 0.0, math.inf))
        disk["bytes"] = 1000
        eventually(lambda: running.store.shortage() == "")


def test_what_is_taken_is_given_back_to_the_disk(
    path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., Any]
) -> None:
    monkeypatch.setattr(sqlite, "_SPARE_PAGES", 20)
    with Running(path, ballast_bytes=OFTEN) as running:
        for first in range(1, 300, 50):
            ids = range(first, first + 50)
            running.keep(*((PUT, id, (b"x" * 10_000,), 0.0, math.inf) for id in ids))
        size = path.stat().st_size
        assert size > 2_000_000
        for first in range(1, 300, 50):
            ids = range(first, first + 50)
            running.keep(*((GONE, id) for id in ids))
        eventually(lambda: path.stat().st_size < size / 5)
        running.keep((PUT, 301, ("goes on",), 0.0, math.inf))
    assert "goes on" in held(path)[0]


def full(running: Running, pages_more: int) -> sqlite3.Connection:
    """Let the file grow no more: SQLite says that the disk is full."""
    assert running.store._database is not None
    connection = running.store._database.connection
    (count,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count={count + pages_more}")
    return connection


def test_on_a_full_disk_the_ballast_makes_room_and_is_made_anew(
    path: Path, disk: dict[str, int], monkeypatch: pytest.MonkeyPatch,
    eventually: Callable[..., Any],
) -> None:  # fmt: skip
    running = Running(path, free_bytes=1000, ballast_bytes=OFTEN)
    connection = full(running, 1)
    store, ballast = running.store, path.with_name("space.db.ballast")
    give_up = store._room.give_up_ballast

    def give_up_and_make_room() -> bool:
        disk["bytes"] = 5000
        given = give_up()
        connection.execute("PRAGMA max_page_count=1000000")
        return given

    monkeypatch.setattr(store._room, "give_up_ballast", give_up_and_make_room)
    running.start().keep((PUT, 1, (b"x" * 20_000,), 0.0, math.inf))
    assert store.failure is None
    assert store.durable == 1
    assert not ballast.exists()
    assert "is full" in store.shortage()
    disk["bytes"] = 1 << 30
    eventually(lambda: store.shortage() == "")
    assert ballast.stat().st_size == OFTEN
    store.close()
    assert held(path)[0].count("x" * 20_000) == 1


def test_a_disk_that_stays_full_is_a_failure_and_nothing_half_is_kept(path: Path) -> None:
    running = Running(path, ballast_bytes=OFTEN)
    running.start().keep((PUT, 1, ("before",), 0.0, math.inf))
    full(running, 1)
    running.store.append([(PUT, 2, (b"x" * 20_000,), 0.0, math.inf)], 1.0)
    assert "is full" in str(running.fail())
    assert running.store.durable == 1
    running.store.close()
    assert "before" in held(path)[0]
    assert "xxxx" not in held(path)[0]


def test_after_a_write_error_nothing_more_is_kept(path: Path) -> None:
    running = Running(path).start()
    running.keep((PUT, 1, ("before",), 0.0, math.inf))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    wal = path.with_name("space.db-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (wal, limits[1]))
    try:
        running.store.append([(PUT, 2, (b"x" * 100_000,), 0.0, math.inf)], 1.0)
        failure = running.fail()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(path) in str(failure)
    assert "I/O error" in str(failure)
    assert "start it again" in str(failure)
    running.store.append([(PUT, 3, ("after",), 0.0, math.inf)], 1.0)
    running.store.close()
    assert (running.store.durable, running.store.position) == (1, 3)
    found = held(path)[0]
    assert "before" in found
    assert "after" not in found


def test_a_change_that_cannot_be_kept_is_a_failure_that_is_told(path: Path) -> None:
    running = Running(path).start()
    running.store.append([(PUT, 1, (object(),), 0.0, math.inf)], 1.0)
    assert "no plain data" in str(running.fail())
    assert running.store.durable == 0
