"""The command that makes input to try a ready-made job with."""

from __future__ import annotations

import shlex
from glob import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from invoke import Context

from jobs.catalogue import CATALOGUE, find, options_of
from jobs.commands.command import command
from jobs.errors import JobsError
from tuplespace.serve import say

#: In a folder of samples, the names of those files; a glob such as `folder/*` does not find it.
_MARK: Final = ".tuplemill-sample"


@command(
    positional=["which"],
    help={
        "which": f"one of {', '.join(sorted(CATALOGUE))}",
        "folder": "where to write the files: a new or empty folder, or one with a sample, which is replaced "
        "(default: samples/WHICH)",
        "size": "how much of it: 1 is a second's worth, 100 is a hundred times as much",
    },
)
def sample(_: Context, which: str, folder: str = "", size: int = 1) -> None:
    """Make sample input for a ready-made job; the same each time."""
    find(which)
    if size < 1:
        raise JobsError(f"--size is a whole number from 1, not {size}")
    path = Path(folder or f"samples/{which}")
    try:
        files = make_sample(which, path, size)
    except OSError as error:
        raise JobsError(
            f"cannot write the sample to {path}: {error.strerror or error}; "
            "name a folder with --folder"
        ) from None
    megabytes = sum(file.stat().st_size for file in files) / 1e6
    wanted = [name for name in options_of(which).split(", ") if name and "=" not in name]
    options = "".join(f" --option {name}=..." for name in wanted)
    glob = shlex.quote(f"{escape(str(path))}/*")
    say(f"{len(files)} {'file' if len(files) == 1 else 'files'}, {megabytes:.1f} MB; "
        f"now: invoke job {which} --input {glob}{options}")  # fmt: skip


def make_sample(which: str, folder: Path, size: int) -> list[Path]:
    """Write a job's sample into a folder that has nothing else in it; return its files.

    A sample that is there already is replaced as a whole. All else stays untouched: the job would
    take other files for input, so they are a reason not to begin.

    Raises:
        JobsError: There are other files in the folder. OSError: It cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / _MARK
    names = mark.read_text("utf-8", "replace").splitlines() if mark.exists() else []
    there = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    before = [path for path in there if path.name in names]
    if others := [path.name for path in there if path not in before]:
        raise JobsError(
            f"{folder} holds what is no sample of ours ({others[0]}, for one), which the job would "
            "take for input: give a new folder, as in --folder samples/new"
        )
    with TemporaryDirectory(prefix=".", dir=folder) as made:
        find(which).sample(Path(made), size)
        files = sorted(Path(made).iterdir())
        for path in before:
            path.unlink()
        mark.write_text("".join(f"{file.name}\n" for file in files), encoding="utf-8")
        return [file.rename(folder / file.name) for file in files]
