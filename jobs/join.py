"""Join: which rows of two tables belong together, as ``SELECT * FROM a, b WHERE a.id = b.id`` says?

From the Data Science course on Coursera, whose records are JSON lists: the name of a table, then the
fields of a row, so that both tables may lie in one file, in any order::

    ["order", "7", "1996-01-10", "Clerk#470"]
    ["line_item", "7", "nails", 12]

- *map* runs for each record and gives one pair: the field to join on, and with it the record,
  marked with the side it stands on. Rows that belong together get the same key, and so meet.
- *reduce* gets the rows of both tables for each key, and puts each of the left before each of the
  right.

Worth learning is the *secondary sort*. Rows come in no order, so a reduce would have to hold those
of both tables until it has seen the last one. ``sort_values`` brings the left ones first: only they
are held, and those of the right are joined as they pass by. So the table with fewer rows a key,
orders here, belongs on the left. The sort is part of the shuffle, which has to bring values
together anyway, and spills to disk what does not fit into memory.

As in SQL, a row that occurs twice is joined twice, null equals nothing, and 1 is not "1". Rows of
other tables are passed over, and counted, so that a name misspelt does not go unseen.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from jobs.errors import JobOptionsError
from jobs.samples.tables import write_tables as sample
from mapreduce import MapReduceJob, TextFiles, by_key, each, json_lines
from workers import counter

__all__ = ["COLUMNS", "TITLE", "job", "sample", "table"]

TITLE = "Joined rows"
COLUMNS = ("row",)

LEFT, RIGHT = 0, 1

Row = list[Any]
Sided = tuple[int, Row]


def job(
    paths: str | Sequence[str], *, left: str = "order", right: str = "line_item", column: int = 1
) -> MapReduceJob:
    """Build the job that joins two tables in the files of JSON lines at these paths or globs.

    Args:
        paths: The files, each with rows of one table or of both.
        left: The table whose fields come first in the results, and whose rows of a key are held.
        right: The other table; or the same one, to join it with itself.
        column: Where both have the field to join on; column 0 is the name of the table.

    Raises:
        JobOptionsError: There is no such column.
    """
    if column < 1:
        raise JobOptionsError(f"join: column is 1 or more, as 0 is the table's name, not {column}")
    return MapReduceJob(
        data=TextFiles(paths, records=json_lines),
        map=each(_keyed(left, right, column)),
        reduce=_joined,
    )


def table(results: Iterable[Iterable[Row]]) -> list[tuple[str]]:
    """Return the joined rows as JSON, sorted as texts."""
    rows = chain.from_iterable(results)
    return sorted((json.dumps(row, ensure_ascii=False),) for row in rows)


def _keyed(left: str, right: str, column: int) -> Callable[[Any], list[tuple[Any, Sided]]]:
    """Return the function that makes of a record its pair; or two, if it stands on both sides."""
    sides_of = {left: [LEFT], right: [RIGHT]} if left != right else {left: [LEFT, RIGHT]}
    others = counter("rows of other tables")

    def keyed(record: Any) -> list[tuple[Any, Sided]]:
        if type(record) is not list or not record or type(record[0]) is not str:
            raise ValueError("expected a list that starts with the name of a table")
        sides = sides_of.get(record[0])
        if sides is None:
            others.add()
            return []
        if len(record) <= column:
            raise ValueError(f"expected a list with the field to join on in column {column}")
        key = record[column]
        if isinstance(key, (bool, list, dict)):
            raise TypeError(f"expected a text or a number to join on in column {column}")
        if key != key:
            raise ValueError(f"expected a number in column {column}, not NaN")
        return [] if key is None else [(key, (side, record)) for side in sides]

    return keyed


def _rows_of_key(_: Any, rows: Iterator[Sided]) -> Iterator[Row]:
    held: list[Row] = []
    for side, row in rows:
        if side == LEFT:
            held.append(row)
        elif held:
            yield from (one + row for one in held)
        else:
            return  # all that is left is of the right, with nothing to join


_join = by_key(_rows_of_key, sort_values=lambda sided: sided[0])


def _joined(pairs: Iterable[tuple[Any, Sided]]) -> Iterator[Row]:
    """Yield the joined rows of a partition, without their keys, which are among the fields."""
    return chain.from_iterable(rows for _, rows in _join.results(pairs))
