"""Word count: how often does each word occur in a set of text files?

The first example of the MapReduce paper (section 2.1), and the shortest useful job:

- *map* gets one split, an iterable of lines, and counts its words. A ``Counter`` is a mapping, and
  a mapping is a fine set of pairs: each word leaves the map task once, with its count, however
  often it occurred. That is what a *combine* function would do, so this job needs none.
- *reduce* gets the pairs of one partition, and with them all counts of each word in it: it adds
  them up.

Written per line, it would read ``map=each(lambda line: [(word, 1) for word in line.split()])``
with ``combine=sum_values``: the same result, at the price of one pair per word.

A byte that is no UTF-8 does not fail the job, but counts as the character U+FFFD: texts of other encodings
want ``TextFiles(paths, encoding="latin-1")``, say.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain

from jobs.samples.texts import write_texts as sample
from mapreduce import MapReduceJob, TextFiles, sum_values

__all__ = ["COLUMNS", "TITLE", "job", "sample", "table"]

TITLE = "Words, the most common first"
COLUMNS = ("word", "count")


def job(paths: str | Sequence[str]) -> MapReduceJob:
    """Build the job that counts the words of the text files at these paths or globs."""
    return MapReduceJob(
        data=TextFiles(paths, errors="replace"),
        map=lambda lines: Counter(chain.from_iterable(map(str.split, lines))),
        reduce=sum_values,
    )


def table(results: Iterable[Iterable[tuple[str, int]]]) -> list[tuple[str, int]]:
    """Return (word, count) rows, the most common first and equals by alphabet."""
    return sorted(chain.from_iterable(results), key=lambda row: (-row[1], row[0]))
