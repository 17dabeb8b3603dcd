"""What goes with the object that owns it: when it is forgotten, or when the process exits."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any


def finalize_here(owner: Any, clear: Callable[..., Any], *args: Any) -> Any:
    """Return a `weakref.finalize` that does nothing in a process forked meanwhile."""
    pid = os.getpid()

    def clear_here() -> None:
        if os.getpid() == pid:
            clear(*args)

    return weakref.finalize(owner, clear_here)
