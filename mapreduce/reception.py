"""Reception: what an outcome that has come in brings: a map's output, and what the ledger keeps of it."""

from __future__ import annotations

from typing import NamedTuple

from mapreduce.engine.interface import Engine
from mapreduce.plan import MAP
from mapreduce.shuffle import MapOutput, output_in
from workers.errors import CUT_OFF, BlockLostError
from workers.task import ERROR, LOST, OK, Outcome, Parcel


class Received(NamedTuple):
    """An outcome with what it brings.

    Attributes:
        outcome: It; another than it was if its value is gone, or is none.
        told: The same for the ledger, which outlives blocks. output: Of a map that is OK.
    """

    outcome: Outcome
    told: Outcome
    output: MapOutput | None = None


def received(outcome: Outcome, engine: Engine, reduce_tasks: int) -> Received:
    """Return an outcome with its value fetched, if the driver has a use for that."""
    if outcome.status != OK or outcome.phase != MAP:
        return Received(outcome, outcome)
    parcel = outcome.value
    assert parcel is not None
    try:
        data = engine.receive(parcel)
    except BlockLostError as error:
        lost = outcome._replace(status=LOST, details={"message": str(error), CUT_OFF: True})
        return Received(lost, lost)
    output = output_in(data, reduce_tasks)
    if output is None:
        what = {"message": "it has returned something that is no map's output"}
        none = outcome._replace(status=ERROR, details=what)
        return Received(none, none)
    told = outcome if parcel.location is None else outcome._replace(value=Parcel(data))
    return Received(outcome, told, output)
