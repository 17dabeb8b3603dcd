"""Reverse links: which pages link to a page?

"Reverse web-link graph" in section 2.3 of the MapReduce paper. A page knows where its links lead and
not where links to it come from, and no page can find out alone: it takes a look at all of them. That is
what a shuffle is for: to turn a relation round, make the other end the key.

- *map* gets one page, ``{"url": ..., "links": [...]}``, a line of JSON, and gives a (target, source)
  pair for each link; one that is there twice counts once.
- *reduce* gets each target with all its sources, and sorts them.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from jobs.samples.pages import write_pages as sample
from mapreduce import MapReduceJob, TextFiles, by_key, each, json_lines

__all__ = ["COLUMNS", "TITLE", "job", "sample", "table"]

TITLE = "Pages and what links to them, the most linked first"
COLUMNS = ("page", "links", "from")


def job(paths: str | Sequence[str]) -> MapReduceJob:
    """Build the job that turns round the links of the pages in the files at these paths or globs."""
    return MapReduceJob(
        data=TextFiles(paths, records=json_lines),
        map=each(_turned_round),
        reduce=by_key(lambda target, sources: sorted(set(sources))),
    )


def _turned_round(page: Any) -> list[tuple[str, str]]:
    match page:
        case {"url": str(url), "links": [*links]} if {*map(type, links)} <= {str}:
            return [(target, url) for target in links]
    raise ValueError('expected a page and its links, as in {"url": "/a", "links": ["/b", "/c"]}')


def table(results: Iterable[Iterable[tuple[str, list[str]]]]) -> list[tuple[str, int, str]]:
    """Return (page, number of pages that link to it, those pages), the most linked first."""
    rows = (
        (target, len(sources), " ".join(sources))
        for target, sources in chain.from_iterable(results)
    )
    return sorted(rows, key=lambda row: (-row[1], row[0]))
