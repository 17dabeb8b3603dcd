"""Checks of what the user filled in, for slips that would otherwise show in a worker, or never."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, Final

from mapreduce.errors import InvalidJobError
from mapreduce.external import run_program
from mapreduce.grouping import by_key, each
from mapreduce.ranges import range_partition

_BY_KEY: Final = "for one of a key and its values, write by_key(function)"
#: What each function gets, and what to do with a function of something smaller.
_GETS: Final = {
    "map": (1, "the records of a split", "for one of a record, write each(function)"),
    "combine": (1, "the pairs of a map task", _BY_KEY),
    "reduce": (1, "the pairs of a partition", _BY_KEY),
    "partition": (2, "a key and R", "see hash_partition"),
}
_CALL_FIRST: Final = {each: "each(function)", by_key: "by_key(function)",
                      run_program: "run_program([...])",
                      range_partition: "range_partition()"}  # fmt: skip


def check_function(name: str, function: Any) -> None:
    """Refuse what cannot be the job's function of this name.

    Raises:
        InvalidJobError: It is none, or one of another number of arguments; says what to write.
    """
    if not callable(function):
        raise InvalidJobError(f"job.{name} is no function: {function!r}")
    if instead := _CALL_FIRST.get(function):
        raise InvalidJobError(f"job.{name} is {function.__name__} itself: write {instead}")
    count, gets, hint = _GETS[name]
    if not _takes(function, count):
        raise InvalidJobError(
            f"job.{name} is a function of {gets}, {count} argument{'s' if count > 1 else ''}; "
            f"{function!r} cannot be called so: {hint}"
        )


def _takes(function: Callable[..., Any], count: int) -> bool:
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # some of those in C do not tell
        return True
    return True


def check_attribute(job: object, name: str, known: list[str]) -> None:
    """Refuse an attribute that a job has not: most likely it is misspelt.

    Raises:
        AttributeError: It has none of this name; says which may be meant.
    """
    if name.startswith("_") or name in known:
        return
    close = get_close_matches(name, known, 1)
    hint = f"; is it {close[0]}?" if close else f": it has {', '.join(known)}"
    raise AttributeError(f"{type(job).__name__} has no attribute {name!r}{hint}")
