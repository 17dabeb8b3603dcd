"""External: a word count whose map is a program in another language, such as awk or C.

The Rinda article ends with the wish that a task might "popen" a program in C or OCaml; Hadoop calls
it streaming. The rule is that of every Unix filter: records come in on standard input, one a line,
and pairs go out on standard output as ``key TAB value``.

- *map* is `run_program`: one process for each split, however many lines that has. By default it is a
  line of awk that prints each word with a 1. Being a text, a count must be made an int again:
  ``value=int``.
- *combine* and *reduce* add the ones up, in Python: what a program prints is as good as any pairs.

Map could count in an awk array and print that at its END, and would print less. But in what order an
array is gone through, each awk decides for itself, and two attempts of a task should print the
same. So the program is plain, and the combine makes few pairs of many.

A program of your own goes along with the job, to every worker, if it is among ``files``::

    cc -O2 -o count count.c
    invoke job external --input 'texts/*' --option program=count --option files=count
"""

import shlex
from collections.abc import Iterable, Sequence
from itertools import chain
from os.path import expanduser

from jobs.errors import JobOptionsError
from jobs.samples.texts import write_texts as sample
from mapreduce import InvalidJobError, MapReduceJob, TextFiles, run_program, sum_values

__all__ = ["COLUMNS", "TITLE", "job", "sample", "table"]

TITLE = "Words that a program found, the most common first"
COLUMNS = ("word", "count")

PROGRAM = r"""awk '{ for (i = 1; i <= NF; i++) print $i "\t" 1 }'"""


def job(paths: str | Sequence[str], *, program: str = PROGRAM, files: str = "") -> MapReduceJob:
    """Build the job that counts what the program prints of the text files at these paths or globs.

    Args:
        paths: They. program: Its command line, quoted as for a shell. files: Paths of the files that
            it needs on every worker, itself among them; also quoted so.

    Raises:
        JobOptionsError: This is no command line, or a file is missing.
    """
    try:
        paths_of_files = map(expanduser, shlex.split(files))  # "files=~/x" means nothing to a shell
        command = run_program(shlex.split(program), value=int, files=paths_of_files)
    except (InvalidJobError, ValueError) as error:
        raise JobOptionsError(f"external: {error}") from error
    return MapReduceJob(
        data=TextFiles(paths, errors="replace"),
        map=command,
        combine=sum_values,
        reduce=sum_values,
    )


def table(results: Iterable[Iterable[tuple[str, int]]]) -> list[tuple[str, int]]:
    """Return (word, count) rows, the most common first and equals by alphabet."""
    return sorted(chain.from_iterable(results), key=lambda row: (-row[1], row[0]))
