"""Tuples taken and written by shell scripts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tuplespace import MatchTimeoutError, RemoteSpace

BOOT = "import sys; from jobs.cli import program; program.run(['tuplemill', *sys.argv[1:]])"


def test_a_tuple_is_written_as_python_writes_it(invoke: Any, remote: RemoteSpace) -> None:
    done = invoke("write", '("task", 7, None, [b"x", -1.5], {"a": (True,)})')

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert remote.take(("task", 7, None, None, None), timeout=0) == (
        "task", 7, None, [b"x", -1.5], {"a": (True,)},
    )  # fmt: skip


def test_a_tuple_written_with_a_lease_lives_so_long(invoke: Any, remote: RemoteSpace) -> None:
    invoke("write", '("short",)', "--lease", "0")
    invoke("write", '("long",)', "--lease", "1000")

    assert remote.count(("short",)) == 0
    assert remote.count(("long",)) == 1


def test_the_oldest_tuple_that_matches_is_taken_and_printed(
    invoke: Any, remote: RemoteSpace
) -> None:
    remote.write_many([("b", 1), ("a", 1, "é\n"), ("a", 2)])

    assert invoke("take", '("a", ...)').stdout == "('a', 2)\n"
    assert invoke("take", '("a", int, str)', "--json").stdout == '["a", 1, "\\u00e9\\n"]\n'
    assert remote.read_all((None, None)) == [("b", 1)]


def test_what_take_prints_can_be_written_again_opaque_fields_and_all(
    invoke: Any, remote: RemoteSpace
) -> None:
    remote.write(("job", {1, 2}, [frozenset("a")]))

    line = invoke("take", '("job", ..., ...)').stdout.strip()
    assert "Opaque(" in line
    assert invoke("write", line).returncode == 0

    assert remote.take(("job", None, None), timeout=0) == ("job", {1, 2}, [frozenset("a")])


def test_nothing_to_take_is_status_1_and_a_line_on_stderr(invoke: Any) -> None:
    for timeout, words in (("0", ""), ("0.05", " within 0.05 s")):
        done = invoke("take", '("a", int)', "--timeout", timeout)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f'error: no tuple matches ("a", int){words}\n'


def test_take_waits_for_a_tuple_unless_told_otherwise(
    remote: RemoteSpace, run_python: Any, eventually: Callable[..., Any]
) -> None:
    taker = run_python("-c", BOOT, "take", '("a", int)', "--space", remote.uri)
    eventually(lambda: remote.status()["waiters"])
    remote.write(("a", 7))

    assert taker.communicate(timeout=30)[0] == "('a', 7)\n"
    assert taker.returncode == 0
    assert remote.status()["tuples"] == 0


def test_several_are_taken_as_soon_as_one_is_there(invoke: Any, remote: RemoteSpace) -> None:
    remote.write_many([("n", number) for number in range(5)])

    done = invoke("take", '("n", ...)', "--limit", "3", "--json")
    assert [json.loads(line)[1] for line in done.stdout.splitlines()] == [0, 1, 2]
    assert len(invoke("take", '("n", ...)', "--limit", "9").stdout.splitlines()) == 2


def test_a_tuple_that_nobody_got_to_see_is_not_gone(remote: RemoteSpace, key_file: Path) -> None:
    remote.write(("a", 7))
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        [sys.executable, "-c", BOOT, "take", '("a", int)', "--space", remote.uri],
        stdout=theirs, stderr=subprocess.PIPE, text=True, timeout=20, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    os.close(theirs)

    assert (done.returncode, done.stderr) == (1, "")
    assert remote.take(("a", int), timeout=5) == ("a", 7)


@pytest.fixture
def writer(remote: RemoteSpace, run_python: Any) -> subprocess.Popen[str]:
    """`write -`, waiting for its input."""
    return run_python("-c", BOOT, "write", "-", "--space", remote.uri)  # type: ignore[no-any-return]


def test_lines_are_written_as_they_arrive(remote: RemoteSpace, writer: Any) -> None:
    writer.stdin.write("('line', 1)\n\n('line', 2)\n('li")
    writer.stdin.flush()
    assert remote.take(("line", 2), timeout=30) == ("line", 2)
    assert remote.take(("line", 1), timeout=0) == ("line", 1)

    assert writer.communicate("ne', 'é')")[:2] == ("", "")
    assert remote.take(("line", None), timeout=0) == ("line", "é")
    assert writer.returncode == 0


def test_a_line_that_is_no_tuple_is_named_and_what_was_written_before_it(
    remote: RemoteSpace, writer: Any
) -> None:
    writer.stdin.write("('line', 1)\n")
    writer.stdin.flush()
    remote.read(("line", 1), timeout=30)
    _, said = writer.communicate("\n('line', 2)\nline 3\n")

    assert writer.returncode == 1
    assert re.fullmatch(r"error: line 4: 'line 3' is no tuple: .*; written before that: 1\n", said)
    with pytest.raises(MatchTimeoutError):
        remote.read(("line", 2), timeout=0)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["take", '("a"'], "never closed"),
        (["take", '("a",)', "--timeout", "-1"], "--timeout is a number of seconds from 0"),
        (["take", '("a",)', "--limit", "0"], "--limit is a whole number from 1"),
        (["write", '("a", ...)'], "wildcards are for templates"),
        (["write", '("a", <opaque 7 bytes>)'], "cannot read it"),
        (["write", '("a",)', "--lease", "-1"], "--lease is a number of seconds from 0"),
        (
            ["write"],
            "did not receive required positional arguments: 'tuple'; `tuplemill --help write`",
        ),
        (["write", '("a",)', "--leese", "1"], "'--leese'"),
        (["take", '("a",)', "--timeout"], "--timeout needed value"),
    ],
)
def test_what_a_user_gets_wrong_is_one_line(invoke: Any, words: list[str], part: str) -> None:
    done = invoke(*words)

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert part in done.stderr
