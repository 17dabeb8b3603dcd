"""Inverted index: in which files does each word occur, and where in them?

"Inverted index" in section 2.3 of the MapReduce paper. A record of ``TextFiles`` is a bare line
that does not know its file, so this job shows the other way to bring in data: the records are
*locators*, here the paths themselves, and map opens them where it runs, by ``TextFiles`` again. That
needs no more than a list, and suits whatever has an address: files on a shared disk, URLs, database
keys. The price: every worker must find the same thing at the same address, and a file is not cut
into splits.

- *map* runs for each path and gives one (word, (path, positions)) pair for each word of the file.
- *reduce* gets each word with all its files, in the order of the input, and sorts them.

A position is the number of a word in its file, the first being 1: words beside each other have
positions beside each other, which is what a search for a phrase looks for.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from os.path import commonprefix

from jobs.errors import JobOptionsError
from jobs.samples.texts import write_texts as sample
from mapreduce import InputError, MapReduceJob, TextFiles, by_key, each

__all__ = ["COLUMNS", "TITLE", "job", "sample", "table"]

TITLE = "Words, and the files and positions they occur at"
COLUMNS = ("word", "count", "files")

Places = list[tuple[str, list[int]]]

_SHOWN = 5  # positions in each file


def job(paths: str | Sequence[str]) -> MapReduceJob:
    """Build the job that indexes the text files at these paths or globs.

    Raises:
        JobOptionsError: A path or glob matches no file.
    """
    try:
        locators = [found.file.path for found in TextFiles(paths).files()]
    except InputError as error:
        raise JobOptionsError(f"inverted_index: {error}") from error
    return MapReduceJob(
        data=locators,
        map=each(lambda path: ((word, (path, at)) for word, at in _positions(path).items())),
        reduce=by_key(lambda word, places: sorted(places)),
    )


def table(results: Iterable[Iterable[tuple[str, Places]]]) -> list[tuple[str, int, str]]:
    """Return (word, count, files) rows by alphabet, as in "book.txt:3,17 poem.txt:1".

    A file's first five positions are shown, and `+` how many more. The files are named from the
    folder on that all of them are in.
    """
    index = sorted(chain.from_iterable(results))
    paths = {path for _, places in index for path, _ in places}
    shared = commonprefix([*paths]).rfind("/") + 1  # noqa: RUF071  # URLs may be among them
    return [
        (
            word,
            sum(len(positions) for _, positions in places),
            " ".join(f"{path[shared:]}:{_shown(positions)}" for path, positions in places),
        )
        for word, places in index
    ]


def _shown(positions: list[int]) -> str:
    more = len(positions) - _SHOWN
    return ",".join(map(str, positions[:_SHOWN])) + (f"+{more}" if more > 0 else "")


def _positions(path: str) -> dict[str, list[int]]:
    """Return the positions of each word of a file, the words in the order they come.

    A dict keeps that order, where a set would give another one in each process: a map task that
    is tried again must give the same pairs.
    """
    found: dict[str, list[int]] = {}
    words = chain.from_iterable(map(str.split, TextFiles(path, errors="replace")))
    for position, word in enumerate(words, start=1):
        found.setdefault(word, []).append(position)
    return found
