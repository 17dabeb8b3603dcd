"""Inverted index: in which files does each word occur?

"Inverted index" in section 2.3 of the MapReduce paper. A record of ``TextFiles`` is a bare line
that does not know its file, so this job shows the other way to bring in data: the records are
*locators*, here the paths themselves, and map opens them where it runs. That needs no more than a
list, and suits whatever has an address: files on a shared disk, URLs, database keys. The price:
every worker must find the same thing at the same address.

- *map* runs for each path and gives one (word, path) pair for each word of the file.
- *reduce* gets each word with all its paths, in the order of the input, and sorts them.
"""

from collections.abc import Iterable, Sequence
from glob import glob
from itertools import chain
from pathlib import Path

from jobs.errors import JobOptionsError
from jobs.samples.texts import write_texts as sample
from mapreduce import MapReduceJob, by_key, each

__all__ = ["COLUMNS", "TITLE", "job", "sample", "table"]

TITLE = "Words and the files they occur in"
COLUMNS = ("word", "files")


def job(paths: str | Sequence[str]) -> MapReduceJob:
    """Build the job that indexes the text files at these paths or globs.

    Raises:
        JobOptionsError: A path or glob matches no file.
    """
    return MapReduceJob(
        data=_locators([paths] if isinstance(paths, str) else paths),
        map=each(lambda path: [(word, path) for word in _words(path)]),
        reduce=by_key(lambda word, paths: sorted(paths)),
    )


def table(results: Iterable[Iterable[tuple[str, list[str]]]]) -> list[tuple[str, str]]:
    """Return (word, files) rows by alphabet, the files of a word in one string."""
    return sorted((word, " ".join(paths)) for word, paths in chain.from_iterable(results))


def _words(path: str) -> Iterable[str]:
    """Return the distinct words of a file in the order they come.

    A dict keeps that order, where a set would give another one in each process: a map task that
    is tried again must give the same pairs.
    """
    return dict.fromkeys(Path(path).read_text(encoding="utf-8", errors="replace").split())


def _locators(globs: Sequence[str]) -> list[str]:
    """Return the absolute paths of the files that these globs match, each once, sorted."""
    found: set[str] = set()
    for pattern in globs:
        files = [path for path in map(Path, glob(pattern, recursive=True)) if path.is_file()]
        if not files:
            raise JobOptionsError(f"inverted_index: no file matches {pattern!r}")
        found.update(str(path.absolute()) for path in files)
    return sorted(found)
