"""Templates: what a take, read or claim matches with. Pure: no I/O, no clock, no state.

A template is a tuple (or, for dict tuples, a dict). Each field is one of

========================  ==========================================================
``None`` or ``ANY``       matches anything, the only thing that matches an opaque object
a plain value             an equal value; 1 matches 1.0, a bool matches only that bool
``Exactly(value)``        that value with no wildcard in it: ``Exactly(None)`` matches None
a type                    ``int str float bytes bool tuple list dict``: its instances
``Between(lo, hi)``       lo <= value <= hi; what cannot be compared does not match;
                          None: no end on that side
a ``range``               the numbers in it
a compiled ``re``         a str in which it is found (Ruby's ``===``)
``OneOf(a, b, ...)``      a value that one of these fields matches
a tuple, a dict           field by field, wildcards inside included; dicts by key
========================  ==========================================================

Source: Rinda's ``Template#match``, less its accidents (docs/rinda.md).
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from tuplespace.errors import InvalidTemplateError, InvalidTupleError
from tuplespace.values import (
    DEPTH,
    NO_KEY,
    NUMBER,
    SCALARS,
    TYPES,
    Tuple,
    brief,
    family_of,
    index_key,
    shape_of,
)

Predicate = Callable[[Any], bool]


class _Any:
    """The type of `ANY`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ANY"

    def __reduce__(self) -> str:
        return "ANY"


#: The field that matches anything; ``None`` in a template means the same.
ANY: Final = _Any()


@dataclass(frozen=True)
class Exactly:
    """Matches an equal plain value in which ``None`` means None."""

    value: Any


@dataclass(frozen=True)
class Between:
    """Matches ``low <= value <= high``, None being no end; bools only between bools."""

    low: Any
    high: Any


class OneOf:
    """Matches what one of its fields matches; wildcards are allowed and pointless."""

    __slots__ = ("fields",)

    def __init__(self, *fields: Any) -> None:
        self.fields = fields

    def __repr__(self) -> str:
        return f"OneOf({', '.join(map(repr, self.fields))})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OneOf) and self.fields == other.fields

    def __hash__(self) -> int:
        return hash(self.fields)


#: How an index can find a field: by equal values, by types, or as part of an order.
VALUE: Final = "value"
TYPE: Final = "type"
RANGE: Final = "range"
#: All of them, the cheapest first.
KINDS: Final = (VALUE, TYPE, RANGE)
#: (kind, what is wanted): the index keys, the types, or (family, lowest, highest),
#: None being no end.
Lookup = tuple[str, Any]
#: (position, kind) of an index.
IndexId = tuple[Any, str]


class Template:
    """A compiled template.

    Attributes:
        shape: `shape_of` every tuple it can match.
        lookups: What indexes can find its matches by: ((position, kind), what is wanted there).
    """

    __slots__ = ("_checks", "_equals", "lookups", "shape", "source")

    def __init__(self, source: Any) -> None:
        if isinstance(source, tuple) and type(source) is not tuple:
            source = tuple(source)  # a named tuple is a tuple
        try:
            self.shape = shape_of(source)
        except InvalidTupleError:
            raise InvalidTemplateError(
                f"a template is a tuple, or a dict with str keys, not {type(source).__name__}: "
                f"{brief(source)}"
            ) from None
        self.source = source
        self.lookups: list[tuple[IndexId, Any]] = []
        # Most fields are equal to a scalar or anything; a call for each would cost most of a match.
        self._equals: list[tuple[Any, Any]] = []
        self._checks: list[tuple[Any, Predicate]] = []
        for position, field in _fields(source):
            if type(field) not in SCALARS:
                _check_depth(field, DEPTH)
            lookup, predicate = _compile(field)
            if lookup is not None:
                self.lookups.append(((position, lookup[0]), lookup[1]))
            if type(field) in SCALARS and type(field) is not bool and field is not None:
                self._equals.append((position, field))
            elif predicate is not None:
                self._checks.append((position, predicate))

    @property
    def matches_all(self) -> bool:
        """Whether it matches every tuple of its shape."""
        return not self._equals and not self._checks

    def fits(self) -> Iterator[tuple[IndexId, Predicate]]:
        """Yield, for each lookup, what a field is in that it would find."""
        for id, wanted in self.lookups:
            yield id, _FITS[id[1]](wanted)

    def matches(self, value: Tuple) -> bool:
        """Say whether the tuple, known to be of this shape, matches."""
        for position, wanted in self._equals:
            found = value[position]
            if found != wanted or type(found) is bool:
                return False
        for position, predicate in self._checks:
            if not predicate(value[position]):
                return False
        return True


