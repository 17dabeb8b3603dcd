"""A job that is followed on the command line: what goes where, and what Ctrl-C leaves."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jobs import word_count
from jobs.catalogue import CATALOGUE
from jobs.cli import program
from jobs.steps import Steps
from mapreduce.attaching import cancel
from tuplespace import connect

BOOT = "import sys; from jobs.cli import program; program.run(['tuplemill', *sys.argv[1:]])"


@pytest.fixture
def texts(tmp_path: Path) -> str:
    """Some files; returns a glob for them."""
    for number in range(3):
        (tmp_path / f"text{number}.txt").write_text("to be or not to be\n" * (number + 1))
    return str(tmp_path / "text*.txt")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, str]:
    capsys.readouterr()
    program.run(["tuplemill", *words])
    return capsys.readouterr()


def test_results_go_to_stdout_and_all_else_to_stderr(
    standing_cluster: Any, texts: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = run(capsys, "job", "word_count", "--input", texts, "--space", standing_cluster.uri)

    assert out.splitlines() == [
        "Words, the most common first", "word  count", "be       12", "to       12", "not       6",
        "or        6",
    ]  # fmt: skip
    assert "; should this process die, `invoke resume " in err
    assert "map 1/1  reduce 1/1" in err
    assert "4 rows; " in err
    assert "0 failed attempts" in err


def test_json_is_one_document_of_all_rows_unless_told_otherwise(
    standing_cluster: Any, texts: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["job", "word_count", "--input", texts, "--space", standing_cluster.uri, "--json"]
    out, err = run(capsys, *words)

    document = json.loads(out)
    assert document["job"] == "word_count"
    assert document["columns"] == ["word", "count"]
    assert document["rows"] == [["be", 12], ["to", 12], ["not", 6], ["or", 6]]
    assert f"job {document['id']}; " in err
    assert document["counters"] == {}
    assert document["skipped_records"] == document["skipped_tasks"] == []
    assert sum(document["report"]["tasks_by_worker"].values()) == 2
    assert document["report"]["map"]["records"] == 6
    assert json.loads(run(capsys, *words, "--rows", "1")[0])["rows"] == [["be", 12]]


def in_two_steps(paths: list[str]) -> Steps:
    """Count the words, twice."""
    yield word_count.job(paths)
    return (yield word_count.job(paths))


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a ready-made job that takes two steps."""
    made = SimpleNamespace(
        TITLE="Words",
        COLUMNS=("word", "count"),
        job=in_two_steps,
        table=word_count.table,
        sample=None,
    )
    monkeypatch.setitem(CATALOGUE, "chain", made)
    return "chain"


