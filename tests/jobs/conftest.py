"""What tests of the commands share."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from jobs.cli import program
from tuplespace import RemoteSpace


@pytest.fixture
def invoke(
    remote: RemoteSpace, capsys: pytest.CaptureFixture[str]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command on the space, in this process."""

    def invoke(*words: str) -> subprocess.CompletedProcess[str]:
        capsys.readouterr()
        try:
            program.run(["tuplemill", *words, "--space", remote.uri])
            status = 0
        except SystemExit as ended:
            status = int(ended.code or 0)
        return subprocess.CompletedProcess(words, status, *capsys.readouterr())

    return invoke
