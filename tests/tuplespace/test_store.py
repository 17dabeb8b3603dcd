"""The store in a file: what was durable is there again, nothing else, and no other file is touched."""

from __future__ import annotations

import inspect
import math
import os
import resource
import shutil
import sqlite3
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuplespace.store import netting
from tuplespace.store.interface import (
    CLAIM,
    EXPIRES,
    FORGET,
    GONE,
    LISTEN,
    PUT,
    REPLY,
    UNCLAIM,
    UNLISTEN,
    Change,
    Contents,
    StoreError,
)
from tuplespace.store.memory import MemoryStore
from tuplespace.store.sqlite import SqliteStore
from tuplespace.values import Opaque

#: So small that the log is folded into the tables every other commit.
OFTEN = 64 << 10


class Model:
    """What a store is to hold: dicts."""

    def __init__(self) -> None:
        self.entries: dict[int, list[Any]] = {}
        self.replies: dict[tuple[str, int], tuple[int, bytes]] = {}
        self.subscriptions: dict[int, tuple[Any, ...]] = {}

    def apply(self, changes: Iterable[Change]) -> None:
        for kind, key, *rest in changes:
            if kind == PUT:
                self.entries[key] = [*rest, None]
            elif kind == GONE:
                del self.entries[key]
            elif kind == EXPIRES:
                self.entries[key][2] = rest[0]
            elif kind == CLAIM:
                self.entries[key][3] = tuple(rest)
            elif kind == UNCLAIM:
                self.entries[key][3] = None
            elif kind == REPLY:
                self.replies[key, rest[0]] = tuple(rest[1:])
            elif kind == FORGET:
                self.replies = {k: v for k, v in self.replies.items() if k[0] != key}
            elif kind == LISTEN:
                self.subscriptions[key] = tuple(rest)
            elif kind == UNLISTEN:
                del self.subscriptions[key]

    def shown(self) -> Any:
        return plain(
            sorted((id, *entry) for id, entry in self.entries.items()),
            sorted((*key, *reply) for key, reply in self.replies.items()),
            sorted((number, *rest) for number, rest in self.subscriptions.items()),
        )


def plain(*parts: Any) -> str:
    """Return a text: 1, 1.0 and True are not the same, nor are -0.0 and 0.0."""
    return repr(opened(parts))


def opened(value: Any) -> Any:
    """Return a copy in which opaques can be seen into."""
    if isinstance(value, (tuple, list)):
        return type(value)(map(opened, value))
    if isinstance(value, dict):
        return {key: opened(each) for key, each in value.items()}
    return ("opaque", value.sealed) if isinstance(value, Opaque) else value


def shown(contents: Contents) -> str:
    entries = [
        (e.id, e.value, e.written, e.expires, None if e.claim is None else tuple(e.claim))
        for e in contents.entries
    ]
    assert [e[0] for e in entries] == sorted(e[0] for e in entries), "in order of their ids"
    return plain(entries, sorted(map(tuple, contents.replies)), sorted(contents.subscriptions))


def held(path: Path | str, **options: Any) -> tuple[str, Contents]:
    """Open a store's file, look, and let it go."""
    store = SqliteStore(path, **options)
    contents = store.load()
    found = shown(contents)
    store.close()
    return found, contents


class Running:
    """A store at work, with what says that more is durable."""

    def __init__(self, path: Path | str, **options: Any) -> None:
        self.store = SqliteStore(path, **options)
        self.contents = self.store.load()
        self.first = shown(self.contents)
        self._woken = threading.Event()
        self.when_woken: Callable[[], None] = lambda: None

    def start(self) -> Running:
        def wake() -> None:
            self.when_woken()
            self._woken.set()

        self.store.start(wake)
        return self

    def keep(self, *changes: Change, now: float = 1.0) -> None:
        """Append, and wait until it is durable."""
        self.wait(self.store.append(list(changes), now))

    def wait(self, position: int) -> None:
        while self.store.durable < position and self.store.failure is None:
            assert self._woken.wait(10), "the store did not say that it is durable"
            self._woken.clear()

    def fail(self) -> StoreError:
        """Wait until it has failed; return why."""
        while self.store.failure is None:
            assert self._woken.wait(10), "the store did not say that it failed"
            self._woken.clear()
        return self.store.failure


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "space.db"


@pytest.fixture
def run(path: Path) -> Iterator[Callable[..., Running]]:
    """Open the file in this process and start; all are closed afterwards."""
    running = []

    def start(**options: Any) -> Running:
        running.append(Running(path, **options).start())
        return running[-1]

    yield start
    for each in running:
        each.store.close()


# --- what is kept --------------------------------------------------------------------------------

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(2**70), 2**70),
    st.floats(), st.text(st.characters(), max_size=6), st.binary(max_size=6),
    st.just("\ud800"), st.builds(Opaque, st.binary(max_size=6)),
)  # fmt: skip
FIELDS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
    ),
    max_leaves=5,
)  # fmt: skip
TUPLES = st.one_of(
    st.lists(FIELDS, max_size=3).map(tuple),
    st.dictionaries(st.text(max_size=3), FIELDS, max_size=3),
)
TIMES = st.one_of(st.floats(0, 1e9), st.just(math.inf))
SESSIONS = st.sampled_from(["a" * 32, "b" * 32, "", "\udfff"])
NUMBERS = st.integers(0, 2**66)


