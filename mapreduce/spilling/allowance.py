"""The allowance: how much memory the running task may fill before it spills, and where to."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Final, NamedTuple


class Allowance(NamedTuple):
    """What a task may use.

    Attributes:
        memory: Bytes of data that it may hold at once. folder: Returns where it may spill the
            rest, made on first use and deleted with everything in it when the task has ended.
    """

    memory: int
    folder: Callable[[], Path]


def _nowhere() -> Path:
    raise RuntimeError("there is nowhere to spill to, nor a reason")


#: Outside of a worker, in `run_sequential` say, everything stays in memory.
UNLIMITED: Final = Allowance(sys.maxsize, _nowhere)
_current: ContextVar[Allowance] = ContextVar("allowance", default=UNLIMITED)


def allowance() -> Allowance:
    """Return that of the running task; `UNLIMITED` if there is none."""
    return _current.get()


@contextmanager
def allowed(given: Allowance) -> Iterator[None]:
    """Let what runs in this block have this allowance."""
    token = _current.set(given)
    try:
        yield
    finally:
        _current.reset(token)
