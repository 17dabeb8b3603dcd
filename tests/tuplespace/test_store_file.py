"""The file of a store: whose it is, and which files are refused and left as they are."""

from __future__ import annotations

import math
import os
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from history.stored import OFTEN, Running, held
from tuplespace.store.interface import PUT, REPLY, StoreError
from tuplespace.store.sqlite import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "space.db"


def test_a_new_file_is_its_owners_alone_and_counts_how_often_it_was_opened(path: Path) -> None:
    old = os.umask(0)
    try:
        first = Running(path, ballast_bytes=1 << 20)
    finally:
        os.umask(old)
    ballast = path.with_name("space.db.ballast")
    assert path.parent.stat().st_mode & 0o777 == 0o700
    for file in path.parent.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600, file
    assert ballast.stat().st_size == 1 << 20
    assert ballast.stat().st_blocks * 512 >= 1 << 20, "it is really allocated"
    first.store.close()
    again = held(path)[1]
    assert (first.contents.generation, again.generation) == (1, 2)
    assert first.contents.space_id == again.space_id != held(path.with_name("b.db"))[1].space_id


def test_an_empty_file_is_taken_as_a_new_one(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    assert held(path)[1].generation == 1
    assert held(path)[1].generation == 2


def test_entries_that_nobody_looked_at_do_not_hinder_the_writer(path: Path) -> None:
    with Running(path) as first:
        first.keep(*((PUT, id, ("n", id), 0.0, math.inf) for id in range(1, 1_000)))
    store = SqliteStore(path, ballast_bytes=OFTEN)
    contents = store.load()
    next(iter(contents.entries))
    store.start(lambda: None)
    for id in range(1_000, 1_020):
        store.append([(PUT, id, ("n", id), 0.0, math.inf)], 1.0)
    store.close()
    assert store.failure is None
    assert held(path)[0].count("'n'") == 1_019


def make(path: Path) -> None:
    """Make a store with a tuple."""
    running = Running(path, ballast_bytes=0).start()
    running.keep((PUT, 1, ("here-it-is", b"x" * 100), 0.0, math.inf), (REPLY, "s", 0, 1, b"told"))
    running.store.close()


def refused(path: Path, match: str) -> None:
    """See that a file is refused, with its name, and left as it is."""
    before = {file: file.read_bytes() for file in path.parent.iterdir()}
    with pytest.raises(StoreError, match=match) as caught:
        SqliteStore(path).load()
    assert str(path) in str(caught.value)
    assert {file: file.read_bytes() for file in path.parent.iterdir()} == before


def change_header(path: Path, pragma: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA {pragma}")
    connection.close()


def test_a_file_of_another_version_is_refused(path: Path) -> None:
    make(path)
    change_header(path, "user_version=77")
    refused(path, "format 77.*this one reads 1")


def test_a_file_of_another_application_is_refused(path: Path) -> None:
    make(path)
    change_header(path, "application_id=7")
    refused(path, "no file of a space.*name another")


@pytest.mark.parametrize("content", [b"x", b"SQLite format 3\0", b"\0" * 4096, os.urandom(9000)])
def test_a_file_that_is_no_database_is_refused(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    refused(path, "no file of a space")


@pytest.mark.parametrize("what", [b"here-it-is", b"told", b"CREATE TABLE"])
def test_a_file_with_a_flipped_byte_is_refused(path: Path, what: bytes) -> None:
    make(path)
    content = path.read_bytes()
    assert what in content
    path.write_bytes(content.replace(what, what[:3] + b"\x5f" + what[4:]))  # in what is free too
    refused(path, "(is damaged|malformed).*backup")


def test_a_file_that_lost_its_end_is_refused(path: Path) -> None:
    make(path)
    path.write_bytes(path.read_bytes()[:-5000])
    refused(path, "backup")


def test_a_log_without_its_file_is_not_overwritten(path: Path) -> None:
    make(path)
    path.rename(path.with_name("space.db-wal"))
    refused(path, "space.db-wal is there")
    path.touch()
    refused(path, "space.db-wal is there")


def test_a_file_that_another_process_has_open_is_refused(
    path: Path, run_python: Callable[..., subprocess.Popen[str]]
) -> None:
    hold = "import sys\nfrom tuplespace.store.sqlite import SqliteStore\n"
    hold += "store = SqliteStore(sys.argv[1])\nstore.load()\nprint('open', flush=True)\ninput()"
    other = run_python("-c", hold, str(path))
    assert other.stdout is not None
    assert other.stdout.readline() == "open\n"
    refused(path, "is in use.*stop that one")
    other.kill()
    other.wait()
    assert Running(path).store.close() is None  # nothing of it is left in the way

    with Running(path) as mine:
        with pytest.raises(StoreError, match="is in use"):  # in this process too, and that must not
            SqliteStore(path).load()  # unlock it, as closing a file does:
        third = run_python("-c", hold, str(path))
        _, errors = third.communicate()
        assert "is in use" in errors
        mine.keep((PUT, 1, ("mine",), 0.0, math.inf))


@pytest.mark.parametrize("where", ["/proc/nowhere/space.db", "{tmp}/file/space.db", "{tmp}"])
def test_a_place_where_no_file_can_be_made_is_refused(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"as a store.*this user may write to"):
        SqliteStore(where.format(tmp=tmp_path)).load()
