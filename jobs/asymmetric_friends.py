"""Asymmetric friends: who calls somebody a friend who does not say so in return?

From the Data Science course on Coursera. A record is a JSON list ``[person, friend]``; a friendship
is symmetric if there is a record for each direction. As in the course, a friendship that is not
gives two rows, (Ann, Bob) and (Bob, Ann), whoever said it.

- *map* runs for each record. The key is the pair of names *in alphabetical order*, so that both
  directions get the same key, and meet; the value is who said it.
- *reduce* gets, for each two persons, who of them said it: both, or one of them only, who may
  have said it twice.

Worth learning is the choice of the key: "are there two records such that" becomes "do two values
meet", if the key is what both records have in common, in a form that does not depend on which it
is. No pair of records is ever compared.

And reduce is a function of a whole partition: it may call a ready-made reduction, ``collect`` here,
and return what it likes of what that gives. ``by_key`` would return something for each key, and
most friendships are not worth a row. There is no combine: one has nothing to say until both
directions are there.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from jobs.samples.friends import write_friends as sample
from mapreduce import MapReduceJob, TextFiles, collect, each, json_lines

__all__ = ["COLUMNS", "TITLE", "job", "sample", "table"]

TITLE = "Friendships that one side only knows of, in both directions"
COLUMNS = ("person", "friend")

Friendship = tuple[str, str]


def job(paths: str | Sequence[str]) -> MapReduceJob:
    """Build the job that looks for them in the files of JSON lines at these paths or globs."""
    return MapReduceJob(
        data=TextFiles(paths, records=json_lines),
        map=each(_said),
        reduce=_one_sided,
    )


def table(results: Iterable[Iterable[Friendship]]) -> list[Friendship]:
    """Return (person, friend) rows by alphabet."""
    return sorted(chain.from_iterable(results))


def _said(record: Any) -> list[tuple[Friendship, str]]:
    match record:
        case [str(person), str(friend)]:
            pair = (person, friend) if person < friend else (friend, person)
            return [(pair, person)]
    raise ValueError('expected [person, friend], two texts, as in ["Ann", "Bob"]')


def _one_sided(pairs: Iterable[tuple[Friendship, str]]) -> Iterator[Friendship]:
    for (one, other), said_by in collect.results(pairs):
        # Who is a friend of oneself is so in both directions.
        if one != other and len(set(said_by)) == 1:
            yield one, other
            yield other, one
