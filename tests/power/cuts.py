"""Cut the power of a traced store at many moments, and see what a fresh store finds on the disk."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from power.calls import Call, read_calls, run_traced
from power.disk import Disk, Style
from power.ledger import Ledger, State, clock, count_of, state_of
from power.store_lives import FILE, open_store

_LIVES = Path(__file__).parent / "store_lives.py"


@dataclass
class Promises:
    """What a store has promised so far, as its lives have marked it.

    Attributes:
        states: What it may hold: after no append, after one, ... durable: That many appends at least.
        now: The space's clock, at least.
        generation, space_id: The latest. failed: It has said that it keeps nothing any more.
    """

    states: list[State] = field(default_factory=lambda: [{}])
    durable: int = 0
    now: float = 0.0
    generation: int = -1
    space_id: str = ""
    failed: bool = False

    def copy(self) -> Promises:
        """Return the same, to go on from."""
        return replace(self, states=list(self.states))

    def hear(self, line: str, seed: str, appends: list[int]) -> None:
        """Take note of a mark."""
        kind, life, *rest = line.split()
        if kind == "loaded":
            count, generation, space_id = int(rest[0]), int(rest[1]), rest[2]
            assert count >= self.durable, (
                f"{self.durable} appends were durable, {count} were loaded"
            )
            assert generation > self.generation, f"generation {generation} has come again"
            assert self.space_id in ("", space_id), "the space has become another"
            ledger = Ledger(seed, int(life), self.states[: count + 1])
            for _ in range(appends[int(life)]):
                ledger.next()
            self.states, self.generation, self.space_id = ledger.states, generation, space_id
            self.now = float(rest[3])
            # What was loaded is shown to clients at once: a store must not forget it again.
            self.durable, self.failed = count, False
        elif kind == "durable":
            assert not self.failed, "something became durable after the failure"
            self.durable = int(rest[0])
            self.now = clock(self.durable)
        elif kind == "clock":
            self.now = float(rest[0])
        elif kind == "failed":
            self.failed = True
        else:
            assert kind == "closing", line


class Loss(NamedTuple):
    """What was wrong after a power loss before the call of that number, which lost in that style."""

    what: str
    moment: int
    style: str


@dataclass
class Trace:
    """What some lives of a store did to the disk, and what they promised meanwhile.

    Attributes:
        calls: On the store's files, and those that made marks, in their order. before: What the folder
            held, and what had been promised, when the first life began. status: Of the lives' process:
            0, or 3 if a store has failed. said: What it said then.
    """

    folder: Path
    marks: Path
    seed: str
    appends: list[int]
    calls: list[Call]
    before: tuple[Mapping[str, bytes], Promises]
    status: int = 0
    said: str = ""

    @property
    def syncs(self) -> list[int]:
        """The moments just before and just after each sync and each mark."""
        found = set()
        for number, call in enumerate(self.calls):
            if call.name in ("fsync", "fdatasync") or call.path == str(self.marks):
                found |= {number, number + 1}
        return sorted(found)

    def states_on_disk(
        self, moments: Mapping[int, list[Style]]
    ) -> Iterator[tuple[int, Style, Disk, Promises]]:
        """Play the calls; stop at each moment, just before the call of that number, for each style."""
        disk, promises = Disk(self.folder, self.before[0]), self.before[1].copy()
        for number in range(len(self.calls) + 1):
            for style in moments.get(number, ()):
                yield number, style, disk, promises
            if number == len(self.calls):
                return
            call = self.calls[number]
            if call.path != str(self.marks):
                disk.play(call)
            elif call.name == "write":
                for line in call.data.decode().splitlines():
                    promises.hear(line, self.seed, self.appends)

    def losses(self, moments: Mapping[int, list[Style]]) -> Iterator[Loss]:
        """Cut the power at each moment in each style, open what is left, and yield what is wrong."""
        with in_memory() as scratch:
            for number, style, disk, promises in self.states_on_disk(moments):
                what = inspect(disk.remains(style), promises, scratch)
                if what:
                    yield Loss(what, number, str(style))


def choose(trace: Trace, count: int, seed: str) -> dict[int, list[Style]]:
    """Choose so many cuts: at each sync and mark if they suffice, else at some, and between them."""
    chance = random.Random(seed)
    last = len(trace.calls)
    syncs = trace.syncs
    moments: dict[int, list[Style]] = {}
    for number in range(count):
        among = syncs if number % 4 else range(last + 1)
        moment = chance.choice(among)
        # A disk that has kept nothing or all of it shows most; the others show what order matters.
        way = {0: "nothing", 1: "everything"}.get(number % 8)
        moments.setdefault(moment, []).append(Style(f"{seed}/{number}", way))
    return moments


def inspect(files: Mapping[str, bytes], promises: Promises, scratch: Path) -> str:
    """Open what a power loss has left; return what is wrong with it, "" if all is well."""
    folder = scratch / "disk"
    shutil.rmtree(folder, ignore_errors=True)
    fill(folder, files)
    store = open_store(folder / FILE)
    try:
        contents = store.load()
        state = state_of(contents)
    except Exception as error:  # noqa: BLE001  # whatever it is, the store cannot be used
        return f"it does not open: {error!r}"
    finally:
        store.close()
    if contents.generation <= promises.generation:
        return f"generation {contents.generation} has come again"
    if promises.space_id not in ("", contents.space_id):
        return "the space has become another"
    count = count_of(state)
    if count < promises.durable:
        return f"{promises.durable} appends were durable, {count} are there"
    if contents.now < promises.now:
        return f"the clock went back from {promises.now} to {contents.now}"
    if count >= len(promises.states) or state != promises.states[count]:
        return f"not the state after {count} appends"
    with sqlite3.connect(folder / FILE) as connection:
        checked = connection.execute("PRAGMA integrity_check").fetchall()
    connection.close()
    return "" if checked == [("ok",)] else f"integrity_check: {checked}"


def fill(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make a folder with these files."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


@contextmanager
def in_memory() -> Iterator[Path]:
    """A folder in memory where there is one: its files are opened often, and no sync must cost anything."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory, prefix="power-loss-") as folder:
        yield Path(folder)


def trace_lives(
    folder: Path,
    seed: str,
    *lives: str,
    before: tuple[Mapping[str, bytes], Promises] | None = None,
    inject: str = "",
) -> Trace:
    """Run lives of a store under strace, in a new folder; see store_lives.py for what a life is.

    Args:
        before: What the folder holds at first, and what has been promised. inject: Which calls fail, as
            strace says it: "fdatasync:error=EIO:when=3".
    """
    before = before or ({}, Promises())
    folder = folder.resolve()
    disk, marks, log = folder / "disk", folder / "marks", folder / "strace.log"
    fill(disk, before[0])
    script = [str(_LIVES), str(disk / FILE), str(marks), seed, *lives]
    status, said = run_traced(log, *script, inject=inject)
    calls = read_calls(log, disk, marks)
    log.unlink()
    appends = [int(life.split(":")[0]) for life in lives if not life.startswith("pragma:")]
    return Trace(disk, marks, seed, appends, calls, before, status, said)
