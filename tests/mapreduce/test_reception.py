"""What an outcome brings, wherever its value is; what the ledger keeps does not need the block."""

from __future__ import annotations

from typing import Any

from mapreduce.plan import MAP, REDUCE
from mapreduce.reception import received
from mapreduce.shuffle import MapOutput, empty_output
from tuplespace.pickles import dump
from workers.blocks import Location
from workers.errors import BlockLostError
from workers.task import ERROR, LOST, OK, Outcome, Parcel

AWAY = Parcel(None, Location("h", "path", "uri"))


class Blocks:
    """All that this asks of an engine."""

    def __init__(self, data: bytes | None) -> None:
        self._data = data

    def receive(self, parcel: Parcel) -> bytes:
        if parcel.content is not None:
            return parcel.content
        if self._data is None:
            raise BlockLostError("it is gone")
        return self._data


def bring(parcel: Parcel | None, data: bytes | None, phase: str = MAP, status: str = OK) -> Any:
    outcome = Outcome("j", phase, 0, 0, status, "h/1", 1, 0.5, parcel)
    return outcome, received(outcome, Blocks(data), 2)  # type: ignore[arg-type]


def test_the_ledger_keeps_an_output_whose_block_may_go() -> None:
    data = dump(empty_output(2))
    outcome, found = bring(AWAY, data)
    assert found.outcome is outcome
    assert found.told == outcome._replace(value=Parcel(data))
    assert type(found.output) is MapOutput


def test_an_output_that_travels_with_its_outcome_is_told_as_it_is() -> None:
    outcome, found = bring(Parcel(dump(empty_output(2))), None)
    assert found.told is found.outcome is outcome
    assert found.output == empty_output(2)


def test_an_output_that_is_gone_is_lost_and_one_that_is_none_an_error() -> None:
    lost = bring(AWAY, None)[1].outcome
    assert lost.status == LOST
    assert lost.is_cut_off  # the map has done nothing wrong
    for nonsense in (dump("text"), dump(empty_output(3)), b"no pickle"):
        _, found = bring(AWAY, nonsense)
        assert found.outcome.status == found.told.status == ERROR
        assert found.output is None


def test_nothing_is_fetched_of_reduces_and_failures() -> None:
    for phase, status in ((REDUCE, OK), (MAP, ERROR)):
        outcome, found = bring(AWAY, None, phase, status)
        assert found == (outcome, outcome, None)
