"""How far a job is: two bars on a terminal, plain lines anywhere else, on stderr.

So ``invoke job ... > file`` keeps the results apart and still shows how far the job is.
"""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from jobs.terminal.tables import print_plain

SECONDS_BETWEEN_LINES = 1.0


class JobProgress(Protocol):
    """How far a job is: tasks done and in all, by phase, and attempts that failed on the way."""

    @property
    def map_done(self) -> int:
        """Map tasks with an outcome that counts."""

    @property
    def map_total(self) -> int:
        """M."""

    @property
    def reduce_done(self) -> int:
        """Reduce tasks with an outcome that counts."""

    @property
    def reduce_total(self) -> int:
        """R."""

    @property
    def attempts_failed(self) -> int:
        """Attempts of either phase that failed so far."""


class ProgressDisplay:
    """Shows the progress of one job: two bars on a terminal, else at most one line a second.

    Use it as a context manager and call ``update`` as often as you like.
    """

    def __init__(
        self, console: Console | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Show progress on a console, by default on stderr.

        Args:
            console: Where to show it.
            clock: Seconds from any start, to keep plain lines a second apart.
        """
        console = console or Console(stderr=True)
        self._view: _Bars | _Lines = (
            _Bars(console) if console.is_interactive else _Lines(console, clock)
        )

    def __enter__(self) -> "ProgressDisplay":
        """Begin to show progress."""
        self._view.start()
        return self

    def update(self, progress: JobProgress) -> None:
        """Show this progress, at once or when it is due."""
        self._view.update(progress)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the last progress standing."""
        self._view.stop()


class _Bars:
    """A bar for each phase, with the failed attempts beside the second."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description:>6}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", style="yellow"),
            console=console,
        )
        self._map = self._progress.add_task("map", total=None, note="")
        self._reduce = self._progress.add_task("reduce", total=None, note="")

    def start(self) -> None:
        self._progress.start()

    def update(self, progress: JobProgress) -> None:
        show = self._progress.update
        show(self._map, completed=progress.map_done, total=progress.map_total)
        show(
            self._reduce,
            completed=progress.reduce_done,
            total=progress.reduce_total,
            note=_failures(progress),
        )

    def stop(self) -> None:
        self._progress.stop()


class _Lines:
    """One plain line whenever progress has changed and the last line is a second old."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        self._console = console
        self._clock = clock
        self._line = self._printed = ""
        self._due = clock()

    def start(self) -> None:
        """Nothing to show yet."""

    def update(self, progress: JobProgress) -> None:
        done = (
            f"map {progress.map_done}/{progress.map_total}",
            f"reduce {progress.reduce_done}/{progress.reduce_total}",
            _failures(progress),
        )
        self._line = "  ".join(filter(None, done))
        if self._clock() >= self._due:
            self._print()

    def stop(self) -> None:
        self._print()

    def _print(self) -> None:
        if self._line != self._printed:
            print_plain(self._console, self._line)
            self._printed = self._line
            self._due = self._clock() + SECONDS_BETWEEN_LINES


def _failures(progress: JobProgress) -> str:
    """Return how many attempts failed, or nothing when none did."""
    if not progress.attempts_failed:
        return ""
    return f"{progress.attempts_failed} failed attempt{'s' * (progress.attempts_failed > 1)}"
