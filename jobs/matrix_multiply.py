"""Matrix multiplication: what is A times B, if most cells of both are 0?

From the Data Science course on Coursera. A record is one cell, as a JSON list ``["a", i, j, value]``
or ``["b", j, k, value]``: matrix, row, column, number. Cells that are not there are 0.

The course does it in one step: each cell goes to every cell of the result that it is needed for, so
a[i,j] goes to all of row i. That takes the sizes of the matrices, and sends each cell of A as often
as B has columns, though nearly all of these copies meet no partner. What counts in a sparse product
are the pairs a[i,j], b[j,k] that are both there, and finding those is a *join* on j. So here are two
steps, which need no sizes and send each cell once:

1. *map* gives each cell under its j; *reduce* multiplies column j of A with row j of B, each cell
   with each. ``sort_values`` brings the cells of A first, as in ``join``: only they are held.
2. *map* has nothing left to do; *reduce* adds up the products for each (i, k).

Worth learning is how steps are chained. The products, which may be many more than cells and
results, do not come back to the driver: ``KeepBlocks`` leaves them where they were made, as the data
of the next step.

Sums are as exact as numbers allow, and do not depend on how the work was divided: of ints they are
exact, however large, and of floats they are the products' exact sum, rounded once. Added up in
parts, floats would give another last digit for other parts. So there is no combine, which would
spare a sparse product little: few products meet in a cell. Cells given twice are added up, and
cells of the result that are 0 are left out, as they are in the input.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from math import fsum, isfinite
from typing import Any

from jobs.samples.matrices import write_matrices as sample
from jobs.steps import Steps
from mapreduce import KeepBlocks, MapReduceJob, TextFiles, by_key, each, json_lines

__all__ = ["COLUMNS", "TITLE", "job", "sample", "table"]

TITLE = "Cells of A x B"
COLUMNS = ("row", "column", "value")

A, B = 0, 1

Number = int | float
Place = tuple[int, int]
Cell = tuple[int, int, Number]
"""Of which matrix, its row in A or its column in B, and its value."""


def job(paths: str | Sequence[str]) -> Steps:
    """Build the steps that multiply the matrices in the files of JSON lines at these paths or globs."""
    products = yield MapReduceJob(
        data=TextFiles(paths, records=json_lines),
        map=each(_by_inner_index),
        reduce=_multiplied,
        output=KeepBlocks(),
    )
    return (yield MapReduceJob(data=products, map=lambda products: products, reduce=_added_up))


def table(results: Iterable[Iterable[tuple[Place, Number]]]) -> list[tuple[int, int, Number]]:
    """Return (row, column, value) rows, from the top left to the bottom right."""
    return sorted((row, column, value) for (row, column), value in chain.from_iterable(results))


def _by_inner_index(record: Any) -> list[tuple[int, Cell]]:
    match record:
        case ["a" | "b", int(row), int(column), int() | float() as value]:
            pass
        case _:
            raise ValueError('expected a cell, ["a" or "b", row, column, number]')
    if bool in map(type, record) or min(row, column) < 0 or not isfinite(value):
        raise ValueError("expected a row and a column from 0, and a finite number")
    if not value:
        return []
    return [(column, (A, row, value))] if record[0] == "a" else [(row, (B, column, value))]


def _products(_: int, cells: Iterator[Cell]) -> Iterator[tuple[Place, Number]]:
    held: list[tuple[int, Number]] = []
    for matrix, index, value in cells:
        if matrix == A:
            held.append((index, value))
        elif held:
            for row, factor in held:
                yield (row, index), factor * value
        else:
            return


_multiply = by_key(_products, sort_values=lambda cell: cell[0])


def _multiplied(pairs: Iterable[tuple[int, Cell]]) -> Iterator[tuple[Place, Number]]:
    """Yield the products of a partition, which are the pairs of the next step."""
    return chain.from_iterable(products for _, products in _multiply.results(pairs))


def _total(_: Place, products: Iterator[Number]) -> Number:
    numbers = list(products)
    return fsum(numbers) if float in map(type, numbers) else sum(numbers)


_add_up = by_key(_total)


def _added_up(pairs: Iterable[tuple[Place, Number]]) -> list[tuple[Place, Number]]:
    """Return the cells of a partition that are not 0."""
    return [cell for cell in _add_up.results(pairs) if cell[1]]
