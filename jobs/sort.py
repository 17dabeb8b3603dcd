r"""Sort: all lines of the input in order, by their bytes, as `LC_ALL=C sort` has it.

"Distributed sort" in section 2.3 of the MapReduce paper, and the benchmark of its section 5.3: lines
of 100 bytes, of which the first ten are the key.

- *map* gives each line with its key; it computes nothing. A record's key may be shorter than the
  record, since it only has to say where that goes.
- *partition* is what sorts. Hashed, each partition would be in order and the whole would not. A
  `range_partition` deals keys by where they lie among those of a sample, which the job takes of its
  own data: partition 0 gets the smallest, and the results, one after the other, are in order.
- *reduce* sorts one partition, on disk if it is too large: ``by_key(sort=True)`` the keys, and
  ``sort_values=True`` the lines that share one.

The files are read as Latin-1, in which each byte is a character: so any file can be sorted, and the
order of the texts is that of the bytes, which holds for UTF-8 as well. Of a line that ends in
``\r\n``, as on Windows, neither belongs to it.

How even are the partitions? As even as the sample was good; lines with one and the same key go to one
of them, however many they are.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from jobs.samples.records import write_records as sample
from mapreduce import MapReduceJob, TextFiles, by_key, each, range_partition

__all__ = ["COLUMNS", "TITLE", "job", "sample", "table"]

TITLE = "Lines in order"
COLUMNS = ("line",)

KEY_BYTES = 10


def job(paths: str | Sequence[str]) -> MapReduceJob:
    """Build the job that sorts the lines of the files at these paths or globs."""
    return MapReduceJob(
        data=TextFiles(paths, encoding="latin-1"),
        map=each(lambda line: [(line[:KEY_BYTES], line)]),
        partition=range_partition(),
        reduce=in_order,
    )


def in_order(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield the lines of a partition in order; those of one key at a time are held."""
    by_line = by_key(lambda key, lines: lines, sort=True, sort_values=True)
    return chain.from_iterable(lines for _, lines in by_line.results(pairs))


def table(results: Iterable[Iterable[str]]) -> list[tuple[str]]:
    """Return the lines in order, as texts again."""
    lines = chain.from_iterable(results)
    return [(line.encode("latin-1").decode("utf-8", "replace"),) for line in lines]
