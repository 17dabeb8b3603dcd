"""What people see of a space: once, again and again, and tuple by tuple."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from invoke import Context

from jobs.commands import looking
from jobs.commands.options import positional_in
from jobs.terminal.overview import CALLS_PER_LOOK, JOBS_COUNTED, Lookout, ReadyTask
from jobs.terminal.sealed import look_into
from tuplespace import RemoteSpace

RUNTIME = "cpython-3.11"


def task(job: str, number: int = 0, payload: bytes = b"payload") -> tuple[Any, ...]:
    return ("task", job, "map", number, RUNTIME, "", payload)


def job(id: str, **about: Any) -> tuple[Any, ...]:
    return (
        "job",
        id,
        {"label": "word_count", "maps": 8, "reduces": 4, "driver": "lab1/77", **about},
    )


def table(output: str, title: str) -> list[list[str]]:
    """Return the rows of the table with this title."""
    lines = iter(output.splitlines())
    rows = []
    for line in lines:
        if line == title:
            next(lines)
            for row in lines:
                if not re.search(r"\S {2,}\S", row):
                    break
                rows.append(re.split(r" {2,}", row.strip()))
            return rows
    raise AssertionError(f"no table {title!r} in:\n{output}")


def a_busy_space(space: RemoteSpace) -> None:
    space.write(("worker", "lab1-ab", "lab1", RUNTIME, 2))
    running = ((41, "j1", "map", 12, 75.0),)
    processes = ((41, 52_000_000), (42, 30_000_000))
    space.write(("running", "lab1-ab", "lab1", 1, running, processes))
    space.write(job("j1"))
    space.write_many([task("j1", number) for number in range(3)])
    space.write(("buried", "j0", "reduce", 5, {"reason": "ValueError: no", "attempts": 2}))


# --- status


def test_status_shows_who_works_on_what_since_when_and_with_how_much_memory(
    invoke: Any, remote: RemoteSpace
) -> None:
    a_busy_space(remote)

    said = invoke("status").stdout

    assert table(said, "Workers") == [["lab1-ab", "lab1", RUNTIME, "2", "1", "82.0 MB"]]
    assert table(said, "Processes") == [
        ["lab1", "41", "j1 map 12", "1:15 min", "52.0 MB"], ["lab1", "42", "30.0 MB"],
    ]  # fmt: skip
    assert table(said, "Jobs") == [["j1", "word_count", "8", "4", "3", "lab1/77"]]
    assert table(said, "Buried tasks")[0][:4] == ["j0", "reduce", "5", "2"]
    assert "the oldest ready task: j1 map 0\n" in said


def test_status_is_one_json_document_for_programs(invoke: Any, remote: RemoteSpace) -> None:
    a_busy_space(remote)

    seen = json.loads(invoke("status", "--json").stdout)

    assert seen["figures"]["tuples"] == 7
    assert seen["jobs"][0]["ready"] == 3
    assert seen["processes"][0]["task"] == "j1 map 12"
    assert seen["oldest"]["number"] == 0


class Bomb:
    """What must never be unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_tuples_that_are_not_what_their_name_says_do_no_harm(
    invoke: Any, remote: RemoteSpace, tmp_path: Path
) -> None:
    huge, bomb = 1 << 40_000, Bomb(tmp_path / "unpickled")
    remote.write_many([
        ("worker", 1, 2, 3, 4), ("worker", "w", "h" * 10_000, "\x1b[2J", huge), ("worker", "w", "h", "r", bomb),
        ("running", "w", "h", 0), ("running", "w", "h", 0, ()), ("running", "w", "h", "x", (), ()),
        ("task", "j", "map", huge, "r", "", b""),
        ("running", "w", "h2", 0, ((1, "j", "map", huge, 1e300), (2, "j", "x" * 1000, 1, -1e300)), ()),
        ("running", "w", "h", huge, (1, (1,), ("x", "j", "map", 1, 1.0), (7, "j", "map", 1, float("nan"))),
         ((huge, huge), (1, "x"), bomb, (8, -1))),
        ("job", "\x1b]0;j\x07", {"label": bomb, "maps": "many", "reduces": huge, "driver": 7}),
        ("progress", "\x1b]0;j\x07", "d", (huge, -huge), (1, 2), float("nan")), ("progress", "j", "d", 1, 2, 3.0),
        ("progress", "j", "d", (1, 2), (1, "x"), 1.0), ("progress", "j", "d", (1, 2), (1, bomb), 1.0),
        ("job", 7, "no dict"), ("driver", "j", 1, "somebody"), ("driver", None, None, None),
        ("buried", "j", "map", huge, {"reason": bomb, "where": 7, "record": [1], "attempts": huge}),
        ("buried", "j", "map", 1, "no dict"), ("task", "j"), ("task", "j", "map", 1, "r", "", "no bytes"),
    ])  # fmt: skip

    for words in (["status"], ["jobs"], ["status", "--json"], ["jobs", "--json"]):
        done = invoke(*words)
        assert (done.returncode, done.stderr) == (0, "")
        assert "\x1b" not in done.stdout
        assert "\x07" not in done.stdout
    assert not bomb.path.exists()


