"""Lives of one store file, each a process: it loads, appends, and is closed or killed with -9.

Run as ``python store_lives.py FILE MARKS SEED LIFE...``, a LIFE being ``20:close`` or ``20:kill``, so many appends
and an end. What it has been promised it writes to the file MARKS at that very moment, a line each:

- ``loaded LIFE COUNT GENERATION SPACE_ID TIME``: `load` has returned, and the state was that after COUNT
  appends;
- ``durable LIFE COUNT``: the store has said so;
- ``clock LIFE TIME``: an append without changes, at this time of the space's clock, is durable;
- ``closing LIFE``: it is about to be closed;
- ``failed LIFE``: the store has said that it keeps nothing any more; the life ends with status 3.

Before the lives may stand ``pragma:NAME=VALUE``: it is set to this value whatever the store says.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import sys
import threading
from pathlib import Path
from typing import Any

from power.ledger import Ledger, clock, count_of, state_of
from tuplespace.store import netting
from tuplespace.store.interface import Change, StoreError
from tuplespace.store.sqlite import SqliteStore

#: The name of the store's file.
FILE = "space.db"
#: Rows of the log are full so soon that many a commit takes several.
_ROW_BYTES = 4000


def main(path: Path, marks: Path, seed: str, *lives: str) -> int:
    while lives and lives[0].startswith("pragma:"):
        _overrule(*lives[0].removeprefix("pragma:").split("="))
        lives = lives[1:]
    sys.setswitchinterval(1e-5)  # else one thread appends all before the other has begun a commit
    log = os.open(marks, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for life, (appends, end) in enumerate(text.split(":") for text in lives):
        child = os.fork()
        if child == 0:
            status = 70
            try:
                status = _live(path, log, seed, life, int(appends), end)
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status != (-signal.SIGKILL if end == "kill" else 0):
            return status
    return 0


def _overrule(name: str, value: str) -> None:
    class Overruled(sqlite3.Connection):
        def execute(self, sql: str, *rest: Any) -> sqlite3.Cursor:
            if sql.lower().startswith(f"pragma {name}"):
                sql = f"PRAGMA {name}={value}"
            return super().execute(sql, *rest)

    connect = sqlite3.connect
    sqlite3.connect = lambda *args, **kwargs: connect(*args, **kwargs, factory=Overruled)  # type: ignore[misc,assignment]


def open_store(path: Path) -> SqliteStore:
    """Make a store that folds its log, and checkpoints, every ten commits or so."""
    assert netting._ROW_BYTES >= _ROW_BYTES
    netting._ROW_BYTES = _ROW_BYTES
    return SqliteStore(path, free_bytes=1 << 20, ballast_bytes=256 << 10)


def _live(path: Path, log: int, seed: str, life: int, appends: int, end: str) -> int:
    store = open_store(path)
    try:
        contents = store.load()
    except StoreError as error:
        return _failed(log, life, error, store)
    state = state_of(contents)
    base = count_of(state)
    _mark(log, f"loaded {life} {base} {contents.generation} {contents.space_id} {contents.now}")
    counts = {store.position: base}  # after how many appends with changes a position is
    changed = threading.Condition()
    said = store.durable

    def wake() -> None:
        nonlocal said
        with changed:
            if store.durable > said:
                said = store.durable
                _mark(log, f"durable {life} {counts[said]}")
            changed.notify_all()

    store.start(wake)
    states: list[Any] = [None] * base + [state]
    ledger = Ledger(seed, life, states)
    chance = random.Random(f"{seed}/{life}/pace")

    def append(changes: list[Change], now: float, count: int) -> int:
        counts[store.position + 1] = count
        return store.append(changes, now)

    def wait_for(position: int) -> None:
        with changed:
            kept = changed.wait_for(lambda: store.durable >= position or store.failure, 20)
        assert kept, "nothing becomes durable"

    for number in range(appends):
        if number == appends // 2:
            # A host with nothing to say tells the time all the same.
            now = clock(len(states)) + 0.01
            wait_for(append([], now, len(states) - 1))
            if not store.failure:
                _mark(log, f"clock {life} {now}")
        position = append(*ledger.next(), len(states) - 1)
        if chance.random() < 0.6:
            # Or for one before, so that more is appended while a commit is under way.
            wait_for(position - chance.choice([0, 0, 1, 2]))
        if store.failure:
            append(*ledger.next(), len(states) - 1)  # the host may not have heard of it yet
            return _failed(log, life, store.failure, store)
    if end == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    _mark(log, f"closing {life}")
    store.close()
    return _failed(log, life, store.failure, store) if store.failure else 0


def _failed(log: int, life: int, failure: StoreError, store: SqliteStore) -> int:
    _mark(log, f"failed {life}")
    print(failure, file=sys.stderr, flush=True)
    store.close()
    return 3


def _mark(log: int, line: str) -> None:
    os.write(log, line.encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]))
