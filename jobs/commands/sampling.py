"""The command that makes input to try a ready-made job with."""

from __future__ import annotations

from pathlib import Path

from invoke import Context

from jobs.catalogue import CATALOGUE, find
from jobs.commands.command import command
from jobs.errors import JobsError
from tuplespace.serve import say


@command(
    positional=["which"],
    help={
        "which": f"one of {', '.join(sorted(CATALOGUE))}",
        "folder": "where to write the files, made if it is not there (default: samples/WHICH)",
        "size": "how much of it: 1 is a second's worth, 100 is a hundred times as much",
    },
)
def sample(_: Context, which: str, folder: str = "", size: int = 1) -> None:
    """Make sample input for a ready-made job; the same each time."""
    if size < 1:
        raise JobsError(f"--size is a whole number from 1, not {size}")
    made = Path(folder or f"samples/{which}")
    write = find(which).sample
    try:
        made.mkdir(parents=True, exist_ok=True)
        write(made, size)
    except OSError as error:
        raise JobsError(f"cannot write the sample: {error}") from None
    files = [path for path in made.iterdir() if path.is_file()]
    megabytes = sum(path.stat().st_size for path in files) / 1e6
    say(f"{len(files)} files, {megabytes:.1f} MB; now: invoke job {which} --input '{made}/*'")
