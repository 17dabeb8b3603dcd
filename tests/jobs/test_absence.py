"""A space that goes away while a person waits for a job, and comes back."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

from jobs.terminal.absence import Absence
from tuplespace import SpaceLostError, connect


def test_a_space_that_is_away_is_said_to_be_until_when_it_is_tried_and_that_it_is_back(
    start_server: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    server = start_server()
    with connect(server.uri, retry_for=600) as space:
        absence = Absence(space)
        assert absence.notice() == ""

        server.stop()
        waiting = threading.Thread(target=_take, args=(space,))
        waiting.start()
        said = eventually(absence.notice)
        assert re.fullmatch(r"the space does not answer; trying again until \d\d:\d\d:\d\d", said)
        assert absence.notice() == said

        start_server(server.port)
        waiting.join(20)
        assert not waiting.is_alive()
        assert absence.notice() == "the space answers again"
        eventually(lambda: not absence.notice())


def test_a_connection_that_breaks_for_a_moment_is_not_spoken_of(
    start_server: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    server = start_server()
    with connect(server.uri, retry_for=600) as space:
        now = 100.0
        absence = Absence(space, lambda: now)
        space.away_until = 700.0
        assert absence.notice() == ""
        now = 100.9
        assert absence.notice() == ""
        space.away_until = None
        assert absence.notice() == ""


def test_what_is_said_stays_until_its_time_is_over_and_each_absence_is_a_new_one(
    start_server: Callable[..., Any],
) -> None:
    with connect(start_server().uri) as space:
        now = 100.0
        absence = Absence(space, lambda: now)
        space.away_until = 700.0
        assert absence.notice() == ""
        now = 101.5
        said = absence.notice()
        assert "trying again until" in said
        space.away_until = 650.0  # of another call
        assert absence.notice() == said
        now, space.away_until = 701.0, 1901.0
        assert absence.notice() not in ("", said)

        now = 1902.0  # it was given up
        assert absence.notice() == "the space answers again"
        now = 1910.0
        assert absence.notice() == ""
        space.away_until = 2500.0
        assert absence.notice() == ""


def _take(space: Any) -> None:
    try:
        space.count((None,))
    except SpaceLostError:
        pass
