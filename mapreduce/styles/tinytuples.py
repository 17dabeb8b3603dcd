"""What tinymr's mappers and reducers emit: made pairs, put in order, and taken apart again.

A job knows pairs. A mapper emits ``(key, value)``, or ``(key, sort, value)``, or several keys of both
kinds; the job's pair is then ``(key, Sorted(sort, value))``, until the values of a key are in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from inspect import isgeneratorfunction
from itertools import chain
from secrets import token_hex
from typing import Any, NamedTuple

from mapreduce.errors import InvalidPairsError, UnstableKeyError, shorten
from mapreduce.grouping import by_key
from mapreduce.pairs import Pair, as_pairs
from mapreduce.styles.lazily import Together
from mapreduce.styles.ordering import keeping_places

MapLike = Callable[..., Iterable[Any]]


class ElementCountError(InvalidPairsError):
    """A mapper or reducer emitted a tuple of another length than it has to have."""


class KeyCountError(ElementCountError):
    """As in tinymr 0.1, where the lengths follow from ``n_partition_keys`` and ``n_sort_keys``."""


class Sorted(NamedTuple):
    """A value, and what it is sorted by among those of its key."""

    sort: Any
    value: Any


class Descending:
    """Something to sort by, from the largest to the smallest; equal ones stay in their order."""

    __slots__ = ("key",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, key: Any) -> None:
        self.key = key

    def __lt__(self, other: Descending) -> bool:
        return bool(other.key < self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Descending) and bool(self.key == other.key)


@dataclass(frozen=True)
class Order:
    """In what order the values of a key come: by their sort elements, if they have any.

    Attributes:
        with_value: Whether by the values too, after those. reverse: Whether the largest come first.
    """

    with_value: bool = False
    reverse: bool = False

    def __call__(self, value: Any) -> Any:
        """Return what to sort a value by, as the ``key`` of ``sorted``."""
        key: Any
        if type(value) is Sorted:
            key = (value.sort, value.value) if self.with_value else value.sort
        else:
            key = value if self.with_value else 0
        return Descending(key) if self.reverse else key

    def applied(self, values: Iterable[Any]) -> list[Any]:
        """Return the values themselves, in order.

        Raises:
            ElementCountError: Some have something to be sorted by, and some have not.
        """
        held = list(values)
        have_sort = Sorted in set(map(type, held))
        if self.with_value or have_sort:
            of_one_kind(held)
            held.sort(key=self)
        return [value.value for value in held] if have_sort else held


@dataclass(frozen=True)
class Placed:
    """What to sort values with places by: the values as `order` says, and equal ones by place."""

    order: Order

    def __call__(self, placed: tuple[Any, Any]) -> Any:
        """Return what to sort one by, as the ``key`` of ``sorted``."""
        place, value = placed
        return self.order(value), place


def of_one_kind(values: Iterable[Any]) -> None:
    """Refuse values of which only some can be sorted."""
    if len({type(value) is Sorted for value in values}) > 1:
        raise ElementCountError(
            "of one key's tuples some have an element to sort by, and some have not"
        )


def bare(values: Iterable[Any]) -> Iterator[Any]:
    """Yield the values without what they are sorted by; all of them have it, or none."""
    kind = None
    for value in values:
        is_sorted = type(value) is Sorted
        if kind is not is_sorted:
            if kind is not None:
                of_one_kind([value, None if is_sorted else Sorted(0, 0)])
            kind = is_sorted
        yield value.value if is_sorted else value


class Layout(NamedTuple):
    """What stands where in an emitted tuple: keys to partition by, then to sort by, then the value.

    Attributes:
        partition_keys: How many of the first. lengths: How many elements there may be.
        refuse: Makes the error for a tuple of another length.
    """

    partition_keys: int
    lengths: frozenset[int]
    refuse: Callable[[Any], InvalidPairsError]

    @property
    def is_plain(self) -> bool:
        """Whether tuples of two are pairs as they are."""
        return self.partition_keys == 1 and 2 in self.lengths

    def pair(self, keys: Any) -> Pair:
        """Return the job's pair of an emitted tuple.

        Raises:
            ElementCountError: It has too many elements or too few.
        """
        if not isinstance(keys, (tuple, list)) or len(keys) not in self.lengths:
            raise self.refuse(keys)
        count = self.partition_keys
        key = keys[0] if count == 1 else tuple(keys[:count])
        if len(keys) == count + 1:
            return key, keys[-1]
        sort = keys[count] if len(keys) == count + 2 else tuple(keys[count:-1])
        return key, Sorted(sort, keys[-1])


class MapItem:
    """The pairs of one item: for `each`."""

    def __init__(self, task: Any) -> None:
        self._task = task
        self._layout: Layout = task._map_layout
        self._checked = False

    def __call__(self, item: Any) -> Iterator[Pair]:
        """Yield them."""
        pair, plain = self._layout.pair, self._layout.is_plain
        for keys in self._task._map_item(item):
            made = keys if plain and type(keys) is tuple and len(keys) == 2 else pair(keys)
            if not self._checked:
                self._checked = True
                self._task.check_map_keys(keys)
            yield made

    def of_all(self, *, looks: bool) -> Together:
        """Return what makes the pairs of all items in one process.

        Args:
            looks: Whether the task has a ``check_map_keys``.
        """
        task = self._task
        if looks or not self._layout.is_plain:
            return Together(self, function=task.mapper)
        yields = isgeneratorfunction(task.mapper)
        return Together(task.mapper if yields else task._map_item, self._layout.pair, task.mapper)


class ReduceKey:
    """What a reducer makes of a key and its values, as a list of pairs: for `by_key`.

    Args:
        task: The reducer's. streams: Whether the values come in order already, and more of them
            than fit into memory.
    """

    def __init__(self, task: Any, *, streams: bool = False) -> None:
        self._task, self._streams = task, streams
        self._layout: Layout = task._reduce_layout
        self._order: Order = task._map_order
        self._begun = self._checked = False
        # A worker keeps functions by their bytes: those of another run must not have begun there.
        self._run = token_hex(4)

    def begin(self) -> None:
        """Call ``init_reduce``, if nobody has in this process."""
        if not self._begun:
            self._begun = True
            self._task.init_reduce()

    def __call__(self, key: Any, values: Iterable[Any]) -> list[Pair]:
        """Return them."""
        self.begin()
        values = bare(values) if self._streams else self._order.applied(values)
        emitted = []
        for keys in self._task._reduce_key(key, values):
            made = self._layout.pair(keys)
            try:
                hash(made[0])
            except TypeError:
                raise _no_key(self._task, keys) from None
            emitted.append(made)
            if not self._checked:
                self._checked = True
                self._task.check_reduce_keys(keys)
        return emitted

    def of_group(self, group: Pair) -> list[Pair]:
        """Do so for a key with its values."""
        return self(*group)


def _no_key(task: Any, keys: Any) -> UnstableKeyError:
    name, kind = type(task).__name__, type(keys[0]).__name__
    instead = ": use a tuple instead" if kind == "list" else ""
    return UnstableKeyError(
        f"{name}.reducer emitted {shorten(keys)}, whose key cannot be hashed ({kind}){instead}"
    )


class Combine:
    """Calls ``combiner`` for each key of a map task's pairs.

    Args:
        task: The combiner's. placed: Whether the values come with their places, see `placing`.
    """

    def __init__(self, task: Any, *, placed: bool) -> None:
        self._task, self._placed = task, placed
        self._layout: Layout = task._map_layout
        self._order: Order = task._map_order

    def __call__(self, pairs: Iterable[Pair]) -> Iterator[Pair]:
        """Yield the pairs that are left."""
        if not self._placed:
            for _, combined in by_key(self._combined).results(pairs):
                yield from combined
            return
        for _, (place, combined) in by_key(keeping_places(self._combined)).results(pairs):
            for key, value in combined:
                yield key, (place, value)

    def _combined(self, key: Any, values: Iterable[Any]) -> list[Pair]:
        task = self._task
        emitted = as_pairs(task.combiner(key, self._order.applied(values)), task.combiner)
        return [self._layout.pair(keys) for keys in emitted]


class Through:
    """The map of a whole split, by a function like ``map`` that the user brings."""

    def __init__(self, map_like: MapLike, map_item: MapItem) -> None:
        self._map_like, self._map_item = map_like, map_item

    def __call__(self, records: Iterable[Any]) -> Iterator[Pair]:
        """Return the pairs of all records."""
        function = partial(_listed, self._map_item)
        return chain.from_iterable(self._map_like(function, records))


class ReduceThrough:
    """The reduce of a whole partition, by a function like ``map`` that the user brings."""

    def __init__(self, map_like: MapLike, reduce_key: ReduceKey) -> None:
        self._map_like, self._reduce_key = map_like, reduce_key

    def __call__(self, pairs: Iterable[Pair]) -> list[Pair]:
        """Return, for each key, None and the pairs that its reducer emits."""
        groups = by_key(lambda key, values: list(values))(pairs)
        if groups:
            self._reduce_key.begin()
        return [(None, made) for made in self._map_like(self._reduce_key.of_group, groups)]


def _listed(function: Callable[[Any], Iterable[Any]], item: Any) -> list[Any]:
    return list(function(item))


def emitted_of(reduced: tuple[Any, tuple[int, list[Pair]]]) -> Iterator[Pair]:
    """Yield the pairs that a reducer has emitted for a key, with their places."""
    _, (place, emitted) = reduced
    for at, (key, value) in enumerate(emitted):
        yield key, ((place, at), value)


class Gather:
    """The values of a key, in order, without what they are sorted by: for `by_key`."""

    def __init__(self, *, single: bool) -> None:
        self._single = single

    def __call__(self, key: Any, values: Iterable[Any]) -> Any:
        """Return them, or the first of them."""
        held = bare(values)
        return next(held) if self._single else list(held)
