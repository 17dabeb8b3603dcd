"""The ready-made jobs by name.

A new job is a module beside the others and a line in ``CATALOGUE``.
"""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from jobs import (
    asymmetric_friends,
    external,
    friend_count,
    grep,
    inverted_index,
    join,
    k_means,
    matrix_multiply,
    most_used_word,
    page_rank,
    reverse_links,
    sort,
    term_vectors,
    unique_trims,
    url_count,
    word_count,
)
from jobs.errors import JobOptionsError, UnknownJobError
from jobs.steps import Steps
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
    def job(self) -> Callable[..., MapReduceJob | Steps]:
        """Build the job, or its steps, from paths or globs and the job's own options."""

    @property
    def table(self) -> Callable[[Any], list[tuple[Any, ...]]]:
        """Turn the results of the job, or what its steps return, into rows for a person."""

    @property
    def sample(self) -> Callable[[Path, int], None]:
        """Write sample input, of a size from 1, into a folder: the same each time."""


CATALOGUE: dict[str, ReadyMadeJob] = {
    "asymmetric_friends": asymmetric_friends,
    "external": external,
    "friend_count": friend_count,
    "grep": grep,
    "inverted_index": inverted_index,
    "join": join,
    "k_means": k_means,
    "matrix_multiply": matrix_multiply,
    "most_used_word": most_used_word,
    "page_rank": page_rank,
    "reverse_links": reverse_links,
    "sort": sort,
    "term_vectors": term_vectors,
    "unique_trims": unique_trims,
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


def build(name: str, paths: str | Sequence[str], **options: object) -> MapReduceJob | Steps:
    """Build the job of this name, or its steps, ready to run.

    Raises:
        UnknownJobError: No job has this name.
        JobOptionsError: The job needs an option more, or does not take one of these.
    """
    build_job = find(name).job
    try:
        inspect.signature(build_job).bind(paths, **options)
    except TypeError as error:
        known = options_of(name) or "none"
        raise JobOptionsError(f"{name}: {error}; its options: {known}") from None
    return build_job(paths, **options)


def title_of(name: str) -> str:
    """Return what the job of this name does, in a line."""
    return (find(name).__doc__ or "").partition("\n")[0]


def options_of(name: str) -> str:
    """Return the options of the job's own, as in "pattern, rounds=10"."""
    shown = []
    for option in _options(name):
        default = "" if option.default is option.empty else f"={option.default}"
        shown.append(option.name + default)
    return ", ".join(shown)


def read_options(name: str, given: Sequence[str]) -> dict[str, object]:
    """Return the options that texts such as "rounds=10" give, of the types that the job wants.

    Raises:
        JobOptionsError: One is no NAME=VALUE, or its value is not of its type; unknown names are left
            to `build`.
    """
    kinds = {option.name: option.annotation for option in _options(name)}
    read: dict[str, object] = {}
    for text in given:
        option, equals, value = text.partition("=")
        if not equals:
            raise JobOptionsError(f"{name}: an option is NAME=VALUE, as in rounds=10, not {text!r}")
        kind = kinds.get(option, str)
        try:
            read[option] = kind(value) if kind in (int, float) else value
        except ValueError:
            number = "a whole number" if kind is int else "a number"
            raise JobOptionsError(f"{name}: {option} is {number}, not {value!r}") from None
    return read


def _options(name: str) -> list[inspect.Parameter]:
    parameters = inspect.signature(find(name).job, eval_str=True).parameters.values()
    return [each for each in parameters if each.kind is each.KEYWORD_ONLY]
