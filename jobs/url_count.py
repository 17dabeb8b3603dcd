r"""URL count: how often was each page of a web site asked for, by its access logs?

"Count of URL access frequency" in section 2.3 of the MapReduce paper. A page is what matches
``GET (\S+\.(html|xml)) HTTP``: images, scripts and form posts are left out.

- *map* gets one split of log lines and counts the pages in them; lines without one add nothing.
- *reduce* adds up what the map tasks counted for each page.

The pattern is a global of this module. It travels to the workers along with the lambda that
names it, as every global does that a function uses.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain

from jobs.samples.logs import write_logs as sample
from mapreduce import MapReduceJob, TextFiles, sum_values

__all__ = ["COLUMNS", "TITLE", "job", "sample", "table"]

TITLE = "Pages, the most wanted first"
COLUMNS = ("url", "count")

REQUEST = re.compile(r"GET (\S+\.(html|xml)) HTTP")


def job(paths: str | Sequence[str]) -> MapReduceJob:
    """Build the job that counts the pages asked for in the access logs at these paths or globs."""
    return MapReduceJob(
        data=TextFiles(paths, errors="replace"),
        map=lambda lines: Counter(
            request[1] for line in lines if (request := REQUEST.search(line))
        ),
        reduce=sum_values,
    )


def table(results: Iterable[Iterable[tuple[str, int]]]) -> list[tuple[str, int]]:
    """Return (url, count) rows, the most wanted first and equals by alphabet."""
    return sorted(chain.from_iterable(results), key=lambda row: (-row[1], row[0]))
