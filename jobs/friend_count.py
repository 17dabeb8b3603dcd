"""Friend count: how many friends does each person have?

From the Data Science course on Coursera. A record is a JSON list ``[person, friend]`` and says
that the person has this friend. It does not say the reverse: if Ann calls Bob a friend, Ann has one
friend more, and Bob has none by that.

- *map* runs for each record and gives one pair: the person, with whatever value.
- *combine* counts the pairs of each person in one map task, before they travel.
- *reduce* adds up the counts of all map tasks.

Worth learning is that combine and reduce may be the same ready-made reduction, though one has
values to count and the other counts to add up: ``count_values`` knows which it is. By hand they
would be two functions, or map would give ones and both would add up.

As in the course, what is counted are records: one that occurs twice counts twice. To count
different friends, records would have to meet by person *and* friend first, and a combine could not
count any more, since two map tasks may have met the same friend.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from jobs.samples.friends import write_friends as sample
from mapreduce import MapReduceJob, TextFiles, count_values, each, json_lines

__all__ = ["COLUMNS", "TITLE", "job", "sample", "table"]

TITLE = "Persons, those with the most friends first"
COLUMNS = ("person", "friends")


def job(paths: str | Sequence[str]) -> MapReduceJob:
    """Build the job that counts friends in the files of JSON lines at these paths or globs."""
    return MapReduceJob(
        data=TextFiles(paths, records=json_lines),
        map=each(_person),
        combine=count_values,
        reduce=count_values,
    )


def table(results: Iterable[Iterable[tuple[str, int]]]) -> list[tuple[str, int]]:
    """Return (person, friends) rows, the most friends first and equals by alphabet."""
    return sorted(chain.from_iterable(results), key=lambda row: (-row[1], row[0]))


def _person(record: Any) -> list[tuple[str, str]]:
    match record:
        case [str(person), str(friend)]:
            return [(person, friend)]
    raise ValueError('expected [person, friend], two texts, as in ["Ann", "Bob"]')
