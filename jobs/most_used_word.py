"""Most used word: which words of all occur most often? Two jobs in a chain.

A reduce task sees one partition, so no single job that counts words can know which word is the
most used *of all*: another job has to bring the partitions together. This is how jobs are chained:

1. *Word count*, as in ``word_count``, whose results stay where they were made: ``KeepBlocks()``.
   All words with their counts may be a long list; nobody sends it anywhere.
2. *The most used.* Its data are those blocks, and each is mapped where it lies. *Map* leaves the
   few most used words of each; all of them get the same key, which brings them together in one
   partition, and *reduce* leaves the few most used of those.

``job`` is a generator: it yields a job, is sent its results, yields the next, and returns the result
of all, see ``steps``. Any chain can be written so. Blocks need workers that stay between the jobs:
a space's, ``--local``'s, or, in one process, ``run_sequential``. Where there are none, leave out
``KeepBlocks()`` and give the second job the pairs themselves, ``chain.from_iterable(counts)``.
"""

from collections.abc import Iterable, Sequence
from heapq import nsmallest
from itertools import chain

from jobs import word_count
from jobs.errors import JobOptionsError
from jobs.samples.texts import write_texts as sample
from jobs.steps import Steps
from mapreduce import KeepBlocks, MapReduceJob, by_key

__all__ = ["COLUMNS", "TITLE", "job", "sample", "table"]

TITLE = "The most used words"
COLUMNS = ("word", "count")


def job(paths: str | Sequence[str], *, top: int = 10) -> Steps:
    """Return the steps that find the `top` most used words of the text files at these paths.

    Raises:
        JobOptionsError: `top` is less than 1.
    """
    if top < 1:
        raise JobOptionsError(f"most_used_word: top is a whole number from 1, not {top}")
    return _steps(paths, top)


def table(results: Iterable[Iterable[tuple[None, list[tuple[int, str]]]]]) -> list[tuple[str, int]]:
    """Return (word, count) rows, the most used first and equals by alphabet."""
    return [(word, -less) for _, rows in chain.from_iterable(results) for less, word in rows]


def _steps(paths: str | Sequence[str], top: int) -> Steps:
    counting = word_count.job(paths)
    counting.output = KeepBlocks()
    counts = yield counting
    # As (-count, word), the least is the most used, and of equals the first by alphabet.
    return (yield MapReduceJob(
        data=counts,
        map=lambda pairs: [
            (None, row) for row in nsmallest(top, ((-count, word) for word, count in pairs))
        ],
        reduce=by_key(lambda _, rows: nsmallest(top, rows)),
        reduce_tasks=1,
    ))  # fmt: skip
