"""What happens to a store on a disk that is full: run as ``python full_disk.py FOLDER SCENARIO``.

The folder is a small disk of its own: see `on_small_disk`.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from power.ledger import State, apply, state_of
from tuplespace.store.interface import CLAIM, GONE, PUT, REPLY, Change, StoreError
from tuplespace.store.sqlite import SqliteStore

MIB = 1 << 20
DISK = 8 * MIB
FREE = 2 * MIB
BALLAST = MIB
_MOUNT = 'mount -t tmpfs -o size="$0" tmpfs "$1" && shift && exec "$@"'


def can_mount() -> str:
    """Return why no small disk can be had here; "": it can."""
    if shutil.which("unshare") is None:
        return "unshare is not installed"
    tried = subprocess.run(
        ["unshare", "-rm", "sh", "-c", _MOUNT, "64k", "/tmp", "true"],
        capture_output=True,
        check=False,
    )
    return "" if tried.returncode == 0 else "no file system may be mounted here"


def on_small_disk(folder: Path, *command: str, size: int = DISK) -> list[str]:
    """Return the command line that runs a command which alone sees a small disk in this folder."""
    return ["unshare", "-rm", "sh", "-c", _MOUNT, str(size), str(folder), *command]


class Life:
    """A store on the small disk, and what it should hold."""

    def __init__(self, folder: Path, state: State | None = None) -> None:
        self.path = folder / "space.db"
        self.ballast = folder / "space.db.ballast"
        self.store = SqliteStore(self.path, free_bytes=FREE, ballast_bytes=BALLAST)
        found = state_of(self.store.load())
        assert state is None or found == state, "not what was kept before"
        self.state = found
        self._count = max((key[1] for key in found if key[0] == "entry"), default=0)
        self._changed = threading.Condition()
        self.store.start(self._wake)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def keep(self, changes: list[Change]) -> None:
        """Append, and wait until it is durable."""
        position = self.store.append(changes, 1.0)
        with self._changed:
            ended = lambda: self.store.durable >= position or self.store.failure  # noqa: E731
            assert self._changed.wait_for(ended, 10), "nothing becomes durable"
        if self.store.durable < position:
            assert self.store.failure
            raise self.store.failure
        for change in changes:
            apply(self.state, change)

    def write(self, size: int = 10_000, many: int = 1) -> None:
        changes = []
        for _ in range(many):
            self._count += 1
            changes.append(
                (PUT, self._count, ("filler", self._count, os.urandom(size)), 1.0, math.inf)
            )
        self.keep(changes)

    def write_all(self, size: int = 10_000) -> int:
        """Write as long as writes are not refused; return how many there were."""
        for number in range(10 * DISK // size):
            if self.store.shortage():
                return number
            self.write(size)
        raise AssertionError("writes were never refused")

    @property
    def entries(self) -> list[int]:
        return [key[1] for key in self.state if key[0] == "entry"]

    def take_all(self) -> None:
        """Claim and confirm every entry, each with a kept reply: what a worker does to a full space."""
        for id in self.entries:
            self.keep([(CLAIM, id, id, "taker", 30.0), (REPLY, "taker", 0, 2 * id, b"claimed")])
            self.keep([(GONE, id), (REPLY, "taker", 0, 2 * id + 1, b"confirmed")])

    def eventually(self, holds: Callable[[], Any]) -> None:
        for _ in range(400):
            if holds():
                return
            threading.Event().wait(0.02)
        raise AssertionError("not so within 8 s")

    def end_and_look_again(self) -> None:
        self.store.close()
        assert self.store.failure is None
        again = Life(self.path.parent, self.state)
        again.store.close()


def fill(folder: Path, leave: int = 0) -> Path:
    """Let something else take all the room there is, but for so many bytes."""
    foreign = folder / "foreign"
    with open(foreign, "ab", buffering=0) as file:
        for size in (MIB, 64 << 10, 4096, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                pass
        file.truncate(file.tell() - leave)
    return foreign


# -- scenarios


def the_store_fills_it(folder: Path) -> None:
    life = Life(folder)
    written = life.write_all()
    assert written * 10_000 > DISK / 4, "refused long before it was full"
    assert str(folder) in life.store.shortage()
    assert life.ballast.stat().st_size == BALLAST, "writes have used the room of takes"
    life.take_all()
    life.eventually(lambda: not life.store.shortage())
    assert life.write_all() * 10_000 > DISK / 4, "the room has not come back"
    life.end_and_look_again()


def something_else_fills_it(folder: Path) -> None:
    life = Life(folder)
    for _ in range(100):
        life.write()
    foreign = fill(folder)
    life.eventually(life.store.shortage)
    life.take_all()
    assert not life.ballast.exists(), "there was room after all"
    assert life.store.shortage()
    foreign.unlink()
    life.eventually(lambda: not life.store.shortage())
    assert life.ballast.stat().st_size == BALLAST
    assert life.write_all() * 10_000 > DISK / 4
    # And once more: the new ballast is as good as the first.
    fill(folder)
    life.take_all()
    life.end_and_look_again()


def the_store_fills_it_and_something_else_the_rest(folder: Path) -> None:
    life = Life(folder)
    life.write_all()
    fill(folder)
    life.take_all()
    life.end_and_look_again()


def it_is_opened_while_full(folder: Path) -> None:
    life = Life(folder)
    for _ in range(100):
        life.write()
    life.store.close()
    fill(folder)
    life = Life(folder, life.state)
    assert life.store.shortage()
    life.take_all()
    life.end_and_look_again()


def it_is_killed_while_full(folder: Path) -> None:
    state: State = {}
    for number in range(3):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            life = Life(folder, state)
            if number == 0:
                for _ in range(100):
                    life.write()
                fill(folder)
            for id in life.entries[:25]:
                life.keep([(GONE, id), (REPLY, "taker", 0, id, b"confirmed")])
                os.write(writing, b"%d " % id)
            os.kill(os.getpid(), signal.SIGKILL)
        os.close(writing)
        with open(reading) as pipe:
            taken = pipe.read().split()
        os.waitpid(child, 0)
        if not state:
            found = Life(folder)
            found.store.close()
            state = found.state
            assert len(found.entries) == 75
        else:
            for id in map(int, taken):
                apply(state, (GONE, id))
                apply(state, (REPLY, "taker", 0, id, b"confirmed"))
        assert len(taken) == 25
    life = Life(folder, state)
    life.take_all()
    life.end_and_look_again()


def not_even_the_ballast_helps(folder: Path) -> None:
    life = Life(folder)
    for _ in range(50):
        life.write()
    foreign = fill(folder)
    failure = None
    for _ in range(4 * BALLAST // 10_000):  # a host would not do this: it asks for the shortage
        try:
            life.write()
        except Exception as error:  # noqa: BLE001  # what it is, is asserted below
            failure = error
            break
    assert failure is life.store.failure
    assert str(folder) in str(failure)
    assert str(failure).count("\n") == 0
    life.store.close()
    foreign.unlink()
    # What failed was never said to be durable; all before it was.
    again = Life(folder, life.state)
    again.take_all()
    again.end_and_look_again()


def it_is_made_there(folder: Path) -> None:
    made, refused = 0, list[str]()
    for leave in range(0, 320 << 10, 8192):
        foreign = fill(folder, leave)
        try:
            life = Life(folder)
        except StoreError as error:
            refused.append(str(error))
        else:
            made += 1
            assert life.store.shortage()
            life.store.close()
        foreign.unlink()
        life = Life(folder, {})
        life.write()
        life.end_and_look_again()
        for path in folder.iterdir():
            path.unlink()
    assert made > 5
    assert len(refused) > 5
    assert all(str(folder) in line for line in refused)


SCENARIOS = [
    it_is_made_there, the_store_fills_it, something_else_fills_it,
    the_store_fills_it_and_something_else_the_rest, it_is_opened_while_full, it_is_killed_while_full,
    not_even_the_ballast_helps,
]  # fmt: skip

if __name__ == "__main__":
    next(each for each in SCENARIOS if each.__name__ == sys.argv[2])(Path(sys.argv[1]))
