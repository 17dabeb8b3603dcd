"""Pickles: objects as bytes. `load` runs what it is given, so give it only what was checked.

This module alone pickles, so that whoever reads or audits the project has one place to look.
"""

from __future__ import annotations

import pickle
from typing import Any

import cloudpickle


def dump(value: Any) -> bytes:
    """Return the object as bytes, functions and classes of ``__main__`` by value.

    Raises:
        Exception: It cannot be pickled; whatever its type's author raises.
    """
    return bytes(cloudpickle.dumps(value, protocol=5))


def dump_data(value: Any) -> bytes:
    """Return the object as bytes; the faster `dump` for a process whose ``__main__`` is ours.

    Raises:
        Exception: As `dump`.
    """
    try:
        return pickle.dumps(value, protocol=5)
    except Exception:  # noqa: BLE001  # pickle raises anything; cloudpickle's reason is the better
        return dump(value)


def load(data: bytes | memoryview) -> Any:
    """Return the object. Its bytes must come from a sealed message or match a digest in one.

    Raises:
        Exception: It cannot be unpickled here.
    """
    return pickle.loads(data)
