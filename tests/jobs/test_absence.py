"""A space that goes away while a person waits for a job, and comes back."""

from __future__ import annotations

import re
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from jobs.terminal import absence as absence_module
from jobs.terminal.absence import Absence, telling_of
from tuplespace import RemoteSpace, SpaceLostError, connect
from tuplespace.security import load_key


@pytest.fixture
def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


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


def test_a_call_that_gives_up_does_not_bring_the_space_back(free_port: int, key_file: Any) -> None:
    now = 100.0
    with RemoteSpace(f"PYRO:tuplespace@127.0.0.1:{free_port}", load_key(key_file)) as space:
        absence = Absence(space, lambda: now)
        space.away_until = 110.0
        absence.notice()
        now = 105.0
        said = absence.notice()
        assert said
        now = 120.0
        assert absence.notice() == said
        space.away_until = 180.0
        assert absence.notice() not in ("", said)


def test_a_space_that_is_frozen_is_said_to_be_silent_and_to_answer_again(
    server_process: Any, eventually: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(absence_module, "_SILENT_SECONDS", 0.5)
    with connect(server_process.uri) as space:
        absence = Absence(space)
        space.count((None,))
        server_process.signal(signal.SIGSTOP)
        try:
            waiting = threading.Thread(target=space.count, args=((None,),))
            waiting.start()
            said = eventually(absence.notice)
            assert re.fullmatch(r"the space has not answered since \d\d:\d\d:\d\d", said)
        finally:
            server_process.signal(signal.SIGCONT)
        waiting.join(20)
        assert absence.notice() == "the space answers again"


def test_a_call_that_waits_for_a_tuple_is_owed_no_answer_yet(
    remote: RemoteSpace, parked: Callable[..., Any]
) -> None:
    for timeout in (None, 60.0):
        taken = parked(remote, remote.take, ("a",), timeout)
        assert remote.overdue == 0.0
        remote.write(("a",))
        assert taken.result() == ("a",)
    assert remote.overdue == 0.0


def test_whoever_waits_in_a_script_reads_that_the_space_is_away(
    start_server: Callable[..., Any], eventually: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    server, said = start_server(), []

    def heard() -> str:
        said.append(capsys.readouterr().err)
        return "".join(said)

    with connect(server.uri, retry_for=600) as space, telling_of(space):
        server.stop()
        waiting = threading.Thread(target=_take, args=(space,))
        waiting.start()
        eventually(lambda: "the space does not answer; trying again until" in heard())
        start_server(server.port)
        waiting.join(20)
        eventually(lambda: "the space answers again" in heard())
    assert len(heard().splitlines()) == 2


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
        now, space.away_until = 701.0, None
        assert absence.notice() == "the space answers again"
        now = 710.0
        assert absence.notice() == ""
        space.away_until = 2500.0
        assert absence.notice() == ""


def _take(space: Any) -> None:
    try:
        space.count((None,))
    except SpaceLostError:
        pass