@st.composite
def appends(draw: st.DrawFn) -> list[list[Change]]:
    """Return appends that a core might make: what ends has begun."""
    ids, numbers, next_id = list[int](), list[int](), draw(st.integers(1, 2**60))
    found: list[list[Change]] = []
    for _ in range(draw(st.integers(1, 6))):
        changes: list[Change] = []
        for kind in draw(st.lists(st.sampled_from([PUT, PUT, *range(9)]), min_size=1, max_size=8)):
            if kind == PUT:
                changes.append((PUT, next_id, draw(TUPLES), draw(st.floats(0, 9)), draw(TIMES)))
                ids.append(next_id)
                next_id += draw(st.integers(1, 3))
            elif kind in (EXPIRES, CLAIM, UNCLAIM, GONE) and ids:
                id = draw(st.sampled_from(ids))
                rest: dict[int, tuple[Any, ...]] = {
                    EXPIRES: (draw(TIMES),), UNCLAIM: (), GONE: (),
                    CLAIM: (draw(st.integers(1, 2**62)), draw(SESSIONS), draw(TIMES)),
                }  # fmt: skip
                changes.append((kind, id, *rest[kind]))
                if kind == GONE:
                    ids.remove(id)
            elif kind == REPLY:
                lane, reply = draw(st.one_of(st.integers(0, 2), NUMBERS)), draw(st.binary())
                changes.append((REPLY, draw(SESSIONS), lane, draw(NUMBERS), reply))
            elif kind == FORGET:
                changes.append((FORGET, draw(SESSIONS)))
            elif kind == LISTEN:
                numbers.append(draw(st.integers(1, 4)) if not numbers else next_id)
                kinds = st.sampled_from([None, "write"])
                changes.append(
                    (
                        LISTEN,
                        numbers[-1],
                        draw(SESSIONS),
                        draw(kinds),
                        draw(st.binary()),
                        draw(TIMES),
                    )
                )
                next_id += 1
            elif kind == UNLISTEN and numbers:
                changes.append((UNLISTEN, numbers.pop(draw(st.integers(0, len(numbers) - 1)))))
        found.append(changes)
    return found


