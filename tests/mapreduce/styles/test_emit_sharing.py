"""Scripts of the course whose functions share more than what they emit: they run in one process, as written."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mapreduce.styles.emit as MapReduce  # noqa: N812  # as the scripts have it
from jobs.cli import program
from mapreduce import InvalidJobError, JobFailedError
from mapreduce.styles.sharing import shared
from tuplespace import RemoteSpace

PAIRS = [["a", "b"], ["b", "a"], ["c", "a"], ["b", "d"], ["a", "b"], ["d", "e"]]

HEAD = """
import itertools
import sys
import mapreduce.styles.emit as MapReduce

mr = MapReduce.MapReduce()
"""
FOOT = """
with open(sys.argv[1]) as inputdata:
    mr.execute(inputdata, mapper, reducer)
"""
COUNTS_RECORDS = """
number = 0

def mapper(record):
    global number
    number += 1
    mr.emit_intermediate(number, record[0])

def reducer(key, values):
    mr.emit((key, values))
"""
LOOKS_AT_THE_RESULT = """
def mapper(record):
    mr.emit_intermediate(record[1], record[0])

def reducer(key, values):
    for value in values:
        if value not in mr.result:
            mr.emit(value)
"""
LOOKS_AT_ALL_PAIRS = """
def mapper(record):
    key = tuple(record)
    if key not in mr.intermediate:
        mr.emit_intermediate(key, len(mr.intermediate))

def reducer(key, values):
    if (key[1], key[0]) not in mr.intermediate:
        mr.emit((key, values))
"""
KEEPS_A_LIST = """
people = []

def known(name):
    if name not in people:
        people.append(name)
    return people.index(name)

def mapper(record):
    mr.emit_intermediate(known(record[0]), known(record[1]))

def reducer(key, values):
    mr.emit((people[key], [people[value] for value in values], len(people)))
"""
FILLS_A_DICT = """
latest = {}

def mapper(record):
    latest[record[0]] = record[1]
    mr.emit_intermediate(record[0], 1)

def reducer(key, values):
    mr.emit((key, latest[key]))
"""
EMITS_IN_ITS_MAPPER = """
def mapper(record):
    if record[0] < record[1]:
        mr.emit(record)
    mr.emit_intermediate("all", 1)

def reducer(key, values):
    mr.emit(len(values))
"""
READS_ITS_ARGUMENTS = """
def mapper(record):
    with open(sys.argv[1]) as everything:
        mr.emit_intermediate(len(everything.readlines()), record)

def reducer(key, values):
    mr.emit([key, len(values)])
"""
WRITES_A_FILE = """
log = open(sys.argv[1] + ".log", "w")

def mapper(record):
    log.write("x")
    mr.emit_intermediate(record[0], 1)

def reducer(key, values):
    mr.emit(key)
