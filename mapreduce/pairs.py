"""Pairs, and what users hand us in their place.

Loops over pairs run once per pair, in all of these modules, so they go through *blocks*, sequences
of pairs: a block can be searched for the pair that is none once a loop has failed on it, and errors
in what computes the pairs come up between the blocks, where no pair is blamed for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from types import GeneratorType
from typing import Any, Final

from mapreduce.errors import (
    InvalidPairsError,
    MapReduceError,
    RecordFailedError,
    UnstableKeyError,
    shorten,
)
from mapreduce.partition import stable_hash
from mapreduce.weights import FIRST_BLOCK_PAIRS, next_block_pairs

Pair = tuple[Any, Any]

Block = Sequence[Pair]
"""Some pairs, for a loop that runs once per pair."""

#: What is surely an iterable and no mapping, and sooner known to be than found out.
ITERABLE: Final = frozenset({GeneratorType, list, tuple})

# Nothing is made of these until they are gone through.
_ZIPPED = 2048


class Zipped(Sequence[Pair]):
    """Pairs whose keys and values stand in two lists: no tuple is kept while they are gone through."""

    __slots__ = ("_keys", "_values")

    def __init__(self, keys: list[Any], values: list[Any]) -> None:
        self._keys, self._values = keys, values

    def __iter__(self) -> Iterator[Pair]:
        return zip(self._keys, self._values, strict=True)

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return list(zip(self._keys[place], self._values[place], strict=True))
        return self._keys[place], self._values[place]


class PairBlocks(chain[Pair]):
    """An iterator of pairs that come in blocks, and can be had so: made by ``from_blocks``."""

    _blocks: Iterator[Block]

    @classmethod
    def from_blocks(cls, blocks: Iterable[Block]) -> PairBlocks:
        """Return the pairs of these blocks."""
        iterator = iter(blocks)
        made = cls.from_iterable(iterator)
        assert isinstance(made, cls)
        made._blocks = iterator
        return made

    def blocks(self) -> Iterator[Block]:
        """Return the blocks that are left; whoever takes pairs one by one must not ask."""
        return self._blocks


def blocks_of(pairs: Iterable[Pair]) -> Iterator[Block]:
    """Yield the pairs in blocks, for loops that run once per pair: few where pairs are large."""
    if type(pairs) is PairBlocks:
        yield from pairs.blocks()
        return
    iterator = iter(pairs)
    wanted = FIRST_BLOCK_PAIRS
    while block := list(islice(iterator, wanted)):
        wanted = next_block_pairs(block)
        yield block


def pairs_of_columns(columns: Iterable[tuple[list[Any], list[Any]]]) -> PairBlocks:
    """Return the pairs of columns: of their keys beside their values."""

    def blocks() -> Iterator[Block]:
        for keys, values in columns:
            for start in range(0, len(keys), _ZIPPED):
                end = start + _ZIPPED
                yield Zipped(keys[start:end], values[start:end])

    return PairBlocks.from_blocks(blocks())


def as_pairs(returned: Any, function: object) -> Iterable[Pair]:
    """Return the pairs in what a user's function returned: an iterable of pairs, or a mapping.

    Raises:
        InvalidPairsError: It is neither. Whether an iterable holds pairs shows when it is used.
    """
    if type(returned) in ITERABLE:
        return returned  # type: ignore[no-any-return]
    if isinstance(returned, Mapping):
        return returned.items()
    if isinstance(returned, Iterable) and not isinstance(returned, (str, bytes, bytearray)):
        return returned
    hint = " Is a `return` missing? For no pairs, return []." if returned is None else ""
    name = getattr(function, "__qualname__", repr(function))
    msg = (
        f"{name} returned {shorten(returned)}: "
        f"expected an iterable of (key, value) pairs, or a mapping.{hint}"
    )
    raise InvalidPairsError(msg)


def failure_of(pair: Any) -> MapReduceError:
    """Return what to raise when something failed on what should be a pair."""
    try:
        key, _ = pair
    except (TypeError, ValueError):
        return InvalidPairsError(f"expected (key, value) pairs, got {shorten(pair)} among them")
    try:
        hash(key)
    except TypeError:
        try:
            stable_hash(key)
        except UnstableKeyError as error:
            return error
    return RecordFailedError.on(pair, -1, kind="pair")


def failure_in(block: Iterable[Any], last: Pair) -> MapReduceError:
    """Return what to raise when a loop over a block failed.

    Args:
        block: The block. last: The last pair that the loop could take apart.
    """
    for pair in block:
        try:
            _, _ = pair
        except Exception:  # noqa: BLE001 - whatever a user's object does instead
            return failure_of(pair)
    return failure_of(last)


def group_block(groups: dict[Any, list[Any]], block: Iterable[Pair]) -> None:
    """Add the values of a block to those of their keys, new keys in order of appearance."""
    key = value = None
    get = groups.get
    try:
        for key, value in block:
            values = get(key)
            if values is None:
                groups[key] = [value]
            else:
                values.append(value)
    except Exception as error:
        raise failure_in(block, (key, value)) from error
