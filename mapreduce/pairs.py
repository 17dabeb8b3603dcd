"""Pairs, and what users hand us in their place.

Loops over pairs run once per pair, in all of these modules. A ``try`` inside such a loop costs
nothing, and it tells a pair that is none from an error in what computes the pairs meanwhile.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from mapreduce.errors import (
    InvalidPairsError,
    MapReduceError,
    RecordFailedError,
    UnstableKeyError,
    shorten,
)
from mapreduce.partition import stable_hash

Pair = tuple[Any, Any]


def as_pairs(returned: Any, function: object) -> Iterable[Pair]:
    """Return the pairs in what a user's function returned: an iterable of pairs, or a mapping.

    Raises:
        InvalidPairsError: It is neither. Whether an iterable holds pairs shows when it is used.
    """
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


def group(pairs: Iterable[Pair]) -> dict[Any, list[Any]]:
    """Collect the values of each key, the keys in order of first appearance."""
    groups: defaultdict[Any, list[Any]] = defaultdict(list)
    for pair in pairs:
        try:
            key, value = pair
            groups[key].append(value)
        except Exception as error:
            raise failure_of(pair) from error
    return groups
