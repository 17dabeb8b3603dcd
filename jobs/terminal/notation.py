"""How tuples and templates are written on a command line: as Python writes them. Pure.

::

    tuple       ("task", 7, None, b"x", [1.5, nan], {"a": (True,)})
    template    ("task", int, ...)      None, ... and ANY match anything
                ("a", Between(1, 5), OneOf("x", "y"), range(10), re("^b+"), Exactly(None))

Nothing is evaluated: Python's parser reads the text, and what comes out of it is looked at node by
node. What is no plain data stands as ``<opaque 120 bytes>``, or as ``Opaque("...")`` with its sealed
bytes in base64, and is never unpickled.
"""

from __future__ import annotations

import ast
import base64
import binascii
import math
import re
import warnings
from collections.abc import Callable
from typing import Any, Final

from jobs.errors import NotationError
from tuplespace import ANY, Between, Exactly, OneOf
from tuplespace.values import DEPTH, TYPES, Opaque, Tuple, brief

#: Python shows no longer int in decimal, and reads none.
_DECIMAL_BITS: Final = 10_000
_CONSTANTS: Final = {"nan": math.nan, "inf": math.inf}
_WILDCARDS: Final = {"ANY": ANY}
#: As in "Between.__init__() missing 1 required positional argument".
_PYTHONS_NAME: Final = re.compile(r"^[\w.]+\(\) ")


def parse_tuple(text: str) -> Tuple:
    """Return the tuple that a text such as ``("a", 1)`` or ``{"name": "a"}`` means.

    Raises:
        NotationError: It is none; says why in a line.
    """
    return _Reader(text, "tuple", _CONSTANTS, {"Opaque": _opaque}).read()


def parse_template(text: str) -> Tuple:
    """Return the template that a text such as ``("a", int, ...)`` means.

    Raises:
        NotationError: It is none; says why in a line.
    """
    calls: dict[str, Callable[..., Any]] = {
        "Between": Between, "Exactly": Exactly, "OneOf": OneOf, "range": range, "re": re.compile,
    }  # fmt: skip
    return _Reader(text, "template", {**_CONSTANTS, **_WILDCARDS, **TYPES}, calls).read()


def show(value: Any, opaque: Callable[[Opaque], str] | None = None) -> str:
    """Return plain data as a line that `parse_tuple` reads; of any other object, what Python shows.

    Args:
        value: It. opaque: What stands for an opaque field; None: ``Opaque("...")``, which can be read.
    """
    kind = type(value)
    if kind is Opaque:
        return (opaque or _sealed)(value)
    if kind is tuple:
        inner = ", ".join(show(each, opaque) for each in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if kind is list:
        return f"[{', '.join(show(each, opaque) for each in value)}]"
    if kind is dict:
        pairs = (f"{show(key, opaque)}: {show(each, opaque)}" for key, each in value.items())
        return f"{{{', '.join(pairs)}}}"
    if kind is int and value.bit_length() > _DECIMAL_BITS:
        return hex(value)
    return repr(value)


def opaque_size(field: Opaque) -> str:
    """Return what stands for an opaque field that is only looked at."""
    return f"<opaque {len(field.sealed)} bytes>"


def _sealed(field: Opaque) -> str:
    return f'Opaque("{base64.b64encode(field.sealed).decode()}")'


def _opaque(text: Any) -> Opaque:
    try:
        return Opaque(base64.b64decode(text, validate=True))
    except (TypeError, binascii.Error):
        raise ValueError("it takes base64, as `take` prints it") from None


class _Reader:
    """Reads one text.

    Args:
        text: It. what: It is to be, "tuple" or "template". names, calls: What may stand in it.
    """

    def __init__(
        self, text: str, what: str, names: dict[str, Any], calls: dict[str, Callable[..., Any]]
    ) -> None:
        self._text, self._what = text.strip(), what
        self._names, self._calls = names, calls

    def read(self) -> Tuple:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of escapes such as \d in a re
                node = ast.parse(self._text, mode="eval").body
            value = self._value(node, DEPTH + 1)
        except SyntaxError as error:
            raise self._error(f"Python cannot read it: {error.msg}") from None
        except (ValueError, RecursionError, MemoryError) as error:
            raise self._error(str(error) or "it is nested too deeply") from None
        if type(value) is tuple or (type(value) is dict and all(type(key) is str for key in value)):
            return value
        hint = ""
        if type(value) is not dict:
            hint = f"; of one field it is ({self._segment(node)},), with a comma"
        raise self._error(f"it is a tuple, or a dict with str keys{hint}")

    def _error(self, reason: str) -> NotationError:
        shown = self._text if len(self._text) <= 100 else f"{self._text[:97]}..."
        return NotationError(f"{shown!r} is no {self._what}: {' '.join(reason.split())}")

    def _segment(self, node: ast.AST) -> str:
        text = ast.get_source_segment(self._text, node) or ast.dump(node)
        return text if len(text) <= 40 else f"{text[:37]}..."

    def _value(self, node: ast.expr, left: int) -> Any:
        if not left:
            raise ValueError(f"it is nested more than {DEPTH} deep")
        match node:
            case ast.Constant():
                return self._constant(node)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                return self._signed(node, self._value(operand, left))
            case ast.Tuple(elts=fields):
                return tuple(self._value(each, left - 1) for each in fields)
            case ast.List(elts=fields):
                return [self._value(each, left - 1) for each in fields]
            case ast.Dict(keys=keys, values=values) if all(keys):
                return {
                    self._key(key, left - 1): self._value(each, left - 1)
                    for key, each in zip(keys, values, strict=True) if key is not None
                }  # fmt: skip
            case ast.Name(id=name) if name in self._names:
                return self._names[name]
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if (
                name in self._calls
            ):
                return self._call(name, [self._value(each, left - 1) for each in arguments])
        raise ValueError(self._complaint(node))

    def _constant(self, node: ast.Constant) -> Any:
        if node.value is ... and self._names.keys() >= _WILDCARDS.keys():
            return ANY
        if node.value is ... or type(node.value) is complex:
            raise ValueError(self._complaint(node))
        return node.value

    def _signed(self, node: ast.UnaryOp, value: Any) -> Any:
        if type(value) not in (int, float):
            raise ValueError(self._complaint(node))
        return -value if isinstance(node.op, ast.USub) else value

    def _key(self, node: ast.expr, left: int) -> Any:
        key = self._value(node, left)
        try:
            hash(key)
        except TypeError:
            raise ValueError(f"{self._segment(node)} cannot be a key") from None
        return key

    def _call(self, name: str, arguments: list[Any]) -> Any:
        try:
            return self._calls[name](*arguments)
        except (TypeError, ValueError, OverflowError, RecursionError, re.error) as error:
            raise ValueError(f"{name}: {_PYTHONS_NAME.sub('', str(error))}") from None

    def _complaint(self, node: ast.expr) -> str:
        known = [*self._names, *(f"{name}(...)" for name in self._calls)]
        return f"what is {brief(self._segment(node))}? there are plain data, {', '.join(known)}" + (
            "; wildcards are for templates" if self._what == "tuple" else ", and `...`"
        )
