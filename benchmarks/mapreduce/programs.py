"""Running programs: each a process that does one job once, in a folder and for a time of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.mapreduce.watch import DRIVER, Watch
from benchmarks.peer_programs.program import Order

ROOT: Final = Path(__file__).parents[2]
#: The Python that has the peers; by default the one that runs this.
PEERS_PYTHON: Final = "BENCH_PYTHON"
_LOOK_SECONDS: Final = 0.2
_STOP_SECONDS: Final = 15.0


@dataclass(frozen=True)
class Program:
    """A program, and what else to know of it.

    Attributes:
        name: What tables call it. module: Its module. needs: The package that it cannot do without.
        roots: Running processes to watch besides it, by process id. more: For its order.
    """

    name: str
    module: str
    needs: str = ""
    roots: Mapping[int, str] = field(default_factory=dict)
    more: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Run:
    """How a run went.

    Attributes:
        said: What it printed: "seconds", "start_seconds", "digest" or "each". absence: Why it has
            said nothing. peaks: Bytes of memory, by process. total: Bytes of all at once.
    """

    said: dict[str, Any] = field(default_factory=dict)
    absence: str = ""
    peaks: dict[str, int] = field(default_factory=dict)
    total: int = 0


def peers_python() -> str:
    """Return the Python that runs the peers."""
    return os.environ.get(PEERS_PYTHON) or sys.executable


def absence(program: Program) -> str:
    """Say why a program cannot run here; nothing if it can."""
    if not program.needs:
        return ""
    words = [peers_python(), "-c", f"import {program.needs}"]
    if subprocess.run(words, capture_output=True).returncode:
        return f"not installed: {peers_python()} -m pip install {program.needs}"
    if (
        program.needs == "pyspark"
        and subprocess.run(["java", "-version"], capture_output=True).returncode
    ):
        return "there is no Java"
    return ""


def run(program: Program, order: Order, limit: float) -> Run:
    """Run a program in an empty folder, for at most `limit` seconds; it leaves nothing behind."""
    # Ray's sockets are in its folder, and their paths must be short.
    with tempfile.TemporaryDirectory(prefix="b-", ignore_cleanup_errors=True) as folder:
        order = order._replace(folder=f"{folder}/out", more=program.more)
        os.mkdir(order.folder)
        ours = program.module.startswith("benchmarks.mapreduce")
        python = sys.executable if ours else peers_python()
        with (
            open(f"{folder}/said", "w+b") as said,
            open(f"{folder}/errors", "w+b") as errors,
            subprocess.Popen(
                [python, "-m", program.module, order.to_json()], cwd=ROOT, env=_environment(),
                stdin=subprocess.DEVNULL, stdout=said, stderr=errors, start_new_session=True,
            ) as process,
        ):  # fmt: skip
            watch = Watch({process.pid: DRIVER, **program.roots})
            try:
                in_time = _wait(process, Path(said.name), watch, limit)
            finally:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
                watch.end()
                process.wait()
        answer = _answer(Path(said.name))
        done = Run(answer or {}, "", watch.peaks(), watch.total)
        if answer is None:
            reason = _last_line(Path(errors.name))
            status = (
                f"exit status {process.returncode}" if in_time else f"not done in {limit:.0f} s"
            )
            done.absence = f"died: {status}" + (f": {reason}" if reason else "")
        return done


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONHASHSEED": "0",  # peers deal out by hash()
        "RAY_AUTH_MODE": "disabled",  # else it leaves a token in the user's home
    }


def _wait(process: subprocess.Popen[bytes], said: Path, watch: Watch, limit: float) -> bool:
    """Watch a process until it has ended, or has said its answer and does not end, or is late."""
    deadline = time.monotonic() + limit
    answered = False
    while time.monotonic() < deadline:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK_SECONDS)
            return True
        watch.look()
        if not answered and _answer(said):
            answered, deadline = True, time.monotonic() + _STOP_SECONDS
    return False


def _answer(said: Path) -> dict[str, Any] | None:
    for line in reversed(said.read_bytes().splitlines()):
        if line.startswith(b'{"seconds"'):
            with suppress(ValueError):
                found: dict[str, Any] = json.loads(line)
                return found
    return None


def _last_line(errors: Path) -> str:
    text = errors.read_text(errors="replace").replace("|", "/")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if "Error" in line or "Killed" in line] or lines
    return told[-1][:160] if told else ""
