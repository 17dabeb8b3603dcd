"""The command line: invoke tasks, and the Program behind the console command ``tuplemill``.

Each command says in one line what it does, in `jobs.commands`; what it does stands elsewhere.
"""

from __future__ import annotations

from invoke import Collection, Program

from jobs.commands.looking import status
from jobs.commands.running import cancel, demo, job, resume
from jobs.commands.sampling import sample
from jobs.commands.scripts import emit
from jobs.commands.serving import tuplespace, worker

__all__ = ["cancel", "demo", "emit", "job", "resume", "sample", "status", "tuplespace", "worker"]

TASKS = (tuplespace, worker, demo, sample, job, status, resume, cancel, emit)

program = Program(namespace=Collection(*TASKS), name="tuplemill", binary="tuplemill",
                  binary_names=["tuplemill"])  # fmt: skip
