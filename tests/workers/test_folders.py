"""Folders whose owners are gone are deleted, and others are not."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from workers.bundles import Bundle, ImportedBundles, unpack_bundle
from workers.folders import occupy_new, remove_deserted, remove_unused, use

DAY = 24 * 3600.0
CODE = Bundle((("helper.py", b"x = 1"),))
OWNER = """
import sys
from pathlib import Path
from workers.folders import occupy_new
mark = occupy_new(Path(sys.argv[1]))
print("mine", flush=True)
sys.stdin.read()
"""


def age(folder: Path, seconds: float) -> None:
    at = time.time() - seconds
    os.utime(folder, (at, at))


def test_a_folder_goes_once_its_owner_has_been_killed(
    tmp_path: Path, run_python: Callable[..., subprocess.Popen[str]]
) -> None:
    mine, other = tmp_path / "run-1", tmp_path / "other-1"
    mine.mkdir()
    other.mkdir()
    (mine / "work").mkdir()
    occupy_new(other).close()
    owner = run_python("-c", OWNER, str(mine))
    assert owner.stdout is not None
    assert owner.stdout.readline() == "mine\n"

    remove_deserted(tmp_path, "run-*")
    assert mine.is_dir()
    owner.kill()
    owner.wait()
    remove_deserted(tmp_path, "run-*")

    assert not mine.exists()
    assert other.is_dir()


def test_code_that_nobody_has_used_for_a_day_goes(tmp_path: Path) -> None:
    folder = unpack_bundle(CODE, tmp_path)
    age(folder, DAY / 2)
    remove_unused(tmp_path, DAY)
    assert folder.is_dir()

    age(folder, 2 * DAY)
    assert unpack_bundle(CODE, tmp_path) == folder  # it is used once more
    remove_unused(tmp_path, DAY)
    assert folder.is_dir()

    age(folder, 2 * DAY)
    (tmp_path / ".staging").mkdir()  # of a worker that died at it
    age(tmp_path / ".staging", 2 * DAY)
    remove_unused(tmp_path, DAY)
    assert list(tmp_path.iterdir()) == []
    assert (unpack_bundle(CODE, tmp_path) / "helper.py").read_bytes() == b"x = 1"


def test_code_that_a_process_may_import_more_of_stays(tmp_path: Path) -> None:
    imported = ImportedBundles()
    folder = unpack_bundle(CODE, tmp_path)
    imported.activate(CODE.digest, folder)
    age(folder, 2 * DAY)
    remove_unused(tmp_path, DAY)
    assert folder.is_dir()

    imported.forget(CODE.digest)
    remove_unused(tmp_path, DAY)
    assert not folder.exists()


def test_code_that_is_deleted_while_it_is_marked_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = unpack_bundle(CODE, tmp_path)
    lock = fcntl.flock

    def lock_too_late(descriptor: int, how: int) -> None:
        shutil.rmtree(folder)
        folder.mkdir()  # somebody else unpacks it
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", lock_too_late)
    assert use(folder) is None


@pytest.mark.skipif(os.getuid() != 0, reason="only root makes folders of others")
def test_folders_of_others_are_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    occupy_new(theirs).close()
    os.chown(theirs, 4321, -1)
    remove_deserted(tmp_path)
    assert theirs.is_dir()
