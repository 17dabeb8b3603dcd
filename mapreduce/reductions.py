"""The ready-made reductions: ``sum_values``, ``count_values``, ``min_value`` and so on.

Each is used as it is, and is as good a combine as a reduce: ``job.combine = job.reduce = collect``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import chain
from typing import Any

from mapreduce.errors import InvalidJobError, shorten
from mapreduce.pairs import Pair, failure_of, group


class Reduction:
    """A reduction that knows how to reduce in two steps, the first on the map side.

    ``merge`` of the ``partials`` of any parts of the pairs, taken in order, is what the call
    returns for all pairs at once. Results come in order of each key's first appearance.
    """

    def __call__(self, pairs: Iterable[Pair]) -> list[Pair]:
        """Reduce all pairs of a partition: return one (key, result) pair for each key."""
        raise NotImplementedError

    def partials(self, pairs: Iterable[Pair]) -> Iterable[Pair]:
        """Reduce some of the pairs to what ``merge`` takes: the combine."""
        return self(pairs)

    def merge(self, partials: Iterable[Pair]) -> list[Pair]:
        """Reduce the partials of all pairs of a partition."""
        return self(partials)

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
    name = "sum_values"

    def __call__(self, pairs: Iterable[Pair]) -> list[Pair]:
        sums: dict[Any, Any] = {}
        get = sums.get
        for pair in pairs:
            try:
                key, value = pair
                sums[key] = get(key, 0) + value
            except Exception as error:
                raise failure_of(pair) from error
        return list(sums.items())


class _Count(_Named):
    name = "count_values"

    def __call__(self, pairs: Iterable[Pair]) -> list[Pair]:
        # collections.Counter would count `"ab"` as a pair with the key "a".
        counts: dict[Any, int] = {}
        get = counts.get
        for pair in pairs:
            try:
                key, _ = pair
                counts[key] = get(key, 0) + 1
            except Exception as error:
                raise failure_of(pair) from error
        return list(counts.items())

    def merge(self, partials: Iterable[Pair]) -> list[Pair]:
        return sum_values(partials)


class _Minimum(_Named):
    name = "min_value"

    def __call__(self, pairs: Iterable[Pair]) -> list[Pair]:
        least: dict[Any, Any] = {}
        for pair in pairs:
            try:
                key, value = pair
                if key not in least or value < least[key]:
                    least[key] = value
            except Exception as error:
                raise failure_of(pair) from error
        return list(least.items())


class _Maximum(_Named):
    name = "max_value"

    def __call__(self, pairs: Iterable[Pair]) -> list[Pair]:
        greatest: dict[Any, Any] = {}
        for pair in pairs:
            try:
                key, value = pair
                if key not in greatest or value > greatest[key]:
                    greatest[key] = value
            except Exception as error:
                raise failure_of(pair) from error
        return list(greatest.items())


class _Collect(_Named):
    name = "collect"

    def __call__(self, pairs: Iterable[Pair]) -> list[Pair]:
        return list(group(pairs).items())

    def merge(self, partials: Iterable[Pair]) -> list[Pair]:
        return [(key, list(chain.from_iterable(lists))) for key, lists in self(partials)]


class Top(Reduction):
    """The n largest values of each key, the largest first; of equal ones those that came first.

    ``top`` is the one for n = 10; called with another n it makes another.
    """

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
        candidates: defaultdict[Any, list[Any]] = defaultdict(list)
        # Sorting only when a list has grown to a multiple keeps the cost of a value constant.
        limit = 4 * self.n + 32
        for pair in pairs:
            try:
                key, value = pair
                values = candidates[key]
                values.append(value)
                if len(values) >= limit:
                    values[:] = self._largest(values)
            except Exception as error:
                raise failure_of(pair) from error
        return [(key, self._largest(values)) for key, values in candidates.items()]

    def merge(self, partials: Iterable[Pair]) -> list[Pair]:
        """Merge lists of largest values into one for each key."""
        return [
            (key, self._largest(chain.from_iterable(lists))) for key, lists in collect(partials)
        ]

    def _largest(self, values: Iterable[Any]) -> list[Any]:
        return sorted(values, reverse=True)[: self.n]  # stable, reversed or not


_TOP_DEFAULT = 10

sum_values = _Sum()  #: The sum of each key's values.
count_values = _Count()  #: How many values each key has.
min_value = _Minimum()  #: The least value of each key; of equal ones the first.
max_value = _Maximum()  #: The greatest value of each key; of equal ones the first.
collect = _Collect()  #: All values of each key, as a list.
top = Top(_TOP_DEFAULT)  #: The 10 largest values of each key; ``top(3)``: the 3 largest.
