"""Misfits: outcomes that no task of a job can have. Whoever may write to the space may write such."""

from __future__ import annotations

from typing import Final

from workers.task import DIED, ERROR, LOST, OK, REFUSED, Outcome

STATUSES: Final = (OK, ERROR, DIED, LOST, REFUSED)


def misfit(outcome: Outcome, attempts: int, maps: int) -> str:
    """Return why this cannot be the outcome of a task that was tried so often; "": it can.

    Args:
        outcome: It. attempts: How many there were of its task. maps: M.
    """
    if not 0 <= outcome.attempt < attempts:
        return f"there was no attempt {outcome.attempt}"
    if outcome.status not in STATUSES:
        return f"no attempt ends as {outcome.status!r}"
    if outcome.status == OK and outcome.value is None:
        return "it has no value"
    missing = outcome.details.get("maps", ()) if outcome.status == LOST else ()
    if type(missing) not in (tuple, list) or not all(
        type(number) is int and 0 <= number < maps for number in missing
    ):
        return "it misses maps that do not exist"
    return ""