def matches(template: Any, value: Tuple) -> bool:
    """Say whether a template matches a tuple.

    Raises:
        InvalidTemplateError: The template is none.

    Examples:
        >>> matches(("task", None, int), ("task", "x", 3))
        True
        >>> matches(("task", 1), ("task", True))
        False
        >>> matches((Exactly(None),), (0,))
        False
        >>> matches((("a", ANY), Between(1, 5)), (("a", "b"), 2.5))
        True
    """
    compiled = Template(template)
    return compiled.shape == shape_of(value) and compiled.matches(value)


def _fields(source: Any) -> Iterator[tuple[Any, Any]]:
    return enumerate(source) if type(source) is tuple else iter(source.items())


def _compile(field: Any) -> tuple[Lookup | None, Predicate | None]:
    """Return how an index finds one field, and its predicate; no predicate: anything goes."""
    kind = type(field)
    if field is None or field is ANY:
        return None, None
    if kind in SCALARS:
        return (VALUE, (index_key(field),)), _equals_scalar(field)
    if kind is Exactly:
        _check_plain(field.value)
        key = index_key(field.value)
        lookup = None if key is NO_KEY else (VALUE, (key,))
        return lookup, lambda value, wanted=field.value: _same(wanted, value)
    if kind is type and field in TYPES.values():
        return (TYPE, (field,)), lambda value, wanted=field: type(value) is wanted
    if kind is Between:
        _check_plain(field.low)
        _check_plain(field.high)
        if field.low is None and field.high is None:
            raise InvalidTemplateError("Between has one end at least; a wildcard (None) has none")
        return _between_lookup(field), _between(field)
    if kind is range:
        return _range_lookup(field), _in_range(field)
    if kind is re.Pattern and isinstance(field.pattern, str):
        return (TYPE, (str,)), lambda value: type(value) is str and field.search(value) is not None
    if kind is OneOf:
        return _one_of(field)
    if kind is tuple or kind is dict:
        return (TYPE, (kind,)), _nested(field)
    if kind is list:
        _check_plain(field)
        return (TYPE, (list,)), lambda value: _same(field, value)
    raise InvalidTemplateError(
        f"a template field is plain data, a wildcard, a type or a matcher, not "
        f"{kind.__name__}: {brief(field)}{_hint(field)}"
    )


def _hint(field: Any) -> str:
    """Return what may have been meant."""
    if field in (object, Any, ...):
        return "; for anything write ANY or None"
    if isinstance(field, (set, frozenset, types.UnionType)):
        return "; for one of several write OneOf(...)"
    if isinstance(field, type):
        return f"; the types there are: {', '.join(TYPES)}"
    return "; what is no plain data is matched by a wildcard only"


def _check_depth(field: Any, left: int) -> None:
    kind = type(field)
    if kind in SCALARS:
        return
    if not left:
        raise InvalidTemplateError(f"a template is nested at most {DEPTH} deep")
    inner: Any = ()
    if kind is tuple or kind is list:
        inner = field
    elif kind is dict:
        inner = field.values()
    elif kind is OneOf:
        inner = field.fields
    elif kind is Exactly:
        inner = (field.value,)
    elif kind is Between:
        inner = (field.low, field.high)
    for each in inner:
        _check_depth(each, left - 1)


