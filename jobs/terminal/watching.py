"""What people see of a space: once, or again and again until Ctrl-C.

On a terminal the live view stands in one place; anywhere else each look is printed with its time. A space
that goes away is asked again until it is back, and meanwhile what was last seen stands there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from jobs.terminal.amounts import bytes_text, seconds_text
from jobs.terminal.documents import print_json
from jobs.terminal.failures import BURIED_COLUMNS, buried_rows
from jobs.terminal.overview import Job, Lookout, Overview, short
from jobs.terminal.tables import grid_of, legible, print_plain, print_table
from tuplespace import SpaceLostError, SpaceUnreachableError
from tuplespace.interface import Space
from tuplespace.values import brief

#: Lines of a live view beside its tables, and of a table beside its rows.
_AROUND_TABLES: Final = 6
_AROUND_ROWS: Final = 2
#: The figures that a live view shows.
_LIVE_FIGURES: Final = ("tuples", "claims", "waiters", "bytes", "connections", "operations")
_IN_BYTES: Final = ("bytes", "reply_bytes")
#: Of a job.
JOB_COLUMNS: Final = ("job", "name", "maps", "reduces", "ready", "since", "driver")


class Section(NamedTuple):
    """A table: what `print_table` takes."""

    columns: Sequence[str]
    rows: list[tuple[Any, ...]]
    title: str


def print_overview(seen: Overview, console: Console | None = None) -> None:
    """Print all there is to see of a space."""
    for section in (_figures(seen), *_sections(seen)):
        print_table(*section, console)
    if seen.oldest is not None:
        print_plain(console or Console(), _oldest(seen))


def watch(
    space: Space, uri: str, every: float, *, as_json: bool = False,
    console: Console | None = None, wait: Callable[[float], Any] | None = None,
) -> None:  # fmt: skip
    """Show what is going on in a space until Ctrl-C, which ends it as KeyboardInterrupt.

    Args:
        space: It. uri: Where it is. every: Seconds between two looks.
        as_json: Print each look as a line of JSON. console: Where to show it, by default on stdout.
        wait: Waits some seconds; None: it does just that.

    Raises:
        KeyboardInterrupt: Somebody has seen enough. TupleSpaceError: What no waiting mends.
    """
    console, wait = console or Console(), wait or threading.Event().wait
    if as_json or not console.is_interactive:
        show = _print_document if as_json else _Snapshots(console).show
        _look_on(space, uri, every, show, wait)
        return
    live = Live(console=console, screen=True, auto_refresh=False)

    def refresh(seen: Overview | None, trouble: str) -> None:
        live.update(_view(seen, trouble, console), refresh=True)

    try:  # no `with`: Ctrl-C may come while it begins, and the terminal must be as it was
        live.start()
        _look_on(space, uri, every, refresh, wait)
    finally:
        live.stop()


_Show = Callable[[Overview | None, str], None]


def _look_on(
    space: Space, uri: str, every: float, show: _Show, wait: Callable[[float], Any]
) -> None:
    lookout, seen, trouble, seen_at = Lookout(), None, "", time.monotonic()
    while True:
        try:
            seen, trouble = lookout.look(space, uri, time.monotonic()), ""
            seen_at = time.monotonic()
        except SpaceLostError:
            lookout, seen = Lookout(), None
            trouble = "the space was away and is back, empty: it was kept in memory only"
        except SpaceUnreachableError:
            away = seconds_text(time.monotonic() - seen_at)
            trouble = f"the space {uri} is away, for {away} now; asking again"
        show(seen, trouble)
        wait(every)


def _print_document(seen: Overview | None, trouble: str) -> None:
    print_json({"away": trouble} if trouble else seen)


class _Snapshots:
    """Looks printed one below the other."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._was_away = False

    def show(self, seen: Overview | None, trouble: str) -> None:
        at = datetime.now().astimezone().isoformat(" ", "seconds")
        if trouble:
            print_plain(self._console, f"{at} {trouble}")
        elif seen is not None:
            back = "the space is back; " if self._was_away else ""
            print_plain(self._console, f"{at} {back}{_line(seen)}")
            for section in _sections(seen):
                print_table(*section, self._console)
            print_plain(self._console, _oldest(seen) + "\n")
        self._was_away = bool(trouble)
        self._console.file.flush()


