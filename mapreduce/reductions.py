"""The ready-made reductions: ``sum_values``, ``count_values``, ``min_value`` and so on.

Each is used as it is, and is as good a combine as a reduce: ``job.combine = job.reduce = collect``.

The loops over the pairs of a block are written out in each: they are what a job spends its time
on, and cost no more than `collections.Counter` takes to count the keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mapreduce.errors import InvalidJobError, shorten
from mapreduce.pairs import Block, Pair, blocks_of, failure_in, group_block
from mapreduce.spilling.allowance import UNLIMITED, allowance
from mapreduce.spilling.partials import reduce_within

Partials = dict[Any, Any]
"""What is known so far of each key: the sum of some of its values, say."""

_INTS = frozenset({int, bool})
_ORDERED = (_INTS, frozenset({str}), frozenset({bytes}))
_MISSING: Any = object()


class Reduction:
    """A ready-made combine and reduce, used as it is: ``job.combine = job.reduce = sum_values``.

    The call reduces all pairs of a partition. Results come in order of each key's first appearance,
    and what exceeds the task's allowance is spilled; the results are the same.

    Inside, it is done in two steps, the first on the map side: ``merge`` of the ``partials`` of any
    parts of the pairs, taken in order, is what the call returns for all pairs at once.
    """

    #: Whether a partial holds the values themselves, and so grows.
    keeps_values = False

    def __call__(self, pairs: Iterable[Pair]) -> list[Pair]:
        """Reduce all pairs of a partition: return one (key, result) pair for each key."""
        return list(self.results(pairs))

    def merge(self, partials: Iterable[Pair]) -> list[Pair]:
        """Reduce the partials of all pairs of a partition."""
        return list(self.merged(partials))

    def results(self, pairs: Iterable[Pair]) -> Iterator[Pair]:
        """Yield what the call returns; of what was spilled, without holding it all."""
        given = allowance()
        if given.memory < UNLIMITED.memory:
            return reduce_within(given, self, pairs, merging=False)
        partials: Partials = {}
        self.fold(partials, pairs)
        return iter(self.finish(partials))

    def merged(self, partials: Iterable[Pair]) -> Iterator[Pair]:
        """Yield what ``merge`` returns."""
        given = allowance()
        if given.memory < UNLIMITED.memory:
            return reduce_within(given, self, partials, merging=True)
        merged: Partials = {}
        self.fold_partials(merged, partials)
        return iter(self.finish(merged))

    def partials(self, pairs: Iterable[Pair]) -> Iterable[Pair]:
        """Reduce some of the pairs to what ``merge`` takes: the combine."""
        partials: Partials = {}
        self.fold(partials, pairs)
        self.trim(partials)
        return partials.items()

    def fold(self, partials: Partials, pairs: Iterable[Pair]) -> None:
        """Add pairs to the partials, in place; new keys come last, in order of appearance.

        Raises:
            InvalidPairsError: One of the pairs is none. UnstableKeyError: A key has no hash.
            RecordFailedError: The values of a key do not go together. The partials hold some of
                the pairs then.
        """
        for block in blocks_of(pairs):
            self.fold_block(partials, block)

    def fold_partials(self, partials: Partials, pairs: Iterable[Pair]) -> None:
        """Add pairs of a key and a partial, as ``fold`` does pairs; the given partials stay as they are."""
        for block in blocks_of(pairs):
            self.fold_partials_block(partials, block)

    def fold_block(self, partials: Partials, block: Block) -> None:
        """Add a block of pairs; see ``fold``."""
        raise NotImplementedError

    def fold_partials_block(self, partials: Partials, block: Block) -> None:
        """Add a block of pairs of a key and a partial; see ``fold_partials``."""
        self.fold_block(partials, block)

    def lift(self, value: Any) -> Any:
        """Return the partial of a single value."""
        return value

    def trim(self, partials: Partials) -> None:
        """Make the partials small, before they travel."""

    def finish(self, partials: Partials) -> Iterable[Pair]:
        """Return the results, in order of the partials, which must not be used again."""
        return partials.items()

    def is_exact(self, values: Iterable[Any]) -> bool:
        """Say whether folding values in parts, and merging, is sure to give what one fold gives.

        It is not for floats, whose sum depends on the order of adding up. Asked of a key's first
        partial (``collect`` and ``top``: of its values), it tells of the values in that.
        """
        return False

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))


class _Named(Reduction):
    """A reduction without parameters: there is one, the module's attribute of this name."""

    name: str

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> str:
        return self.name  # pickled by reference


class _Sum(_Named):
    """``sum_values``: the sum of each key's values.

    Examples:
        >>> sum_values([("a", 1), ("b", 2), ("a", 3)])
        [('a', 4), ('b', 2)]
    """

    name = "sum_values"

    def fold_block(self, partials: Partials, block: Block) -> None:
        key = value = None
        get = partials.get
        try:
            for key, value in block:
                partials[key] = get(key, 0) + value
        except Exception as error:
            raise failure_in(block, (key, value)) from error

    def lift(self, value: Any) -> Any:
        return 0 + value

    def is_exact(self, values: Iterable[Any]) -> bool:
        return _INTS.issuperset(map(type, values))


class _Count(_Named):
    """``count_values``: how many values each key has.

    Examples:
        >>> count_values([("a", 1), ("b", 2), ("a", 3)])
        [('a', 2), ('b', 1)]
    """

    name = "count_values"

    def fold_block(self, partials: Partials, block: Block) -> None:
        key = value = None
        get = partials.get
        try:
            # collections.Counter would count `"abc"` as a pair with the key "a".
            for key, value in block:  # noqa: B007 - a pair has a value
                partials[key] = get(key, 0) + 1
        except Exception as error:
            raise failure_in(block, (key, value)) from error

    def fold_partials_block(self, partials: Partials, block: Block) -> None:
        sum_values.fold_block(partials, block)

    def lift(self, value: Any) -> Any:
        return 1

    def is_exact(self, values: Iterable[Any]) -> bool:
        return True


