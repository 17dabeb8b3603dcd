"""The command line: invoke tasks, and the Program behind the console command ``tuplemill``.

Each command says in one line what it does, in `jobs.commands`; what it does stands elsewhere.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from invoke import Collection, ParseError, Program

from jobs.commands.handling import take, write
from jobs.commands.looking import list_jobs, status, tuples
from jobs.commands.running import cancel, demo, job, resume
from jobs.commands.sampling import sample
from jobs.commands.scripts import emit
from jobs.commands.serving import tuplespace, worker
from tuplespace.serve import mute

__all__ = [
    "cancel", "demo", "emit", "job", "list_jobs", "resume", "sample", "status", "take", "tuples",
    "tuplespace", "worker", "write",
]  # fmt: skip

TASKS = (
    tuplespace, worker, demo, sample, job, emit, status, list_jobs, resume, cancel, tuples, take,
    write,
)  # fmt: skip


class _CommandLine(Program):
    """One that says, whatever was mistyped, where to read on."""

    def run(self, argv: list[str] | None = None, exit: bool = True) -> None:  # noqa: A002
        """Run a command line; that nobody reads what it prints, help for one, is no trouble."""
        try:
            try:
                super().run(argv, exit)
            finally:
                if sys.stdout is not None:
                    sys.stdout.flush()
        except BrokenPipeError:
            mute()
            sys.exit(1)

    def parse_tasks(self) -> None:
        """Read the words of the command line, as invoke does."""
        with _reading_on(self.binary):
            super().parse_tasks()

    def parse_cleanup(self) -> None:
        """Print help or the commands, if that is what was asked for."""
        with _reading_on(self.binary):
            super().parse_cleanup()


@contextmanager
def _reading_on(binary: str) -> Iterator[None]:
    try:
        yield
    except ParseError as error:
        if str(error).startswith("error: "):  # it is our own, and complete
            raise
        name = getattr(error.context, "name", None)
        read_on = f"--help {name}` tells what it takes" if name else "--list` tells the commands"
        raise ParseError(
            f"error: {str(error).rstrip('!')}; `{binary} {read_on}", error.context
        ) from None


program = _CommandLine(namespace=Collection(*TASKS), name="tuplemill", binary="tuplemill",
                  binary_names=["tuplemill"])  # fmt: skip
