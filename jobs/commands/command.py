"""What every command has: its known errors are one line, and the options that say which space."""

from __future__ import annotations

import errno
import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from invoke import Exit, task

from jobs.commands.options import Command
from jobs.errors import JobsError
from jobs.starting import begun
from jobs.terminal.tables import print_error
from mapreduce import InputError, JobFailedError, MapReduceError
from tuplespace import TupleSpaceError
from tuplespace.serve import mute
from workers import WorkerError

#: What a full disk, and one that breaks, say.
_UNWRITABLE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

_INPUT_ERROR: Final = f"{InputError.__module__}.{InputError.__qualname__}: "
#: What invoke takes for the first thing that a command works on.
_HELP: Final = ("--help", "-h")

KEY_FILE = {"key-file": "the cluster key (default: $TUPLESPACE_KEY_FILE, else your data folder)"}
SPACE = {
    "space": "URI of the space (default: $TUPLESPACE_URI, else this machine's on the default port, "
    "else the one on the local network)"
}
NAME = {"name": "the space's name on the local network, instead of its URI"}


def command(**options: Any) -> Callable[[Callable[..., None]], Any]:
    """Make a function an invoke task whose known errors are one line, never a traceback."""

    def decorate(function: Callable[..., None]) -> Any:
        @functools.wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> None:
            try:
                begun()
                _open_closed_streams()
                if any(kwargs.get(each) in _HELP for each in options.get("positional", ())):
                    name = options.get("name", function.__name__)
                    print_error(f"for help, say `invoke --help {name}`")
                    raise Exit(code=1)
                function(*args, **kwargs)
            except JobFailedError as error:
                sys.stderr.write(f"error: {_told(error)}\n")
                raise Exit(code=1) from None
            except (TupleSpaceError, WorkerError, MapReduceError, JobsError) as error:
                print_error(error)
                raise Exit(code=1) from None
            except BrokenPipeError:
                mute()  # as in `... | head`: nobody wants the rest
                raise Exit(code=1) from None
            except OSError as error:
                if error.errno not in _UNWRITABLE:
                    raise
                mute()
                print_error(f"cannot write: {error}")
                raise Exit(code=1) from None
            except KeyboardInterrupt:
                print_error("interrupted")
                raise Exit(code=130) from None

        return task(klass=Command, **options)(guarded)

    return decorate


def _told(error: JobFailedError) -> JobFailedError:
    """Return a job's error without the traceback if nobody's function failed: a file cannot be read."""
    if (
        _INPUT_ERROR not in error.remote_traceback
        or f": {InputError.__name__}: " not in error.message
    ):
        return error
    return JobFailedError(error.message, "", error.record, error.where, error.phase, error.number)


def _open_closed_streams() -> None:
    """Have a standard stream that is closed, as by ``>&-``, be empty and take anything."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115  # for as long as we live


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does, so that a job cleans up behind itself."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
