"""The combine: reducing the pairs of one map task before they travel, where that pays.

A ready-made reduction, and what ``by_key`` makes, see the pairs bit by bit: pairs of one key are
brought together as long as that makes fewer of them, and go alone once it does not. Any other
combine is a function of all pairs of the map task and is called once.

What is decided follows from the pairs alone, not from the memory there is: sums of floats depend
on the order of adding up, and results must not depend on where a task ran.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Final, NamedTuple

from mapreduce.grouping import by_key
from mapreduce.pairs import Block, Pair, as_pairs, blocks_of, failure_in, failure_of, group_block
from mapreduce.reductions import Reduction
from mapreduce.spilling.sizes import Meter

CombineFunction = Callable[[Iterable[Pair]], Iterable[Pair] | Mapping[Any, Any]]

#: After so many pairs it shows whether combining pays: whether it leaves fewer than this share.
_TRIAL_PAIRS: Final = 50_000
_SHARE: Final = 0.8
#: What is combined goes on when it takes about so many bytes.
_HELD_BYTES: Final = 128 << 20


class _Steps(NamedTuple):
    """A combine in steps.

    Attributes:
        fold: Adds a block of pairs to what is held. results: Makes pairs of what is held.
        alone: Makes of a block the pairs it gives if none goes with another.
        keeps_values: Whether all values are held.
    """

    fold: Callable[[dict[Any, Any], Block], None]
    results: Callable[[dict[Any, Any]], Iterable[Pair]]
    alone: Callable[[Block], Iterable[Pair]]
    keeps_values: bool


def combined(combine: CombineFunction | None, pairs: Iterable[Pair]) -> Iterator[Pair]:
    """Reduce the pairs of one map task before they travel; without a combine, hand them on.

    Raises:
        InvalidPairsError: Combine returned neither an iterable nor a mapping.
    """
    if combine is None:
        return iter(pairs)
    if isinstance(combine, Reduction):
        return chain.from_iterable(_while_it_pays(pairs, _steps_of_reduction(combine)))
    if isinstance(combine, by_key) and combine.is_plain:
        return chain.from_iterable(_while_it_pays(pairs, _steps_of_by_key(combine)))
    return iter(as_pairs(combine(pairs), combine))


def _while_it_pays(pairs: Iterable[Pair], steps: _Steps) -> Iterator[Iterable[Pair]]:
    blocks = blocks_of(pairs)
    meter = Meter(_HELD_BYTES, keeps_values=steps.keeps_values, watches_process=False)
    pays, tried = True, False
    while pays:
        held: dict[Any, Any] = {}
        count, full = 0, False
        meter.clear()
        for block in blocks:
            before = len(held)
            steps.fold(held, block)
            count += len(block)
            full = meter.add(block, len(held) - before)
            if full or (not tried and count >= _TRIAL_PAIRS):
                tried = True
                pays = len(held) < _SHARE * count
                if full or not pays:
                    break
        yield steps.results(held)
        if pays and not full:
            return
    for block in blocks:
        yield steps.alone(block)


def _steps_of_reduction(reduction: Reduction) -> _Steps:
    def results(held: dict[Any, Any]) -> Iterable[Pair]:
        reduction.trim(held)
        return held.items()

    def alone(block: Block) -> list[Pair]:
        key = value = None
        lift = reduction.lift
        lifted = []
        try:
            for key, value in block:
                lifted.append((key, lift(value)))
        except Exception as error:
            raise failure_in(block, (key, value)) from error
        return lifted

    return _Steps(reduction.fold_block, results, alone, reduction.keeps_values)


def _steps_of_by_key(combine: by_key) -> _Steps:
    def reduced(groups: Iterable[tuple[Any, Iterable[Any]]]) -> Iterable[Pair]:
        numbered = ((number, key, iter(values)) for number, (key, values) in enumerate(groups))
        return ((key, result) for _, key, result in combine.applied(numbered))

    def alone(block: Block) -> Iterable[Pair]:
        # Not handed on as they are: what combine returns may be of another kind than the values.
        groups: list[tuple[Any, Iterable[Any]]] = []
        for pair in block:
            try:
                key, value = pair
            except (TypeError, ValueError) as error:
                raise failure_of(pair) from error
            groups.append((key, (value,)))
        return reduced(groups)

    return _Steps(group_block, lambda held: reduced(held.items()), alone, keeps_values=True)
