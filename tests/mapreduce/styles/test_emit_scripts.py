"""Scripts of the course and of pymapr print what they printed, by the command or with their import changed."""

from __future__ import annotations

import importlib
import json
import re
import runpy
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jobs.cli import program
from mapreduce.styles.emit import Place

# --- the course's six problems, as its students write them ---------------------------------------

HEAD = """\
import MapReduce
import sys

mr = MapReduce.MapReduce()

"""
FOOT = """

if __name__ == '__main__':
  inputdata = open(sys.argv[1])
  mr.execute(inputdata, mapper, reducer)
"""
#: The same, for a process that lives on.
CLOSING = """

if __name__ == '__main__':
  with open(sys.argv[1]) as inputdata:
    mr.execute(inputdata, mapper, reducer)
"""

BOOKS = [
    ["milton.txt", "of man ' s first disobedience , and the fruit of that tree"],
    ["emma.txt", "emma woodhouse , handsome , clever , and rich"],
    ["blake.txt", "piping down the valleys wild , piping songs of pleasant glee"],
]
INVERTED_INDEX = """
def mapper(record):
    name, text = record[0], record[1]
    for w in text.split():
        mr.emit_intermediate(w, name)

def reducer(key, list_of_values):
    documents = []
    for v in list_of_values:
        if v not in documents:
            documents.append(v)
    mr.emit((key, documents))
"""


def index_of_books() -> list[Any]:
    words = list(dict.fromkeys(word for _, text in BOOKS for word in text.split()))
    return [[word, [name for name, text in BOOKS if word in text.split()]] for word in words]


RECORDS = [
    ["order", "1", "O", "173.47"], ["order", "2", "F", "46.1"],
    ["line_item", "2", "155", "17"], ["line_item", "1", "67", "36"], ["order", "3", "O", "9"],
    ["line_item", "1", "63", "8"], ["line_item", "9", "1", "1"], ["line_item", "2", "155", "18"],
]  # fmt: skip
JOIN = """
def mapper(record):
    mr.emit_intermediate(record[1], record)

def reducer(key, list_of_values):
    for order in list_of_values:
        if order[0] == 'order':
            for item in list_of_values:
                if item[0] == 'line_item':
                    mr.emit(order + item)
"""


def joined() -> list[Any]:
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("create table records (kind, id, a, b)")
        database.executemany("insert into records values (?, ?, ?, ?)", RECORDS)
        rows = database.execute(
            "select o.*, l.* from records o join records l on o.id = l.id "
            "where o.kind = 'order' and l.kind = 'line_item' order by o.rowid, l.rowid"
        )
        return [list(row) for row in rows]


FRIENDS = [
    ["ann", "bob"], ["bob", "ann"], ["cay", "ann"], ["ann", "dan"], ["dan", "bob"], ["ann", "eve"],
    ["eve", "ann"], ["cay", "dan"],
]  # fmt: skip
FRIEND_COUNT = """
def mapper(record):
    mr.emit_intermediate(record[0], 1)

def reducer(key, list_of_values):
    mr.emit((key, len(list_of_values)))
"""


def friends_counted() -> list[Any]:
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("create table friends (person, friend)")
        database.executemany("insert into friends values (?, ?)", FRIENDS)
        query = "select person, count(*) from friends group by person order by min(rowid)"
        return [list(row) for row in database.execute(query)]


ASYMMETRIC = """
def mapper(record):
    mr.emit_intermediate(frozenset(record), record)

def reducer(key, list_of_values):
    if len(list_of_values) == 1:
        a, b = list_of_values[0]
        mr.emit((a, b))
        mr.emit((b, a))
"""


def asymmetric() -> list[Any]:
    return [
        pair for a, b in FRIENDS if [b, a] not in FRIENDS for pair in ([a, b], [b, a])
    ]  # fmt: skip


DNA = [
    ["s1", "GATTACAGATTACACCCCCCCCCC"], ["s2", "TTTTGGGGAAAAAAAAAA"],
    ["s3", "GATTACAGATTACAGGGGGGGGGG"], ["s4", "TTTTGGGGTTTTTTTTTT"], ["s5", "CCGTTTTTTTTTT"],
]  # fmt: skip
TRIMS = """
def mapper(record):
    mr.emit_intermediate(record[1][:-10], record[0])

def reducer(key, list_of_values):
    mr.emit(key)
"""

