"""How far a job is: two bars on a terminal, plain lines anywhere else, on stderr.

So ``invoke job ... > file`` keeps the results apart and still shows how far the job is. What is not
known yet is not shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.text import Text

from jobs.terminal.amounts import bytes_text, seconds_text
from jobs.terminal.tables import legible, print_plain
from mapreduce.report import Progress

SECONDS_BETWEEN_LINES: Final = 1.0
#: More would be seen by nobody, and each costs the driver some milliseconds.
_LOOKS_A_SECOND: Final = 4


class ProgressDisplay:
    """Shows the progress of one job: two bars on a terminal, else at most one line a second.

    Use it as a context manager and call ``update`` as often as you like.
    """

    def __init__(
        self, console: Console | None = None, *, records_before: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """Show progress on a console, by default on stderr.

        Args:
            console: Where to show it.
            records_before: That were read before this driver began.
            clock: Seconds from any start, to keep plain lines a second apart.
        """
        console = console or Console(stderr=True)
        self._view: _Terminal | _Lines = (
            _Terminal(console) if console.is_interactive else _Lines(console, clock)
        )
        self._pace = _Pace(records_before)

    def __enter__(self) -> ProgressDisplay:
        """Begin to show progress."""
        self.start()
        return self

    def start(self) -> None:
        """Begin to show progress."""
        self._view.start()

    def stop(self) -> None:
        """Leave the last progress standing; also if `start` has not got to its end."""
        self._view.stop()

    def update(self, progress: Progress) -> None:
        """Show this progress, at once or when it is due."""
        self._view.show(progress, self._pace.records_a_second(progress))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the last progress standing."""
        self.stop()


class _Pace:
    """How fast maps read, while there are any; their last pace stands."""

    def __init__(self, before: int) -> None:
        self._before, self._seconds = before, 0.0

    def records_a_second(self, progress: Progress) -> float | None:
        if not self._seconds or progress.map_done < progress.map_total:
            self._seconds = progress.seconds
        records = progress.records - self._before
        return records / self._seconds if records > 0 and self._seconds else None


class _Terminal(Bars):
    """A bar for each phase, what is known of it beside it, and below why nothing happens."""

    def __init__(self, console: Console) -> None:
        self._notice = ""
        super().__init__(
            TextColumn("{task.description:>6}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", style="cyan"),
            console=console,
            refresh_per_second=_LOOKS_A_SECOND,
        )
        self._map = self.add_task("map", total=None, note="")
        self._reduce = self.add_task("reduce", total=None, note="")

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return what rich is to show."""
        yield from super().get_renderables()
        if self._notice:
            yield Text(legible(self._notice, self.console.encoding), style="yellow")

    def show(self, progress: Progress, rate: float | None) -> None:
        self._notice, failures = progress.notice, _failures(progress)
        self.update(
            self._map, completed=progress.map_done, total=progress.map_total,
            note=" ".join(filter(None, (_rate(rate), _shuffled(progress), _left(progress, "map")))),
        )  # fmt: skip
        self.update(
            self._reduce, completed=progress.reduce_done, total=progress.reduce_total,
            note=" ".join(
                filter(None, (_left(progress, "reduce"), failures and f"[yellow]{failures}[/]"))
            ),
        )  # fmt: skip


class _Lines:
    """One plain line whenever progress has changed and the last line is a second old."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        self._console = console
        self._clock = clock
        self._line = ""
        self._news: tuple[str, ...] = ()
        self._told: tuple[str, ...] = ()
        self._due = clock()

    def start(self) -> None:
        """Nothing to show yet."""

    def show(self, progress: Progress, rate: float | None) -> None:
        # What changes with the clock alone is no news: a job that stands still says so once.
        self._news = (
            f"map {progress.map_done}/{progress.map_total}",
            f"reduce {progress.reduce_done}/{progress.reduce_total}",
            _shuffled(progress), _failures(progress), progress.notice,
        )  # fmt: skip
        maps, reduces, shuffled, failures, notice = self._news
        left = " ".join(
            f"{each}: {text}" for each in ("map", "reduce") if (text := _left(progress, each))
        )
        told = (maps, reduces, _rate(rate), shuffled, failures, left, notice)
        self._line = legible("  ".join(filter(None, told)), self._console.encoding)
        if self._clock() >= self._due:
            self._print()

    def stop(self) -> None:
        self._print()

    def _print(self) -> None:
        if self._news != self._told:
            print_plain(self._console, self._line)
            self._told = self._news
            self._due = self._clock() + SECONDS_BETWEEN_LINES


def _rate(rate: float | None) -> str:
    return "" if rate is None else f"{rate:,.0f} records/s"


def _shuffled(progress: Progress) -> str:
    return f"{bytes_text(progress.shuffle_bytes)} shuffled" if progress.shuffle_bytes else ""


def _left(progress: Progress, phase: str) -> str:
    """Return how long a phase may still take; nothing of one that is not under way."""
    under_way = "map" if progress.map_done < progress.map_total else "reduce"
    is_done = progress.reduce_total and progress.reduce_done == progress.reduce_total
    if phase != under_way or progress.seconds_left is None or is_done:
        return ""
    if progress.seconds_left < 1:  # more digits would say what nobody knows
        return "less than 1 s left"
    return f"about {seconds_text(progress.seconds_left)} left"


def _failures(progress: Progress) -> str:
    """Return how many attempts failed, or nothing when none did."""
    if not progress.attempts_failed:
        return ""
    return f"{progress.attempts_failed} failed attempt{'s' * (progress.attempts_failed > 1)}"
