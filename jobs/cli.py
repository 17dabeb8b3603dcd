"""The command line: invoke tasks, and the Program behind the console command ``tuplemill``.

Each task says in one line what it does; what it does stands elsewhere.
"""

from __future__ import annotations

import functools
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from invoke import Collection, Context, Exit, Program, task

from jobs import demo as demonstration
from jobs.catalogue import CATALOGUE, ReadyMadeJob, build, find
from jobs.display import ProgressDisplay, print_error, print_table
from jobs.errors import JobsError
from jobs.failures import print_buried, print_skipped
from jobs.options import Command
from mapreduce import JobFailedError, JobRun, MapReduceError, MapReduceJob
from mapreduce.attaching import cancel as cancel_job
from mapreduce.engine.embedded import EmbeddedEngine
from mapreduce.engine.interface import Engine
from mapreduce.engine.tenure import driver_of
from mapreduce.errors import shorten
from tuplespace import RemoteSpace, TupleSpaceError, connect
from tuplespace.discovery import DEFAULT_NAME
from tuplespace.frames import DEFAULT_PORT
from tuplespace.serve import default_store, mute, say
from tuplespace.serve import serve as serve_space
from workers import WorkerError
from workers.agent import DRAIN_SECONDS
from workers.claims import deserted_jobs
from workers.serve import serve as serve_worker

_KEY_FILE = {"key-file": "the cluster key (default: $TUPLESPACE_KEY_FILE, else your data folder)"}
_SPACE = {
    "space": "URI of the space (default: $TUPLESPACE_URI, else this machine's on the default port, "
    "else the one on the local network)"
}
_NAME = {"name": "the space's name on the local network, instead of its URI"}


def command(**options: Any) -> Callable[[Callable[..., None]], Any]:
    """Make a function an invoke task whose known errors are one line, never a traceback."""

    def decorate(function: Callable[..., None]) -> Any:
        @functools.wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> None:
            try:
                function(*args, **kwargs)
            except JobFailedError as error:
                sys.stderr.write(f"error: {error}\n")
                raise Exit(code=1) from None
            except (TupleSpaceError, WorkerError, MapReduceError, JobsError) as error:
                print_error(error)
                raise Exit(code=1) from None
            except BrokenPipeError:
                mute()  # as in `... | head`: nobody wants the rest
                raise Exit(code=1) from None
            except KeyboardInterrupt:
                print_error("interrupted")
                raise Exit(code=130) from None

        return task(klass=Command, **options)(guarded)

    return decorate


@command(
    iterable=["limit"],
    help={
        "host": "address to listen on (default: 127.0.0.1); 0.0.0.0, or :: for IPv6 too: other machines "
        "can reach it",
        "port": f"port to listen on (default: {DEFAULT_PORT}); 0: the system chooses",
        "store": "the file that keeps the space, made if it is not there (default: one for each port, "
        "in your data folder), or 'memory'",
        "name": f"what others on the local network find it by (default: {DEFAULT_NAME})",
        "limit": "as in bytes=4G, tuples=1000000 or waiters=none; also tuple_bytes, connections, "
        "unauthenticated; repeatable",
        **_KEY_FILE,
    },
)
def tuplespace(
    _: Context, host: str = "127.0.0.1", port: int = DEFAULT_PORT, store: str = "",
    key_file: str = "", name: str = DEFAULT_NAME, limit: list[str] | None = None,
) -> None:  # fmt: skip
    """Serve a tuple space until Ctrl-C."""
    serve_space(
        host, port, store=store or default_store(port), key_file=key_file or None, announce=say, name=name,
        limits=limit or (),
    )  # fmt: skip


@command(
    help={
        **_SPACE,
        **_NAME,
        "processes": "worker processes (default: one a core)",
        "memory": "what each process may use, as in 4GB or 512MiB; a task that goes beyond is ended "
        "(default: a fair share of 80% of this machine's)",
        "drain": "seconds that running tasks may take to end after the first Ctrl-C or SIGTERM (default: "
        "5); another ends it at once",
        "work-dir": "folder for blocks and code (default: one of yours in the temporary folder)",
        "host": "this host's name; give containers that share a name but no files names of their own",
        **_KEY_FILE,
    }
)
def worker(
    _: Context, space: str = "", processes: int = 0, key_file: str = "", work_dir: str = "",
    host: str = "", name: str = "", memory: str = "", drain: float = DRAIN_SECONDS,
) -> None:  # fmt: skip
    """Run tasks of a space on this machine until Ctrl-C."""
    serve_worker(
        space or None, processes or None, key_file=key_file or None, work_dir=work_dir or None,
        host=host or None, announce=say, name=name or None, memory=memory or None,
        drain=drain,
    )  # fmt: skip


