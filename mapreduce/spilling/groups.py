"""Grouping pairs by key, in memory as far as the allowance goes and by sorted runs beyond it.

What is held when the allowance is exceeded goes to disk as a run of records::

    (order, position, key, some of its values)

``order`` is the hash of the key, or the key itself where keys are sorted; where values are sorted
it is that and the value, and each key has a *header* without values before all others. Merged, the
records of a key follow each other, those of earlier runs first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, count, groupby
from operator import itemgetter
from typing import Any, NamedTuple

from mapreduce.errors import InvalidPairsError, RecordFailedError, UnstableKeyError
from mapreduce.pairs import Pair, blocks_of, group_block
from mapreduce.partition import stable_hash
from mapreduce.spilling.allowance import UNLIMITED, Allowance
from mapreduce.spilling.runs import Record, Runs, Shelf
from mapreduce.spilling.sizes import PLACE_BYTES, Meter

_Groups = dict[Any, list[Any]]
Group = tuple[int, Any, Iterator[Any]]
"""The position of a key's first pair among the keys, the key, and its values."""

_HEADER, _VALUE = 0, 1
_order = itemgetter(0)
_payload = itemgetter(3)
_order_of_key: Callable[[Record], Any] = lambda record: record[0][0]  # noqa: E731 - it is a key


class Arrangement(NamedTuple):
    """In what order keys and values come.

    Attributes:
        sort: Whether keys are sorted. group: What keys are grouped by; None: themselves.
        sort_values: Whether values are sorted. value_order: What they are sorted by; None:
            themselves.
    """

    sort: bool = False
    group: Callable[[Any], Any] | None = None
    sort_values: bool = False
    value_order: Callable[[Any], Any] | None = None

    @property
    def is_special(self) -> bool:
        """Whether the order of a key is another than its hash."""
        return self.sort or self.sort_values

    def order_of_key(self, key: Any) -> Any:
        """Return what brings equal keys together, and what the keys are sorted by."""
        if self.group is not None:
            return self.group(key), key
        if self.sort or not self.sort_values:
            return key if self.sort else hash(key)
        try:
            # Values of keys that share their hash would be compared, and need not be comparable.
            return stable_hash(key)
        except UnstableKeyError:
            return hash(key)


