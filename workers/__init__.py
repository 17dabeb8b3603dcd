"""Workers: agents that claim tasks from a tuple space and run them in worker processes."""

from tuplespace import starting as starting  # isort: skip  # first, see there
from typing import TYPE_CHECKING, Any

from workers.counters import counter
from workers.errors import (
    BlockLostError,
    InvalidBundleError,
    ModuleNotShippableError,
    WorkerError,
    WorkFolderError,
)

if TYPE_CHECKING:
    from workers.agent import Agent

__all__ = [
    "Agent",
    "BlockLostError",
    "InvalidBundleError",
    "ModuleNotShippableError",
    "WorkFolderError",
    "WorkerError",
    "counter",
]


def __getattr__(name: str) -> Any:
    # Worker processes import this package too, and have no use for an agent.
    if name == "Agent":
        from workers.agent import Agent

        return Agent
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
