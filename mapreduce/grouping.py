"""What users put around their functions: ``each`` record and ``by_key``.

Map sees a whole split and reduce a whole partition. These turn a function of one record, or of
one key and its values, into such. The ready-made reductions can be had from here, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any

from mapreduce.errors import InvalidJobError, InvalidPairsError, RecordFailedError, shorten
from mapreduce.pairs import Pair, as_pairs, group
from mapreduce.reductions import (
    Reduction,
    collect,
    count_values,
    max_value,
    min_value,
    sum_values,
    top,
)

__all__ = [
    "Reduction",
    "by_key",
    "collect",
    "count_values",
    "each",
    "max_value",
    "min_value",
    "sum_values",
    "top",
]

# Pairs are handed on in lists of about this many: enough to forget the cost of handing on, few
# enough to stay in the cache and out of the garbage collector's way.
_BLOCK = 256


class each:  # noqa: N801 - reads as the word it is, as functools.partial does
    """Make a map of a whole split from a function of one record.

    Args:
        function: Gets a record and returns its pairs: any iterable of them, or a mapping.

    Raises:
        RecordFailedError: The function raised; says on which record, ``from`` its exception.
        InvalidPairsError: The function returned no pairs, but None or a number, say.

    Examples:
        >>> count_words = each(lambda line: [(word, 1) for word in line.split()])
        >>> list(count_words(["a b", "a"]))
        [('a', 1), ('b', 1), ('a', 1)]
    """

    def __init__(self, function: Callable[[Any], Iterable[Pair] | Mapping[Any, Any]]) -> None:
        self.function = _callable(function, "each")

    def __repr__(self) -> str:
        return f"each({self.function!r})"

    def __call__(self, records: Iterable[Any]) -> Iterator[Pair]:
        """Yield all pairs of all records, in order."""
        return chain.from_iterable(self._blocks(records))

    def _blocks(self, records: Iterable[Any]) -> Iterator[list[Pair]]:
        function = self.function
        block: list[Pair] = []
        for position, record in enumerate(records):
            try:
                returned = function(record)
                if type(returned) is list:
                    block += returned
                else:
                    pairs = iter(as_pairs(returned, self.function))
                    # A generator may yield more pairs than fit into memory.
                    while len(some := list(islice(pairs, _BLOCK))) == _BLOCK:
                        yield block + some
                        block = []
                    block += some
            except InvalidPairsError:
                raise
            except Exception as error:
                raise RecordFailedError.on(record, position) from error
            if len(block) >= _BLOCK:
                yield block
                block = []
        yield block


class by_key:  # noqa: N801 - reads as the words it is
    """Make a reduce (or combine) of a whole partition from a function of a key and its values.

    Args:
        function: Gets a key and an iterable of its values, to go through once, and returns
            the key's result.

    Raises:
        RecordFailedError: The function raised; says for which key, ``from`` its exception.
        UnstableKeyError: A key cannot be hashed.

    Examples:
        >>> total = by_key(lambda key, values: sum(values))
        >>> total([("b", 1), ("a", 2), ("b", 3)])
        [('b', 4), ('a', 2)]
    """

    def __init__(self, function: Callable[[Any, Iterator[Any]], Any]) -> None:
        self.function = _callable(function, "by_key")

    def __repr__(self) -> str:
        return f"by_key({self.function!r})"

    def __call__(self, pairs: Iterable[Pair]) -> list[Pair]:
        """Return ``(key, function(key, values))`` for each key, in order of first appearance."""
        function = self.function
        results = []
        for position, (key, values) in enumerate(group(pairs).items()):
            try:
                results.append((key, function(key, iter(values))))
            except Exception as error:
                raise RecordFailedError.on(key, position, kind="key") from error
        return results


def _callable(function: Any, wrapper: str) -> Any:
    if not callable(function):
        msg = f"{wrapper}() takes a function, got {shorten(function)}"
        raise InvalidJobError(msg)
    return function