def groups_of(pairs: Iterable[Pair], arrangement: Arrangement, given: Allowance) -> Iterator[Group]:
    """Yield the groups: sorted if so arranged; else in no order, if ``in_order`` is to follow.

    The values of a group must be taken before the next group is: what is left is skipped.

    Raises:
        InvalidPairsError: One of the pairs is none. UnstableKeyError: A key has no hash.
        RecordFailedError: Keys, or the values of a key, cannot be put in order.
    """
    groups: _Groups = {}
    if given.memory >= UNLIMITED.memory:
        for block in blocks_of(pairs):
            group_block(groups, block)
        yield from _held(groups, arrangement)
        return
    meter = Meter(given.memory * 2 // 3, keeps_values=True)
    runs: Runs | None = None
    try:
        position = 0
        for block in blocks_of(pairs):
            before = len(groups)
            group_block(groups, block)
            if meter.add(block, len(groups) - before):
                runs = runs or Runs(given.folder, given.memory // 3, lambda record: True)
                _spill(runs, groups, position, arrangement, meter.value_bytes)
                position += len(groups)
                groups.clear()
                meter.clear()
        if runs is None:
            yield from _held(groups, arrangement)
            return
        if groups:
            _spill(runs, groups, position, arrangement, meter.value_bytes)
            groups.clear()
        yield from _merged(runs, arrangement)
    finally:
        if runs is not None:
            runs.close()


def _held(groups: _Groups, arrangement: Arrangement) -> Iterator[Group]:
    """Yield the groups of pairs that are all in memory."""
    if not arrangement.sort:
        for position, (key, values) in enumerate(groups.items()):
            yield position, key, iter(_sorted_values(key, values, arrangement))
        return
    keys = _sorted_keys(groups, arrangement)
    if arrangement.group is None:
        for position, key in enumerate(keys):
            yield position, key, iter(_sorted_values(key, groups[key], arrangement))
        return
    for position, (key, members) in enumerate(groupby(keys, arrangement.group)):
        lists = (_sorted_values(member, groups[member], arrangement) for member in members)
        yield position, key, chain.from_iterable(lists)


def _spill(
    runs: Runs, groups: _Groups, position: int, arrangement: Arrangement, value_bytes: int
) -> None:
    """Write groups as a run; the first of them has this position."""
    orders = map(arrangement.order_of_key, groups) if arrangement.is_special else map(hash, groups)
    try:
        records = sorted(zip(orders, count(position), groups, groups.values()), key=_order)
    except TypeError as error:
        raise _unsortable("keys", error) from error
    at_once = max(1, runs.batch_bytes // (value_bytes + PLACE_BYTES))
    if arrangement.sort_values:
        runs.add(_by_value(records, arrangement))
    elif max(map(len, groups.values())) > at_once:
        runs.add(_cut(records, at_once))
    else:
        runs.add(records)


def _cut(records: list[Record], at_once: int) -> Iterator[Record]:
    """Yield records with not too many values each."""
    for record in records:
        order, number, key, values = record
        if len(values) <= at_once:
            yield record
        else:
            for start in range(0, len(values), at_once):
                yield order, number, key, values[start : start + at_once]


def _by_value(records: list[Record], arrangement: Arrangement) -> Iterator[Record]:
    """Yield the records of all keys with one value each, in order."""
    for order, same in groupby(records, _order):
        members = list(same)
        yield from (((order, _HEADER), number, key, ()) for _, number, key, _ in members)
        each = chain.from_iterable(_values_of(member, arrangement) for member in members)
        # More than one are keys whose hashes collide.
        yield from each if len(members) == 1 else sorted(each, key=_order)


def _values_of(record: Record, arrangement: Arrangement) -> Iterator[Record]:
    order, number, key, values = record
    value_order = arrangement.value_order
    for value in _sorted_values(key, values, arrangement):
        by = value if value_order is None else value_order(value)
        yield (order, _VALUE, by), number, key, (value,)


def _merged(runs: Runs, arrangement: Arrangement) -> Iterator[Group]:
    """Yield the groups of what was spilled."""
    records = chain.from_iterable(_compared(runs.merged()))
    order: Callable[[Record], Any] = _order_of_key if arrangement.sort_values else _order
    if arrangement.group is not None:
        group_of = lambda record: order(record)[0]  # noqa: E731 - it is a key
        for position, (key, members) in enumerate(groupby(records, group_of)):
            yield position, key, chain.from_iterable(map(_payload, members))
    elif arrangement.sort_values:
        for _, members in groupby(records, order):
            yield from _apart(members, runs)
    else:
        yield from _unsorted(records, runs)


def _unsorted(records: Iterator[Record], runs: Runs) -> Iterator[Group]:
    """Yield the groups in records whose values need not be sorted: the fast way."""
    held: list[Record] = []
    order = None
    # Of one key, as many may be in memory as there are batches in a merge.
    many = runs.fan_in
    for record in records:
        if held and record[0] == order:
            held.append(record)
            if len(held) >= many:
                after: list[Record] = []
                yield from _apart(chain(held, _while(order, records, after)), runs)
                held = after
                order = held[0][0] if held else None
            continue
        if len(held) == 1:
            _, position, key, values = held[0]
            yield position, key, iter(values)
        elif held:
            _, position, key, _ = held[0]
            if any(other[2] != key for other in held):
                yield from _apart(iter(held), runs)
            else:
                yield position, key, chain.from_iterable(map(_payload, held))
        held = [record]
        order = record[0]
    yield from _apart(iter(held), runs)


def _while(order: Any, records: Iterator[Record], after: list[Record]) -> Iterator[Record]:
    """Yield the records of this order; put the one that comes after them there."""
    for record in records:
        if record[0] != order:
            after.append(record)
            return
        yield record


def _apart(records: Iterator[Record], runs: Runs) -> Iterator[Group]:
    """Yield the groups in records of one order: keys that differ may have one hash (-1 and -2)."""
    while (first := next(records, None)) is not None:
        others = Shelf(runs)
        values = chain.from_iterable(_payloads(first, records, others))
        yield first[1], first[2], values
        deque(values, 0)  # what was not asked for
        records = iter(others)


def _payloads(first: Record, records: Iterator[Record], others: Shelf) -> Iterator[Iterable[Any]]:
    key = first[2]
    yield first[3]
    for record in records:
        if record[2] is key or record[2] == key:
            yield record[3]
        else:
            others.append(record)


def _compared(batches: Iterator[list[Record]]) -> Iterator[list[Record]]:
    try:
        yield from batches
    except TypeError as error:
        raise _unsortable("keys or values", error) from error


def _sorted_keys(groups: _Groups, arrangement: Arrangement) -> list[Any]:
    try:
        return sorted(groups, key=arrangement.order_of_key)
    except TypeError as error:
        raise _unsortable("keys", error) from error


def _sorted_values(key: Any, values: list[Any], arrangement: Arrangement) -> list[Any]:
    if arrangement.sort_values:
        try:
            values.sort(key=arrangement.value_order)
        except Exception as error:
            raise RecordFailedError.on(key, -1, kind="key") from error
    return values


def _unsortable(what: str, error: TypeError) -> InvalidPairsError:
    return InvalidPairsError(f"these {what} cannot be put in order, as by_key was told to: {error}")
