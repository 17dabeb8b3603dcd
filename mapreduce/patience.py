"""Patience: what has met a silent machine is tried again, each time a little later. No clock.

It may be a network's hiccup, or a host that starts: half a minute of that must not use up all the
attempts that a task has (see `plan.LOSSES`), which would be over in a moment. What if the driver dies
meanwhile? What waits here has been ordered and has no outcome, so another driver writes it.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from typing import Final

from mapreduce.plan import Order, Plan
from workers.task import Outcome

logger = logging.getLogger(__name__)

_FIRST_SECONDS: Final = 0.25
_MOST_SECONDS: Final = 5.0
#: Nobody need hear of a shorter wait, nor of each of many.
_SAY_SECONDS: Final = 2.0
_SAY_AGAIN_SECONDS: Final = 10.0


class Patience:
    """That of one job."""

    def __init__(self) -> None:
        self._times: Counter[tuple[str, int]] = Counter()
        self._held: list[tuple[float, Order]] = []
        self._say_at = -math.inf

    def hold(self, outcome: Outcome, orders: list[Order], now: float) -> list[Order]:
        """Return the orders that follow from an outcome, but for its own task's if that must wait."""
        task = outcome.phase, outcome.number
        mine = [order for order in orders if order[:2] == task]
        if not outcome.is_cut_off or not mine:
            return orders
        wait = min(_MOST_SECONDS, _FIRST_SECONDS * 2 ** self._times[task])
        self._times[task] += 1
        if wait >= _SAY_SECONDS and now >= self._say_at:
            self._say_at = now + _SAY_AGAIN_SECONDS
            logger.warning("%s %s is tried again in %g s: %s", *task, wait,
                           outcome.details.get("message"))  # fmt: skip
        self._held += [(now + wait, order) for order in mine]
        return [order for order in orders if order not in mine]

    def __contains__(self, task: object) -> bool:
        """Whether this task, by phase and number, waits: then nobody runs it."""
        return any(order[:2] == task for _, order in self._held)

    def due(self, plan: Plan, now: float) -> list[Order]:
        """Return what has waited long enough and is still wanted."""
        due = [order for until, order in self._held if until <= now]
        self._held = [each for each in self._held if each[0] > now]
        return [order for order in due if not plan.is_settled(*order[:3])]
