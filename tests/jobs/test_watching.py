"""What people see of a space that they watch: on a terminal of its own, in a pipe, through its death."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from jobs.terminal.watching import _shares, watch
from tuplespace import RemoteSpace, TupleSpace, connect

RUNTIME = "cpython-3.11"


def a_busy_space(space: RemoteSpace) -> None:
    space.write(("worker", "lab1-ab", "lab1", RUNTIME, 2))
    running, processes = ((41, "j1", "map", 12, 75.0),), ((41, 52_000_000), (42, 30_000_000))
    space.write(("running", "lab1-ab", "lab1", 1, running, processes))
    space.write(("job", "j1", {"label": "word_count", "maps": 8, "reduces": 4}))
    space.write_many([("task", "j1", "map", number, RUNTIME, "", b"") for number in range(3)])
    space.write(("buried", "j0", "reduce", 5, {"reason": "ValueError: no", "attempts": 2}))


class Watcher:
    """`status --watch` in a process of its own."""

    def __init__(self, uri: str, *options: str, terminal: bool = False) -> None:
        words = ["status", "--watch", "--every", "0.1", "--space", uri, *options]
        boot = "from jobs.cli import program; program.run()"
        if terminal:
            self._end, theirs = pty.openpty()
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))
        else:
            self._end, theirs = os.pipe()
        environment = {**os.environ, "TERM": "xterm", "PYTHONPATH": os.getcwd()}
        for name in ("LINES", "COLUMNS"):  # the terminal knows better
            environment.pop(name, None)
        self.process = subprocess.Popen(
            [sys.executable, "-c", boot, *words], env=environment, stdin=subprocess.DEVNULL,
            stdout=theirs, stderr=subprocess.STDOUT,
        )  # fmt: skip
        os.close(theirs)
        self.shown = ""

    def wait_for(self, text: str) -> str:
        """Read on until this text is shown; return all that was read on the way."""
        while text not in self.shown:
            more = self._more()
            assert more, f"it ended without {text!r}: {self.shown}"
            self.shown += more
        before, found, self.shown = self.shown.partition(text)
        return before + found

    def rest(self) -> str:
        """Read what is left when it has ended."""
        while more := self._more():
            self.shown += more
        return self.shown

    def _more(self) -> str:
        try:
            read = os.read(self._end, 65536)
        except OSError:  # so a terminal says that nobody is there any more
            return ""
        return (
            re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", read.decode(errors="replace")) or " "
            if read
            else ""
        )

    def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(10)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._end)


@pytest.fixture
def watcher() -> Any:
    started: list[Watcher] = []

    def start(uri: str, *options: str, terminal: bool = False) -> Watcher:
        started.append(Watcher(uri, *options, terminal=terminal))
        return started[-1]

    yield start
    for each in started:
        each.close()


def test_the_live_view_follows_the_space_on_a_terminal_until_ctrl_c(
    remote: RemoteSpace, watcher: Any
) -> None:
    view = watcher(remote.uri, terminal=True)
    view.wait_for("Ctrl-C ends this view")
    a_busy_space(remote)

    view.wait_for("the oldest ready task: j1 map 0, for ")
    view.wait_for("lab1-ab")
    view.wait_for("j1 map 12")
    view.wait_for("ValueError: no")
    remote.take(("worker", "lab1-ab", *[None] * 3))
    view.wait_for("tuples 6")
    assert view.end() == 0
    assert "Traceback" not in view.rest()


def test_many_long_rows_leave_each_table_on_a_screen_of_24_lines(space: TupleSpace) -> None:
    for number in range(9):
        worker = f"a-host-with-a-long-name-{number}" * 3
        space.write(("worker", worker, worker, RUNTIME, 2))
        space.write(
            ("running", worker, worker, 1, ((41, "j1", "map", 12, 75.0),), ((41, 5), (42, 3)))
        )
        space.write(("job", f"job{number}", {"label": "a long name, " * 20, "driver": "lab1/77"}))
        space.write(("buried", f"job{number}", "map", 5, {"reason": "ValueError: no, " * 20}))
    screen = Console(file=StringIO(), force_terminal=True, force_interactive=True,
                     width=80, height=24, color_system=None)  # fmt: skip

    def enough(seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watch(space, "PYRO:tuplespace@lab1:9217", 1.0, console=screen, wait=enough)

    shown = screen.file.getvalue()  # type: ignore[attr-defined]  # it is what was given
    for text in ("Workers", "Processes", "Jobs", "job1", "Buried tasks", "Ctrl-C ends this view"):
        assert text in shown


def test_a_watched_space_that_goes_away_and_comes_back_is_said_to(
    cluster: Any, watcher: Any
) -> None:
    view = watcher(cluster.uri)
    view.wait_for("no task is ready")
    cluster.kill_server()
    view.wait_for(" is away, for ")
    cluster.start_server()
    view.wait_for("is back, empty")
    with connect(cluster.uri) as space:
        space.write(("worker", "lab1-ab", "lab1", RUNTIME, 2))
    view.wait_for("the space is back; tuples")
    view.wait_for("lab1-ab  lab1")

    assert view.end(signal.SIGTERM) == 0


def test_a_program_can_watch_a_line_for_each_look(
    remote: RemoteSpace, capsys: pytest.CaptureFixture[str]
) -> None:
    def write_or_end(seconds: float) -> None:
        if remote.status()["tuples"]:
            raise KeyboardInterrupt
        remote.write(("x", seconds))

    with pytest.raises(KeyboardInterrupt):
        watch(remote, remote.uri, 2.5, as_json=True, wait=write_or_end)

    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["figures"]["tuples"], second["figures"]["tuples"]) == (0, 1)
    assert second["rate"] > 0
    assert remote.count(("x", 2.5)) == 1


@pytest.mark.parametrize(
    ("wanted", "room", "shares"),
    [
        ([2, 1, 3], 99, [2, 1, 3]),
        ([200, 1600, 1], 3, [1, 1, 1]),
        ([200, 1600, 1], 0, [1, 1, 1]),
        ([200, 0, 1600, 2], 22, [10, 0, 10, 2]),
        ([200, 1600], 7, [4, 3]),
    ],
)
def test_tables_share_a_screen_and_a_short_one_leaves_its_lines_to_others(
    wanted: list[int], room: int, shares: list[int]
) -> None:
    assert _shares(wanted, room) == shares
