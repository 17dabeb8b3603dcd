"""Results in the order that one process gives, from any number of partitions.

::

    records --numbered--> Numbered(7, record) --gathered--> (key, (7, 0, [value, value]))
        --by_key(in_places(...))--> (key, ((7, 0), result)) of each key --in_order--> results

A key's place is the number of the record that it appeared in first, and its number among the keys
of that record: what the insertion order of one dict of all keys is, too. The values of a key
travel as one list a record; or, where records are taken in blocks, one a block, which then goes by the
number of its first record. `placing` and `keeping_places` do the same with a value at a time, for
records whose pairs, and keys whose values, may exceed memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Any, Final, NamedTuple

from mapreduce.errors import InvalidPairsError, shorten
from mapreduce.pairs import Pair, as_pairs, failure_of
from mapreduce.partition import stable_hash
from mapreduce.phases import listed
from mapreduce.weights import FIRST_BLOCK_PAIRS, size_of

#: What one block holds at most: the pairs of so many records, or of one, and about so many bytes.
_BLOCK_RECORDS: Final = 1 << 14
_BLOCK_BYTES: Final = 4 << 20
_WEIGHED: Final = 8

Place = tuple[int, int]
#: Gets some records, the position of the first in the split, and a dict to add values to those of
#: their keys in.
GatherSome = Callable[[list[tuple[int, Any]], int, dict[Any, list[Any]]], None]
Gathered = tuple[int, int, list[Any]]


#: What of a job the styles with this order fill in themselves.
FILLED_IN: Final = ("data", "map", "reduce", "combine", "partition", "map_tasks", "output")

#: More than a mapper makes of one record.
_PAIRS_OF_A_RECORD: Final = 1 << 40


class Numbered(NamedTuple):
    """A record and its number in the data; it is shown as the record is."""

    number: int
    record: Any

    def __repr__(self) -> str:
        return shorten(self.record)


def numbered(records: Iterable[Any], first: int = 0) -> Iterator[Numbered]:
    """Yield the records with their numbers."""
    return map(Numbered, itertools.count(first), records)


def gathered(number: int, pairs: Iterable[Pair]) -> list[tuple[Any, Gathered]]:
    """Return the pairs of a record as one for each key, with the key's place and all its values.

    Raises:
        UnstableKeyError: A key is not hashable. InvalidPairsError: What should be a pair is none.
    """
    groups: dict[Any, list[Any]] = {}
    gather(groups, pairs)
    return [(key, (number, at, values)) for at, (key, values) in enumerate(groups.items())]


def gather(groups: dict[Any, list[Any]], pairs: Iterable[Pair]) -> None:
    """Add the values of a record's pairs to those of their keys; raises as `gathered`."""
    get = groups.get
    for pair in pairs:
        key, value = pair if type(pair) is tuple and len(pair) == 2 else checked(pair)
        try:
            values = get(key)
        except TypeError:
            stable_hash(key)  # says it better
            raise
        if values is None:
            groups[key] = [value]
        else:
            values.append(value)


def checked(pair: Any) -> Pair:
    """Return what should be a pair.

    Raises:
        InvalidPairsError: It is none.
    """
    if type(pair) is str:
        raise _text(pair)
    try:
        key, value = pair
    except (TypeError, ValueError) as error:
        raise failure_of(pair) from error
    return key, value


def gathered_in_blocks(
    records: Iterable[tuple[int, Any]], gather_some: GatherSome
) -> Iterator[tuple[Any, Gathered]]:
    """Yield the pairs of numbered records as `gathered` does, but together those of many records.

    Args:
        records: Of one split; each is a number and what that is the number of.
        gather_some: Gets some of them, the position of the first in the split, and a dict to add values
            to those of their keys in.
    """
    return chain.from_iterable(_blocks(iter(records), gather_some))


def _blocks(
    records: Iterator[tuple[int, Any]], gather_some: GatherSome
) -> Iterator[list[tuple[Any, Gathered]]]:
    first, wanted = 0, FIRST_BLOCK_PAIRS
    while some := list(islice(records, wanted)):
        groups: dict[Any, list[Any]] = {}
        gather_some(some, first, groups)
        # Unique, and in the order of the keys, since no other block has this number.
        number = some[0][0]
        block = [(key, (number, at, values)) for at, (key, values) in enumerate(groups.items())]
        yield block
        first += len(some)
        last = [size_of(pair) for pair in block[-_WEIGHED:]]
        weight = sum(last) * len(block) // (len(last) or 1) // len(some)
        wanted = max(1, min(_BLOCK_RECORDS, 8 * len(some), _BLOCK_BYTES // (weight or 1)))


def _text(pair: str) -> InvalidPairsError:
    # One of two letters could be taken for a pair.
    return InvalidPairsError(
        f"expected (key, value) pairs, got {shorten(pair)} among them: for one pair return "
        "[(key, value)], for each word of a text [(word, 1) for word in ...]"
    )


class in_places:  # noqa: N801  # reads as by_key does
    """Make a function of a key and what was gathered of it from one of a key and a list of values.

    Args:
        function: Gets a key and the list of all its values, in order of appearance.
    """

    def __init__(self, function: Callable[[Any, list[Any]], Any]) -> None:
        self._function = function

    def __call__(self, key: Any, values: Iterator[Gathered]) -> tuple[Place, Any]:
        """Return the key's place and what the function returned; see `by_key`."""
        number, at, first = next(values)
        everything = [*first]
        for _, _, more in values:
            everything += more
        return (number, at), listed(self._function(key, everything))


def in_order(results: Iterable[list[tuple[Any, tuple[Place, Any]]] | None]) -> list[Any]:
    """Return what the function returned for each key, in the order of their places.

    Args:
        results: Of the job; None is a reduce task that was skipped.
    """
    placed = [pair for part in results for _, pair in part or ()]
    return [result for _, result in sorted(placed, key=lambda pair: pair[0])]


class placing:  # noqa: N801  # reads as in_places does
    """Make a function of a record that may be `Numbered`, whose values have places, from one of a record.

    A place is one int here. Records without a number, those of a source that workers read, are all at 0.
    """

    def __init__(self, function: Callable[[Any], Iterable[Pair]]) -> None:
        self._function = function

    def __call__(self, record: Any) -> Iterator[tuple[Any, tuple[int, Any]]]:
        """Yield the pairs, with (place, value) for a value.

        Raises:
            InvalidPairsError: What should be a pair, or pairs, is none.
        """
        place, step = 0, 0
        if type(record) is Numbered:
            place, step = record.number * _PAIRS_OF_A_RECORD, 1
            record = record.record
        for pair in as_pairs(self._function(record), self._function):
            key, value = pair if type(pair) is tuple and len(pair) == 2 else checked(pair)
            yield key, (place, value)
            place += step


class keeping_places:  # noqa: N801  # reads as in_places does
    """Make a function of a key and values with places from one of a key and an iterator of values."""

    def __init__(self, function: Callable[[Any, Iterator[Any]], Any]) -> None:
        self._function = function

    def __call__(self, key: Any, placed: Iterator[tuple[Any, Any]]) -> tuple[Any, Any]:
        """Return the least of the places, and what the function returned."""
        place, value = next(placed)

        def values() -> Iterator[Any]:
            nonlocal place
            yield value
            for another, following in placed:
                if another < place:  # values may be sorted by something else
                    place = another
                yield following

        everything = values()
        result = listed(self._function(key, everything))
        for _ in everything:
            pass
        return place, result
