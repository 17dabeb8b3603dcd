"""A store on a disk that is full: writes are refused, takes go on, and nothing is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from power import full_disk
from power.full_disk import can_mount, on_small_disk

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(bool(can_mount()), reason=can_mount())


@pytest.mark.parametrize("scenario", full_disk.SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_nothing_is_lost_on_a_full_disk_when(tmp_path, scenario):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    command = [sys.executable, full_disk.__file__, str(tmp_path), scenario.__name__]
    done = subprocess.run(
        on_small_disk(tmp_path, *command),
        env=environment, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
