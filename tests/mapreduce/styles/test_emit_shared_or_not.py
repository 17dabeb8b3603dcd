"""Which functions of scripts share more than they emit, and which only look so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import mapreduce.styles.emit as MapReduce  # noqa: N812  # as the scripts have it
from mapreduce import InvalidJobError
from mapreduce.styles.emit import Place, running_at
from mapreduce.styles.sharing import shared

HEAD = """\
import bisect, functools, heapq, itertools, os, random, sys
import mapreduce.styles.emit as MapReduce

mr = MapReduce.MapReduce()
f = open(__file__)
seen, top, state = set(), [], {"names": []}
number = itertools.count()
log = sys.stderr

class Counter:
    kept, total = [], 0

    def count(self):
        self.total += 1
        return self.total

    def keep(self, name):
        self.kept.append(name)

    @classmethod
    def count_all(cls):
        cls.total += 1

    def __call__(self, record):
        self.total += 1

counter = Counter()

def note_in(names, name):
    names.append(name)

def traced(function):
    def inner(*values):
        inner.calls += 1
        return function(*values)
    inner.calls = 0
    return inner

"""
SHARED = {
    "def mapper(r, known=set()): known.add(r)": "mapper() changes known",
    "def mapper(r): mr.emit_intermediate(r, next(number))": "mapper() uses up number",
    "def mapper(r): heapq.heappush(top, r)": "mapper() changes top",
    "def mapper(r): bisect.insort(top, r)": "mapper() changes top",
    "def mapper(r): mr.emit_intermediate(r, counter.count())": "count() changes self",
    "mapper = Counter().keep": "keep() changes self",
    "mapper = Counter()": "__call__() changes self",
    "def mapper(r): Counter.count_all()": "count_all() changes cls",
    "def mapper(r): note_in(top, r)": "note_in() changes names",
    "mapper = functools.partial(note_in, top)": "note_in() changes names",
    "def mapper(r):\n    names = state['names']\n    names.append(r)": "mapper() changes names",
    "mr.seen = set()\ndef mapper(r): mr.seen.add(r)": "mapper() changes mr",
    "@traced\ndef mapper(r): pass": "inner() changes inner",
    "def mapper(r):\n    import sys\n    return sys.argv": "mapper() uses sys.argv",
    "mapper = [\n    lambda r: seen.add(r)][0]": "<lambda>() changes seen",
}
NOT_SHARED = [
    "def mapper(r): return [f for f in r], sorted(r, key=lambda f: f[1])",
    "def mapper(r): return [top.pop() for top in r]",
    "mapper, other = lambda r: r, (lambda k, v: seen.add(k), sys.argv, f)",
    "def mapper(r):\n    n = 0\n    def add():\n        nonlocal n\n        n += 1\n    add()",
    "def mapper(r):\n    mine = Counter()\n    mine.count()",
    "def mapper(r):\n    names = []\n    note_in(names, r)",
    "def mapper(r):\n    names = state['names'][:]\n    names.append(r)",
    "def mapper(r, names=[]):\n    names = list(names)\n    names.append(r)",
    "def mapper(r, stop={'the'}): return r in stop",
    "def mapper(r): log.write(r)",
    "def mapper(r):\n    os.environ['TZ'] = 'UTC'\n    sys.path.append('lib')",
]


def mapper_of(body: str, folder: Path) -> tuple[Any, dict[str, Any]]:
    path = folder / "script.py"
    path.write_text(f"{HEAD}{body}\n")
    names: dict[str, Any] = {"__name__": "script", "__file__": str(path)}
    exec(compile(path.read_text(), str(path), "exec"), names)
    names["f"].close()
    return names["mapper"], names


@pytest.mark.parametrize("body", SHARED)
def test_what_workers_would_do_wrong_without_a_word_is_refused(body: str, tmp_path: Path) -> None:
    mapper, _ = mapper_of(body, tmp_path)
    own = MapReduce.MapReduce(space="PYRO:tuplespace@localhost:1")
    with pytest.raises(InvalidJobError) as caught:
        own.execute(["1"], mapper, lambda key, values: None)
    assert str(caught.value).startswith(f"{SHARED[body]}, and each worker would have its own")


@pytest.mark.parametrize("body", NOT_SHARED)
def test_what_only_looks_shared_is_not_refused(body: str, tmp_path: Path) -> None:
    mapper, _ = mapper_of(body, tmp_path)
    assert shared([mapper], MapReduce.MapReduce, frozenset()) == ""


def test_an_attribute_that_holds_the_mapreduce_is_looked_through(tmp_path: Path) -> None:
    class Job:
        mr = MapReduce.MapReduce()

        def mapper(self, record: Any) -> None:
            self.mr.emit_intermediate(record, len(self.mr.intermediate))

    job = Job()
    assert shared([job.mapper], MapReduce.MapReduce, frozenset({"intermediate"})) == (
        "mapper() uses self.mr.intermediate"
    )
    job.mr.execute(["7", "8"], job.mapper, lambda key, values: job.mr.emit((key, values)))
    assert job.mr.result == [(7, [0]), (8, [1])]


mr = MapReduce.MapReduce()


def test_what_a_script_holds_of_the_first_job_is_what_the_job_fills() -> None:
    own = MapReduce.MapReduce()
    pairs, found = own.intermediate, own.result

    def look(key: int, values: list[Any]) -> None:
        mr.emit((key, len(pairs)))

    own.execute(["7", "8"], lambda record: mr.emit_intermediate(record, 1), look)
    assert found == [(7, 2), (8, 2)]
    own.execute(["9"], lambda record: mr.emit_intermediate(record, 1), lambda *_: mr.emit(0))
    assert (found, own.result) == ([(7, 2), (8, 2)], [0])


def test_a_reducer_may_put_another_list_for_a_key_or_the_result() -> None:
    own = MapReduce.MapReduce(1)

    def mark(key: int, values: Any) -> None:
        if values is not None:
            own.intermediate[-key] = None  # type: ignore[assignment]
            mr.emit((key, values))
            own.result = sorted(own.result)

    own.execute(["5", "-5", "-3", "3"], lambda n: mr.emit_intermediate(n, n), mark)
    assert own.result == [(-3, [-3]), (5, [5])]


def test_a_mapper_that_reads_the_data_too_gets_the_line_after_its_own(tmp_path: Path) -> None:
    path = tmp_path / "numbers.json"
    path.write_text("".join(f"{n}\n" for n in range(40)))
    with path.open() as inputdata, running_at(Place()):
        own = MapReduce.MapReduce()
        own.execute(inputdata, lambda n: mr.emit_intermediate(n, int(inputdata.readline())),
                    lambda key, values: mr.emit((key, values)))  # fmt: skip
    assert own.result == [(n, [n + 1]) for n in range(0, 40, 2)]
