"""Tuples and templates as bytes.

Pyro's own msgpack turns a Decimal into a str and a set into a list without a word. Here a value
either arrives as what it was or is refused. Arrays of msgpack are our tuples, the commonest
thing by far; lists, big ints and matchers are extension types; what is not plain data is an
`Opaque` (see `opaque`), whose bytes pass through here unopened.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgpack

from tuplespace.errors import (
    InvalidTemplateError,
    InvalidTupleError,
    TupleSpaceError,
    TupleTooLargeError,
)
from tuplespace.limits import CALL_BYTES
from tuplespace.template import (
    ANY,
    SCALARS,
    TYPES,
    Between,
    Exactly,
    OneOf,
    Opaque,
    Template,
)

_LIST, _BIG_INT, _OPAQUE = 1, 2, 3
_TYPE, _EXACTLY, _BETWEEN, _RANGE, _REGEX, _ONE_OF = 10, 11, 12, 13, 14, 15

Restore = Callable[[bytes], Any]


def pack(value: Any) -> bytes:
    """Return plain values, `Opaque` s and templates as bytes.

    Raises:
        InvalidTupleError: They are something else, too large or nested too deeply.
    """
    try:
        return bytes(
            msgpack.packb(
                _to_msgpack(value), default=_pack_extension, unicode_errors="surrogatepass"
            )
        )
    except (RecursionError, ValueError) as error:
        raise InvalidTupleError(f"too large, or nested too deeply, to be sent: {error}") from None


def unpack(data: bytes | memoryview, restore: Restore = Opaque) -> Any:
    """Return what `pack` was given.

    Args:
        data: The bytes. restore: What makes a field of an opaque's sealed bytes.

    Raises:
        InvalidTupleError: These bytes are no such value.
    """

    def extension(code: int, content: bytes) -> Any:
        if code == _OPAQUE:
            return restore(content)
        if code == _LIST:
            return list(unpack(content, restore))
        return _unpack_extension(code, content)

    try:
        return msgpack.unpackb(
            data, use_list=False, strict_map_key=False, ext_hook=extension,
            unicode_errors="surrogatepass",
        )  # fmt: skip
    except TupleSpaceError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever hostile bytes may provoke
        raise InvalidTupleError(f"these bytes are no message: {error!r}") from None


def _to_msgpack(value: Any) -> Any:
    """Replace what msgpack would change in silence by what it carries truly."""
    kind = type(value)
    if kind is tuple:
        plain = SCALARS.issuperset(map(type, value))
        return value if plain else tuple(map(_to_msgpack, value))
    if kind in SCALARS:
        return value
    if kind is list:
        return msgpack.ExtType(_LIST, pack(tuple(value)))
    if kind is dict:
        return {_to_msgpack(key): _to_msgpack(each) for key, each in value.items()}
    return _pack_extension(value)


def _pack_extension(value: Any) -> Any:
    kind = type(value)
    if kind is int:
        size = (value.bit_length() + 8) // 8
        return msgpack.ExtType(_BIG_INT, value.to_bytes(size, "big", signed=True))
    if kind is Opaque:
        return msgpack.ExtType(_OPAQUE, value.sealed)
    if value is ANY:
        return None
    if kind is type:
        return msgpack.ExtType(_TYPE, value.__name__.encode())
    if kind is Exactly:
        return msgpack.ExtType(_EXACTLY, pack((value.value,)))
    if kind is Between:
        return msgpack.ExtType(_BETWEEN, pack((value.low, value.high)))
    if kind is range:
        return msgpack.ExtType(_RANGE, pack((value.start, value.stop, value.step)))
    if kind is re.Pattern:
        return msgpack.ExtType(_REGEX, pack((value.pattern, value.flags)))
    if kind is OneOf:
        return msgpack.ExtType(_ONE_OF, pack(value.fields))
    raise InvalidTupleError(f"{kind.__name__} is no plain data: {value!r:.200}")


def _unpack_extension(code: int, content: bytes) -> Any:
    if code == _BIG_INT:
        return int.from_bytes(content, "big", signed=True)
    if code == _TYPE:
        return TYPES[content.decode()]
    fields = unpack(content)
    if code == _EXACTLY:
        return Exactly(*fields)
    if code == _BETWEEN:
        return Between(*fields)
    if code == _RANGE:
        return range(*fields)
    if code == _REGEX:
        return re.compile(*fields)
    if code == _ONE_OF:
        return OneOf(*fields)
    raise InvalidTupleError(f"unknown extension type {code}")


def pack_template(template: Any) -> bytes:
    """Return a template as bytes.

    Raises:
        InvalidTemplateError: It is none.
    """
    if type(template) is not tuple or not SCALARS.issuperset(map(type, template)):
        template = Template(template).source
    return pack(template)


def unpack_template(data: bytes) -> Template:
    """Return the compiled template.

    Raises:
        InvalidTemplateError: These bytes are none.
    """
    try:
        return Template(unpack(data))
    except InvalidTupleError as error:
        raise InvalidTemplateError(str(error)) from None


def tuples_in(verb: str, args: Sequence[Any]) -> Sequence[Any]:
    """Return the tuples that a call would write."""
    if verb == "write":
        return args[0]  # type: ignore[no-any-return]
    if verb == "swap":
        return args[1:2]
    if verb == "confirm_many":
        return [each for written in args[1] for each in written]
    if verb == "renew_many":
        return [each for triple in args[0] for each in triple[-1]]
    return ()


def check_sizes(verb: str, args: Sequence[Any], size: int, limit: int) -> None:
    """Let a call pass that writes no tuple larger than the limit, and is not too large in all.

    Args:
        verb: Its name. args: Its arguments. size: Its bytes in all. limit: Of one tuple.

    Raises:
        TupleTooLargeError: It is not so.
    """
    largest = max((len(pack(each)) for each in tuples_in(verb, args)), default=size)
    allowed = max(CALL_BYTES, limit)
    if largest > limit or size > allowed:
        raise TupleTooLargeError(
            f"{verb}: a tuple of {largest:,} bytes in a call of {size:,}; {limit:,} and "
            f"{allowed:,} are allowed; send bulk by reference"
        )
