"""The ready-made jobs by name.

A new job is a module beside the others and a line in ``CATALOGUE``.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from jobs import grep, inverted_index, url_count, word_count
from jobs.errors import JobOptionsError, UnknownJobError
from mapreduce import MapReduceJob


class ReadyMadeJob(Protocol):
    """What a module must have to be in the catalogue."""

    @property
    def TITLE(self) -> str:  # noqa: N802  # a constant of the module
        """What its result is called."""

    @property
    def COLUMNS(self) -> tuple[str, ...]:  # noqa: N802  # likewise
        """What its rows hold."""

    @property
    def job(self) -> Callable[..., MapReduceJob]:
        """Build the job from paths or globs and the job's own options."""

    @property
    def table(self) -> Callable[[Any], list[tuple[Any, ...]]]:
        """Turn the results of the job into rows for a person."""


CATALOGUE: dict[str, ReadyMadeJob] = {
    "grep": grep,
    "inverted_index": inverted_index,
    "url_count": url_count,
    "word_count": word_count,
}


def find(name: str) -> ReadyMadeJob:
    """Return the job of this name.

    Raises:
        UnknownJobError: There is none; the message lists those there are.
    """
    try:
        return CATALOGUE[name]
    except KeyError:
        raise UnknownJobError(
            f"there is no job {name!r}; the jobs are {', '.join(sorted(CATALOGUE))}"
        ) from None


def build(name: str, paths: str | Sequence[str], **options: object) -> MapReduceJob:
    """Build the job of this name, ready to run.

    Raises:
        UnknownJobError: No job has this name.
        JobOptionsError: The job needs an option more, or does not take one of these.
    """
    build_job = find(name).job
    try:
        inspect.signature(build_job).bind(paths, **options)
    except TypeError as error:
        raise JobOptionsError(f"{name}: {error}") from None
    return build_job(paths, **options)
