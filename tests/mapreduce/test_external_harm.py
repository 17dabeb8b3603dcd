"""Programs among threads and killed workers, and what no system takes for a program."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mapreduce import InvalidJobError, MapReduceJob, count_values, run_program


def test_a_program_sent_along_runs_in_many_threads_at_once(tmp_path: Path) -> None:
    # Written by one thread, it is still open in a process that another is just starting.
    path = tmp_path / "hello"
    path.write_text("#!/bin/sh\necho hello\n")
    path.chmod(0o755)
    program = run_program(["hello"], files=[path])

    with ThreadPoolExecutor(8) as threads:
        printed = list(threads.map(lambda _: list(program([])), range(160)))

    assert printed == [[("hello", None)]] * 160


@pytest.mark.parametrize(
    "command, env, why",
    [
        (["echo", "\ud800"], {}, "no null characters, nor half a character"),
        (["env"], {"A=B": "x"}, "cannot have 'A=B' set to 'x'"),
        (["env"], {"": "x"}, "cannot have '' set to 'x'"),
        (["env"], {"A": "x\0"}, r"cannot have 'A' set to 'x\\x00'"),
        (["env"], {"A": "\ud800"}, r"cannot have 'A' set to '\\ud800'"),
        (["env"], ["A"], "is a mapping of str to str"),
    ],
)
def test_what_no_system_takes_is_refused_at_once(command: Any, env: Any, why: str) -> None:
    with pytest.raises(InvalidJobError, match=why):
        run_program(command, env=env)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere they are not found")
def test_a_killed_worker_leaves_neither_its_program_nor_the_folder_of_that(
    cluster: Any, tmp_path: Path, alive: Callable[[int], bool], eventually: Callable[..., Any]
) -> None:
    pids, once = tmp_path / "pids", tmp_path / "once"
    hangs = f"""
        trap '' TERM
        if mkdir {once}; then
            setsid sleep 1000 & sleep 1000 | cat & echo $! $$ > {pids}.new; mv {pids}.new {pids}; wait
        fi 2> /dev/null
        cat
    """
    [worker] = cluster.start_agent(processes=1).workers
    job = MapReduceJob(data=["a", "b"], map=run_program(["sh", "-c", hangs]), reduce=count_values,
                       map_tasks=1, reduce_tasks=1)  # fmt: skip
    run = job.submit(cluster.connect())
    eventually(pids.exists)
    started = [int(pid) for pid in pids.read_text().split()]
    [folder] = cluster.temporary.rglob("program-*")

    os.kill(worker, signal.SIGKILL)

    assert run.result(20) == [[("a", 1), ("b", 1)]]
    eventually(lambda: not any(map(alive, started)))
    eventually(lambda: not folder.exists())
    assert not [*cluster.temporary.rglob("program-*")]