def test_of_several_steps_each_is_named_and_there_is_a_report_of_the_whole(
    standing_cluster: Any, texts: str, chain: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["job", chain, "--input", texts, "--space", standing_cluster.uri]
    out, err = run(capsys, *words)

    assert out.splitlines()[2] == "be       12"
    assert len(re.findall(r"^chain, step [12] +1 +1 +0 +6 ", err, re.M)) == 2
    assert "4 tasks on " in err
    assert err.count("should this process die, run chain again: `invoke resume ") == 2
    document = json.loads(run(capsys, *words, "--json")[0])
    assert [step["label"] for step in document["steps"]] == ["chain, step 1", "chain, step 2"]
    assert document["id"] == document["steps"][1]["id"]
    assert document["report"] == document["steps"][1]["report"]


def test_status_tells_of_an_agents_processes_and_their_memory(
    standing_cluster: Any, capsys: pytest.CaptureFixture[str], eventually: Callable[..., Any]
) -> None:
    def processes() -> list[dict[str, Any]]:
        seen = json.loads(run(capsys, "status", "--json", "--space", standing_cluster.uri)[0])
        assert [agent["processes"] for agent in seen["agents"]] == [2]
        return seen["processes"]  # type: ignore[no-any-return]

    pids = set(standing_cluster.agents[0].workers)
    eventually(lambda: {each["pid"] for each in processes()} == pids)
    assert all(each["memory"] > 1_000_000 for each in processes())


class Command:
    """A command in a process of its own."""

    def __init__(self, environment: dict[str, str], *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", BOOT, *words], env=environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip

    def wait_for(self, text: str) -> str:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if text in line:
                return line
        raise AssertionError(f"it ended without {text!r}")

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)


@pytest.fixture
def endless(tmp_path: Path) -> Iterator[Callable[[Any], Command]]:
    """Start a job of two maps, of which one never ends."""
    # Python's re takes for ever over this line, and holds the interpreter's lock meanwhile.
    for name, line in (("long", "a" * 50 + "b\n"), ("short", "aaa\n")):
        (tmp_path / name).write_text(line)
    started: list[Command] = []

    def start(cluster: Any) -> Command:
        words = ["job", "grep", "--pattern", "^(a+)+$", "--space", cluster.uri, "--map-tasks", "2"]
        for name in ("long", "short"):
            words += ["--input", str(tmp_path / name)]
        started.append(Command({**cluster.environment, "PYTHONPATH": os.getcwd()}, *words))
        started[-1].wait_for("map 1/2")
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.communicate()


def test_ctrl_c_cancels_the_job_and_says_what_is_left(
    standing_cluster: Any, endless: Callable[[Any], Command], texts: str,
    capsys: pytest.CaptureFixture[str], eventually: Callable[..., Any],
) -> None:  # fmt: skip
    command = endless(standing_cluster)
    with connect(standing_cluster.uri) as space:
        told = space.read(("progress", *[None] * 5), timeout=10)
    assert told[3:5] == ((1, 2), (0, 2))
    command.interrupt()

    said = command.wait_for("is cancelled")
    assert command.process.stderr.read() == ""
    assert said.endswith(
        " is cancelled; nothing of it stays in the space or on the workers, which go on; "
        "1 of 2 maps and 0 of 2 reduces were done\n"
    )
    assert command.process.wait(10) == 130
    with connect(standing_cluster.uri) as space:
        for kind, length in (
            ("job", 3),
            ("task", 7),
            ("result", 5),
            ("driver", 4),
            ("ledger", 4),
            ("progress", 6),
        ):
            assert space.count((kind, *[None] * (length - 1))) == 0
        eventually(lambda: space.status()["claims"] == 0)
    # The workers go on: they run the next job.
    words = ["job", "word_count", "--input", texts, "--space", standing_cluster.uri, "--json"]
    assert json.loads(run(capsys, *words)[0])["rows"][0] == ["be", 12]


@pytest.mark.faults
def test_a_second_ctrl_c_ends_it_at_once_and_says_who_clears_up(
    cluster: Any, endless: Callable[[Any], Command]
) -> None:
    cluster.start_agent()
    command = endless(cluster)
    cluster.server.send_signal(signal.SIGSTOP)  # so that cancelling takes its time
    try:
        command.interrupt()
        job = command.wait_for("Ctrl-C again: do not wait for it").split()[2].rstrip(";")
        command.interrupt()
        said = command.wait_for("was not waited for")
        assert command.process.wait(3) == 130
    finally:
        cluster.server.send_signal(signal.SIGCONT)

    assert said == (
        f"job {job} was not waited for; `invoke cancel {job}` ends it, and so do the workers "
        "within 10 minutes\n"
    )
    with connect(cluster.uri) as space:
        assert space.count(("job", job, dict)) == 1
        cancel(space, job)


@pytest.mark.faults
def test_ctrl_c_while_the_space_is_away_says_who_clears_up(
    cluster: Any, endless: Callable[[Any], Command]
) -> None:
    cluster.start_agent()
    command = endless(cluster)
    cluster.server.send_signal(signal.SIGSTOP)
    try:
        command.interrupt()
        said = command.wait_for("is cancelled")
        assert "its space does not answer; once it is back, the workers clear up" in said
        assert command.process.wait(5) == 130
    finally:
        cluster.server.send_signal(signal.SIGCONT)
