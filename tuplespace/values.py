"""Values: what a field may hold as plain data, and how such values are told apart. Pure."""

from __future__ import annotations

import reprlib
from collections.abc import Hashable
from typing import Any, Final

from tuplespace.errors import InvalidTupleError

#: Fields of these types are stored, matched and sent as they are.
SCALARS: Final = frozenset({type(None), bool, int, float, str, bytes})
#: The types that may stand in a template for "any instance of it".
TYPES: Final = {t.__name__: t for t in (int, str, float, bytes, bool, tuple, list, dict)}

#: What is written, and what a template is.
Tuple = tuple[Any, ...] | dict[str, Any]
#: What is found: a `Tuple`, but most are tuples, and nobody wants to tell a type checker each time.
Found = Any

#: What `index_key` says of a field that no literal can find by lookup.
NO_KEY: Final = object()
#: The family of ints and floats.
NUMBER: Final = "number"
_FAMILIES: Final[dict[type, str]] = {str: "str", bytes: "bytes"}
#: How deep tuples and templates may be nested: what is deeper would end the stack of whoever reads it.
DEPTH: Final = 64
_brief: Final = reprlib.Repr()
_brief.maxstring = _brief.maxother = 100
_BOOL_KEYS: Final = {True: ("bool", True), False: ("bool", False)}


class Opaque:
    """A field that is not plain data: a signed pickle the server never opens."""

    __slots__ = ("sealed",)

    def __init__(self, sealed: bytes) -> None:
        self.sealed = sealed


def index_key(value: Any) -> Hashable:
    """Return what equal fields share and unequal ones do not, or NO_KEY.

    Python's 1 == 1.0 == True is kept for numbers and broken for bools.
    """
    kind = type(value)
    if kind is bool:
        return _BOOL_KEYS[value]
    return value if kind in SCALARS else NO_KEY


def family_of(value: Any) -> str | None:
    """Return what a field shares with all that it can be put in order with; None: no index can."""
    kind = type(value)
    if kind is int or kind is float:
        return NUMBER if value == value else None
    return _FAMILIES.get(kind)


def brief(value: Any) -> str:
    """Return a short text of any value, for messages; some have none, or a very long one."""
    try:
        return _brief.repr(value)[:200]
    except Exception:  # noqa: BLE001  # an int may be too long to be shown; anybody may write a repr
        return f"<{type(value).__name__}>"


def shape_of(value: Tuple) -> Hashable:
    """Return what a tuple shares with every template that can match it: arity or keys.

    Raises:
        InvalidTupleError: It is neither a tuple nor a dict with str keys.
    """
    if type(value) is tuple:
        return len(value)
    if type(value) is dict and all(type(key) is str for key in value):
        return frozenset(value)
    raise InvalidTupleError(
        f"a tuple is a tuple, or a dict with str keys, not {type(value).__name__}: {brief(value)}"
    )
