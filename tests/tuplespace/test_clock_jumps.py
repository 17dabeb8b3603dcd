"""A wall clock that jumps by an hour ends no lease and prolongs none."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from power import servers
from power.servers import serving
from tuplespace import MatchTimeoutError, connect

HOUR = 3600
SOURCE = Path(servers.__file__).with_name("jumping_clock.c")


class JumpingClock:
    """The environment of processes whose wall clock jumps when it is told to."""

    def __init__(self, folder: Path) -> None:
        library, self._seconds = folder / "jumping_clock.so", folder / "jump"
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True, timeout=50
        )
        self._seconds.write_bytes(bytes(8))
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_JUMP": str(self._seconds)}

    def jump(self, seconds: int) -> None:
        with open(self._seconds, "r+b", buffering=0) as file:
            file.write(struct.pack("q", seconds))


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> JumpingClock:
    if sys.platform != "linux" or shutil.which("cc") is None:
        pytest.skip("to make a clock that jumps takes a C compiler, on Linux")
    clock = JumpingClock(tmp_path_factory.mktemp("clock"))
    asks = "import time; print(time.time()); input(); print(time.time())"
    with subprocess.Popen(
        [sys.executable, "-c", asks], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, **clock.environment},
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        before = float(process.stdout.readline())
        clock.jump(HOUR)
        process.stdin.write(b"\n")
        process.stdin.close()
        assert HOUR <= float(process.stdout.read()) - before < HOUR + 60
    return clock


@pytest.mark.parametrize("kept", [pytest.param("memory", marks=pytest.mark.faults), "in a file"])
@pytest.mark.parametrize("hours", [1, -1])
def test_leases_are_true_whatever_the_wall_clock_does(
    clock, key_file, tmp_path, eventually, kept, hours
):
    clock.jump(0)
    file = "memory" if kept == "memory" else tmp_path / "space.db"
    with serving(file, environment=clock.environment) as server, connect(server.uri) as space:
        space.write(("stays",), lease=600)
        space.write(("claimed",))
        claim = space.claim(("claimed",), lease=600)
        ends = time.monotonic() + 0.5
        space.write(("ends",), lease=0.5)
        clock.jump(hours * HOUR)
        space.read(("stays",), timeout=0)
        assert space.count(("ends",)) == 1 or time.monotonic() >= ends
        eventually(lambda: space.count(("ends",)) == 0, within=ends + 5 - time.monotonic())
        assert time.monotonic() >= ends
        with pytest.raises(MatchTimeoutError):
            space.read(("claimed",), timeout=0.01)
        claim.renew(500)
        space.read(("stays",), timeout=0)
        claim.confirm()


@pytest.mark.parametrize("hours", [1, -1])
def test_leases_are_true_over_a_restart_and_a_jump(clock, key_file, tmp_path, eventually, hours):
    clock.jump(0)
    file = tmp_path / "space.db"
    with serving(file, environment=clock.environment) as server, connect(server.uri) as space:
        port = server.port
        space.write(("stays",), lease=600)
        space.write(("ends",), lease=0.6)
        latest = time.monotonic() + 0.6
        server.process.kill()
        server.process.wait()
        clock.jump(hours * HOUR)
        away = time.monotonic()
        with serving(file, port=port, environment=clock.environment) as server:
            assert space.count(("stays",)) == 1
            # The space's clock stands still while no server runs.
            latest += time.monotonic() - away
            eventually(lambda: space.count(("ends",)) == 0, within=latest + 5 - time.monotonic())
            assert space.count(("stays",)) == 1
