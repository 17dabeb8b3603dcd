"""Grep: which lines match a regular expression, and how often does each occur?

"Distributed grep" in section 2.3 of the MapReduce paper. There, reduce copies its input. Here it
counts, because a thousand equal lines of a log are better read once, with a number beside them.

- *map* gets one split of lines and counts those in which the pattern is found.
- *reduce* adds up what the map tasks counted for each line.

The pattern is compiled once, by the driver, and travels to the workers in the lambda's closure: a
wrong pattern is an error before anything runs.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain

from jobs.errors import JobOptionsError
from jobs.samples.logs import write_logs as sample
from mapreduce import MapReduceJob, TextFiles, sum_values

__all__ = ["COLUMNS", "TITLE", "job", "sample", "table"]

TITLE = "Matching lines, the most common first"
COLUMNS = ("line", "count")


def job(paths: str | Sequence[str], *, pattern: str) -> MapReduceJob:
    """Build the job that finds the pattern in the text files at these paths or globs.

    Raises:
        JobOptionsError: The pattern is not a regular expression.
    """
    try:
        wanted = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        problem = f"the pattern {pattern!r} is not a regular expression: {error}"
        raise JobOptionsError(f"grep: {problem}") from error
    return MapReduceJob(
        data=TextFiles(paths, errors="replace"),
        map=lambda lines: Counter(line for line in lines if wanted.search(line)),
        reduce=sum_values,
    )


def table(results: Iterable[Iterable[tuple[str, int]]]) -> list[tuple[str, int]]:
    """Return (line, count) rows, the most common first and equals by alphabet."""
    return sorted(chain.from_iterable(results), key=lambda row: (-row[1], row[0]))