class _Minimum(_Named):
    """``min_value``: the least value of each key; of equal ones the first.

    Examples:
        >>> min_value([("a", 1), ("b", 2), ("a", 3)])
        [('a', 1), ('b', 2)]
    """

    name = "min_value"

    def fold_block(self, partials: Partials, block: Block) -> None:
        key = value = None
        get = partials.get
        try:
            for key, value in block:
                least = get(key, _MISSING)
                if least is _MISSING or value < least:
                    partials[key] = value
        except Exception as error:
            raise failure_in(block, (key, value)) from error

    def is_exact(self, values: Iterable[Any]) -> bool:
        return _are_ordered(values)


class _Maximum(_Named):
    """``max_value``: the greatest value of each key; of equal ones the first.

    Examples:
        >>> max_value([("a", 1), ("b", 2), ("a", 3)])
        [('a', 3), ('b', 2)]
    """

    name = "max_value"

    def fold_block(self, partials: Partials, block: Block) -> None:
        key = value = None
        get = partials.get
        try:
            for key, value in block:
                greatest = get(key, _MISSING)
                if greatest is _MISSING or value > greatest:
                    partials[key] = value
        except Exception as error:
            raise failure_in(block, (key, value)) from error

    def is_exact(self, values: Iterable[Any]) -> bool:
        return _are_ordered(values)


class _Collect(_Named):
    """``collect``: all values of each key, as a list.

    Examples:
        >>> collect([("a", 1), ("b", 2), ("a", 3)])
        [('a', [1, 3]), ('b', [2])]
    """

    name = "collect"
    keeps_values = True

    def fold_block(self, partials: Partials, block: Block) -> None:
        group_block(partials, block)

    def fold_partials_block(self, partials: Partials, block: Block) -> None:
        key = values = None
        get = partials.get
        try:
            for key, values in block:
                held = get(key)
                if held is None:
                    partials[key] = list(values)
                else:
                    held += values
        except Exception as error:
            raise failure_in(block, (key, values)) from error

    def lift(self, value: Any) -> Any:
        return [value]

    def is_exact(self, values: Iterable[Any]) -> bool:
        return True


class Top(Reduction):
    """``top``: the 10 largest values of each key, the largest first; ``top(3)``: the 3 largest.

    Of equal values those that came first.

    Examples:
        >>> top(2)([("a", 1), ("b", 2), ("a", 3), ("a", 2)])
        [('a', [3, 2]), ('b', [2])]
    """

    keeps_values = True

    def __init__(self, n: int) -> None:
        if type(n) is not int or n < 1:
            msg = f"top(n) takes a positive int, got {shorten(n)}"
            raise InvalidJobError(msg)
        self.n = n

    def __repr__(self) -> str:
        return "top" if self.n == _TOP_DEFAULT else f"top({self.n})"

    def __call__(self, pairs: Any) -> Any:
        """Return (key, descending list) pairs; or, called with an int, another ``Top``."""
        if isinstance(pairs, int):
            return Top(pairs)
        return super().__call__(pairs)

    def fold_block(self, partials: Partials, block: Block) -> None:
        """Add a block of pairs: a partial is a list that holds the n largest, and some others."""
        key = value = None
        get = partials.get
        # Sorting only when a list has grown to a multiple keeps the cost of a value constant.
        limit = 4 * self.n + 32
        try:
            for key, value in block:
                values = get(key)
                if values is None:
                    partials[key] = [value]
                else:
                    values.append(value)
                    if len(values) >= limit:
                        values[:] = self._largest(values)
        except Exception as error:
            raise failure_in(block, (key, value)) from error

    def fold_partials_block(self, partials: Partials, block: Block) -> None:
        """Add a block of pairs of a key and a partial."""
        limit = 4 * self.n + 32
        collect.fold_partials_block(partials, block)
        for key, _ in block:
            values = partials[key]
            if len(values) >= limit:
                values[:] = self._largest(values)

    def lift(self, value: Any) -> Any:
        """Return the partial of a single value."""
        return [value]

    def trim(self, partials: Partials) -> None:
        """Leave each key its n largest values."""
        for values in partials.values():
            if len(values) > self.n:
                values[:] = self._largest(values)

    def finish(self, partials: Partials) -> Iterable[Pair]:
        """Return the n largest values of each key."""
        return ((key, self._largest(values)) for key, values in partials.items())

    def is_exact(self, values: Iterable[Any]) -> bool:
        """Say whether any part of these values could be sorted first."""
        return _are_ordered(values)

    def _largest(self, values: Iterable[Any]) -> list[Any]:
        return sorted(values, reverse=True)[: self.n]  # stable, reversed or not


def _are_ordered(values: Iterable[Any]) -> bool:
    """Say whether each of two different values is the less; NaNs and sets are what is not so."""
    kinds = set(map(type, values))
    return any(kinds <= ordered for ordered in _ORDERED)


_TOP_DEFAULT = 10

sum_values = _Sum()  #: The sum of each key's values.
count_values = _Count()  #: How many values each key has.
min_value = _Minimum()  #: The least value of each key; of equal ones the first.
max_value = _Maximum()  #: The greatest value of each key; of equal ones the first.
collect = _Collect()  #: All values of each key, as a list.
top = Top(_TOP_DEFAULT)  #: The 10 largest values of each key; ``top(3)``: the 3 largest.
