"""What an agent says, and how often."""

from __future__ import annotations

from typing import Any

import pytest

from tuplespace import SpaceFullError, SpaceUnreachableError
from workers.voice import Voice

AWAY = SpaceUnreachableError("no answer", False)


@pytest.fixture
def clock() -> list[float]:
    return [1000.0]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def voice(clock: list[float], said: list[str]) -> Voice:
    return Voice("lab1/7", said.append, lambda: clock[0])


def test_trouble_is_told_at_once_and_then_with_growing_pauses(
    voice: Voice, clock: list[float], said: list[str]
) -> None:
    told_at = []
    for _ in range(3600):
        before = len(said)
        voice.away(AWAY, 1)
        if len(said) > before:
            told_at.append(clock[0] - 1000)
        clock[0] += 1

    assert told_at == [0, 30, 90, 210, 450, 930, 1890, 2850]
    assert set(said) == {"lab1/7: still trying: no answer"}


def test_a_space_that_lets_the_agent_in_again_is_back_and_that_is_said_once(
    voice: Voice, said: list[str]
) -> None:
    voice.back("PYRO:a", 1)
    voice.away(AWAY, 1)
    voice.back("PYRO:a", 1)  # whoever asks had nothing to ask of the space
    assert len(said) == 1

    voice.back("PYRO:a", 2)
    voice.back("PYRO:a", 3)
    assert said[1:] == ["lab1/7: goes on at PYRO:a"]

    voice.away(AWAY, 3)  # another absence is told of at once
    assert said[2:] == ["lab1/7: still trying: no answer"]


def test_an_agent_that_begins_has_found_its_space(voice: Voice, said: list[str]) -> None:
    voice.away(AWAY)
    voice.begin("worker lab1/7: 2 processes")
    voice.back("PYRO:a", 1)

    assert said[1:] == ["worker lab1/7: 2 processes"]


def test_a_space_that_is_full_is_not_back_because_a_connection_was_made(
    voice: Voice, said: list[str]
) -> None:
    voice.away(full := SpaceFullError("bytes", 1, 1, 1.0), 1)
    voice.back("PYRO:a", 2)
    voice.away(full, 2)

    assert len(said) == 1


def test_trouble_that_comes_again_after_a_while_is_told_of_at_once(
    voice: Voice, clock: list[float], said: list[str]
) -> None:
    for _ in range(40):
        voice.away(AWAY, 1)
        clock[0] += 5
    before = len(said)
    clock[0] += 61
    voice.away(AWAY, 1)

    assert len(said) == before + 1


def test_an_agent_says_that_it_goes_on_once_its_space_is_back(cluster: Any) -> None:
    agent = cluster.start_agent(processes=1)
    cluster.kill_server()
    agent.wait_for("still trying")

    cluster.start_server()

    assert cluster.uri in agent.wait_for("goes on at")
