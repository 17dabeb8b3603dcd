"""What a task notes of the record in hand outlives its process, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from workers.tracking import BOUND, NAMED, POSITION, facts_of, last_words, tracked

_NOTES = """
import os, sys, signal
from pathlib import Path
from workers.tracking import tracked
with tracked(Path(sys.argv[1])) as page:
    for position in range(1000):
        page[0], page[1], page[2] = position, position + 1, 1
    {end}
"""


@pytest.mark.parametrize(
    "end", ["os.kill(os.getpid(), signal.SIGKILL)", "os._exit(3)", "os.abort()"]
)
def test_what_was_noted_last_is_there_after_any_death(tmp_path: Path, end: str) -> None:
    folder = tmp_path / "job"
    process = subprocess.Popen(
        [sys.executable, "-c", _NOTES.format(end=end), str(folder)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.wait(20) in (3, -signal.SIGKILL, -signal.SIGABRT)

    assert last_words(folder, process.pid) == {"position": 999, "bound": 1000, "named": 1}
    assert last_words(folder, process.pid) == {}
    assert list(folder.iterdir()) == []


def test_a_task_that_ends_leaves_nothing(tmp_path: Path) -> None:
    with tracked(tmp_path) as page:
        assert facts_of(page) == {"position": -1, "bound": 0, "named": 0}
        page[POSITION], page[BOUND], page[NAMED] = 2**63 - 1, 5, 1
        assert last_words(tmp_path, os.getpid())["position"] == 2**63 - 1
    with pytest.raises(KeyError), tracked(tmp_path):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_did_not_track_has_no_last_words(tmp_path: Path) -> None:
    (tmp_path / "track-1").write_bytes(b"short")

    assert last_words(tmp_path, 1) == {}
    assert last_words(tmp_path / "absent", 2) == {}


def test_a_forked_child_that_returns_does_not_end_its_parents_tracking(tmp_path: Path) -> None:
    tracking = tracked(tmp_path)
    tracking.__enter__()[POSITION] = 7
    child = os.fork()
    if not child:
        tracking.__exit__(None, None, None)
        os._exit(0)
    os.waitpid(child, 0)

    assert last_words(tmp_path, os.getpid())["position"] == 7
    tracking.__exit__(None, None, None)
