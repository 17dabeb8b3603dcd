"""Options: what a job's user says of failure, stragglers and its share of the workers."""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

from mapreduce.errors import InvalidJobError

#: What becomes of a job when one of its tasks has failed for good.
FAIL: Final = "fail"
SKIP: Final = "skip"


class Options(NamedTuple):
    """See `MapReduceJob`, whose attributes of these names they are."""

    retries: int = 1
    task_timeout: float | None = None
    on_bad_task: str = FAIL
    skip_bad_records: int = 0
    backup_tasks: bool = True
    priority: float = 1.0

    def check(self) -> Options:
        """Return these options.

        Raises:
            InvalidJobError: One of them is none.
        """
        for name in ("retries", "skip_bad_records"):
            value = getattr(self, name)
            if type(value) is not int or value < 0:
                raise InvalidJobError(f"job.{name} is an int >= 0, not {value!r}")
        if self.task_timeout is not None and not _is_positive(self.task_timeout):
            raise InvalidJobError(
                f"job.task_timeout is None or seconds > 0, not {self.task_timeout!r}"
            )
        if self.on_bad_task not in (FAIL, SKIP):
            raise InvalidJobError(
                f"job.on_bad_task is {FAIL!r} or {SKIP!r}, not {self.on_bad_task!r}"
            )
        if type(self.backup_tasks) is not bool:
            raise InvalidJobError(f"job.backup_tasks is True or False, not {self.backup_tasks!r}")
        if not _is_positive(self.priority):
            raise InvalidJobError(f"job.priority is a number > 0, not {self.priority!r}")
        return self


def _is_positive(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < math.inf