@settings(max_examples=60, deadline=None)
@given(appends(), st.lists(st.booleans(), min_size=6, max_size=6), st.integers(0, 5), st.booleans())
def test_what_is_loaded_is_what_was_appended_however_it_ended(
    made: list[list[Change]], waits: list[bool], dropped_at: int, often: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options = {"ballast_bytes": OFTEN if often else 0}
        running = Running(folder / "space.db", **options)
        store, copies = running.store, list[int]()

        def drop() -> None:
            # Nothing else writes meanwhile: this is what a kill would leave behind.
            if not copies and store.durable >= dropped_at:
                for end in ("", "-wal"):
                    shutil.copy(folder / f"space.db{end}", folder / f"copy.db{end}")
                copies.append(store.durable)

        running.when_woken = drop
        models = [Model().shown()]
        model = Model()
        for number, changes in enumerate(made):
            model.apply(changes)
            models.append(model.shown())
            position = store.append(changes, float(number))
            if waits[number]:
                if store._writer is None:
                    running.start()
                running.wait(position)
        store.close()
        assert store.failure is None
        assert store.durable == len(made)
        found, contents = held(folder / "space.db", **options)
        assert found == models[-1]
        assert contents.generation == 2
        changed = [number for number, changes in enumerate(made) if changes]
        assert contents.now >= max(changed, default=0)
        for durable in copies:
            assert held(folder / "copy.db", **options)[0] == models[durable]


def test_a_tuple_written_and_taken_in_one_commit_never_touches_the_disk(path: Path) -> None:
    running = Running(path)
    kept, gone = b"stays-here-for-long", b"is-gone-in-a-moment"
    running.store.append([(PUT, 1, (kept,), 0.0, math.inf), (PUT, 2, (gone,), 0.0, math.inf)], 1.0)
    running.store.append([(CLAIM, 2, 3, "s", 30.0)], 1.0)
    last = running.store.append([(GONE, 2)], 1.0)
    running.start().wait(last)
    written = path.read_bytes() + path.with_name("space.db-wal").read_bytes()
    running.store.close()
    assert kept in written
    assert gone not in written


def test_an_append_too_large_for_a_row_is_kept_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(netting, "_ROW_BYTES", 5_000)
    monkeypatch.setattr(netting, "_LARGE", 20_000)
    changes: list[Change] = [
        (PUT, id, ("n", id, b"x" * 1_000), 0.0, math.inf) for id in range(1, 300)
    ]
    changes += [(REPLY, "s", lane, 1, b"r" * 2_000) for lane in range(50)]
    changes += [(CLAIM, 7, 1000, "s", 1.0)]
    model = Model()
    model.apply(changes)
    dropped = path.with_name("dropped.db")

    def drop() -> None:
        for end in ("", "-wal"):
            shutil.copy(f"{path}{end}", f"{dropped}{end}")

    running = Running(path)
    running.when_woken = drop
    running.start().keep(*changes)
    running.store.close()
    assert held(dropped)[0] == held(path)[0] == model.shown()


def test_many_sessions_and_claims_take_few_statements_and_come_back(path: Path, run: Any) -> None:
    changes: list[Change] = []
    for each in range(600):
        changes.append((PUT, each + 1, ("n", each), 0.0, math.inf))
        changes.append((CLAIM, each + 1, 5_000 + each, f"s{each}", 30.0))
        changes.append((REPLY, f"s{each}", each % 3, each, b"reply"))
        changes.append((LISTEN, 9_000 + each, f"s{each}", None, b"template", math.inf))
    ends: list[Change] = []
    for each in range(590):
        ends += [(GONE, each + 1), (FORGET, f"s{each}"), (UNLISTEN, 9_000 + each)]
    model = Model()
    model.apply(changes + ends)
    first = run()
    first.keep(*changes)
    first.store.close()
    second = run()
    second.keep(*ends)
    second.store.close()
    assert held(path)[0] == model.shown()


CHILD = """
import sys, threading
from tests_child import appends_of
from tuplespace.store.sqlite import SqliteStore

store = SqliteStore(sys.argv[1], ballast_bytes=1 << 16)
store.load()
woken = threading.Event()
store.start(woken.set)
for number in range(int(sys.argv[2]), 1 << 30):
    store.append(appends_of(number), 1.0)
    if not number % 7:
        woken.wait()
        woken.clear()
    print(number + 1, store.durable, flush=True)
"""


def appends_of(number: int) -> list[Change]:
    """Return what a child process appends: tasks written, claimed, confirmed, and a reply."""
    id = 3 * number + 1
    changes: list[Change] = [(PUT, id, ("task", number), 0.0, math.inf)]
    if number % 3:
        changes.append((CLAIM, id - 3, id + 1, "s", 30.0))
    if number % 3 == 2:
        changes += [(GONE, id - 3), (PUT, id + 2, ("result", number), 0.0, math.inf)]
    return [*changes, (REPLY, "s", number % 2, number, b"r%d" % number)]


def test_a_killed_process_leaves_all_that_was_durable_and_only_whole_appends(
    path: Path, tmp_path: Path, run_python: Callable[..., subprocess.Popen[str]]
) -> None:
    (tmp_path / "tests_child.py").write_text(
        "import math\nfrom tuplespace.store.interface import *\nChange = tuple\n"
        + inspect.getsource(appends_of)
    )
    begun, model, applied = 0, Model(), 0
    for lines in (40, 300):
        script = f"import sys; sys.path.insert(0, {str(tmp_path)!r})" + CHILD
        child = run_python("-c", script, str(path), str(begun))
        assert child.stdout is not None
        for _ in range(lines):
            appended, durable = map(int, child.stdout.readline().split())
        child.kill()
        rest, errors = child.communicate()
        assert not errors
        for line in rest.splitlines():
            if len(line.split()) == 2 and line.endswith(tuple("0123456789")):
                appended, _ = map(int, line.split())
        found = held(path)[0]
        while model.shown() != found or applied < begun + durable:
            assert applied <= appended + 1, "no prefix of what was appended"
            model.apply(appends_of(applied))
            applied += 1
        begun = applied


# --- the file ------------------------------------------------------------------------------------


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


def test_entries_that_nobody_looked_at_do_not_hinder_the_writer(path: Path, run: Any) -> None:
    first = run()
    first.keep(*((PUT, id, ("n", id), 0.0, math.inf) for id in range(1, 1_000)))
    first.store.close()
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
    path: Path, run_python: Callable[..., subprocess.Popen[str]], run: Any
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

    mine = run()
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


# --- when it cannot be kept ----------------------------------------------------------------------


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
    run: Any, disk: dict[str, int], eventually: Callable[..., Any]
) -> None:
    running = run(free_bytes=1000, ballast_bytes=OFTEN)
    assert running.store.shortage() == ""
    disk["bytes"] = 999
    eventually(running.store.shortage)
    assert "999 bytes free" in running.store.shortage()
    running.keep((PUT, 1, ("what a confirm writes",), 0.0, math.inf))
    disk["bytes"] = 1000
    eventually(lambda: running.store.shortage() == "")


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


def test_memory_keeps_nothing() -> None:
    one, two = MemoryStore(), MemoryStore()
    assert one.load().space_id != two.load().space_id
    assert (one.load().generation, list(one.load().entries), one.keeps) == (1, [], False)
    one.start(lambda: None)
    assert one.append([(PUT, 1, ("a",), 0.0, math.inf)], 1.0) == one.position == one.durable
    assert one.shortage() == ""
    one.close()
