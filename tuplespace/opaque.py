"""Objects in tuples: what is not plain data travels as a pickle under the cluster key's signature.

Clients do this; to the server such a field is bytes, which it never opens.
"""

from __future__ import annotations

from typing import Any, Final

from tuplespace.errors import InvalidTupleError
from tuplespace.pickles import dump, load
from tuplespace.security import Key
from tuplespace.template import ANY, Between, Exactly, OneOf
from tuplespace.values import DEPTH, SCALARS, Opaque, brief, shape_of

_CONTEXT: Final = "field"


class Opener:
    """Makes plain tuples of what users write, and gives them back as they were.

    Args:
        key: Signs the pickles and checks them before they are opened.
    """

    def __init__(self, key: Key) -> None:
        self._key = key

    def close_up(self, value: Any) -> Any:
        """Return a copy of a tuple in which every object is an `Opaque`; plain data stays.

        Raises:
            InvalidTupleError: It is no tuple, or a field cannot be pickled.
        """
        if type(value) is tuple and SCALARS.issuperset(map(type, value)):
            return value
        if isinstance(value, tuple) and type(value) is not tuple:
            value = tuple(value)  # a named tuple is a tuple
        shape_of(value)
        try:
            return self._plain(value, DEPTH + 1)
        except RecursionError:
            raise InvalidTupleError("a field is nested too deeply, or contains itself") from None

    def _plain(self, value: Any, left: int) -> Any:
        kind = type(value)
        if kind in SCALARS:
            return value
        if not left and kind in (tuple, list, dict):
            raise InvalidTupleError(
                f"a tuple is nested at most {DEPTH} deep; this is deeper, or contains itself"
            )
        if kind is tuple:
            return tuple(self._plain(each, left - 1) for each in value)
        if kind is list:
            return [self._plain(each, left - 1) for each in value]
        if kind is dict and all(_is_plain_key(key) for key in value):
            return {key: self._plain(each, left - 1) for key, each in value.items()}
        if value is ANY or kind in (Exactly, Between, OneOf):
            raise InvalidTupleError(f"{brief(value)} is for templates, and this is a tuple")
        try:
            pickled = dump(value)
        except Exception as error:
            raise InvalidTupleError(
                f"a field cannot be pickled: {kind.__name__}: {brief(value)}: {error}"
            ) from error
        return Opaque(self._key.seal(_CONTEXT, pickled))

    def open_up(self, value: Any) -> Any:
        """Return a copy of a plain tuple with its objects restored; see `restore`."""
        kind = type(value)
        if kind in SCALARS or (kind is tuple and SCALARS.issuperset(map(type, value))):
            return value
        if kind is tuple:
            return tuple(map(self.open_up, value))
        if kind is list:
            return list(map(self.open_up, value))
        if kind is dict:
            return {key: self.open_up(each) for key, each in value.items()}
        return self.restore(value.sealed)

    def restore(self, sealed: bytes) -> Any:
        """Return the object in an opaque field.

        Raises:
            AuthenticationError: The signature is wrong; nothing was unpickled.
            InvalidTupleError: It cannot be unpickled here.
        """
        pickled = self._key.unseal(_CONTEXT, sealed)
        try:
            return load(pickled)
        except Exception as error:
            raise InvalidTupleError(
                f"a field cannot be unpickled here: {type(error).__name__}: {error}"
            ) from error


def _is_plain_key(key: Any) -> bool:
    return type(key) in SCALARS or (type(key) is tuple and all(map(_is_plain_key, key)))