def _view(seen: Overview | None, trouble: str, console: Console) -> RenderableType:
    encoding = console.encoding
    at = datetime.now().astimezone().isoformat(" ", "seconds")
    parts: list[RenderableType] = []
    if trouble:
        parts.append(Text(f"{at} {trouble}", style="bold yellow"))
    if seen is not None:
        head = f"{at} Space {seen.uri}" if not trouble else "what was last seen:"
        parts += [
            Text(head, style="bold"),
            Text(_line(seen)),
            Text(legible(_oldest(seen), encoding)),
        ]
        sections = _sections(seen)
        # A longer table would push what stands below it off the screen.
        room = console.height - _AROUND_TABLES - len(sections) * _AROUND_ROWS
        shares = _shares([len(rows) for _, rows, _ in sections], room)
        for (columns, rows, title), shown in zip(sections, shares, strict=True):
            more = f", the first {shown} of {len(rows)}" if len(rows) > shown else ""
            parts.append(grid_of(columns, rows[:shown], title + more, encoding, is_dense=True))
    return Group(*parts, Text("Ctrl-C ends this view, and nothing else", style="dim"))


def _shares(wanted: Sequence[int], room: int) -> list[int]:
    """Divide the lines there are among tables that want so many: no table gets less than one it wants."""
    shares = [min(1, each) for each in wanted]
    while (left := room - sum(shares)) > 0 and shares != list(wanted):
        hungry = [at for at, share in enumerate(shares) if share < wanted[at]]
        for at in hungry[:left]:
            shares[at] = min(wanted[at], shares[at] + max(1, left // len(hungry)))
    return shares


def _line(seen: Overview) -> str:
    """Return the figures of a live view in a line."""
    shown = {name: seen.figures.get(name, 0) for name in _LIVE_FIGURES}
    shown["bytes"] = bytes_text(shown["bytes"])
    told = [f"{name} {count}" for name, count in shown.items()]
    if seen.rate is not None:
        told[-1] += f" ({seen.rate:,.0f}/s)"  # the last figure is that of operations
    return ", ".join(told)


def _oldest(seen: Overview) -> str:
    task = seen.oldest
    if task is None:
        return "no task is ready"
    waited = f", for {seconds_text(task.seconds)} at least" if task.seconds else ""
    return short(f"the oldest ready task: {task.job} {task.phase} {brief(task.number)}{waited}")


def _figures(seen: Overview) -> Section:
    figures = dict(seen.figures)
    figures["oldest_ready_seconds"] = round(figures.get("oldest_ready_seconds", 0.0), 1)
    limits = dict(seen.limits)
    for told in (figures, limits):
        told.update({each: bytes_text(told[each]) for each in _IN_BYTES if told.get(each)})
    rows = [(each, value, limits.get(each) or "") for each, value in sorted(figures.items())]
    return Section(("figure", "value", "limit"), rows, f"Space {seen.uri}")


def _sections(seen: Overview) -> list[Section]:
    """Return the tables below the figures; of processes and buried tasks only if there are any."""
    workers = [
        (*map(short, each[:3]), each.processes, _gap(each.idle),
         "" if each.memory is None else bytes_text(each.memory))
        for each in seen.agents
    ]  # fmt: skip
    sections = [
        Section(("worker", "host", "runtime", "processes", "idle", "memory"), workers, "Workers")
    ]
    processes = [
        (short(each.host), each.pid, short(each.task),
         "" if each.seconds is None else seconds_text(max(0.0, each.seconds)),
         "" if each.memory is None else bytes_text(each.memory))
        for each in seen.processes
    ]  # fmt: skip
    if processes:
        columns = ("host", "pid", "task", "since", "memory")
        sections.append(Section(columns, processes, "Processes"))
    sections.append(Section(JOB_COLUMNS, [job_row(each) for each in seen.jobs], "Jobs"))
    if buried := buried_rows(seen.buried):
        all_of = len(buried) == seen.buried_count
        title = "Buried tasks" if all_of else f"The oldest of {seen.buried_count:,} buried tasks"
        sections.append(Section(BURIED_COLUMNS, buried, title))
    return sections


def job_row(job: Job) -> tuple[object, ...]:
    """Return what is shown of a job."""
    return (
        short(job.id), short(job.name), _share(job.maps_done, job.maps),
        _share(job.reduces_done, job.reduces), _gap(job.ready),
        "" if job.seconds is None else seconds_text(max(0.0, job.seconds)), short(job.driver),
    )  # fmt: skip


def _share(done: int | None, total: int | None) -> object:
    """Return as in "3 of 8", or the total if nobody says how many are done."""
    return _gap(total) if done is None else f"{brief(done)} of {brief(total)}"


def _gap(value: int | None) -> object:
    return "" if value is None else value