def test_a_look_costs_the_space_few_calls(remote: RemoteSpace) -> None:
    a_busy_space(remote)
    remote.write_many([job(f"more{number}") for number in range(2 * JOBS_COUNTED)])
    before = remote.status()["operations"]

    Lookout().look(remote, remote.uri, 0.0)

    assert remote.status()["operations"] - before == CALLS_PER_LOOK + JOBS_COUNTED + 1


def test_of_very_many_buried_tasks_the_oldest_is_shown_and_how_many_there_are(
    invoke: Any, remote: RemoteSpace
) -> None:
    about = {"reason": "ValueError: no", "attempts": 2}
    remote.write_many([("buried", "j0", "map", number, about) for number in range(1200)])

    said = invoke("status").stdout

    assert len(table(said, "The oldest of 1,200 buried tasks")) == 1
    assert json.loads(invoke("status", "--json").stdout)["buried_count"] == 1200


def test_operations_a_second_are_those_between_two_looks(remote: RemoteSpace) -> None:
    lookout = Lookout()
    assert lookout.look(remote, remote.uri, 10.0).rate is None
    for number in range(93):
        remote.write(("x", number))

    assert lookout.look(remote, remote.uri, 12.0).rate == (93 + CALLS_PER_LOOK) / 2


def test_the_oldest_ready_task_is_seen_to_wait(remote: RemoteSpace) -> None:
    lookout = Lookout()
    remote.write_many([task("j1", 0), task("j1", 1)])

    def oldest(now: float) -> ReadyTask | None:
        return lookout.look(remote, remote.uri, now).oldest

    assert oldest(0.0) == ReadyTask("j1", "map", 0, 0.0)
    assert oldest(7.0) == ReadyTask("j1", "map", 0, 7.0)
    remote.take(task("j1", 0))
    assert oldest(8.0) == ReadyTask("j1", "map", 1, 0.0)
    remote.take(task("j1", 1))
    assert oldest(9.0) is None


@pytest.mark.parametrize("every", ["0", "-1", "nan", "0.01"])
def test_nobody_looks_more_often_than_a_space_likes(invoke: Any, every: str) -> None:
    done = invoke("status", "--watch", "--every", every)

    assert done.returncode == 1
    assert "--every is 0.1 seconds or more" in done.stderr


# --- jobs


