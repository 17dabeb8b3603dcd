"""Workers: agents that claim tasks from a tuple space and run them in worker processes."""

from workers.agent import Agent
from workers.errors import (
    BlockLostError,
    InvalidBundleError,
    ModuleNotShippableError,
    WorkerError,
    WorkFolderError,
)

__all__ = [
    "Agent",
    "BlockLostError",
    "InvalidBundleError",
    "ModuleNotShippableError",
    "WorkFolderError",
    "WorkerError",
]
