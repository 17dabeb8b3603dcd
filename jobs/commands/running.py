"""The commands that run a job, go on with one, and end one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from invoke import Context, Exit

from jobs import demo as demonstration
from jobs.catalogue import (
    CATALOGUE,
    ReadyMadeJob,
    build,
    find,
    options_of,
    read_options,
    title_of,
)
from jobs.commands.command import KEY_FILE, NAME, SPACE, command, sigterm_interrupts
from jobs.errors import JobsError
from jobs.steps import run_steps
from jobs.terminal.failures import print_skipped
from jobs.terminal.progress import ProgressDisplay
from jobs.terminal.tables import print_table
from mapreduce import Blocks, JobRun, MapReduceJob
from mapreduce.attaching import cancel as cancel_job
from mapreduce.engine.embedded import EmbeddedEngine
from mapreduce.engine.interface import Engine
from mapreduce.engine.tenure import driver_of
from mapreduce.errors import shorten
from tuplespace import RemoteSpace, TupleSpaceError, connect
from tuplespace.serve import say


@command()
def demo(_: Context) -> None:
    """Count the words of Python's standard library with a space and two workers, and check."""
    with sigterm_interrupts():
        if not demonstration.run():
            raise Exit("the result differs from run_sequential()", code=1)


@command(
    positional=["which"],
    iterable=["input", "option"],
    help={
        "which": f"one of {', '.join(sorted(CATALOGUE))}; or `list`: what they do",
        "input": "path or quoted glob of files to read; repeatable",
        "local": "use a private space and one worker a core, here, instead of a running space",
        "pattern": "what to look for (grep)",
        "option": "an option of the job's own, as in rounds=10; repeatable; `job list` shows them",
        "map-tasks": "M (default: from the data)",
        "reduce-tasks": "R (default: from the data)",
        "rows": "rows to print; 0: all",
        "skip-bad-records": "how many records, on which the job's functions fail, may be skipped",
        "on-bad-task": "what to do when a task has failed for good: fail, or skip: go on without it",
        **SPACE,
        **NAME,
        **KEY_FILE,
    },
)
def job(
    _: Context, which: str, input: list[str] | None = None, space: str = "",
    key_file: str = "", local: bool = False, pattern: str = "", map_tasks: int = 0,
    reduce_tasks: int = 0, rows: int = 20, name: str = "", skip_bad_records: int = 0,
    on_bad_task: str = "fail", option: list[str] | None = None,
) -> None:  # fmt: skip
    """Run a ready-made job; `job list` lists them."""
    if which == "list":
        lines = [(each, options_of(each), title_of(each)) for each in sorted(CATALOGUE)]
        title = "Ready-made jobs: invoke job NAME --input GLOB [--option NAME=VALUE]"
        print_table(("job", "options", "what it does"), lines, title)
        return
    ready_made = find(which)
    if not input:
        raise JobsError(
            f"{which} wants input: --input PATH, or a quoted glob; repeat it for more. "
            f"`invoke sample {which}` makes some"
        )
    given = [*(option or []), *([f"pattern={pattern}"] if pattern else [])]
    work = build(which, input, **read_options(which, given))

    def carry_out(step: MapReduceJob) -> list[Any]:
        if not isinstance(step.data, Blocks):  # kept partitions are mapped as they are
            step.map_tasks = map_tasks or step.map_tasks
        step.reduce_tasks = reduce_tasks or step.reduce_tasks
        step.skip_bad_records, step.on_bad_task = skip_bad_records, on_bad_task
        label = which if work is step else f"{which}, step {len(runs) + 1}"
        run = step.submit(engine(), label=label)
        runs.append(run)
        if not local:
            say(f"job {run.id}; should this process die, `invoke resume {run.id}` goes on with it")
        return follow(run)

    runs: list[JobRun] = []
    with sigterm_interrupts(), _engine(space, name, key_file, local) as engine:
        results = run_steps(work, carry_out)
    if not runs:
        raise JobsError(f"{which} had no job to run")
    _print_results(runs[-1], ready_made, results, rows)


def _print_results(run: JobRun, made: ReadyMadeJob | None, results: list[Any], rows: int) -> None:
    """Print a ready-made job's table, or a line for each result, and what it took."""
    report = run.report
    table = [(number, shorten(result)) for number, result in enumerate(results)]
    columns, title = ("partition", "result"), f"Job {run.id}"
    if made is not None:
        table, columns, title = made.table(results), made.COLUMNS, made.TITLE  # type: ignore[assignment]
    print_table(columns, table[: rows or None], title)
    if counted := run.counters:
        print_table(("counter", "count"), sorted(counted.items()), "Counters")
    say(
        f"{len(table):,} rows; {report.pairs:,} pairs, {report.shuffle_bytes:,} bytes shuffled; "
        f"{sum(report.tasks_by_worker.values())} tasks on {len(report.tasks_by_worker)} workers, "
        f"{run.progress().attempts_failed} failed attempts, "
        f"{report.backup_tasks} backup tasks; {report.seconds:.2f} s"
    )
    print_skipped(report.skipped, report.skipped_tasks)


_ID = {"id": "the job's id, as `job` and `status` say it"}


@command(
    positional=["id"],
    help={**_ID, "rows": "rows to print; 0: all", **SPACE, **NAME, **KEY_FILE},
)
def resume(
    _: Context, id: str, space: str = "", key_file: str = "", name: str = "", rows: int = 20
) -> None:
    """Go on with a job whose driver has died; no task that has ended runs again. Ctrl-C cancels it."""
    with (
        sigterm_interrupts(),
        connect(space or None, name=name or None, key_file=key_file or None) as remote,
    ):
        if driver := driver_of(remote, id):
            sys.stderr.write(f"job {id} has a driver, {driver}; waiting up to 20 s for it to end\n")
        run = MapReduceJob.attach(remote, id)
        done = run.progress()
        say(
            f"job {run.id} goes on: {done.map_done} of {done.map_total} maps and "
            f"{done.reduce_done} of {done.reduce_total} reduces are done"
        )
        _print_results(run, CATALOGUE.get(run.label), follow(run), rows)


@command(positional=["id"], help={**_ID, **SPACE, **NAME, **KEY_FILE})
def cancel(_: Context, id: str, space: str = "", key_file: str = "", name: str = "") -> None:
    """Cancel a job, from anywhere."""
    with connect(space or None, name=name or None, key_file=key_file or None) as remote:
        driver = cancel_job(remote, id)
    say(f"job {id} is cancelled" + (f"; its driver {driver} will say so" if driver else ""))


def follow(run: JobRun) -> list[Any]:
    """Show a job's progress until it has ended; return its results. Interrupted, cancel it."""
    try:
        with ProgressDisplay() as display:
            while not run.wait(0.1):
                display.update(run.progress())
            display.update(run.progress())
        return run.result()
    except BaseException as error:
        run.cancel()
        if isinstance(error, KeyboardInterrupt):
            sys.stderr.write(f"job {run.id} is cancelled\n")
        raise


@contextmanager
def _engine(
    uri: str, name: str, key_file: str, local: bool
) -> Iterator[Callable[[], RemoteSpace | Engine]]:
    """Yield what gives each job something to run on."""
    if local:
        with closing(EmbeddedEngine()) as cluster:
            yield cluster.another
        return
    try:
        space = connect(uri or None, name=name or None, key_file=key_file or None)
    except TupleSpaceError as error:
        raise JobsError(f"{error}; or run the job on this machine alone with --local") from None
    with space:
        yield lambda: space
