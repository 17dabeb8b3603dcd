"""SplitSource: data that knows how it is to be split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class SplitSource:
    """Base of what can be a job's ``data`` and makes the splits itself."""

    def plan(self, map_tasks: int | None = None) -> Sequence[Any]:
        """Return the M planned splits; see `splits.PlannedSplit`.

        Raises:
            InvalidJobError: It cannot be cut into so many. InputError: It is not there.
        """
        raise NotImplementedError
