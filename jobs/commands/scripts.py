"""The command that runs a script written for another MapReduce, as it is."""

from __future__ import annotations

import os
import runpy
import stat
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

from invoke import Context, Exit

from jobs.commands.command import KEY_FILE, NAME, command, sigterm_interrupts
from jobs.commands.options import positional_in
from jobs.errors import JobsError
from jobs.terminal.absence import telling_of
from jobs.terminal.tables import print_error
from mapreduce import MapReduceError, RecordFailedError
from mapreduce.styles import emit as style
from tuplespace import TupleSpaceError, connect
from workers import WorkerError

#: What the course's and pymapr's scripts import.
_IMPORTED = ("MapReduce", "MapReduce_redis")
_OURS = (MapReduceError, TupleSpaceError, WorkerError, JobsError)


@command(
    positional=positional_in(sys.argv, "emit", ("script", "data"), 1),
    help={
        "script": "a script that says `import MapReduce`, as those of the course and of pymapr do",
        "data": "the file of JSON lines that the script gets as sys.argv[1]; its name alone will do",
        "workers": "worker processes of this machine (default: as the script says, else one a core); 1: "
        "run in this process, as debuggers like it",
        "space": "URI of the space whose workers shall run it (default: workers of its own, here)",
        **NAME,
        **KEY_FILE,
    },
)
def emit(
    _: Context, script: str, data: str | None = None, space: str = "", workers: int = 0, name: str = "",
    key_file: str = "",
) -> None:  # fmt: skip
    """Run a script that emits (`emit wordcount.py books.json`), unchanged; see docs/styles/emit.md."""
    if workers < 0:
        raise JobsError(f"--workers is a whole number from 1, not {workers}")
    if reason := _unreadable(script):
        raise JobsError(f"there is no script {script}: {reason}")
    if data and (reason := _unreadable(data)):
        raise JobsError(f"no data for {script}: {data}: {reason}; name a file of JSON lines")
    with sigterm_interrupts(), ExitStack() as stack:
        remote = None
        if space or name or key_file:
            remote = connect(space or None, name=name or None, key_file=key_file or None)
            stack.enter_context(remote)
            stack.enter_context(telling_of(remote))
        stack.enter_context(style.running_at(style.Place(remote, workers or None)))
        stack.enter_context(_as_a_script(script, [data] if data else []))
        try:
            runpy.run_path(script, run_name="__main__")
        except RecordFailedError as error:
            if error.__cause__ is not None and not isinstance(error.__cause__, _OURS):
                _print_traceback(error.__cause__, script)
            print_error(f"{error}: {error.__cause__}")
            raise Exit(code=1) from None
        except (*_OURS, BrokenPipeError):
            raise
        except Exception as error:  # noqa: BLE001  # a script raises whatever it likes
            _print_traceback(error, script)
            raise Exit(code=1) from None


def _unreadable(path: str) -> str:
    """Say why a file, or a pipe, cannot be read; empty: it can be."""
    try:
        if stat.S_ISDIR(Path(path).stat().st_mode):
            return "it is a directory"
    except OSError as error:
        return error.strerror or str(error)
    return "" if os.access(path, os.R_OK) else "this user may not read it"


@contextmanager
def _as_a_script(script: str, arguments: list[str]) -> Iterator[None]:
    """Let the interpreter be as it is for ``python script arguments``, but for what is imported."""
    argv, path = sys.argv, sys.path
    with tempfile.TemporaryDirectory(prefix="tuplemill-emit-") as folder:
        # Files, since a module beside the script that imports one takes it along to the workers.
        for name in _IMPORTED:
            Path(folder, f"{name}.py").write_text(f"from {style.__name__} import MapReduce\n")
        modules = {name: sys.modules.pop(name, None) for name in _IMPORTED}
        sys.argv = [script, *arguments]
        sys.path = [folder, str(Path(script).resolve().parent), *path]
        try:
            yield
        finally:
            sys.argv, sys.path = argv, path
            for name, module in modules.items():
                sys.modules.pop(name, None)
                if module is not None:
                    sys.modules[name] = module


def _print_traceback(error: BaseException, script: str) -> None:
    """Print an error as Python would that runs the script: from its own first line on."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != script:
        trace = trace.tb_next
    sys.stderr.writelines(traceback.format_exception(type(error), error, trace))
