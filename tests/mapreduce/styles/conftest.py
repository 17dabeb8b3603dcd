"""What tests of the styles share: places to run at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mapreduce.styles.emit import Place, running_at
from tuplespace import RemoteSpace, connect


@pytest.fixture
def space(standing_cluster: Any) -> Iterator[RemoteSpace]:
    """A space with two workers."""
    with connect(standing_cluster.uri) as space:
        yield space


@pytest.fixture(params=["here", "cluster"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """Where the jobs of a test run: in this process, or on a space with two workers."""
    if request.param == "here":
        found = Place(num_workers=1)
    else:
        found = Place(request.getfixturevalue("space"))
    with running_at(found):
        yield found


@pytest.fixture(params=["here", "cluster"])
def anywhere(request: pytest.FixtureRequest) -> Any:
    """Where it runs: in this process, or on a space with workers."""
    if request.param == "here":
        return None
    return request.getfixturevalue("standing_cluster").uri
