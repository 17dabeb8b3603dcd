"""The sweep: nothing stays of a job that has ended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tuplespace import TupleSpace
from workers import sweep
from workers.claims import Claims
from workers.shelf import Shelf


def test_an_ended_job_is_cleared_away_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., Any]
) -> None:
    monkeypatch.setattr(sweep, "_ONCE_MORE", 0.2)
    with TupleSpace() as space:
        shelf = Shelf(1)
        claims = Claims(space, "host/1", "host", shelf)
        claims.served_jobs.add("a-job")
        sweeper = sweep.Sweep(space, claims, shelf, tmp_path / "root" / "space")
        sweeper.sweep(())
        # A dead driver had claimed it: it is back.
        space.write(("result", "a-job", "map", 0, b""))
        sweeper.sweep(())
        assert space.count(("result", "a-job", *[None] * 3)) == 1

        eventually(lambda: sweeper.sweep(()) or not space.count(("result", *[None] * 4)))


def test_old_code_goes_while_an_agent_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., Any]
) -> None:
    monkeypatch.setattr(sweep, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(sweep, "_CODE_SECONDS", 0.2)
    folder = tmp_path / "root" / "code" / "a-digest"
    folder.mkdir(parents=True)
    with TupleSpace() as space:
        shelf = Shelf(1)
        claims = Claims(space, "host/1", "host", shelf)
        sweeper = sweep.Sweep(space, claims, shelf, tmp_path / "root" / "space")

        eventually(lambda: sweeper.sweep(()) or not folder.exists())


def test_old_code_is_looked_for_now_and_then_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "_CODE_SECONDS", -1.0)
    folder = tmp_path / "root" / "code" / "a-digest"
    with TupleSpace() as space:
        shelf = Shelf(1)
        claims = Claims(space, "host/1", "host", shelf)
        sweeper = sweep.Sweep(space, claims, shelf, tmp_path / "root" / "space")
        for is_there in (False, True):
            folder.mkdir(parents=True)
            sweeper.sweep(())
            assert folder.exists() == is_there
