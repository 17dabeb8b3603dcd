"""The commands that run a job, go on with one, and end one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
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
from jobs.commands.looking import JSON
from jobs.errors import JobsError
from jobs.steps import run_steps
from jobs.terminal.documents import print_json
from jobs.terminal.following import Interrupted, follow
from jobs.terminal.overview import step_label, whole_of
from jobs.terminal.reports import Step, print_report, report_document, step_of
from jobs.terminal.tables import print_table
from mapreduce import Blocks, JobRun, MapReduceJob
from mapreduce.attaching import cancel as cancel_job
from mapreduce.engine.embedded import EmbeddedEngine
from mapreduce.engine.interface import Engine
from mapreduce.engine.tenure import driver_of
from mapreduce.errors import shorten
from tuplespace import RemoteSpace, SpaceUnreachableError, TupleSpaceError, connect
from tuplespace.serve import say

_ROWS = {"rows": "rows to print; 0: all (default: 20; with --json: all)"}
_DEFAULT_ROWS = 20
_UNSAID = -1


@command()
def demo(_: Context) -> None:
    """Count the words of Python's standard library with a space and two workers, and check."""
    with _interruptible():
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
        **_ROWS,
        **JSON,
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
    reduce_tasks: int = 0, rows: int = _UNSAID, name: str = "", skip_bad_records: int = 0,
    on_bad_task: str = "fail", option: list[str] | None = None, json: bool = False,
) -> None:  # fmt: skip
    """Run a ready-made job; `job list` lists them."""
    if which == "list":
        lines = [(each, options_of(each), title_of(each)) for each in sorted(CATALOGUE)]
        if json:
            print_json([dict(zip(("job", "options", "what"), each, strict=True)) for each in lines])
            return
        title = "Ready-made jobs: invoke job NAME --input GLOB [--option NAME=VALUE]"
        print_table(("job", "options", "what it does"), lines, title)
        return
    ready_made = find(which)
    if not input:
        raise JobsError(
            f"{which} wants input: --input PATH, or a quoted glob; repeat it for more. "
            f"`invoke sample {which}` makes some"
        )
    _check_rows(rows)
    given = [*(option or []), *([f"pattern={pattern}"] if pattern else [])]
    work = build(which, input, **read_options(which, given))

    def carry_out(step: MapReduceJob) -> list[Any]:
        if not isinstance(step.data, Blocks):  # kept partitions are mapped as they are
            step.map_tasks = map_tasks or step.map_tasks
        step.reduce_tasks = reduce_tasks or step.reduce_tasks
        step.skip_bad_records, step.on_bad_task = skip_bad_records, on_bad_task
        label = which if work is step else step_label(which, len(runs) + 1)
        place = engine()
        run = step.submit(place, label=label)
        runs.append(run)
        if not local:
            sys.stderr.write(f"job {run.id}; should this process die, {_remedy(run)}\n")
        try:
            return follow(run, place if isinstance(place, RemoteSpace) else None)
        except SpaceUnreachableError as error:  # it tells of `resume`
            if work is step:
                raise
            raise JobsError(f"{error}; that is this step alone: run {which} again") from None

    runs: list[JobRun] = []
    with _interruptible(), _engine(space, name, key_file, local) as engine:
        results = run_steps(work, carry_out)
    if not runs:
        raise JobsError(f"{which} had no job to run")
    _print_results([step_of(run) for run in runs], which, ready_made, results, rows, json)


def _remedy(run: JobRun) -> str:
    """Say what helps when the driver of a job has died."""
    if whole := whole_of(run.label):
        return f"run {whole} again: `invoke resume {run.id}` ends this step alone"
    return f"`invoke resume {run.id}` goes on with it"


def _check_rows(rows: int) -> None:
    if rows < _UNSAID:
        raise JobsError(f"--rows is a whole number from 0, not {rows}")


def _print_results(
    steps: Sequence[Step], name: str, made: ReadyMadeJob | None, results: Any, wanted: int,
    json: bool,
) -> None:  # fmt: skip
    """Print a ready-made job's table, or a line for each result; then what it took, on stderr."""
    if made is not None:
        rows, columns, title = made.table(results), made.COLUMNS, made.TITLE
    else:
        rows = [
            (number, result if json else shorten(result)) for number, result in enumerate(results)
        ]
        columns, title = ("partition", "result"), f"Job {steps[-1].id}"
    if wanted == _UNSAID:
        wanted = 0 if json else _DEFAULT_ROWS
    shown = rows[: wanted or None]
    if json:
        document = {"job": name, "title": title, "columns": columns, "rows": shown}
        print_json({**document, **report_document(steps)})
        return
    print_table(columns, shown, title)
    sys.stdout.flush()
    print_report(steps, len(rows))


_ID = {"id": "the job's id, as `job` and `status` say it"}


@command(
    positional=["id"],
    help={**_ID, **_ROWS, **JSON, **SPACE, **NAME, **KEY_FILE},
)
def resume(
    _: Context, id: str, space: str = "", key_file: str = "", name: str = "", rows: int = _UNSAID,
    json: bool = False,
) -> None:  # fmt: skip
    """Go on with a job whose driver has died; no task that has ended runs again. Ctrl-C cancels it."""
    _check_rows(rows)
    with (
        _interruptible(),
        connect(space or None, name=name or None, key_file=key_file or None) as remote,
    ):
        if driver := driver_of(remote, id):
            sys.stderr.write(f"job {id} has a driver, {driver}; waiting up to 20 s for it to end\n")
        waiting = remote.count(("result", id, str, int, bytes))  # the driver reads them at once
        run = MapReduceJob.attach(remote, id)
        done = run.progress()
        more = f", and {waiting:,} more results lie in the space" if waiting else ""
        sys.stderr.write(
            f"job {run.id} goes on: {done.map_done} of {done.map_total} maps and "
            f"{done.reduce_done} of {done.reduce_total} reduces stand in its ledger{more}\n"
        )
        if whole := whole_of(run.label):
            sys.stderr.write(
                f"it is one step of {whole}: what it makes is shown, and no other step runs; for the "
                f"whole, run {whole} again\n"
            )
        results = follow(run, remote, records_before=done.records)
        _print_results([step_of(run)], run.label, CATALOGUE.get(run.label), results, rows, json)


@command(positional=["id"], help={**_ID, **SPACE, **NAME, **KEY_FILE})
def cancel(_: Context, id: str, space: str = "", key_file: str = "", name: str = "") -> None:
    """Cancel a job, from anywhere."""
    with connect(space or None, name=name or None, key_file=key_file or None) as remote:
        driver = cancel_job(remote, id)
    say(f"job {id} is cancelled" + (f"; its driver {driver} will say so" if driver else ""))


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end a job, and the command with it, without another word."""
    with sigterm_interrupts():
        try:
            yield
        except Interrupted:
            raise Exit(code=130) from None


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
