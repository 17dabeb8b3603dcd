"""Ctrl-C while a program still imports what it needs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CONSOLE = ["-c", "from jobs.entry import main; main()", "--list"]

Start = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def interrupted_at(tmp_path: Path) -> Start:
    """Run Python with words, and interrupt it when it imports a module."""

    def start(module: str, *words: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / f"{module}.py").write_text(
            "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
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
