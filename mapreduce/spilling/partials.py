"""Reducing more keys than memory holds: partials go to disk as sorted runs, and are merged.

Not every fold can be done in parts. The sum of floats depends on the order of adding up, and
results must not depend on how much memory a worker happened to have. So from the first pair on
that could make a difference, values are kept as they are, and folded when the runs are merged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, count, repeat
from operator import itemgetter
from typing import Any, Protocol

from mapreduce.pairs import Block, Pair, blocks_of, group_block
from mapreduce.spilling.allowance import Allowance
from mapreduce.spilling.runs import Record, Runs, in_order
from mapreduce.spilling.sizes import KEY_BYTES, PLACE_BYTES, Meter

_Fold = Callable[[dict[Any, Any], Block], None]


class Folding(Protocol):
    """What is needed of a `reductions.Reduction`; see there."""

    keeps_values: bool

    def fold_block(self, partials: dict[Any, Any], block: Block) -> None:
        """Add a block of pairs."""

    def fold_partials_block(self, partials: dict[Any, Any], block: Block) -> None:
        """Add a block of pairs of a key and a partial."""

    def trim(self, partials: dict[Any, Any]) -> None:
        """Make the partials small."""

    def finish(self, partials: dict[Any, Any]) -> Iterable[Pair]:
        """Return the results."""

    def is_exact(self, values: Iterable[Any]) -> bool:
        """Say whether folding these in parts gives what one fold gives."""


def reduce_within(
    given: Allowance, reduction: Folding, pairs: Iterable[Pair], *, merging: bool
) -> Iterator[Pair]:
    """Yield the results of a reduction that may hold so much in memory.

    Args:
        given: The allowance. reduction: What to do. pairs: What to reduce.
        merging: Whether the values are partials already.
    """
    fold = reduction.fold_partials_block if merging else reduction.fold_block
    runs: Runs | None = None
    try:
        filling = _Filling(given, reduction, fold, merging=merging)
        for block in blocks_of(pairs):
            if runs is not None and not filling.raw and not filling.is_exact(block):
                filling.spill(runs, raw=True)
            if filling.add(block):
                runs = runs or Runs(
                    given.folder, given.memory // 3,
                    lambda record: reduction.keeps_values or bool(record[4]),
                )  # fmt: skip
                filling.spill(runs)
        if runs is None:
            yield from reduction.finish(filling.held)
            return
        filling.spill(runs)
        results = _merged(runs, reduction, fold)
        for _, key, result in in_order(results, given):
            yield key, result
    finally:
        if runs is not None:
            runs.close()


class _Filling:
    """What is held between one spill and the next.

    Attributes:
        held: For each key its partial, or all its values. raw: Whether it is all values.
    """

    def __init__(self, given: Allowance, reduction: Folding, fold: _Fold, *, merging: bool) -> None:
        self.held: dict[Any, Any] = {}
        self.raw = False
        self._reduction = reduction
        self._fold = fold
        self._lists = merging and reduction.keeps_values
        self._limit = given.memory * 2 // 3
        self._meter = Meter(self._limit, keeps_values=reduction.keeps_values)
        self._position = 0

    def is_exact(self, block: Block) -> bool:
        """Say whether these pairs can be folded apart from those before."""
        try:
            values: Iterable[Any] = [value for _, value in block]
            return self._reduction.is_exact(chain.from_iterable(values) if self._lists else values)
        except Exception:  # noqa: BLE001 - folding fails on the same, and says on what pair
            return True

    def add(self, block: Block) -> bool:
        """Add pairs; say whether it is time to spill."""
        before = len(self.held)
        if self.raw:
            group_block(self.held, block)
        else:
            self._fold(self.held, block)
        return self._meter.add(block, len(self.held) - before) and self._is_full()

    def spill(self, runs: Runs, *, raw: bool = False) -> None:
        """Write all that is held as a run; if `raw`, values are kept as they are from now on."""
        held, first, was_raw = self.held, self._position, self.raw
        keeps = self._reduction.keeps_values
        if not was_raw:
            self._reduction.trim(held)
        columns = zip(map(hash, held), count(first), held, held.values(), repeat(was_raw))
        runs.add(sorted(columns, key=itemgetter(0)))
        if not first and not was_raw:
            values = chain.from_iterable(held.values()) if keeps else held.values()
            raw = raw or not self._reduction.is_exact(values)
        self.raw = was_raw or raw
        self._position += len(held)
        self.held = {}
        self._meter = Meter(self._limit, keeps_values=self.raw or keeps)

    def _is_full(self) -> bool:
        """Count again: of the values that went into them, partials may not have kept all."""
        if self.raw or not self._reduction.keeps_values:
            return True
        kept = sum(map(len, self.held.values()))
        each = self._meter.value_bytes + PLACE_BYTES
        self._meter.held = kept * each + len(self.held) * KEY_BYTES
        return self._meter.held > self._limit * 7 // 8


def _merged(runs: Runs, reduction: Folding, fold: _Fold) -> Iterator[Record]:
    """Yield (position of the key's first pair, key, result), by hash."""
    partials: dict[Any, Any] = {}
    firsts: dict[Any, Record] = {}
    for batch in runs.merged():
        for record in batch:
            firsts.setdefault(record[2], record)
        exact = [(key, partial) for _, _, key, partial, raw in batch if not raw]
        reduction.fold_partials_block(partials, exact)
        if len(exact) < len(batch):  # of each key, these come after its partials
            for _, _, key, values, raw in batch:
                if raw:
                    fold(partials, [(key, value) for value in values])
        # More of the last hash may come with the next batch.
        last = batch[-1][0]
        open_keys = [key for key, record in firsts.items() if record[0] == last]
        going_on = {key: partials.pop(key) for key in open_keys}
        going_on_since = {key: firsts.pop(key) for key in open_keys}
        yield from _finished(partials, firsts, reduction)
        partials, firsts = going_on, going_on_since
    yield from _finished(partials, firsts, reduction)


def _finished(
    partials: dict[Any, Any], firsts: dict[Any, Record], reduction: Folding
) -> Iterator[Record]:
    for key, result in reduction.finish(partials):
        yield firsts[key][1], key, result