def test_jobs_are_listed_with_their_driver_and_with_what_is_ready_and_claimed(
    invoke: Any, remote: RemoteSpace
) -> None:
    remote.write_many([job("j1"), job("j2"), ("driver", "j2", 1, "lab2/9")])
    remote.write_many([task("j1", number) for number in range(3)])
    remote.claim(task("j1", 0))

    assert table(invoke("jobs").stdout, "Jobs") == [
        ["j1", "word_count", "8", "4", "2", "1", "lab1/77"],
        ["j2", "word_count", "8", "4", "0", "0", "none: invoke resume j2"],
    ]
    first, _ = json.loads(invoke("jobs", "--json").stdout)
    assert first == {
        "id": "j1", "name": "word_count", "maps": 8, "reduces": 4, "ready": 2, "driver": "lab1/77",
        "maps_done": None, "reduces_done": None, "seconds": None, "claimed": 1,
    }  # fmt: skip


def test_of_a_step_without_driver_it_is_said_that_the_whole_is_to_be_run_again(
    invoke: Any, remote: RemoteSpace
) -> None:
    remote.write_many([job("j1", label="page_rank, step 3"), ("driver", "j1", 1, "lab2/9")])

    [row] = table(invoke("status").stdout, "Jobs")
    assert row[-1] == "none: run page_rank again (invoke resume j1: this step alone)"


def test_how_far_a_job_is_stands_there_as_its_driver_has_told(
    invoke: Any, remote: RemoteSpace
) -> None:
    remote.write_many([job("j1"), ("progress", "j1", "lab1/77", (3, 12), (0, 4), 75.0)])

    for words in (["jobs"], ["status"]):
        [row] = table(invoke(*words).stdout, "Jobs")
        assert row[:4] == ["j1", "word_count", "3 of 12", "0 of 4"]
        assert row[-2:] == ["1:15 min", "lab1/77"]
    seen = json.loads(invoke("status", "--json").stdout)["jobs"][0]
    assert (seen["maps_done"], seen["maps"], seen["seconds"]) == (3, 12, 75.0)


# --- tuples


def test_tuples_that_match_are_shown_as_python_writes_them_and_stay(
    invoke: Any, remote: RemoteSpace
) -> None:
    remote.write_many([("a", 1, "x\n"), ("a", 2, b"y"), ("b", 1, None), ("a", 1)])

    assert invoke("tuples", '("a", int, ...)').stdout == "('a', 1, 'x\\n')\n('a', 2, b'y')\n"
    assert invoke("tuples", '("a", Between(2, 9), None)').stdout == "('a', 2, b'y')\n"
    assert invoke("tuples", "(..., ..., ...)", "--count").stdout == "3\n"
    assert invoke("tuples", "(..., ..., ...)", "--json").stdout == (
        '[["a", 1, "x\\n"], ["a", 2, "y"], ["b", 1, null]]\n'
    )
    assert invoke("tuples", '("nothing",)').stdout == ""
    assert remote.status()["tuples"] == 4


def test_no_more_tuples_are_shown_than_asked_for_and_it_is_said(
    invoke: Any, remote: RemoteSpace
) -> None:
    remote.write_many([("n", number) for number in range(150)])

    usual = invoke("tuples", '("n", ...)')
    assert usual.stdout.splitlines() == [f"('n', {number})" for number in range(100)]
    assert usual.stderr == "the first 100 of 150; --limit 0 shows all\n"
    assert len(invoke("tuples", '("n", ...)', "--limit", "7").stdout.splitlines()) == 7
    every = invoke("tuples", '("n", ...)', "--limit", "0")
    assert (len(every.stdout.splitlines()), every.stderr) == (150, "")


def test_a_space_does_not_send_a_flood_to_show_a_drop(
    invoke: Any, remote: RemoteSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "_MOST_BYTES", 10_000)
    remote.write_many([("n", number) for number in range(150)])

    refused = invoke("tuples", '("n", ...)')

    assert refused.returncode == 1
    assert refused.stderr.startswith("error: 150 tuples match, about ")
    assert invoke("tuples", '("n", range(0, 50))').returncode == 0
    assert invoke("tuples", '("n", ...)', "--limit", "0").returncode == 0


