"""ParquetOutput: columns, with pyarrow, which the extra ``tuplemill[arrow]`` brings."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from typing import IO, Any, Final

from mapreduce.errors import InvalidJobError, OutputError, shorten
from mapreduce.outputs.formats import Output

_BATCH: Final = 50_000


class ParquetOutput(Output):
    """Parquet: pairs become the columns ``key`` and ``value``, dicts their fields.

    The types are those of a file's first 50,000 items, or the schema's. Files of empty partitions
    get the columns of the others. Give a schema where items differ, one file having ints and
    another floats, say, or no partition may have any.

    Args:
        directory: See `Output`. schema: A `pyarrow.Schema`; None: from the items.
    """

    suffix = ".parquet"

    def __init__(self, directory: str | os.PathLike[str], schema: Any = None) -> None:
        super().__init__(directory)
        self._schema = schema

    def check(self) -> None:
        """See `Output.check`."""
        _arrow("pyarrow.parquet")

    def write_items(self, file: IO[bytes], items: Iterable[Any]) -> None:
        """Write one partition, a group of rows at a time."""
        arrow, parquet = _arrow("pyarrow"), _arrow("pyarrow.parquet")
        schema, writer = self._schema, None
        with ExitStack() as stack:
            for rows in _rows(items):
                try:
                    table = arrow.Table.from_pylist(rows, schema)
                except (arrow.ArrowException, TypeError, ValueError) as error:
                    raise OutputError(
                        f"items like {shorten(rows[0])} do not fit the columns of a Parquet file: "
                        f"{error}; a schema says what they are"
                    ) from error
                if writer is None:
                    schema = table.schema
                    writer = stack.enter_context(parquet.ParquetWriter(file, schema))
                writer.write_table(table)
            if writer is None:
                schema = arrow.schema([]) if schema is None else schema
                stack.enter_context(parquet.ParquetWriter(file, schema))

    def settle(self, paths: list[str], open_file: Callable[[str, str], IO[bytes]]) -> None:
        """Give the files without columns those of the others: a reader takes the first one's."""
        if self._schema is not None:
            return
        parquet = _arrow("pyarrow.parquet")
        found = None
        empty = []
        for path in paths:
            with open_file(path, "rb") as file:
                schema = parquet.read_schema(file)
            if len(schema):
                found = found or schema
            else:
                empty.append(path)
        for path in empty if found is not None else ():
            with open_file(path, "wb") as file:
                parquet.ParquetWriter(file, found).close()


def _rows(items: Iterable[Any]) -> Iterator[list[dict[Any, Any]]]:
    left = iter(items)
    while batch := list(islice(left, _BATCH)):
        yield [_row(item) for item in batch]


def _row(item: Any) -> dict[Any, Any]:
    if isinstance(item, dict):
        return item
    if isinstance(item, tuple) and len(item) == 2:
        return {"key": item[0], "value": item[1]}
    raise OutputError(f"a row of a Parquet file is a pair or a dict, not {shorten(item)}")


def _arrow(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InvalidJobError(
            "ParquetOutput needs pyarrow, here and on the workers: pip install 'tuplemill[arrow]'"
        ) from None
