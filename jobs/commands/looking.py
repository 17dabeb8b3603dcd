"""The commands that show what a space holds and who works on what."""

from __future__ import annotations

import sys
import time
from typing import Final

from invoke import Context

from jobs.commands.command import KEY_FILE, NAME, SPACE, command, sigterm_interrupts
from jobs.commands.options import positional_in
from jobs.errors import JobsError
from jobs.terminal.amounts import bytes_text
from jobs.terminal.documents import print_json
from jobs.terminal.notation import opaque_size, parse_template, show
from jobs.terminal.overview import Lookout, claimed_tasks, jobs_in
from jobs.terminal.sealed import look_into
from jobs.terminal.tables import print_lines, print_table
from jobs.terminal.watching import JOB_COLUMNS, job_row, print_overview, watch
from tuplespace import ANY, RemoteSpace
from tuplespace.values import Tuple

#: A live view asks again by itself, and says that the space is away; so a call need not be patient.
_WATCH_RETRY: Final = 1.0
#: A look every few milliseconds would be no look any more, but a load.
_LEAST_EVERY: Final = 0.1
#: What `tuples` has a space send without being asked to: it sends all that match, or nothing.
_MOST_BYTES: Final = 64e6
#: Tuples of up to so many fields are shown to whoever gives no template, and so much of each.
_LENGTHS: Final = 12
_LONGEST: Final = 300
JSON = {"json": "print JSON for programs, and nothing else, on stdout"}


@command(
    help={
        "watch": "go on showing it until Ctrl-C: on a terminal in one place, elsewhere one look after "
        "the other",
        "every": "seconds between two looks (default: 1)",
        **JSON,
        **SPACE,
        **NAME,
        **KEY_FILE,
    }
)
def status(
    _: Context, space: str = "", key_file: str = "", name: str = "", watch: bool = False,
    every: float = 1.0, json: bool = False,
) -> None:  # fmt: skip
    """Show what a space holds, its workers and its jobs."""
    if watch:
        _watch(space, name, key_file, every, json)
        return
    with look_into(space, name, key_file) as remote:
        seen = Lookout().look(remote, remote.uri, time.monotonic())
    if json:
        print_json(seen)
    else:
        print_overview(seen)


def _watch(space: str, name: str, key_file: str, every: float, as_json: bool) -> None:
    if not every >= _LEAST_EVERY:
        raise JobsError(f"--every is {_LEAST_EVERY} seconds or more, not {every}")
    with sigterm_interrupts(), look_into(space, name, key_file, _WATCH_RETRY) as remote:
        try:
            watch(remote, remote.uri, every, as_json=as_json)
        except KeyboardInterrupt:
            return  # the way to end it


@command(name="jobs", help={**JSON, **SPACE, **NAME, **KEY_FILE})
def list_jobs(
    _: Context, space: str = "", key_file: str = "", name: str = "", json: bool = False
) -> None:
    """Show the jobs in a space, and who drives them."""
    with look_into(space, name, key_file) as remote:
        found = [(each, claimed_tasks(remote, each.id)) for each in jobs_in(remote)]
    if json:
        print_json([{**each._asdict(), "claimed": claimed} for each, claimed in found])
        return
    ready = JOB_COLUMNS.index("ready") + 1
    columns = (*JOB_COLUMNS[:ready], "claimed", *JOB_COLUMNS[ready:])
    rows = []
    for each, claimed in found:
        row = job_row(each)
        rows.append((*row[:ready], claimed, *row[ready:]))
    print_table(columns, rows, "Jobs")


@command(
    positional=positional_in(
        sys.argv, "tuples", ("template",), 0, ("--count", "-c", "--json", "-j")
    ),
    help={
        "template": "as Python writes it: '(\"task\", int, ...)'; None, ... and ANY match anything; types, "
        'Between(1, 5), OneOf("a", "b"), range(10), re("^b"); without one: all tuples, long lines cut short',
        "limit": "how many to show, the oldest first (default: 100); 0: all",
        "count": "only say how many match",
        **JSON,
        **SPACE,
        **NAME,
        **KEY_FILE,
    },
)
def tuples(
    _: Context, template: str | None = None, space: str = "", key_file: str = "", name: str = "",
    limit: int = 100, count: bool = False, json: bool = False,
) -> None:  # fmt: skip
    """Show the tuples that match a template, or all, one a line; they stay where they are."""
    wanted = parse_template(template) if template else None
    if limit < 0:
        raise JobsError(f"--limit is a whole number from 0, not {limit}")
    with look_into(space, name, key_file) as remote:
        if count:
            print_lines([str(_ready(remote) if wanted is None else remote.count(wanted))])
            return
        if wanted is None:
            found, notes = _of_all_lengths(remote, limit)
        else:
            found, matching = _oldest(remote, wanted, limit)
            notes = [_more(len(found), matching)] if len(found) < matching else []
    if json:
        print_json(found)
    else:
        lines = (show(each, opaque_size) for each in found)
        print_lines(lines if template else map(_cut, lines))
    sys.stderr.writelines(f"{note}\n" for note in notes)


def _more(shown: int, matching: int) -> str:
    return f"the first {shown:,} of {matching:,}; --limit 0 shows all"


def _cut(line: str) -> str:
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."


def _ready(space: RemoteSpace) -> int:
    """Return how many tuples there are that nobody has claimed."""
    figures = space.status()
    return int(figures["tuples"] - figures["claims"])


def _of_all_lengths(space: RemoteSpace, limit: int) -> tuple[list[Tuple], list[str]]:
    """Return tuples of a space, the shortest first, and what there is to be said of the others.

    No template matches tuples of any length: each length is asked for.
    """
    found: list[Tuple] = []
    notes, counted, ready = [], 0, _ready(space)
    for length in range(_LENGTHS + 1):
        template = (ANY,) * length
        matching, room = space.count(template), limit - len(found)
        counted += matching
        if matching and (room > 0 or not limit):
            try:
                found += _oldest(space, template, max(0, room))[0]
            except JobsError as error:
                notes.append(f"of {length} fields: {error}")
    if len(found) < counted and not notes:
        notes.append(_more(len(found), counted))
    if (others := min(ready, _ready(space)) - counted) > 0:
        notes.append(
            f"{others:,} more are dicts, or have more than {_LENGTHS} fields: a template shows them"
        )
    return found, notes


def _oldest(space: RemoteSpace, template: Tuple, limit: int) -> tuple[list[Tuple], int]:
    """Return the oldest tuples that match, and how many match.

    A space sends all or none. If that may be much, nobody but who has asked for all gets it.
    """
    if limit:
        matching, figures = space.count(template), space.status()
        about = matching * figures["bytes"] / max(1, figures["tuples"])
        if matching > limit and about > _MOST_BYTES:
            raise JobsError(
                f"{matching:,} tuples match, about {bytes_text(about)}, and a space sends all of them or "
                "none: say more in the template, or --count to count them, or --limit 0 for all"
            )
    found = space.read_all(template)
    return found[: limit or None], len(found)
