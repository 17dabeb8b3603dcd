"""Folders whose owners are gone are deleted, and others are not."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from workers.bundles import Bundle, ImportedBundles, unpack_bundle
from workers.errors import WorkFolderError
from workers.folders import occupy, occupy_new, remove, remove_deserted, remove_unused, use

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


LOCKLESS = """
import errno, fcntl, sys
from pathlib import Path
def flock(file, operation):
    raise OSError(errno.ENOSYS, "Function not implemented")
fcntl.flock = flock
from workers.folders import occupy, occupy_new, remove_deserted
folder = Path(sys.argv[1])
mine, new = folder / "mine", folder / "new"
new.mkdir()
marks = occupy(mine), occupy_new(new)
remove_deserted(folder)
print(mine.is_dir(), new.is_dir())
"""


def test_where_the_file_system_has_no_locks_nothing_is_deleted_and_all_else_works(
    tmp_path: Path, run_python: Callable[..., subprocess.Popen[str]]
) -> None:
    assert run_python("-c", LOCKLESS, str(tmp_path)).communicate() == ("True True\n", "")


def test_a_folder_that_cannot_be_made_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WorkFolderError, match=r"file/space: .*Not a directory.* --work-dir"):
        occupy(tmp_path / "file" / "space")


def test_marks_can_be_locked_over_nfs_too(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    with occupy(tmp_path / "old") as one, occupy_new(tmp_path / "new") as other:
        for mark in one, other:  # a shared lock is for those who may read
            assert fcntl.fcntl(mark, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR


def test_what_others_plant_is_not_followed(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can make files of other users")
    mine, theirs = tmp_path / "mine", tmp_path / "run-theirs"
    for folder in (mine, theirs):
        folder.mkdir()
        occupy_new(folder).close()
    os.chown(theirs, 12345, 12345)
    (tmp_path / "run-link").symlink_to(mine)
    os.chown(tmp_path / "run-link", 12345, 12345, follow_symlinks=False)
    (tmp_path / "run-own-link").symlink_to(mine)

    remove_deserted(tmp_path, "run-*")

    assert mine.is_dir()
    assert theirs.is_dir()


def test_a_folder_that_was_half_deleted_is_deleted_later(tmp_path: Path) -> None:
    run = tmp_path / "run-1"
    for number in range(20):
        (run / f"work-{number}" / "deep").mkdir(parents=True)
    occupy_new(run).close()
    deleting = os.fork()
    if not deleting:
        try:  # as kill -9 does when the first folder is gone
            sys.addaudithook(lambda event, _: event == "os.rmdir" and os._exit(0))
            remove(run)
        finally:
            os._exit(1)
    assert os.waitpid(deleting, 0)[1] == 0
    assert len(list(run.iterdir())) > 1

    remove_deserted(tmp_path, "run-*")
    assert not run.exists()


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
