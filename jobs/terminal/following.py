"""Following a job to its end, and what Ctrl-C says of it.

::

    follow --Ctrl-C--> cancelling --done, 8 s at most--> what is left is said --> status 130
                          '-- Ctrl-C again --> ended at once; the workers clear up by themselves
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, NoReturn

from jobs.terminal.absence import Absence
from jobs.terminal.progress import ProgressDisplay
from mapreduce import JobCancelledError, JobRun
from mapreduce.errors import shorten
from mapreduce.report import Progress
from tuplespace import RemoteSpace

_INTERRUPTED: Final = 130


class Interrupted(KeyboardInterrupt):
    """Raised when Ctrl-C has ended a job, and what is left of it was said."""


def follow(run: JobRun, space: RemoteSpace | None = None, records_before: int = 0) -> list[Any]:
    """Show a job's progress on stderr until it has ended; return its results. Interrupted, cancel it.

    Args:
        run: The job. space: Where it is; None: its space and workers are its own, and end with it.
        records_before: That were read before this driver began.

    Raises:
        Interrupted: The job was cancelled. Exception: As `JobRun.result`.
    """
    absence = None if space is None else Absence(space)
    try:
        display = ProgressDisplay(records_before=records_before)
        try:  # no `with`: Ctrl-C may come while it begins
            display.start()
            while not run.wait(0.1):
                display.update(_progress(run, absence))
            display.update(run.progress())
        finally:
            display.stop()
        return run.result()
    except KeyboardInterrupt:
        _cancel(run, private=space is None)
        raise Interrupted from None
    except BaseException:
        run.cancel()
        raise


def _progress(run: JobRun, absence: Absence | None) -> Progress:
    progress, notice = run.progress(), absence.notice() if absence is not None else ""
    return replace(progress, notice=notice) if notice else progress


def _cancel(run: JobRun, private: bool) -> None:
    if run.wait(0):
        _tell(f"job {run.id} had ended; what it made is not shown")
        return
    done = run.progress()
    try:
        _tell(f"cancelling job {run.id}; Ctrl-C again: do not wait for it")
        run.cancel()
        end = _end(run, private)
    except KeyboardInterrupt:
        _leave(run, private)
    _tell(
        f"job {run.id} {end}; {done.map_done} of {done.map_total} maps and {done.reduce_done} of "
        f"{done.reduce_total} reduces were done"
    )


def _leave(run: JobRun, private: bool) -> NoReturn:
    """End this process at once: all that is ours out there ends without us, as if we were killed."""
    later = "its space and workers end now" if private else (
        f"`invoke cancel {run.id}` ends it, and so do the workers within 10 minutes"
    )  # fmt: skip
    _tell(f"job {run.id} was not waited for; {later}")
    os._exit(_INTERRUPTED)


def _end(run: JobRun, private: bool) -> str:
    """Say how a job has ended that was to be cancelled, and what is left of it."""
    left = "nothing of it stays" if private else (
        "nothing of it stays in the space or on the workers, which go on"
    )  # fmt: skip
    try:
        next(run.iter_results(), None)  # all of them may be many
    except JobCancelledError as error:
        if "its space was away" in str(error):
            left = (
                "its space does not answer; once it is back, the workers clear up within 10 minutes"
            )
        return f"is cancelled; {left}"
    except Exception as error:  # noqa: BLE001  # whatever it was, the job has ended
        return f"had failed before it was cancelled ({shorten(error)}); {left}"
    return "had ended before it was cancelled; what it made is not shown"


def _tell(line: str) -> None:
    with suppress(OSError):  # nobody reads it any more
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
