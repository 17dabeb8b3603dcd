"""ParquetOutput: columns, with pyarrow, which the extra ``tuplemill[arrow]`` brings."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from itertools import chain
from typing import IO, Any, Final

from mapreduce.errors import InvalidJobError, OutputError, shorten
from mapreduce.outputs.batches import Batches
from mapreduce.outputs.formats import Output

#: A group of rows ends with the batch that reaches one of these.
_GROUP_ROWS: Final = 50_000
_GROUP_BYTES: Final = 16 << 20


class ParquetOutput(Output):
    """Parquet: pairs become the columns ``key`` and ``value``, dicts their fields.

    Without a schema, a file's columns and types are those of its first rows (50,000, or 16 MiB if
    they are large): what comes later must fit them. Files that differ, one having ints and another
    floats, or a field the other has not, are written again with what holds both. With a schema, an
    item may leave fields out, but have no others.

    Args:
        directory: A folder that is absent or empty, or a URL that fsspec knows (``s3://...``); it
            gets a file for each partition.
        schema: A `pyarrow.Schema`; None: from the items.
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
        parquet = _arrow("pyarrow.parquet")
        schema = self._schema
        with ExitStack() as stack:
            tables = _tables(items, schema)
            first = next(tables)
            writer = stack.enter_context(parquet.ParquetWriter(file, first.schema))
            for table in chain([first], tables):
                if table.num_rows:
                    writer.write_table(table)

    def settle(self, paths: list[str], open_file: Callable[[str, str], IO[bytes]]) -> None:
        """Give all files the same columns: a reader of the folder takes the first one's for all."""
        if self._schema is not None:
            return
        arrow, parquet = _arrow("pyarrow"), _arrow("pyarrow.parquet")
        schemas = []
        for path in paths:
            with open_file(path, "rb") as file:
                schemas.append(parquet.read_schema(file))
        common = arrow.schema([])
        for number, schema in enumerate(schemas):
            try:
                common = arrow.unify_schemas([common, schema], promote_options="permissive")
            except arrow.ArrowException as error:
                raise OutputError(
                    f"the items of partition {number} do not fit the columns of those before it: "
                    f"{error}; a schema says what they are"
                ) from error
        for number, schema in enumerate(schemas):
            if not schema.equals(common):
                new = f"{paths[number]}-settled"
                with open_file(paths[number], "rb") as old, open_file(new, "xb") as file:
                    try:
                        _convert(old, file, common)
                    except (arrow.ArrowException, ValueError) as error:
                        raise OutputError(
                            f"the items of partition {number} cannot have the columns of all: "
                            f"{error}; a schema says what they are"
                        ) from error
                paths[number] = new


def _convert(old: IO[bytes], new: IO[bytes], schema: Any) -> None:
    """Write a Parquet file again, with other columns, a group of rows at a time."""
    arrow, parquet = _arrow("pyarrow"), _arrow("pyarrow.parquet")
    source = parquet.ParquetFile(old)
    empty = schema.empty_table()
    with parquet.ParquetWriter(new, schema) as writer:
        for number in range(source.num_row_groups):
            table = source.read_row_group(number)
            whole = arrow.concat_tables([empty, table], promote_options="permissive")
            writer.write_table(whole)


def _tables(items: Iterable[Any], schema: Any) -> Iterator[Any]:
    """Yield one or more tables, all with the columns of the first."""
    arrow = _arrow("pyarrow")
    batches = Batches(items, _GROUP_ROWS)
    found, strict = schema, schema is not None
    some, rows, size, done = [], 0, 0, 0
    for batch in batches:
        table = _table([_row(item, strict) for item in batch], found, done)
        some.append(table)
        rows += table.num_rows
        size += table.nbytes
        batches.came_to(table.nbytes)
        if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
            joined = _joined(some)
            found = joined.schema
            done += rows
            yield joined
            some, rows, size = [], 0, 0
    if some:
        yield _joined(some)
    elif not done:
        yield (arrow.schema([]) if schema is None else schema).empty_table()


def _table(rows: list[dict[Any, Any]], schema: Any, done: int) -> Any:
    arrow = _arrow("pyarrow")
    fields = dict.fromkeys(chain.from_iterable(rows))
    if schema is None:  # pyarrow would take those of the first row for all
        rows[0] = {**dict.fromkeys(fields), **rows[0]}
    else:
        unknown = next((shorten(field) for field in fields if field not in schema.names), None)
        unknown = unknown or _lost_within(rows, schema)
        if unknown:
            where = f" of a file's first {done:,} items" if done else ""
            raise OutputError(
                f"the field {unknown} is none of the columns{where}, which are "
                f"{shorten(schema.names)}; a schema says what they are"
            )
    try:
        return arrow.Table.from_pylist(rows, schema)
    except (arrow.ArrowException, TypeError, ValueError) as error:
        raise OutputError(
            f"items like {shorten(rows[0])} do not fit the columns of a Parquet file: "
            f"{error}; a schema says what they are"
        ) from error


def _lost_within(rows: list[dict[Any, Any]], schema: Any) -> str:
    """Say which field of a dict in a row has no place in the schema; pyarrow would drop it."""
    arrow = _arrow("pyarrow")
    for field in schema:
        if "struct<" in str(field.type):
            with suppress(arrow.ArrowException):  # values that do not go together: said later
                found = arrow.infer_type([row.get(field.name) for row in rows])
                lost = _lost(found, field.type, arrow.types)
                if lost is not None:
                    return f"{shorten(lost)} within {shorten(field.name)}"
    return ""


def _lost(found: Any, wanted: Any, types: Any) -> str | None:
    if types.is_struct(found) and types.is_struct(wanted):
        for field in found:
            index = wanted.get_field_index(field.name)
            if index < 0:
                return str(field.name)
            lost = _lost(field.type, wanted.field(index).type, types)
            if lost is not None:
                return lost
    if types.is_list(found) and hasattr(wanted, "value_type"):
        return _lost(found.value_type, wanted.value_type, types)
    return None


def _joined(tables: list[Any]) -> Any:
    arrow = _arrow("pyarrow")
    try:
        return arrow.concat_tables(tables, promote_options="permissive").combine_chunks()
    except arrow.ArrowException as error:
        raise OutputError(
            f"the items do not fit the same columns of a Parquet file: {error}; "
            "a schema says what they are"
        ) from error


def _row(item: Any, may_be_empty: bool) -> dict[Any, Any]:
    if isinstance(item, dict):
        if not item and not may_be_empty:
            raise OutputError("the item {} has no field, so it is no row of a Parquet file")
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
