"""The commands that show what a space holds and who works on what."""

from __future__ import annotations

from invoke import Context

from jobs.commands.command import KEY_FILE, NAME, SPACE, command
from jobs.terminal.failures import print_buried
from jobs.terminal.tables import print_table
from tuplespace import connect
from workers.claims import deserted_jobs


@command(help={**SPACE, **NAME, **KEY_FILE})
def status(_: Context, space: str = "", key_file: str = "", name: str = "") -> None:
    """Show what a space holds, its workers and its jobs."""
    with connect(space or None, name=name or None, key_file=key_file or None) as remote:
        figures = remote.status()
        limits = figures.pop("limits")
        figures["oldest_ready_seconds"] = round(figures["oldest_ready_seconds"], 1)
        rows = [(each, value, limits.get(each) or "") for each, value in sorted(figures.items())]
        print_table(("figure", "value", "limit"), rows, f"Space {remote.uri}")
        workers = [value[1:] for value in remote.read_all(("worker", *[None] * 4))]
        print_table(("worker", "host", "runtime", "processes"), workers, "Workers")
        waiting = deserted_jobs(remote)
        jobs = [
            (value[1], value[2].get("label", ""), value[2].get("maps"), value[2].get("reduces"),
             remote.count(("task", value[1], *[None] * 5)),
             f"none: invoke resume {value[1]}" if value[1] in waiting
             else value[2].get("driver", ""))
            for value in remote.read_all(("job", None, dict))
        ]  # fmt: skip
        columns = ("job", "name", "maps", "reduces", "tasks ready", "driver")
        print_table(columns, jobs, "Jobs")
        print_buried(remote.read_all(("buried", str, str, int, dict)))