MATRIX = [
    ["a", 0, 0, 63], ["a", 0, 2, 45], ["a", 1, 1, -3], ["a", 2, 0, 7], ["a", 2, 2, 1],
    ["b", 0, 0, 11], ["b", 0, 1, 2], ["b", 1, 1, 5], ["b", 2, 0, 4], ["b", 2, 2, 9],
]  # fmt: skip
MULTIPLY = """
SIZE = 3

def mapper(record):
    matrix, i, j, value = record
    for k in range(SIZE):
        if matrix == 'a':
            mr.emit_intermediate((i, k), (matrix, j, value))
        else:
            mr.emit_intermediate((k, j), (matrix, i, value))

def reducer(key, list_of_values):
    a = dict((j, value) for matrix, j, value in list_of_values if matrix == 'a')
    b = dict((i, value) for matrix, i, value in list_of_values if matrix == 'b')
    total = 0
    for n in range(SIZE):
        total += a.get(n, 0) * b.get(n, 0)
    mr.emit((key[0], key[1], total))
"""


def product() -> list[Any]:
    cell = {(name, i, j): value for name, i, j, value in MATRIX}
    return [
        [i, k, sum(cell.get(("a", i, j), 0) * cell.get(("b", j, k), 0) for j in range(3))]
        for i in range(3) for k in range(3)
    ]  # fmt: skip


PROBLEMS: dict[str, tuple[str, list[Any], Callable[[], list[Any]]]] = {
    "inverted_index": (INVERTED_INDEX, BOOKS, index_of_books),
    "join": (JOIN, RECORDS, joined),
    "friend_count": (FRIEND_COUNT, FRIENDS, friends_counted),
    "asymmetric_friendships": (ASYMMETRIC, FRIENDS, asymmetric),
    "unique_trims": (TRIMS, DNA, lambda: list(dict.fromkeys(dna[:-10] for _, dna in DNA))),
    "matrix_multiply": (MULTIPLY, MATRIX, product),
}


