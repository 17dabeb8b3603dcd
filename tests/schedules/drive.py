"""The driver of a schedule: a process of its own, so that it can be killed.

Run as ``python drive.py URI FOLDER KIND SEED``; the result is in FOLDER/result once it has ended.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mapreduce import JobNotFoundError, MapReduceJob
from schedules.dice import Dice
from schedules.jobs import job_of
from tuplespace.pickles import dump_plain


def main(uri: str, folder: Path, kind: str, seed: int) -> None:
    job = job_of(kind, Dice(seed, folder / "dice"), folder / "output")
    started = folder / "job"
    try:
        run = MapReduceJob.attach(uri, started.read_text()) if started.exists() else job.submit(uri)
    except JobNotFoundError:
        # The driver before was killed when its job had ended. Its files are there, its values gone.
        if (folder / "output" / "_SUCCESS").exists():
            (folder / "result").write_bytes(b"")
            return
        run = job.submit(uri)
    draft = folder / "job.draft"
    draft.write_text(run.id)
    draft.rename(started)
    (folder / "result").write_bytes(dump_plain(run.result()))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