def shown(
    capsys: pytest.CaptureFixture[str], remote: RemoteSpace, **options: Any
) -> tuple[str, str]:
    capsys.readouterr()
    looking.tuples(Context(), space=remote.uri, **options)
    return capsys.readouterr()


def test_without_a_template_the_tuples_of_all_lengths_are_shown(
    remote: RemoteSpace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(capsys, remote) == ("", "")
    remote.write_many([("a", 1), (), ("x",), ("a", 2), {"name": "a"}, ("b" * 500,), (0,) * 13])
    remote.claim(("a", 2))

    out, err = shown(capsys, remote)
    assert out == f"()\n('x',)\n('{'b' * 295}...\n('a', 1)\n"
    assert err == "2 more are dicts, or have more than 12 fields: a template shows them\n"
    assert shown(capsys, remote, count=True) == ("6\n", "")
    out, err = shown(capsys, remote, limit=2)
    assert out == "()\n('x',)\n"
    assert err.splitlines()[0] == "the first 2 of 4; --limit 0 shows all"
    assert len(json.loads(shown(capsys, remote, json=True)[0])) == 4


def test_tuples_can_be_typed_without_a_template(run_python: Any, remote: RemoteSpace) -> None:
    remote.write_many([("a", 1), ("b",)])

    typed = "from jobs.entry import main; main()", "tuples", "--json", "--space", remote.uri
    out, err = run_python("-c", *typed).communicate(timeout=30)

    assert (out, err) == ('[["b"], ["a", 1]]\n', "")


def test_of_lengths_that_are_a_flood_it_is_said_and_the_others_are_shown(
    remote: RemoteSpace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(looking, "_MOST_BYTES", 10_000)
    remote.write_many([("n", number) for number in range(150)])
    remote.write(("a", "b", "c"))

    out, err = shown(capsys, remote)

    assert out == "('a', 'b', 'c')\n"
    assert err.startswith("of 2 fields: 150 tuples match, about ")


@pytest.mark.parametrize(
    ("line", "needed", "positional"),
    [
        ("tuplemill", 0, ["first"]),
        ("tuplemill --help look", 0, ["first"]),
        ("tuplemill look", 0, []),
        ("tuplemill look", 1, ["first"]),
        ("tuplemill look a", 0, ["first"]),
        ("tuplemill look --json --limit 3 -s URI -l5 --name=x", 0, []),
        ("tuplemill look -j a --limit 3 -", 0, ["first", "second"]),
    ],
)
def test_what_is_optional_is_positional_when_it_is_there(
    line: str, needed: int, positional: list[str]
) -> None:
    names, flags = ("first", "second"), ("--json", "-j")
    found = positional_in(line.split(), "look", names, needed, flags)

    assert found == positional


def test_opaque_fields_are_shown_closed_and_never_unpickled(
    invoke: Any, remote: RemoteSpace, tmp_path: Path
) -> None:
    bomb = Bomb(tmp_path / "unpickled")
    remote.write(("a", [bomb]))

    assert re.fullmatch(r"\('a', \[<opaque \d+ bytes>\]\)\n", invoke("tuples", '("a", ...)').stdout)
    assert "<opaque" in invoke("tuples", '("a", ...)', "--json").stdout
    assert not bomb.path.exists()
    remote.take(("a", None))  # whoever opens it would find out
    assert bomb.path.exists()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (['("a"'], "never closed"),
        (['("a", object)'], "what is 'object'"),
        (['("a", Between(None, None))'], "has one end at least"),
        (['("a", ...)', "--limit", "-1"], "--limit is a whole number from 0"),
    ],
)
def test_what_is_no_template_is_one_line(invoke: Any, words: list[str], part: str) -> None:
    done = invoke("tuples", *words)

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert part in done.stderr


def test_a_space_that_is_looked_into_says_goodbye(remote: RemoteSpace) -> None:
    before = remote.status()["sessions"]
    with look_into(remote.uri) as space:
        assert space.count(("a",)) == 0

    assert remote.status()["sessions"] == before
