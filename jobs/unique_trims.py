"""Unique trims: which DNA sequences are there, once their last ten nucleotides are cut off?

From the Data Science course on Coursera. A record is a JSON list ``[id, nucleotides]``. The end of a
sequence, as machines read it, has most of the errors: cut off, many sequences turn out to be the
same.

- *map* runs for each record and gives one pair: the trimmed sequence as the key.
- *combine* and *reduce* count the pairs of each key.

Worth learning is that the keys are the result: the shuffle brings equal keys together, so whatever
reduce does for each key, it does once for each different sequence. This is how a MapReduce says
``SELECT DISTINCT``. A value is not needed; counting what would be thrown away costs nothing, and
tells how many sequences have become one. The combine drops duplicates before they travel, which
counts here, since the keys are long.

As ``DISTINCT`` does, the job keeps an empty text: of ten nucleotides or fewer nothing is left, and
a row for "" tells how many such sequences there are.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Final

from jobs.samples.sequences import write_sequences as sample
from mapreduce import MapReduceJob, TextFiles, count_values, each, json_lines

__all__ = ["COLUMNS", "TITLE", "job", "sample", "table"]

TITLE = "Trimmed sequences, the most common first"
COLUMNS = ("trimmed", "sequences")

TRIM: Final = 10  #: How many nucleotides are cut off.


def job(paths: str | Sequence[str]) -> MapReduceJob:
    """Build the job that trims the sequences in the files of JSON lines at these paths or globs."""
    return MapReduceJob(
        data=TextFiles(paths, records=json_lines),
        map=each(_trimmed),
        combine=count_values,
        reduce=count_values,
    )


def table(results: Iterable[Iterable[tuple[str, int]]]) -> list[tuple[str, int]]:
    """Return (trimmed, sequences) rows, the most common first and equals by alphabet."""
    return sorted(chain.from_iterable(results), key=lambda row: (-row[1], row[0]))


def _trimmed(record: Any) -> list[tuple[str, None]]:
    match record:
        case [str(), str(nucleotides)]:
            return [(nucleotides[:-TRIM], None)]
    raise ValueError('expected [id, nucleotides], two texts, as in ["read1", "GATTACA"]')
