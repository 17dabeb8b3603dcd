"""Waiters, and how the tuples they match find them: `index` reversed. No I/O, no clock."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from heapq import merge
from itertools import product
from math import prod
from operator import attrgetter, itemgetter
from typing import Any, Final, Protocol

from tuplespace.entry import Entry
from tuplespace.errors import MatchTimeoutError
from tuplespace.sessions import Lane
from tuplespace.template import TYPE, VALUE, IndexId, Template
from tuplespace.values import Tuple, brief

#: A waiter with more alternatives than this is not looked up by them.
_MOST_HOOKS: Final = 16

#: The positions that a group of waiters asks for something at, and whether for a value or a type.
Signature = tuple[IndexId, ...]


class Server(Protocol):
    """What a waiter waits for."""

    def number(self) -> int:
        """Return the next number."""

    def drop_waiter(self, waiter: Waiter) -> None:
        """Forget a parked search."""

    def resume(self, waiter: Waiter) -> None:
        """Answer a parked search whose caller has asked again, if that can be done now."""


class Waiter:
    """A parked search: it goes on until a write, or its timeout, ends it. A `calls.ParkedCall`.

    Attributes:
        is_late: Whether its timeout came while its caller had no connection.
    """

    __slots__ = (
        "_space",
        "hooks",
        "is_late",
        "lane",
        "lease",
        "limit",
        "number",
        "template",
        "verb",
    )

    def __init__(
        self, space: Server, lane: Lane, verb: str, template: Template, limit: int, lease: float
    ) -> None:
        self._space, self.number, self.lane, self.verb = space, space.number(), lane, verb
        self.template, self.limit, self.lease = template, limit, lease
        self.hooks: Any = None
        self.is_late = False

    def drop(self) -> None:
        """See `calls.ParkedCall.drop`."""
        self._space.drop_waiter(self)

    def resume(self) -> None:
        """See `calls.ParkedCall.resume`."""
        self._space.resume(self)


def no_match(template: Template) -> MatchTimeoutError:
    """Return the error of a search that found nothing in time."""
    return MatchTimeoutError(f"no tuple matched {brief(template.source)} in time")


class Waiting(Protocol):
    """What a `WaiterIndex` holds: parked requests and subscriptions.

    Attributes:
        number: Smaller for who came first. hooks: Where it hangs; the index's business.
    """

    number: int
    template: Template
    hooks: Any


class _Group:
    """The waiters that ask for something at the same positions, by what they ask for."""

    __slots__ = ("key_of", "lines")

    def __init__(self, signature: Signature) -> None:
        self.key_of = _key_maker(signature)
        # OrderedDict: its front stays cheap to find however many have left from there.
        self.lines: dict[Hashable, OrderedDict[int, Any]] = {}


class WaiterIndex:
    """Parked templates, grouped by where they ask for a value or a type.

    A tuple looks itself up once in each group, by all that the group's templates ask for together,
    so that it passes only those who agree with it in every literal.
    """

    def __init__(self) -> None:
        self._shapes: dict[Hashable, dict[Signature, _Group]] = {}

    def __bool__(self) -> bool:
        return bool(self._shapes)

    def add(self, waiter: Waiting) -> None:
        """Hang a waiter on what it asks for; on each, where it has alternatives."""
        lookups = [
            (id, tuple(map(_raw, wanted)) if id[1] == VALUE else wanted)
            for id, wanted in waiter.template.lookups
            if id[1] in (VALUE, TYPE) and 0 < len(wanted) <= _MOST_HOOKS
        ]
        while prod(len(wanted) for _, wanted in lookups) > _MOST_HOOKS:
            lookups.remove(max(lookups, key=lambda lookup: len(lookup[1])))
        signature = tuple(id for id, _ in lookups)
        keys = list(dict.fromkeys(product(*(wanted for _, wanted in lookups))))  # True is 1 there
        groups = self._shapes.setdefault(waiter.template.shape, {})
        group = groups.get(signature)
        if group is None:
            group = groups[signature] = _Group(signature)
        if len(signature) == 1:
            keys = [key for (key,) in keys]
        for key in keys:
            group.lines.setdefault(key, OrderedDict())[waiter.number] = waiter
        waiter.hooks = (signature, keys)

    def remove(self, waiter: Waiting) -> None:
        """Take a waiter out; it must be in."""
        signature, keys = waiter.hooks
        groups = self._shapes[waiter.template.shape]
        lines = groups[signature].lines
        for key in keys:
            del lines[key][waiter.number]
            if not lines[key]:
                del lines[key]
        if not lines:
            del groups[signature]
            if not groups:
                del self._shapes[waiter.template.shape]

    def matching(self, entry: Entry) -> Iterator[Any]:
        """Yield the waiters whose template matches, first come first; none may go meanwhile."""
        groups = self._shapes.get(entry.shape)
        if groups is None:
            return iter(())
        candidates = []
        for group in groups.values():
            try:
                line = group.lines.get(group.key_of(entry.value))
            except TypeError:  # what cannot be hashed equals no literal
                continue
            if line is not None:
                candidates.append(line.values())
        return _matching(candidates, entry.value) if candidates else iter(())


def _matching(candidates: list[Any], value: Tuple) -> Iterator[Any]:
    if len(candidates) == 1:
        ordered = candidates[0]
    else:
        ordered = merge(*candidates, key=attrgetter("number"))
    for waiter in ordered:
        if waiter.template.matches(value):
            yield waiter


def _key_maker(signature: Signature) -> Callable[[Any], Hashable]:
    """Return what makes of a tuple the key by which it finds its waiters in a group.

    Fields stand for themselves. So True finds those who wait for 1 as well, and they are passed;
    only a few do.
    """
    if not signature:
        return lambda value: ()
    if all(kind == VALUE for _, kind in signature):
        return itemgetter(*(position for position, _ in signature))
    makers = [itemgetter(place) if kind == VALUE else _type_at(place) for place, kind in signature]
    if len(makers) == 1:
        return makers[0]
    return lambda value: tuple(maker(value) for maker in makers)


def _type_at(position: Any) -> Callable[[Any], type]:
    return lambda value: type(value[position])


def _raw(key: Any) -> Any:
    """Return the field that has this index key."""
    return key[1] if type(key) is tuple else key
