"""Pickles: objects as bytes. `load` runs what it is given, so give it only what was checked.

This module alone pickles, so that whoever reads or audits the project has one place to look.
"""

from __future__ import annotations

import functools
import io
import pickle
import sys
from collections import ChainMap
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import IO, Any, ClassVar, Protocol

import cloudpickle


def dump(value: Any) -> bytes:
    """Return the object as bytes, functions and classes of ``__main__`` by value.

    Raises:
        Exception: It cannot be pickled; whatever its type's author raises.
    """
    with io.BytesIO() as file:
        _Pickler(file, protocol=5).dump(value)
        return file.getvalue()


def _reduce_cached(function: Any) -> Any:
    """Pickle what `functools.lru_cache` made: cloudpickle does by name only, and so not a script's."""
    module, name = function.__module__, function.__qualname__
    if module != "__main__":
        try:
            if attrgetter(name)(sys.modules[module]) is function:
                return name
        except (AttributeError, KeyError):
            pass  # it is defined in a function
    return _cached, (function.__wrapped__, function.cache_parameters())


def _cached(function: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    return functools.lru_cache(**parameters)(function)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    dispatch_table: ClassVar[Any] = ChainMap(
        {functools._lru_cache_wrapper: _reduce_cached}, cloudpickle.Pickler.dispatch_table
    )


def dump_data(value: Any) -> bytes:
    """Return the object as bytes; the faster `dump` for a process whose ``__main__`` is ours.

    Raises:
        Exception: As `dump`.
    """
    try:
        return pickle.dumps(value, protocol=5)
    except Exception:  # noqa: BLE001  # pickle raises anything; cloudpickle's reason is the better
        return dump(value)


class Sink(Protocol):
    """What a pickle is written to as it is made."""

    def write(self, data: Any, /) -> Any:
        """Take some bytes."""


def dump_data_into(value: Any, new_sink: Callable[[], Sink]) -> None:
    """As `dump_data`, without holding all its bytes at once.

    Args:
        new_sink: Gives what to write to; asked for another if the first must be begun again.
    """
    try:
        pickle.dump(value, new_sink(), protocol=5)
    except OSError:
        raise
    except Exception:  # noqa: BLE001  # as in dump_data
        _Pickler(new_sink(), protocol=5).dump(value)


def dump_plain(value: Any) -> bytes:
    """Return the object as bytes that follow from its value alone.

    A pickle usually says as well which equal parts of it are one object, and that differs between
    processes: here it does not, unless the object contains itself or must go by value.
    """
    with io.BytesIO() as file:
        pickler = pickle.Pickler(file, protocol=5)
        pickler.fast = True
        try:
            pickler.dump(value)
        except Exception:  # noqa: BLE001  # as in dump_data, and ValueError for what contains itself
            return dump_data(value)
        return file.getvalue()


def load_from(file: IO[bytes]) -> Any:
    """As `load`, from a file that checks what it reads."""
    return pickle.load(file)


def load_all(file: IO[bytes]) -> Iterator[Any]:
    """Yield the objects in a file that its owner trusts, one pickle after the other.

    Args:
        file: It can tell where it is.

    Raises:
        EOFError: The file ends in the middle of a pickle. Exception: As `load`.
    """
    while True:
        start = file.tell()
        try:
            value = pickle.load(file)
        except EOFError as error:
            if file.tell() == start:
                return
            raise EOFError("it ends in the middle of a pickle, so it was cut short") from error
        yield value


def load(data: bytes | memoryview) -> Any:
    """Return the object. Its bytes must come from a sealed message or match a digest in one.

    Raises:
        Exception: It cannot be unpickled here.
    """
    return pickle.loads(data)
