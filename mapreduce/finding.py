"""Finding blocks again whose server is gone while their host, or another agent of it, is not."""

from __future__ import annotations

import logging

from mapreduce.engine.interface import Engine
from mapreduce.plan import REDUCE, Plan
from workers.task import LOST, Outcome

logger = logging.getLogger(__name__)


def find_blocks(outcome: Outcome, plan: Plan, engine: Engine) -> int:
    """Tell the plan where the blocks are now that a reduce has missed, before it voids their maps.

    Returns:
        How many block files have been found. Those that have not stay lost.
    """
    silent = outcome.details.get("silent")
    if outcome.phase != REDUCE or outcome.status != LOST or type(silent) is not str:
        return 0
    missing = {}
    for number in outcome.details.get("maps", ()):
        output = plan.outputs[number]
        # Another reduce may have missed it before, so that it is found or made again by now.
        if output is not None and output.location is not None and output.location.uri == silent:
            missing[number] = output.location
    found = engine.elsewhere(missing.values())
    for number, location in missing.items():
        if location in found:
            moved = tuple(found[location])
            engine.record(("call", "relocate", number, moved))
            plan.relocate(number, moved)
    if found:
        logger.info("%s of %s blocks that reduce %s has missed are found with other agents",
                    len(found), len(missing), outcome.number)  # fmt: skip
    return len(found)
