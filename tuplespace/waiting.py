"""Waiters, and how the tuples they match find them: `index` reversed. No I/O, no clock."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from heapq import merge
from itertools import chain
from operator import attrgetter
from typing import Any, Final, Protocol

from tuplespace.sessions import Lane
from tuplespace.template import TYPE, VALUE, Template, Tuple, index_key, shape_of

#: A waiter with more alternatives than this at one position hangs elsewhere.
_MOST_HOOKS: Final = 16
#: A look-up by type, which every write then pays for, is worth as many waiters passed.
_TYPES_COST: Final = 16
#: Where a waiter hangs that has nothing to be looked up by.
_ANYWHERE: Final = (None,)

Hook = tuple[Any, Any] | None


class Server(Protocol):
    """What a waiter waits for."""

    def number(self) -> int:
        """Return the next number."""

    def drop_waiter(self, waiter: Waiter) -> None:
        """Forget a parked search."""

    def serve(self, waiter: Waiter) -> None:
        """Answer a parked search and let it go, if that can be done now."""


class Waiter:
    """A parked search: it goes on until a write, or its timeout, ends it. A `calls.ParkedCall`."""

    __slots__ = ("_space", "hooks", "lane", "lease", "limit", "number", "template", "verb")

    def __init__(
        self, space: Server, lane: Lane, verb: str, template: Template, limit: int, lease: float
    ) -> None:
        self._space, self.number, self.lane, self.verb = space, space.number(), lane, verb
        self.template, self.limit, self.lease = template, limit, lease
        self.hooks: Any = None

    def drop(self) -> None:
        """See `calls.ParkedCall.drop`."""
        self._space.drop_waiter(self)

    def resume(self) -> None:
        """See `calls.ParkedCall.resume`."""
        self._space.serve(self)


class Waiting(Protocol):
    """What a `WaiterIndex` holds: parked requests and subscriptions.

    Attributes:
        number: Smaller for who came first. hooks: Where it hangs; the index's business.
    """

    number: int
    template: Template
    hooks: Any


class WaiterIndex:
    """Parked templates, each hung on what one of its fields asks for.

    A tuple looks itself up by each of its fields' values (and types, while anybody hangs on one),
    so that it passes only those who agree with it in a field.
    """

    def __init__(self) -> None:
        # OrderedDict: its front stays cheap to find however many have left from there.
        self._shapes: dict[Hashable, dict[Hook, OrderedDict[int, Any]]] = {}
        self._on_types = 0

    def __bool__(self) -> bool:
        return bool(self._shapes)

    def add(self, waiter: Waiting) -> None:
        """Hang a waiter where fewest others hang."""
        lines = self._shapes.setdefault(waiter.template.shape, {})
        choices = [
            tuple((position, key) for key in wanted)
            for (position, kind), wanted in waiter.template.lookups
            if kind in (VALUE, TYPE) and 0 < len(wanted) <= _MOST_HOOKS
        ]

        def cost(hooks: tuple[Hook, ...]) -> int:
            load = max(len(lines.get(hook, ())) for hook in hooks)
            return load + _TYPES_COST if _is_of_types(hooks) else load

        hooks: tuple[Hook, ...] = min(choices, key=cost, default=_ANYWHERE)
        for hook in hooks:
            lines.setdefault(hook, OrderedDict())[waiter.number] = waiter
        self._on_types += _is_of_types(hooks)
        waiter.hooks = hooks

    def remove(self, waiter: Waiting) -> None:
        """Take a waiter out; it must be in."""
        lines = self._shapes[waiter.template.shape]
        for hook in waiter.hooks:
            del lines[hook][waiter.number]
            if not lines[hook]:
                del lines[hook]
        self._on_types -= _is_of_types(waiter.hooks)
        if not lines:
            del self._shapes[waiter.template.shape]

    def matching(self, value: Tuple) -> Iterator[Any]:
        """Yield the waiters whose template matches, first come first; none may go meanwhile."""
        lines = self._shapes.get(shape_of(value))
        if lines is None:
            return iter(())
        return self._matching(lines, value)

    def _matching(self, lines: dict[Hook, OrderedDict[int, Any]], value: Tuple) -> Iterator[Any]:
        fields = list(enumerate(value) if type(value) is tuple else value.items())  # type: ignore[union-attr]
        hooks: Iterator[Hook] = chain(_ANYWHERE, ((place, index_key(f)) for place, f in fields))
        if self._on_types:
            hooks = chain(hooks, ((place, type(f)) for place, f in fields))
        candidates = [line.values() for line in map(lines.get, hooks) if line]
        if not candidates:
            return
        if len(candidates) == 1:
            ordered: Any = candidates[0]
        else:
            ordered = merge(*candidates, key=attrgetter("number"))
        for waiter in ordered:
            if waiter.template.matches(value):
                yield waiter


def _is_of_types(hooks: tuple[Hook, ...]) -> bool:
    hook = hooks[0]
    return hook is not None and isinstance(hook[1], type)
