"""What users put around their functions: ``each`` record and ``by_key``.

Map sees a whole split and reduce a whole partition. These turn a function of one record, or of
one key and its values, into such. The ready-made reductions can be had from here, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from mapreduce.errors import InvalidJobError, InvalidPairsError, RecordFailedError, shorten
from mapreduce.pairs import Pair, PairBlocks, as_pairs
from mapreduce.reductions import (
    Reduction,
    collect,
    count_values,
    max_value,
    min_value,
    sum_values,
    top,
)
from mapreduce.spilling.allowance import UNLIMITED, Allowance, allowance
from mapreduce.spilling.groups import Arrangement, Group, groups_of
from mapreduce.spilling.runs import in_order
from mapreduce.weights import FIRST_BLOCK_PAIRS, next_block_pairs

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
        self.function = _callable(function, "each()")

    def __repr__(self) -> str:
        return f"each({self.function!r})"

    def __call__(self, records: Iterable[Any]) -> Iterator[Pair]:
        """Yield all pairs of all records, in order."""
        return PairBlocks.from_blocks(self._blocks(records))

    def _blocks(self, records: Iterable[Any]) -> Iterator[list[Pair]]:
        function = self.function
        block: list[Pair] = []
        wanted = FIRST_BLOCK_PAIRS
        for position, record in enumerate(records):
            try:
                returned = function(record)
                if type(returned) is list:
                    if returned and type(returned[0]) is str:
                        raise _words(returned[0])
                    block += returned
                else:
                    # A generator may yield more pairs than fit into memory; most yield a few.
                    pairs: Iterator[Any] = iter(as_pairs(returned, function))
                    room = max(1, wanted - len(block))
                    some = list(islice(pairs, room))
                    if some and type(some[0]) is str:
                        raise _words(some[0])
                    while some:
                        block += some
                        if len(some) < room:
                            break
                        if len(block) >= wanted:
                            yield block
                            wanted = next_block_pairs(block)
                            block = []
                        room = max(1, wanted - len(block))
                        some = list(islice(pairs, room))
            except InvalidPairsError:
                raise
            except Exception as error:
                raise RecordFailedError.on(record, position) from error
            if len(block) >= wanted:
                yield block
                wanted = next_block_pairs(block)
                block = []
        yield block


class by_key:  # noqa: N801 - reads as the words it is
    """Make a reduce (or combine) of a whole partition from a function of a key and its values.

    A partition that exceeds the memory of its worker is spilled to disk: neither results nor their
    order change, and no key has too many values. Keys come in order of first appearance, and so do
    values, unless they are to be sorted.

    For a *secondary sort*, keys are tuples of what to group by and what to sort by, as in
    ``by_key(f, sort=True, group=lambda key: key[0])``. As a job's reduce it has the keys dealt by
    their groups, unless the job has a partition of its own. The function is told
    ``group(key)``, not the whole keys; what it needs of them belongs into the values as well.

    Args:
        function: Gets a key and an iterator of its values, and returns the key's result; an
            iterator is made a list, since results travel. Values are there during the call only;
            those it leaves are skipped.
        sort: Whether keys come in ascending order.
        group: Gets a key and returns what to group by instead; keys of a group come in ascending
            order. Needs ``sort``.
        sort_values: True: each key's values come in ascending order; or what to sort them by, as
            the ``key`` of ``sorted``. Equal ones stay in order of appearance. NaNs and sets have no
            such order: values that are or hold some come in any, each of them once, and another
            one where memory is less. As keys, or groups, to be sorted they may come in parts.

    Raises:
        RecordFailedError: The function raised, or the values of a key cannot be compared; says for
            which key, ``from`` that exception.
        UnstableKeyError: A key cannot be hashed.
        InvalidPairsError: Keys that cannot be compared were to be sorted.

    Examples:
        >>> total = by_key(lambda key, values: sum(values))
        >>> total([("b", 1), ("a", 2), ("b", 3)])
        [('b', 4), ('a', 2)]
        >>> by_key(lambda key, values: list(values), sort=True)([("b", 1), ("a", 2), ("b", 3)])
        [('a', [2]), ('b', [1, 3])]
    """

    def __init__(
        self,
        function: Callable[[Any, Iterator[Any]], Any],
        *,
        sort: bool = False,
        group: Callable[[Any], Any] | None = None,
        sort_values: bool | Callable[[Any], Any] = False,
    ) -> None:
        self.function = _callable(function, "by_key()")
        if group is not None and not sort:
            raise InvalidJobError("by_key(..., group=) needs sort=True")
        self.sort = sort
        self.group = None if group is None else _callable(group, "by_key(group=)")
        self.sort_values = (
            sort_values if isinstance(sort_values, bool)
            else _callable(sort_values, "by_key(sort_values=)")
        )  # fmt: skip

    def __repr__(self) -> str:
        options = ((name, getattr(self, name)) for name in ("sort", "group", "sort_values"))
        shown = "".join(f", {name}={value!r}" for name, value in options if value)
        return f"by_key({self.function!r}{shown})"

    def __call__(self, pairs: Iterable[Pair]) -> list[Pair]:
        """Return ``(key, function(key, values))`` for each key."""
        return list(self.results(pairs))

    def results(self, pairs: Iterable[Pair]) -> Iterator[Pair]:
        """Yield what the call returns; of a partition that was spilled, without holding it all."""
        given = allowance()
        results = self._results(pairs, given)
        if not self.sort and given.memory < UNLIMITED.memory:
            results = in_order(results, given)
        return ((key, result) for _, key, result in results)

    def _results(self, pairs: Iterable[Pair], given: Allowance) -> Iterator[tuple[int, Any, Any]]:
        value_order = None if isinstance(self.sort_values, bool) else self.sort_values
        arrangement = Arrangement(self.sort, self.group, bool(self.sort_values), value_order)
        return self.applied(groups_of(pairs, arrangement, given))

    def applied(self, groups: Iterable[Group]) -> Iterator[tuple[int, Any, Any]]:
        """Call the function for each group; yield the group's position, its key and the result."""
        function = self.function
        for position, key, values in groups:
            try:
                result = function(key, values)
                if hasattr(type(result), "__next__"):
                    result = list(result)
            except InvalidPairsError:
                raise
            except Exception as error:
                raise RecordFailedError.on(key, position, kind="key") from error
            yield position, key, result

    @property
    def is_plain(self) -> bool:
        """Whether neither keys nor values are to be sorted."""
        return not (self.sort or self.sort_values)


def _words(item: str) -> InvalidPairsError:
    # A text of two letters could be taken for a pair: surely nobody means that.
    return InvalidPairsError(
        f"expected (key, value) pairs, got {shorten(item)} among them: for one pair return "
        "[(key, value)], for each word of a text [(word, 1) for word in ...]"
    )


def _callable(function: Any, wrapper: str) -> Any:
    if not callable(function):
        msg = f"{wrapper} takes a function, got {shorten(function)}"
        raise InvalidJobError(msg)
    return function
