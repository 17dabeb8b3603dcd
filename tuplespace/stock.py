"""What stock Pyro5 proxies see of a space: plain verbs, plain tuples, Python's own errors."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Sequence
from typing import Any

import Pyro5.api

from tuplespace import errors
from tuplespace.values import Opaque, brief


class StockSpace:
    """What a stock ``Pyro5.api.Proxy`` sees: the plain verbs, for plain tuples.

    With serpent, tuples stay tuples at any depth; msgpack makes them lists on the way, of which
    the outermost becomes a tuple again here. Fields that are no plain data show as their sealed
    bytes. Errors are Python's own: TimeoutError for no match, ValueError, TypeError.
    """

    def __init__(self, call: Callable[[str, Sequence[Any]], Any]) -> None:
        self._call = call

    @Pyro5.api.expose  # type: ignore[untyped-decorator]
    def write(self, tuple: Any, lease: float | None = None) -> int:
        """Store a tuple; return its id."""
        return int(self._call("write", ([_from_stock(tuple)], lease)))

    @Pyro5.api.expose  # type: ignore[untyped-decorator]
    def write_many(self, tuples: Any, lease: float | None = None) -> int:
        """Store tuples in one atomic step; return the first one's id."""
        return int(self._call("write", ([_from_stock(each) for each in tuples], lease)))

    @Pyro5.api.expose  # type: ignore[untyped-decorator]
    def take(self, template: Any, timeout: float | None = None) -> Any:
        """Remove the oldest match and return it; TimeoutError if there is none in time."""
        return self._call("take", (_from_stock(template), timeout))

    @Pyro5.api.expose  # type: ignore[untyped-decorator]
    def take_many(self, template: Any, limit: int, timeout: float | None = None) -> Any:
        """Remove and return 1 to `limit` matches as soon as one is there."""
        return self._call("take_many", (_from_stock(template), limit, timeout))

    @Pyro5.api.expose  # type: ignore[untyped-decorator]
    def read(self, template: Any, timeout: float | None = None) -> Any:
        """Return the oldest match; it stays."""
        return self._call("read", (_from_stock(template), timeout))

    @Pyro5.api.expose  # type: ignore[untyped-decorator]
    def read_all(self, template: Any) -> Any:
        """Return all matches."""
        return self._call("read_all", (_from_stock(template),))

    @Pyro5.api.expose  # type: ignore[untyped-decorator]
    def count(self, template: Any) -> int:
        """Return how many match."""
        return int(self._call("count", (_from_stock(template),)))

    @Pyro5.api.expose  # type: ignore[untyped-decorator]
    def swap(self, template: Any, replacement: Any) -> Any:
        """Take the oldest match, write the replacement, return the old, in one step."""
        return self._call("swap", (_from_stock(template), _from_stock(replacement)))

    @Pyro5.api.expose  # type: ignore[untyped-decorator]
    def status(self) -> Any:
        """Return the space's figures."""
        return self._call("status", ())


def builtin_error(error: errors.TupleSpaceError) -> Exception:
    """Return the nearest exception that every Python has."""
    for cls in type(error).__mro__:
        if cls.__module__ == "builtins" and issubclass(cls, Exception) and cls is not Exception:
            return cls(f"{type(error).__name__}: {error}")
    return RuntimeError(f"{type(error).__name__}: {error}")


def _from_stock(value: Any) -> Any:
    """Repair what serializers do to a tuple: the outermost list, and serpent's bytes."""
    value = _with_bytes(value)
    return tuple(value) if type(value) is list else value


def _with_bytes(value: Any) -> Any:
    if type(value) in (tuple, list):
        return type(value)(map(_with_bytes, value))
    if type(value) is dict:
        if value.keys() == {"data", "encoding"} and value["encoding"] == "base64":
            return b64decode(value["data"])
        return {key: _with_bytes(each) for key, each in value.items()}
    if value is None or type(value) in (bool, int, float, str, bytes):
        return value
    raise TypeError(
        f"stock proxies carry plain data only, not {type(value).__name__}: {brief(value)}"
    )


def for_stock(value: Any) -> Any:
    """Return a result as a stock proxy can have it."""
    if type(value) in (tuple, list):
        return type(value)(map(for_stock, value))
    if type(value) is dict:
        return {key: for_stock(each) for key, each in value.items()}
    return value.sealed if type(value) is Opaque else value