"""
EXPECTED: dict[str, tuple[str, list[Any], str]] = {
    "global": (COUNTS_RECORDS, [[n + 1, [pair[0]]] for n, pair in enumerate(PAIRS)], "mapper() sets number"),
    "result": (LOOKS_AT_THE_RESULT, ["a", "b", "c", "d"], "reducer() uses mr.result"),
    "pairs": (LOOKS_AT_ALL_PAIRS, [[["c", "a"], [2]], [["b", "d"], [3]], [["d", "e"], [4]]], "mapper() uses mr.intermediate"),
    "list": (KEEPS_A_LIST, [["a", ["b", "b"], 5], ["b", ["a", "d"], 5], ["c", ["a"], 5], ["d", ["e"], 5]], "known() changes people"),
    "dict": (FILLS_A_DICT, [["a", "b"], ["b", "d"], ["c", "a"], ["d", "e"]], "mapper() changes latest"),
    "mapper": (EMITS_IN_ITS_MAPPER, [["a", "b"], ["b", "d"], ["a", "b"], ["d", "e"], 6], "mapper() uses mr.emit"),
    "argv": (READS_ITS_ARGUMENTS, [[6, 6]], "mapper() uses sys.argv"),
    "file": (WRITES_A_FILE, ["a", "b", "c", "d"], "mapper() uses the open file log"),
}  # fmt: skip


def write_data(folder: Path) -> Path:
    path = folder / "pairs.json"
    path.write_text("".join(f"{json.dumps(pair)}\n" for pair in PAIRS))
    return path


@pytest.mark.parametrize("name", EXPECTED)
def test_what_one_process_alone_can_give_is_run_in_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    body, expected, reason = EXPECTED[name]
    script = tmp_path / "script.py"
    script.write_text(HEAD + body + FOOT + ("log.close()\n" if name == "file" else ""))
    monkeypatch.setattr(sys, "argv", ["script.py", str(write_data(tmp_path))])

    runpy.run_path(str(script), run_name="__main__")

    printed, told = capsys.readouterr()
    assert [json.loads(line) for line in printed.splitlines()] == expected
    assert told.startswith(f"Master ({os.getpid()}): starting, in this process: {reason}\n")


mr = MapReduce.MapReduce()


def pair_up(record: Any) -> None:
    mr.emit_intermediate(record[1], record[0])


def first_ones(key: Any, values: list[Any]) -> None:
    for value in values:
        if value not in mr.result:
            mr.emit(value)


def test_a_worker_that_is_asked_for_what_it_cannot_see_says_so(
    space: RemoteSpace, capsys: pytest.CaptureFixture[str]
) -> None:
    own = MapReduce.MapReduce(space=space)
    lines = [json.dumps(pair) for pair in PAIRS]
    with pytest.raises(JobFailedError, match="result is where all runs in one process"):
        own.execute(lines, pair_up, first_ones)
    assert ": first_ones() uses mr.result, and each worker has its own\n" in capsys.readouterr().err

    own.execute(lines, pair_up, lambda key, values: mr.emit(key))
    assert own.result == ["b", "a", "d", "e"]
    with pytest.raises(InvalidJobError, match="intermediate is where all runs in one process"):
        own.intermediate.clear()


number = 0


def count_records(record: Any) -> None:
    global number
    number += 1
    mr.emit_intermediate(record[0], number)


def test_workers_are_not_given_silently_what_they_would_do_wrong(space: RemoteSpace) -> None:
    lines = [json.dumps(pair) for pair in PAIRS]
    own = MapReduce.MapReduce(space=space)
    with pytest.raises(InvalidJobError, match=r"count_records\(\) sets number, .* leave out space"):
        own.execute(lines, count_records, lambda key, values: mr.emit(key))

    told = MapReduce.MapReduce(2, space=space)
    told.execute(lines, count_records, lambda key, values: mr.emit(key))
    assert told.result == ["a", "b", "c", "d"]


def test_one_process_shows_what_was_emitted_and_forgets_it_for_the_next_data() -> None:
    own = MapReduce.MapReduce(1, reduce_tasks=3)
    assert (own.intermediate, own.result) == ({}, [])
    for _ in range(2):
        own.execute(["[1, 2]", "[3, 4]", "[5, 2]"], pair_up, lambda key, values: mr.emit(key))
        assert (own.intermediate, own.result) == ({2: [1, 5], 4: [3]}, [2, 4])
    own.intermediate, own.result = {}, []
    assert (own.intermediate, own.result) == ({}, [])


def test_records_that_are_tried_again_are_emitted_once(capsys: pytest.CaptureFixture[str]) -> None:
    own = MapReduce.MapReduce(1, skip_bad_records=2)
    own.execute(["[1, 2]", "[0]", "[3, 4]"], pair_up, lambda key, values: mr.emit((key, values)))
    assert own.result == [(2, [1]), (4, [3])]
    assert capsys.readouterr().out == "[2, [1]]\n[4, [3]]\n"


def test_functions_of_which_nothing_is_shared_are_left_to_the_workers() -> None:
    scores = {"good": 3}
    seen: list[Any] = []

    def mapper(record: Any) -> None:
        words: dict[str, int] = {}
        for word in record:
            words[word] = words.get(word, 0) + scores.get(word, 0)
        seen = sorted(words)
        seen.append("")
        mr.emit_intermediate(os.fspath("x"), json.dumps(seen))

    names = frozenset({"result"})
    assert shared([mapper, pair_up, sum, len], MapReduce.MapReduce, names) == ""
    assert shared([lambda key: seen.append(key)], MapReduce.MapReduce, names) == (
        "<lambda>() changes seen"
    )


def test_the_object_of_a_method_is_shared() -> None:
    class Job(MapReduce.MapReduce):
        records = 0

        def mapper(self, record: Any) -> None:
            self.records += 1
            self.emit_intermediate(self.records, record)

    job = Job()
    assert shared([job.mapper], MapReduce.MapReduce, frozenset()) == "mapper() changes self"
    job.execute(["7", "8"], job.mapper, lambda key, values: job.emit((key, values)))
    assert job.result == [(1, [7]), (2, [8])]


def test_a_module_beside_the_script_may_import_the_course_s_as_well(
    standing_cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "MapReduce.py").write_text("print 'as the course has it'\n")
    (tmp_path / "pairing.py").write_text(
        "import MapReduce\nmr = MapReduce.MapReduce()\n"
        "def mapper(record): mr.emit_intermediate(record[1], record[0])\n"
        "def reducer(key, values): mr.emit([key, len(values)])\n"
    )
    (tmp_path / "script.py").write_text(
        "import pairing\nwith open('pairs.json') as data:\n"
        "    pairing.mr.execute(data, pairing.mapper, pairing.reducer)\n"
    )
    write_data(tmp_path)
    monkeypatch.chdir(tmp_path)

    program.run(f"tuplemill emit script.py --space {standing_cluster.uri}", exit=False)

    assert capsys.readouterr().out == '["b", 2]\n["a", 2]\n["d", 1]\n["e", 1]\n'
    assert not {"MapReduce", "MapReduce_redis"} & set(sys.modules)
    sys.modules.pop("pairing")


def test_a_script_from_standard_input_runs_on_all_cores(
    tmp_path: Path, run_python: Callable[..., subprocess.Popen[str]]
) -> None:
    write_data(tmp_path)
    text = HEAD.replace("MapReduce()", "MapReduce(2)") + LOOKS_AT_THE_RESULT.replace(
        "value not in mr.result", "value"
    )
    (tmp_path / "script.py").write_text(text + FOOT)
    process = run_python(
        "-c", "import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-', 'pairs.json'],"
        " stdin=open('script.py')).returncode)", cwd=tmp_path,
    )  # fmt: skip
    output, told = process.communicate(timeout=40)
    assert (process.returncode, output) == (0, '"a"\n"a"\n"b"\n"c"\n"b"\n"d"\n'), told
