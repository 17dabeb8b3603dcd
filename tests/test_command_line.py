"""The command line, as people type it: real terminals' worth of processes, from start to end."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_PORT = 9217


class Terminal:
    """One command under way."""

    def __init__(self, environment: dict[str, str], program: list[str], *words: str) -> None:
        self.process = subprocess.Popen(
            [*program, *words], cwd=ROOT, env=environment, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def wait_for(self, text: str) -> str:
        """Read on until a line has this text; return the line."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if text in line:
                return line
        raise AssertionError(f"the command ended without {text!r}")

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit status, which must come within 10 s."""
        self.process.send_signal(number)
        self.process.communicate(timeout=10)
        return self.process.returncode


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What a user's shell has, with a home folder of the test's own."""
    kept = {name: value for name, value in os.environ.items() if "TUPLESPACE" not in name}
    return {**kept, "XDG_DATA_HOME": str(tmp_path / "data"), "HOME": str(tmp_path),
            "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}  # fmt: skip


@pytest.fixture
def terminal(environment: dict[str, str]) -> Iterator[Callable[..., Terminal]]:
    """Open a terminal with an invoke command; all are closed afterwards."""
    opened: list[Terminal] = []

    def start(*words: str) -> Terminal:
        opened.append(Terminal(environment, [sys.executable, "-m", "invoke"], *words))
        return opened[-1]

    yield start
    for each in opened:
        each.process.kill()
        each.process.communicate()


@pytest.fixture
def run(environment: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run an invoke command to its end."""

    def run(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "invoke", *words], cwd=ROOT, env=environment, text=True,
            capture_output=True, timeout=50, check=False, **options,
        )  # fmt: skip

    return run


@pytest.fixture
def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture
def texts(tmp_path: Path) -> str:
    """Some files of words; returns a glob for them."""
    for number in range(5):
        words = " ".join(f"w{each % (number + 2)}" for each in range(1000))
        (tmp_path / f"text{number}.txt").write_text(words.replace("w1 ", "w1\n"))
    return str(tmp_path / "text*.txt")


def word_rows(output: str) -> dict[str, int]:
    return {word: int(count) for word, count in re.findall(r"^(w\d+) +(\d+)$", output, re.M)}


def expected_counts(glob: str) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for path in Path(glob).parent.glob(Path(glob).name):
        counts.update(path.read_text().split())
    return dict(counts)


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    """Return the error a failed command has printed: one line, no traceback."""
    assert result.returncode == 1, result
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_three_terminals_with_nothing_given_find_each_other(
    terminal: Callable[..., Terminal], run: Callable[..., Any], texts: str
) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", DEFAULT_PORT)) == 0:
            pytest.skip("somebody uses the default port")
    space = terminal("tuplespace")
    space.wait_for("tuple space PYRO:")
    worker = terminal("worker", "--processes", "2")
    worker.wait_for("2 processes")

    result = run("job", "word_count", "--input", texts)
    status = run("status")

    assert result.returncode == 0, result.stderr
    assert word_rows(result.stdout) == expected_counts(texts)
    assert "Workers" in status.stdout
    assert "cpython" in status.stdout
    assert worker.end(signal.SIGINT) == 0
    assert space.end(signal.SIGINT) == 0


def test_a_worker_that_is_there_first_waits_for_its_space(
    terminal: Callable[..., Terminal], run: Callable[..., Any], texts: str, free_port: int
) -> None:
    uri = f"PYRO:tuplespace@127.0.0.1:{free_port}"
    worker = terminal("worker", "--space", uri, "--processes", "1")
    worker.wait_for("still trying")
    terminal("tuplespace", "--port", str(free_port)).wait_for("tuple space PYRO:")
    worker.wait_for("1 processes")

    result = run("job", "word_count", "--input", texts, "--space", uri)

    assert word_rows(result.stdout) == expected_counts(texts)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_worker_whose_space_is_away(
    terminal: Callable[..., Terminal], free_port: int, number: int
) -> None:
    worker = terminal("worker", "--space", f"127.0.0.1:{free_port}")
    worker.wait_for("still trying")

    assert worker.end(number) == 0


def test_a_job_runs_here_alone_with_local(run: Callable[..., Any], texts: str) -> None:
    result = run("job", "word_count", "--input", texts, "--local")

    assert result.returncode == 0, result.stderr
    assert word_rows(result.stdout) == expected_counts(texts)


def test_input_can_be_given_more_than_once(run: Callable[..., Any], texts: str) -> None:
    folder = Path(texts).parent
    first, second = str(folder / "text0.txt"), str(folder / "text1.txt")

    result = run("job", "word_count", "--input", first, "--input", second, "--local")

    counts = Counter((folder / "text0.txt").read_text().split())
    counts.update((folder / "text1.txt").read_text().split())
    assert word_rows(result.stdout) == dict(counts)


def test_grep_takes_a_pattern(run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "log").write_text("an error\nall well\nan error\n")

    result = run("job", "grep", "--pattern", "err", "--input", str(tmp_path / "log"), "--local")

    assert re.search(r"^an error +2$", result.stdout, re.M)
    assert "all well" not in result.stdout


@pytest.mark.parametrize("words", [["job", "list"], ["--help", "job"]])
def test_the_jobs_are_listed(run: Callable[..., Any], words: list[str]) -> None:
    listed = run(*words).stdout

    assert all(name in listed for name in ("word_count", "url_count", "grep", "inverted_index"))


def test_no_space_is_one_line_that_says_what_was_tried(
    run: Callable[..., Any], environment: dict[str, str], free_port: int, texts: str
) -> None:
    environment["TUPLESPACE_URI"] = f"127.0.0.1:{free_port}"
    (Path(environment["XDG_DATA_HOME"]) / "tuplemill").mkdir(parents=True)
    key = Path(environment["XDG_DATA_HOME"]) / "tuplemill" / "cluster.key"
    key.write_text("ab" * 32)
    key.chmod(0o600)

    for words in (["status"], ["job", "word_count", "--input", texts]):
        line = one_line(run(*words))
        assert f":{free_port}" in line
        assert "TUPLESPACE_URI" in line


def test_no_key_is_one_line_that_names_file_and_option(run: Callable[..., Any]) -> None:
    line = one_line(run("status"))

    assert "cluster.key" in line
    assert "--key-file" in line


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["job", "sort_of_count"], "word_count"),
        (["job", "word_count"], "--input"),
        (["job", "word_count", "--input", "/nowhere/*.txt", "--local"], "/nowhere/*.txt"),
        (["job", "grep", "--input", "README.md", "--local"], "; its options: pattern"),
        (["job", "grep", "--map-tasks", "few"], "--map-tasks wants a whole number"),
        (["tuplespace", "--store", "README.md", "--port", "0"], "README.md"),
        (["resume", "abc"], "cluster.key"),
        (["cancel", "abc"], "cluster.key"),
        (["worker", "--space", "no/such:thing"], "no/such:thing"),
        (["worker", "--processes", "-1"], "--processes is a whole number from 1"),
        (["worker", "--drain", "-1"], "--drain is a number of seconds from 0"),
        (["worker", "--drain", "long"], "--drain wants a number, not 'long'"),
        (["worker", "--processes", "1.5"], "--processes wants a whole number, not '1.5'"),
    ],
)
def test_what_a_user_gets_wrong_is_one_line(
    run: Callable[..., Any], words: list[str], part: str
) -> None:
    assert part in one_line(run(*words))


def test_a_space_is_kept_in_the_users_data_folder_unless_told_otherwise(
    terminal: Callable[..., Terminal], run: Callable[..., Any], free_port: int,
    environment: dict[str, str],
) -> None:  # fmt: skip
    folder = Path(environment["XDG_DATA_HOME"]) / "tuplemill"
    file = folder / f"tuplespace-{free_port}.sqlite"
    first = terminal("tuplespace", "--port", str(free_port))
    assert str(file) in first.wait_for("tuple space PYRO:")
    assert first.end() == 0
    assert file.exists()

    second = terminal("tuplespace", "--port", str(free_port), "--store", "memory")
    assert ", in memory, " in second.wait_for("tuple space PYRO:")
    assert second.end() == 0


def test_a_taken_port_is_one_line(run: Callable[..., Any]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        assert f"{port}" in one_line(run("tuplespace", "--port", str(port)))


def test_a_failing_job_shows_the_remote_traceback_and_ends_with_1(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "latin").write_bytes(b"caf\xe9\n")

    result = run("job", "inverted_index", "--input", str(tmp_path / "gone"), "--local")

    assert result.returncode == 1
    assert "gone" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_job_leaves_no_process_behind(
    terminal: Callable[..., Terminal], tmp_path: Path, number: int,
    eventually: Callable[..., Any],
) -> None:  # fmt: skip
    # Python's re takes for ever over this line, and holds the interpreter's lock meanwhile.
    (tmp_path / "line").write_text("a" * 50 + "b\n")
    line = str(tmp_path / "line")
    job = terminal("job", "grep", "--pattern", "(a+)+$", "--input", line, "--local")
    job.wait_for("map 0/1")

    job.process.send_signal(number)
    job.wait_for("is cancelled")
    assert job.process.wait(timeout=10) == 130
    eventually(lambda: not _processes_of(tmp_path))


@pytest.mark.faults  # `.ci/run` runs the demo itself, which ends with 1 unless it agrees
def test_the_demo_agrees_with_run_sequential_and_says_who_did_what(
    run: Callable[..., Any],
) -> None:
    result = run("demo")

    assert result.returncode == 0, result.stderr
    assert "the result is that of run_sequential()" in result.stdout
    assert re.search(r"^import +\d+$", result.stdout, re.M)
    workers = re.findall(r"^\S+/\d+ +(\d+)$", result.stdout, re.M)
    assert len(workers) == 2
    assert "map " in result.stderr


def test_the_console_command_has_the_same_tasks(environment: dict[str, str]) -> None:
    boot = "from jobs.cli import program; program.run()"
    listed = subprocess.run(
        [sys.executable, "-c", boot, "--list"], env=environment, text=True, capture_output=True,
        check=True, cwd=Path(environment["HOME"]),
    ).stdout  # fmt: skip

    for name in ("tuplespace", "worker", "demo", "job", "resume", "cancel", "status", "jobs",
                 "tuples", "take", "write"):  # fmt: skip
        assert re.search(rf"^  {name} +[A-Z]", listed, re.M), listed


def test_no_option_is_abbreviated_to_a_dash(run: Callable[..., Any]) -> None:
    listed = run("--help", "job").stdout

    assert "--skip-bad-records=INT" in listed
    assert not re.search(r"--[ =]", listed), listed


def _processes_of(folder: Path) -> list[str]:
    """Return the processes whose environment names this folder: children inherit it."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if str(folder).encode() in environ.read_bytes():
                found.append(environ.parent.name)
        except OSError:
            continue  # it has just ended
    return found
