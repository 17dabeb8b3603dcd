"""Negative controls: a checker that never complains would pass every test of `test_history`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from history import scenarios
from history.checker import check
from history.mutants import MUTANTS
from tuplespace import TupleSpaceError, connect


@pytest.fixture
def stage(start_server, forward, run_python, key_file, tmp_path):
    """A stage whose servers start when a scenario asks for them: a mutant may have come before."""
    spaces = []

    class Client:
        def __init__(self, what, *arguments):
            self.name, self.log = f"killed-{what}", tmp_path / f"{what}.log"
            self.process = run_python(
                "-m", "history.client", what, spaces[-1].uri, self.name, str(self.log), *arguments,
                cwd=Path(__file__).parent.parent,
            )  # fmt: skip

        def kill(self, history):
            self.process.kill()
            self.process.wait()
            history.died(self.name)
            assert history.read_log(self.log)

    def make_far():
        server = start_server()
        forwarder = forward(server.port)
        far = connect(f"127.0.0.1:{forwarder.port}", retry_for=5)
        spaces[:] = far, connect(server.uri, retry_for=5)
        return *spaces, forwarder

    stage = scenarios.Stage(make_far, Client)
    yield stage
    stage.local.close()
    for space in spaces:
        space.close()


@pytest.mark.parametrize("scenario", [*scenarios.LOCAL, *scenarios.REMOTE])
def test_every_scenario_is_clean(scenario, stage):
    scenario(stage)
    assert check(stage.history, steady=stage.steady) == []


@pytest.mark.parametrize("name", MUTANTS)
def test_the_checker_catches(name, stage, monkeypatch):
    def wrap(owner, method):
        def place(function):
            original = getattr(owner, method)
            monkeypatch.setattr(owner, method, lambda *a, **kw: function(original, *a, **kw))

        return place

    scenario, rule, mutant = MUTANTS[name]
    mutant(wrap)
    with suppress(TupleSpaceError):  # what the mutant answers, the script may not expect
        scenario(stage)
    stage.history.finish()
    violations = check(stage.history, steady=stage.steady, bound=0.2)
    print(*violations[:20], sep="\n")
    assert rule in {each.partition(":")[0] for each in violations}
