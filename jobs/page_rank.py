"""PageRank: how important is each page of a web, if a link is a vote? A job for each round.

Section 2 of Page, Brin, Motwani and Winograd, "The PageRank Citation Ranking" (1999): a surfer
follows any link of the page they are on or, with a chance of 1 - damping, starts again on any page.
A page's rank is how much of their time they are on it. The input is a JSON object a line:
``{"url": "a", "links": ["b", "c"]}``. Several links to one page count once.

What does not change stays, and what changes travels:

1. *The graph*, once. *Reduce* gets a page with all its links, and those pages too that have no line
   of their own. The result stays on the workers' disks, ``KeepBlocks()``, and is the data of each round.
2. *A round.* The ranks so far are in the closure of *map*, which deals a page's rank to its links;
   that of a page without links goes to all pages, by way of the key None. *Reduce* adds up what a page
   is given. The driver gets the new ranks, and stops when they hardly change.

Ranks in a closure go once to each machine, and a round shuffles no more than its votes. That is
right for some millions of pages, whose ranks fit into memory. For a larger web, let *map* yield each
page's links beside the votes, and *reduce* bring rank and links together: the ranks then need no
driver, and the whole graph is shuffled in each round.

The votes are added up by ``fsum``, which gives the same sum in any order: the ranks are the same
however the data is cut. A combine would send fewer votes, at the price of the last digits.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from math import fsum
from typing import Any

from jobs.errors import JobOptionsError
from jobs.samples.links import write_links as sample
from jobs.steps import Steps
from mapreduce import KeepBlocks, MapReduceJob, TextFiles, by_key, each, json_lines

__all__ = ["COLUMNS", "TITLE", "job", "sample", "table"]

TITLE = "Pages, the most important first"
COLUMNS = ("url", "rank")

Page = tuple[str, list[str]]
Vote = tuple[str | None, float]


def job(
    paths: str | Sequence[str], *, rounds: int = 20, damping: float = 0.85, tolerance: float = 1e-4
) -> Steps:
    """Return the steps that rank the pages of the JSON lines at these paths or globs.

    Args:
        rounds: The most there are. damping: The chance that a surfer follows a link.
        tolerance: Rounds end when the ranks, whose sum is 1, change by no more than this together.

    Raises:
        JobOptionsError: An option is out of range.
    """
    if rounds < 1 or not 0 <= damping <= 1 or not tolerance >= 0:
        raise JobOptionsError(
            "page_rank: rounds is a whole number from 1, damping a number in 0..1, and tolerance one "
            f"from 0 on, not {rounds}, {damping} and {tolerance}"
        )
    return _steps(paths, rounds, damping, tolerance)


def table(ranks: dict[str, float]) -> list[tuple[str, float]]:
    """Return (url, rank) rows, the most important first, with six digits of each rank."""
    rows = ((url, float(f"{rank:.6g}")) for url, rank in ranks.items())
    return sorted(rows, key=lambda row: (-row[1], row[0]))


def _steps(paths: str | Sequence[str], rounds: int, damping: float, tolerance: float) -> Steps:
    graph = yield MapReduceJob(
        data=TextFiles(paths, records=json_lines),
        map=each(_linked),
        reduce=by_key(lambda url, links: sorted(set(chain.from_iterable(links)))),
        output=KeepBlocks(),
    )
    ranks: dict[str, float] = {}
    for _ in range(rounds):
        votes = yield MapReduceJob(
            data=graph, map=partial(_votes, ranks), reduce=by_key(lambda url, votes: fsum(votes))
        )
        before, ranks = ranks, _ranks(dict(chain.from_iterable(votes)), damping)
        first = 1 / max(1, len(ranks))
        if fsum(abs(rank - before.get(url, first)) for url, rank in ranks.items()) <= tolerance:
            break
    return ranks


def _linked(page: Any) -> list[tuple[str, Sequence[str]]]:
    """Return a page with its links, and each page that it links to with none."""
    match page:
        case {"url": str(url), "links": [*links]} if {*map(type, links)} <= {str}:
            return [(url, links), *((link, ()) for link in links)]
    raise ValueError('expected a page and its links, as in {"url": "/a", "links": ["/b", "/c"]}')


def _votes(ranks: dict[str, float], pages: Iterable[Page]) -> Iterator[Vote]:
    """Yield what each page gives; in the first round all pages have the same, whatever that is."""
    for url, links in pages:
        rank = ranks.get(url, 1.0)
        yield url, 0.0  # so that a page nobody links to is there as well
        if links:
            yield from ((link, rank / len(links)) for link in links)
        else:
            yield None, rank


def _ranks(votes: dict[str | None, float], damping: float) -> dict[str, float]:
    """Return the ranks, of the sum 1, that these votes give."""
    total = fsum(votes.values())
    for_all = votes.pop(None, 0.0)
    return {
        url: (1 - damping) / len(votes) + damping * (vote + for_all / len(votes)) / total
        for url, vote in votes.items()
        if url is not None
    }
