"""Ctrl-C while a program still imports what it needs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
CONSOLE = ["-c", "from jobs.entry import main; main()", "--list"]

Start = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def interrupted_at(tmp_path: Path) -> Start:
    """Run Python with words, and interrupt it when it imports a module."""

    def start(module: str, *words: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / f"{module}.py").write_text(
            f"import os\nos.kill(os.getpid(), {signal.SIGINT:d})\n"
        )
        path = os.pathsep.join((str(tmp_path), str(ROOT)))
        return subprocess.run(
            [sys.executable, *words], cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, text=True,
            capture_output=True, stdin=subprocess.DEVNULL, timeout=50, check=False,
        )  # fmt: skip

    return start


@pytest.mark.parametrize(
    "module, words",
    [
        ("msgpack", CONSOLE),
        ("msgpack", ["-m", "invoke", "--list"]),
        ("msgpack", ["-m", "tuplespace"]),
        ("argparse", ["-m", "tuplespace"]),
        ("argparse", ["-m", "workers"]),
        ("signal", CONSOLE),  # as early as that
        ("signal", ["-m", "tuplespace"]),
        ("signal", ["-m", "workers"]),
    ],
)
def test_ctrl_c_while_a_program_starts_ends_it_without_a_word(
    interrupted_at: Start, module: str, words: list[str]
) -> None:
    ended = interrupted_at(module, *words)

    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_who_imports_us_keeps_their_own_ctrl_c(interrupted_at: Start) -> None:
    ended = interrupted_at("msgpack", "-c", "import workers")

    assert ended.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in ended.stderr


def test_the_tasks_of_a_checkout_can_be_imported_in_any_thread_and_leave_ctrl_c_alone(
    run_python: Callable[..., Any],
) -> None:
    lines = (
        "import signal, threading",
        "threads = [threading.Thread(target=__import__, args=('tasks',))]",
        "[each.start() for each in threads]",
        "[each.join() for each in threads]",
        "import tasks",
        "print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)",
    )

    assert run_python("-c", "\n".join(lines)).communicate(timeout=50) == ("True\n", "")


@pytest.mark.parametrize("words", [["-c", "import workers", "-m", "workers"], ["-m", "theirs"]])
def test_who_imports_us_in_a_program_of_their_own_keeps_it_too(
    interrupted_at: Start, tmp_path: Path, words: list[str]
) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "__init__.py").write_text("import tuplespace\n")
    (tmp_path / "theirs" / "__main__.py").touch()

    ended = interrupted_at("msgpack", *words)

    assert ended.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in ended.stderr


IGNORING = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.mark.parametrize("words", [CONSOLE, ["-m", "tuplespace", "--help"]])
def test_where_ctrl_c_is_ignored_it_stays_so(interrupted_at: Start, words: list[str]) -> None:
    ended = interrupted_at("msgpack", "-c", IGNORING, *words)

    assert ended.returncode == 1
    assert "Error: module 'msgpack' has no" in ended.stderr  # it was imported to its end


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody tells what is handled")
def test_ctrl_c_before_an_agent_has_its_space_removes_its_folder(
    run_python: Callable[..., subprocess.Popen[str]], tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    agent = run_python("-m", "workers", "--space", "-", "--remove", str(folder))

    def waits() -> bool:
        text = Path(f"/proc/{agent.pid}/status").read_text()
        caught = int(text.split("\nSigCgt:")[1].split()[0], 16)
        return bool(caught & 1 << (signal.SIGTERM - 1)) and "\nState:\tS" in text

    eventually(waits)
    agent.send_signal(signal.SIGINT)

    assert agent.wait(20) == 130
    assert not folder.exists()
