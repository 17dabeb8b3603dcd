"""Term vectors: what is each host about? Its most important words, with how often they occur.

"Term vector per host" in section 2.3 of the MapReduce paper.

- *map* gets one page, ``{"url": ..., "text": ...}``, a line of JSON, and gives its host with the
  page's own term vector: a ``Counter`` of its words. A value may be as large as it likes; a pair for
  each word would be many more pairs, and say the same.
- *combine* adds up the vectors of a host, before they travel, and *reduce* does it again. Adding may
  be done in parts, in any order: that makes it fit for a combine.
- Only reduce may drop rare words. In a combine, a word that is rare in each split, but common in the
  whole, would be lost: dropping cannot be done in parts.

The paper's own example of a partitioner, ``hash(Hostname(urlkey)) mod R``, keeps the pages of a host
together although their keys are urls. Here the key is the host, so the default does the same.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any
from urllib.parse import urlsplit

from jobs.errors import JobOptionsError
from jobs.samples.pages import write_pages as sample
from mapreduce import MapReduceJob, TextFiles, by_key, each, json_lines

__all__ = ["COLUMNS", "TITLE", "job", "sample", "table"]

TITLE = "Hosts and their most important words"
COLUMNS = ("host", "words")

WORD = re.compile(r"\w+")

Vector = list[tuple[str, int]]


def job(paths: str | Sequence[str], *, least: int = 5, words: int = 10) -> MapReduceJob:
    """Build the job for the pages in the files at these paths or globs.

    Args:
        paths: They. least: How often a word must occur at a host, to be in its vector.
        words: How many a vector has at most.

    Raises:
        JobOptionsError: One of them is less than 1.
    """
    if least < 1 or words < 1:
        raise JobOptionsError(
            f"term_vectors: least and words are whole numbers from 1, not {least} and {words}"
        )

    def vector(pages: Iterable[Counter[str]]) -> Vector:
        counts = ((word, count) for word, count in added(pages).items() if count >= least)
        return sorted(counts, key=lambda pair: (-pair[1], pair[0]))[:words]

    return MapReduceJob(
        data=TextFiles(paths, records=json_lines),
        map=each(_words_of_host),
        combine=by_key(lambda host, pages: added(pages)),
        reduce=by_key(lambda host, pages: vector(pages)),
    )


def _words_of_host(page: Any) -> list[tuple[str, Counter[str]]]:
    match page:
        case {"url": str(url), "text": str(text)} if host := urlsplit(url).hostname:
            return [(host, Counter(WORD.findall(text.lower())))]
    raise ValueError('expected a page, as in {"url": "http://host/a", "text": "of words"}')


def added(vectors: Iterable[Counter[str]]) -> Counter[str]:
    """Return the sum of term vectors."""
    total: Counter[str] = Counter()
    for vector in vectors:
        total.update(vector)
    return total


def table(results: Iterable[Iterable[tuple[str, Vector]]]) -> list[tuple[str, str]]:
    """Return (host, words with their counts) rows by host; those with no word left are left out."""
    return sorted(
        (host, ", ".join(f"{word} {count}" for word, count in vector))
        for host, vector in chain.from_iterable(results)
        if vector
    )
