"""Matrix multiplication: what is A times B, if most cells of both are 0?

From the Data Science course on Coursera. A record is one cell, as a JSON list ``["a", i, j, value]``
or ``["b", j, k, value]``: matrix, row, column, number. Cells that are not there are 0.

The course does it in one step: each cell goes to every cell of the result that it is needed for,
a[i,j] to all of row i. That takes the sizes of the matrices, and sends each cell of A as often as B
has columns, though nearly all of these copies meet no partner. What counts in a sparse product are
the pairs a[i,j], b[j,k] that are both there, and finding those is a *join* on j. So here are two
steps, which need no sizes and send each cell to one place:

1. *map* gives each cell under its j; *reduce* gets row j of B and column j of A, and gives, for each
   a[i,j], the row of B times that number. ``sort_values`` brings the cells of B first, as in ``join``:
   only they are held.
2. *map* has nothing left to do: *reduce* gets for each i what makes up row i, and adds it up.

Worth learning is how steps are chained. The products, which may be many more than the cells they
come from, do not travel to the driver and back: ``KeepBlocks`` leaves them where they were made, as
the data of the next step. And a value may be large: a pair for each product, with (i, k) as its
key, would do as well, but spend most of the time on hashing and grouping as many keys.

Sums are as exact as numbers allow, and do not depend on how the work was divided: of ints they are
exact, however large, and of floats (an int among them is made one) they are the products' exact sum,
rounded once. Added up in parts, floats would give another last digit for other parts. So there is no
combine, which would spare a sparse product little: few products meet in a cell. Cells given twice are
added up, and cells of the result that are 0 are left out, as they are in the input.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from math import fsum, inf
from typing import Any

from jobs.samples.matrices import write_matrices as sample
from jobs.steps import Steps
from mapreduce import KeepBlocks, MapReduceJob, TextFiles, by_key, each, json_lines

__all__ = ["COLUMNS", "TITLE", "job", "sample", "table"]

TITLE = "Cells of A x B"
COLUMNS = ("row", "column", "value")

B, A = 0, 1  # in the order that reduce wants them

Number = int | float
Cell = tuple[int, int, Number]
"""Row, column, value."""
Factor = tuple[int, int, Number]
"""A cell under its j: of which matrix, its row in A or its column in B, its value."""
RowCells = list[tuple[int, Number]]
"""Columns and their values."""


def job(paths: str | Sequence[str]) -> Steps:
    """Build the steps that multiply the matrices in the files of JSON lines at these paths or globs."""
    products = yield MapReduceJob(
        data=TextFiles(paths, records=json_lines),
        map=each(_by_inner_index),
        reduce=_multiplied,
        output=KeepBlocks(),
    )
    return (yield MapReduceJob(data=products, map=lambda rows: rows, reduce=_added_up))


def table(results: Iterable[Iterable[Cell]]) -> list[Cell]:
    """Return (row, column, value) rows, from the top left to the bottom right."""
    return sorted(chain.from_iterable(results))


def _by_inner_index(record: Any) -> list[tuple[int, Factor]]:
    match record:
        case ["a" | "b", int(row), int(column), int() | float() as value]:
            pass
        case _:
            raise ValueError('expected a cell, ["a" or "b", row, column, number]')
    if bool in map(type, record) or min(row, column) < 0 or not -inf < value < inf:
        raise ValueError("expected a row and a column from 0, and a finite number")
    if not value:
        return []
    return [(column, (A, row, value))] if record[0] == "a" else [(row, (B, column, value))]


def _products(_: int, factors: Iterator[Factor]) -> Iterator[tuple[int, RowCells]]:
    row_of_b: RowCells = []
    for matrix, index, value in factors:
        if matrix == B:
            row_of_b.append((index, value))
        elif row_of_b:
            yield index, [(column, value * factor) for column, factor in row_of_b]
        else:
            return  # all that is left is of A, with nothing to be multiplied with


_multiply = by_key(_products, sort_values=lambda factor: factor[0])


def _multiplied(pairs: Iterable[tuple[int, Factor]]) -> Iterator[tuple[int, RowCells]]:
    """Yield what a partition has for each row: the pairs of the next step."""
    return chain.from_iterable(rows for _, rows in _multiply.results(pairs))


def _sum_of_rows(_: int, parts: Iterator[RowCells]) -> RowCells:
    products: dict[int, list[Number]] = {}
    for column, product in chain.from_iterable(parts):
        products.setdefault(column, []).append(product)
    totals = ((column, _total(numbers)) for column, numbers in products.items())
    return [(column, total) for column, total in totals if total]


def _total(numbers: list[Number]) -> Number:
    return fsum(numbers) if float in map(type, numbers) else sum(numbers)


_add_up = by_key(_sum_of_rows)


def _added_up(pairs: Iterable[tuple[int, RowCells]]) -> Iterator[Cell]:
    """Yield the cells of a partition that are not 0."""
    return ((row, *cell) for row, cells in _add_up.results(pairs) for cell in cells)
