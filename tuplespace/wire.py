"""Tuples and templates as bytes.

Pyro's own msgpack turns a Decimal into a str and a set into a list without a word. Here a value
either arrives as what it was or is refused. Arrays of msgpack are our tuples, the commonest
thing by far, and, with a mark before their fields, our lists; big ints and matchers are extension
types; what is not plain data is an `Opaque` (see `opaque`), whose bytes pass through here unopened.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final

import msgpack

from tuplespace.entry import WEIGHT_UNIT, weight_of
from tuplespace.errors import (
    InvalidTemplateError,
    InvalidTupleError,
    TupleSpaceError,
    TupleTooLargeError,
    to_wire,
)
from tuplespace.limits import CALL_BYTES
from tuplespace.template import ANY, Between, Exactly, OneOf, Template
from tuplespace.values import DEPTH, SCALARS, TYPES, Opaque, brief

_LIST, _BIG_INT, _OPAQUE = 1, 2, 3
_TYPE, _EXACTLY, _BETWEEN, _RANGE, _REGEX, _ONE_OF = 10, 11, 12, 13, 14, 15

#: What stands before the fields of a list; we unpack it as what nobody can write.
_LIST_MARK: Final = msgpack.ExtType(_LIST, b"")
_LIST_HEAD: Final = object()
#: How deep matchers may stand in each other, and tuples in a call.
_EXTENSIONS: Final = 32
_CALL_DEPTH: Final = 8

_TUPLE: Final = frozenset({tuple})

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


def unpack(data: bytes | memoryview, restore: Restore = Opaque, depth: int = 0) -> Any:
    """Return what `pack` was given.

    Args:
        data: The bytes. restore: What makes a field of an opaque's sealed bytes. depth: How many
            extensions they stand in; each takes some 40 KB of the stack.

    Raises:
        InvalidTupleError: These bytes are no such value.
    """
    lists = False

    def extension(code: int, content: bytes) -> Any:
        if code == _OPAQUE:
            return restore(content)
        if code == _LIST:
            nonlocal lists
            lists = True
            return _LIST_HEAD
        return _unpack_extension(code, content, depth)

    try:
        value = msgpack.unpackb(
            data, use_list=False, strict_map_key=False, ext_hook=extension,
            unicode_errors="surrogatepass",
        )  # fmt: skip
        return _with_lists(value, DEPTH + _CALL_DEPTH) if lists else value
    except TupleSpaceError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever hostile bytes may provoke
        raise InvalidTupleError(f"these bytes are no message: {error!r}") from None


def _to_msgpack(value: Any) -> Any:
    """Replace what msgpack would change in silence by what it carries truly."""
    kind = type(value)
    if kind is tuple:
        if SCALARS.issuperset(map(type, value)):
            return value
        if _TUPLE.issuperset(map(type, value)):  # many tuples, as batches are
            fields = chain.from_iterable(value)
            if SCALARS.issuperset(map(type, fields)):
                return value
        return tuple(map(_to_msgpack, value))
    if kind in SCALARS:
        return value
    if kind is list:
        return (_LIST_MARK, *map(_to_msgpack, value))
    if kind is dict:
        return {_to_msgpack(key): _to_msgpack(each) for key, each in value.items()}
    return _pack_extension(value)


def _with_lists(value: Any, left: int) -> Any:
    """Return a value in which each tuple that begins with the mark of a list is one."""
    kind = type(value)
    if value is _LIST_HEAD or not left:
        raise InvalidTupleError("a list's mark out of place, or nested too deeply")
    if kind is tuple:
        if value and value[0] is _LIST_HEAD:
            return [_with_lists(each, left - 1) for each in value[1:]]
        return tuple(_with_lists(each, left - 1) for each in value)
    if kind is dict:
        return {key: _with_lists(each, left - 1) for key, each in value.items()}
    return value


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
    raise InvalidTupleError(f"{kind.__name__} is no plain data: {brief(value)}")


def _unpack_extension(code: int, content: bytes, depth: int) -> Any:
    if code == _BIG_INT:
        return int.from_bytes(content, "big", signed=True)
    if code == _TYPE:
        return TYPES[content.decode()]
    if depth > _EXTENSIONS:
        raise InvalidTupleError("nested too deeply")
    fields = unpack(content, depth=depth + 1)
    if code == _EXACTLY:
        return Exactly(*fields)
    if code == _BETWEEN:
        return Between(*fields)
    if code == _RANGE:
        return range(*fields)
    if code == _REGEX:
        pattern, flags = fields
        return re.compile(pattern, flags & ~re.DEBUG)  # it would print
    if code == _ONE_OF:
        return OneOf(*fields)
    raise InvalidTupleError(f"unknown extension type {code}")


def pack_reply(number: int, ok: bool, value: Any) -> bytes:
    """Return the answer to one call as our client gets it, or that it cannot be sent.

    Args:
        number: The operation's. ok: Whether `value` is its value, not its error.
    """
    try:
        return pack((number, ok, value if ok else to_wire(value)))
    except (TupleSpaceError, OverflowError) as error:
        problem = InvalidTupleError(f"the answer cannot be sent: {error}")
        return pack((number, False, to_wire(problem)))


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
    if verb == "renew_writing":
        return args[2]  # type: ignore[no-any-return]
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
    # What weighs little is not large, however it is written: a str takes twice its memory at most.
    heavy = (each for each in tuples_in(verb, args) if 2 * weight_of(each) * WEIGHT_UNIT > limit)
    largest = max((len(pack(each)) for each in heavy), default=0)
    allowed = max(CALL_BYTES, limit)
    if largest > limit or size > allowed:
        raise TupleTooLargeError(
            f"{verb}: a tuple of {largest:,} bytes in a call of {size:,}; {limit:,} (--limit "
            f"tuple_bytes=) and {allowed:,} are allowed; send bulk by reference"
        )
