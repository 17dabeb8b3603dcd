"""The store in a file: what was durable is there again, whole appends and nothing else."""

from __future__ import annotations

import inspect
import math
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from history.stored import OFTEN, Model, Running, held
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
)
from tuplespace.store.memory import MemoryStore
from tuplespace.values import Opaque


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "space.db"


#: A folder whose fsync costs nothing, where there is one.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
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
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
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


def test_many_sessions_and_claims_take_few_statements_and_come_back(path: Path) -> None:
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
    for some in (changes, ends):
        with Running(path) as running:
            running.keep(*some)
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
        rest = child.stdout.read()  # communicate() would pass over what was read ahead
        _, errors = child.communicate()
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


def test_memory_keeps_nothing() -> None:
    one, two = MemoryStore(), MemoryStore()
    assert one.load().space_id != two.load().space_id
    assert (one.load().generation, list(one.load().entries), one.keeps) == (1, [], False)
    one.start(lambda: None)
    assert one.append([(PUT, 1, ("a",), 0.0, math.inf)], 1.0) == one.position == one.durable
    assert one.shortage() == ""
    one.close()