def write_script(folder: Path, body: str, records: list[Any], foot: str = CLOSING) -> None:
    (folder / "script.py").write_text(HEAD + body + foot)
    (folder / "data.json").write_text("".join(f"{json.dumps(record)}\n" for record in records))


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_script_of_the_course_prints_what_the_problem_asks_for(
    name: str, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    body, records, oracle = PROBLEMS[name]
    write_script(tmp_path, body, records)
    script = tmp_path / "script.py"
    script.write_text(
        script.read_text().replace("import MapReduce", "import mapreduce.styles.emit as MapReduce")
    )
    monkeypatch.setattr(sys, "argv", ["script.py", str(tmp_path / "data.json")])

    runpy.run_path(str(script), run_name="__main__")

    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = oracle()
    if (
        name == "matrix_multiply"
    ):  # keys of a appear row by row, those of b then fill what is missing
        printed.sort()
    assert printed == expected
    assert len(expected) > 2


# --- the command ---------------------------------------------------------------------------------


def test_the_command_runs_a_script_that_is_not_changed_at_all(
    tmp_path: Path, run_python: Callable[..., subprocess.Popen[str]]
) -> None:
    write_script(tmp_path, INVERTED_INDEX, BOOKS, FOOT)
    (tmp_path / "MapReduce.py").write_text("print 'as the course has it'\n")
    command = "from jobs.cli import program; program.run()"

    process = run_python(
        "-c", command, "emit", "--workers", "2", "script.py", "data.json", cwd=tmp_path
    )
    output, told = process.communicate(timeout=40)

    assert process.returncode == 0
    assert [json.loads(line) for line in output.splitlines()] == index_of_books()
    processed = re.findall(
        r"^(\w+) \(.*/(\d+)\): ending \((\d+) items processed\)$", told, re.MULTILINE
    )
    sums: Counter[str] = Counter()
    for role, pid, items in processed:
        sums[role] += int(items)
        assert re.search(rf"^{role} \(.*/{pid}\) started$", told, re.MULTILINE)
        assert int(pid) != process.pid
    assert sums == {"Mapper": len(BOOKS), "Reducer": len(index_of_books())}


def test_the_command_runs_a_script_on_a_space_and_lets_it_name_its_own_data(
    standing_cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    write_script(tmp_path, FRIEND_COUNT, FRIENDS)
    text = (tmp_path / "script.py").read_text()
    (tmp_path / "script.py").write_text(
        text.replace("sys.argv[1]", "'data.json'").replace("len(", "beside.counted(")
        .replace("import sys", "import sys, beside")
        .replace("import MapReduce", "import MapReduce_redis as MapReduce")
    )  # fmt: skip
    (tmp_path / "beside.py").write_text("def counted(values):\n    return len(values)\n")
    monkeypatch.chdir(tmp_path)
    before = sys.argv, sys.path

    program.run(f"tuplemill emit script.py --space {standing_cluster.uri}", exit=False)

    output, told = capsys.readouterr()
    assert [json.loads(line) for line in output.splitlines()] == friends_counted()
    pids = {int(pid) for pid in re.findall(r"er \(.*/(\d+)\) started", told)}
    assert pids <= set(standing_cluster.agents[0].workers)
    assert pids
    assert (sys.argv, sys.path, "MapReduce" in sys.modules) == (*before, False)


@pytest.mark.parametrize(
    "change, first, last",
    [
        (("sys.argv[1]", "'nowhere.json'"), 'File "script.py", line 15, in <module>', "FileNotFoundError"),
        (("len(", "len(1 / 0, "), 'File "script.py", line 11, in reducer', "error: failed on key"),
        (("mr.emit(", "mr.emit({1}, "), 'File "script.py", line 11, in reducer', "error: failed on key"),
        (("mr = ", "mr == "), 'File "script.py", line 4, in <module>', "NameError"),
    ],
)  # fmt: skip
def test_what_fails_in_a_script_is_shown_from_its_own_first_line_on(
    change: tuple[str, str], first: str, last: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    write_script(tmp_path, FRIEND_COUNT, FRIENDS)
    text = (tmp_path / "script.py").read_text()
    (tmp_path / "script.py").write_text(text.replace(*change))
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SystemExit) as ended:
        program.run("tuplemill emit script.py --data data.json --workers 1")

    output, told = capsys.readouterr()
    lines = [line for line in told.splitlines() if not line.startswith("Master")]
    assert (ended.value.code, output) == (1, "")
    assert lines[:2] == ["Traceback (most recent call last):", f"  {first}"]
    assert lines[-1].startswith(last)


@pytest.mark.parametrize(
    "words, status, message",
    [
        ("nowhere.py", 1, "error: there is no script nowhere.py"),
        ("script.py --data data.json --workers -1", 1, "error: --workers is a whole number from 1"),
        ("script.py --data bad.json --workers 1", 1, "bad.json, line 3: is no JSON"),
        ("script.py --data data.json --space PYRO:tuplespace@localhost:1", 1, "error: "),
        ("leaves.py", 3, ""),
    ],
)
def test_known_errors_are_one_line_and_a_scripts_own_status_is_kept(
    words: str, status: int, message: str, tmp_path: Path, key_file: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    write_script(tmp_path, FRIEND_COUNT, FRIENDS)
    (tmp_path / "bad.json").write_text('["a", "b"]\n\n{"a\n')
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(3)\n")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SystemExit) as ended:
        program.run(f"tuplemill emit {words}")

    output, told = capsys.readouterr()
    lines = [line for line in told.splitlines() if not line.startswith("Master")]
    assert (ended.value.code, output) == (status, "")
    assert len(lines) == bool(message)
    assert message in told


def test_a_script_that_is_imported_has_an_object_of_its_own_in_each_worker(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    write_script(tmp_path, FRIEND_COUNT, FRIENDS)
    text = (tmp_path / "script.py").read_text()
    name = f"friends_{'there' if place.space else 'here'}"
    (tmp_path / f"{name}.py").write_text(
        text.replace("import MapR", "import mapreduce.styles.emit as MapR")
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module(name)

    with open(tmp_path / "data.json") as inputdata:
        module.mr.execute(inputdata, module.mapper, module.reducer)

    assert [[*row] for row in module.mr.result] == friends_counted()