def _equals_scalar(wanted: Any) -> Predicate:
    if type(wanted) is bool:
        return lambda value: value is wanted
    return lambda value: value == wanted and type(value) is not bool


def _between(field: Between) -> Predicate:
    low, high = field.low, field.high
    of_bools = type(high if low is None else low) is bool

    def predicate(value: Any) -> bool:
        if (type(value) is bool) is not of_bools:
            return False
        try:
            return bool((low is None or low <= value) and (high is None or value <= high))
        except TypeError:
            return False

    return predicate


def _between_lookup(field: Between) -> Lookup | None:
    families = {family_of(end) for end in (field.low, field.high) if end is not None}
    family = families.pop()
    return None if family is None or families else (RANGE, (family, field.low, field.high))


def _in_range(field: range) -> Predicate:
    def predicate(value: Any) -> bool:
        if type(value) is float:  # which a range would look for one by one
            return value.is_integer() and int(value) in field
        return type(value) is int and value in field

    return predicate


def _range_lookup(field: range) -> Lookup | None:
    if not field:
        return None
    ends = sorted((field[0], field[-1]))
    return RANGE, (NUMBER, *ends)


def _one_of(field: OneOf) -> tuple[Lookup | None, Predicate]:
    keys = [index_key(each) for each in field.fields]
    if NO_KEY not in keys and None not in field.fields:
        wanted = frozenset(keys)
        # Some value of each key must do, since equal ones share it; a NaN equals nothing.
        return (VALUE, tuple(wanted)), lambda value: index_key(value) in wanted and value == value
    alternatives = [_compile(each) for each in field.fields]
    predicates = [predicate for _, predicate in alternatives]
    lookups = [lookup for lookup, _ in alternatives]
    kinds = {lookup and lookup[0] for lookup in lookups}
    lookup: Lookup | None = None
    if kinds == {TYPE}:
        lookup = (TYPE, tuple({each for found in lookups if found for each in found[1]}))
    return lookup, lambda value: any(p is None or p(value) for p in predicates)


def _nested(field: Any) -> Predicate:
    template = Template(field) if type(field) is tuple else None
    if template is not None:
        arity, nested = len(field), template.matches
        return lambda value: type(value) is tuple and len(value) == arity and nested(value)
    checks = [(key, _compile(wanted)[1]) for key, wanted in field.items()]
    keys = field.keys()
    return lambda value: (
        type(value) is dict
        and value.keys() == keys
        and all(check is None or check(value[key]) for key, check in checks)
    )


def _same(wanted: Any, value: Any) -> bool:
    """Say whether two plain values are equal, bools only to bools, lists only to lists."""
    kind = type(value)
    if kind is bool or type(wanted) is bool:
        return value is wanted
    if type(wanted) in (tuple, list):
        return kind is type(wanted) and len(value) == len(wanted) and all(map(_same, wanted, value))
    if type(wanted) is dict:
        return (
            kind is dict
            and value.keys() == wanted.keys()
            and all(_same(wanted[key], value[key]) for key in wanted)
        )
    return kind in SCALARS and bool(wanted == value)


def _in_span(wanted: tuple[str, Any, Any]) -> Predicate:
    family, low, high = wanted
    return lambda value: (
        family_of(value) == family
        and (low is None or low <= value)
        and (high is None or value <= high)
    )


_FITS: Final[dict[str, Callable[[Any], Predicate]]] = {
    VALUE: lambda keys: lambda value: index_key(value) in keys,
    TYPE: lambda types: lambda value: type(value) in types,
    RANGE: _in_span,
}


def _check_plain(value: Any) -> None:
    kind = type(value)
    if kind in (tuple, list):
        for each in value:
            _check_plain(each)
    elif kind is dict:
        for key, each in value.items():
            _check_plain(key)
            _check_plain(each)
    elif kind not in SCALARS:
        raise InvalidTemplateError(
            f"only plain data can be matched by value, not {kind.__name__}: {brief(value)}; "
            "a wildcard (None) matches any object"
        )
