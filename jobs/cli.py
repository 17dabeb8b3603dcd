"""The command line: invoke tasks, and the Program behind the console command ``tuplemill``.

Each command says in one line what it does, in `jobs.commands`; what it does stands elsewhere.
"""

from __future__ import annotations

from invoke import Collection, Program

from jobs.commands.handling import take, write
from jobs.commands.looking import list_jobs, status, tuples
from jobs.commands.running import cancel, demo, job, resume
from jobs.commands.sampling import sample
from jobs.commands.scripts import emit
from jobs.commands.serving import tuplespace, worker

__all__ = [
    "cancel", "demo", "emit", "job", "list_jobs", "resume", "sample", "status", "take", "tuples",
    "tuplespace", "worker", "write",
]  # fmt: skip

TASKS = (
    tuplespace, worker, demo, sample, job, emit, status, list_jobs, resume, cancel, tuples, take,
    write,
)  # fmt: skip

program = Program(namespace=Collection(*TASKS), name="tuplemill", binary="tuplemill",
                  binary_names=["tuplemill"])  # fmt: skip
