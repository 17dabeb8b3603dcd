"""An agent looks for a space that has moved, but never goes to another one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from tuplespace import connect
from workers.seeking import Seeking
from workers.voice import Voice


def test_a_space_that_was_given_by_its_address_is_not_left_for_another(
    start_server: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    given, other = start_server(), start_server()
    with connect(given.uri) as space:
        monkeypatch.setenv("TUPLESPACE_URI", other.uri)
        given.stop()

        Seeking(given.uri, None, None, Voice("host/1", print)).is_away(space, -math.inf)

        assert space.uri == given.uri