@command()
def demo(_: Context) -> None:
    """Count the words of Python's standard library with a space and two workers, and check."""
    with _sigterm_interrupts():
        if not demonstration.run():
            raise Exit("the result differs from run_sequential()", code=1)


@command(
    positional=["which"],
    iterable=["input"],
    help={
        "which": f"one of {', '.join(sorted(CATALOGUE))}; or `list`: what they do",
        "input": "path or quoted glob of files to read; repeatable",
        "local": "use a private space and one worker a core, here, instead of a running space",
        "pattern": "what to look for (grep)",
        "map-tasks": "M (default: from the data)",
        "reduce-tasks": "R (default: from the data)",
        "rows": "rows to print; 0: all",
        "skip-bad-records": "how many records, on which the job's functions fail, may be skipped",
        "on-bad-task": "what to do when a task has failed for good: fail, or skip: go on without it",
        **_SPACE,
        **_NAME,
        **_KEY_FILE,
    },
)
def job(
    _: Context, which: str, input: list[str] | None = None, space: str = "",
    key_file: str = "", local: bool = False, pattern: str = "", map_tasks: int = 0,
    reduce_tasks: int = 0, rows: int = 20, name: str = "", skip_bad_records: int = 0,
    on_bad_task: str = "fail",
) -> None:  # fmt: skip
    """Run a ready-made job; `job list` lists them."""
    if which == "list":
        lines = [
            (each, (module.__doc__ or "").partition("\n")[0])
            for each, module in sorted(CATALOGUE.items())
        ]
        print_table(("job", "what it does"), lines, "Ready-made jobs: invoke job NAME --input GLOB")
        return
    ready_made = find(which)
    if not input:
        raise JobsError(f"{which} wants input: --input PATH, or a quoted glob; repeat it for more")
    work = build(which, input, **({"pattern": pattern} if pattern else {}))
    work.map_tasks, work.reduce_tasks = map_tasks or None, reduce_tasks or None
    work.skip_bad_records, work.on_bad_task = skip_bad_records, on_bad_task
    with _sigterm_interrupts(), _engine(space, name, key_file, local) as engine:
        run = work.submit(engine, label=which)
        if not local:
            say(f"job {run.id}; should this process die, `invoke resume {run.id}` goes on with it")
        results = follow(run)
    _print_results(run, ready_made, results, rows)


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


@command(help={**_SPACE, **_NAME, **_KEY_FILE})
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


_ID = {"id": "the job's id, as `job` and `status` say it"}


@command(
    positional=["id"],
    help={**_ID, "rows": "rows to print; 0: all", **_SPACE, **_NAME, **_KEY_FILE},
)
def resume(
    _: Context, id: str, space: str = "", key_file: str = "", name: str = "", rows: int = 20
) -> None:
    """Go on with a job whose driver has died; no task that has ended runs again. Ctrl-C cancels it."""
    with (
        _sigterm_interrupts(),
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


@command(positional=["id"], help={**_ID, **_SPACE, **_NAME, **_KEY_FILE})
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
def _engine(uri: str, name: str, key_file: str, local: bool) -> Iterator[RemoteSpace | Engine]:
    if local:
        yield EmbeddedEngine()  # it ends with its job
        return
    try:
        space = connect(uri or None, name=name or None, key_file=key_file or None)
    except TupleSpaceError as error:
        raise JobsError(f"{error}; or run the job on this machine alone with --local") from None
    with space:
        yield space


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does, so that a job cleans up behind itself."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


TASKS = (tuplespace, worker, demo, job, status, resume, cancel)

program = Program(namespace=Collection(*TASKS), name="tuplemill", binary="tuplemill",
                  binary_names=["tuplemill"])  # fmt: skip
