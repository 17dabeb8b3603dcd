"""Output formats: how the items that reduce returns become a file for each partition.

An item is what an iterable result yields, or a mapping's ``(key, value)``; anything else, a number
or a str say, is one item. A generator is written as it comes. Where the files go and how they get
there: see `committing`.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, ClassVar, Final

from mapreduce.errors import InputError, InvalidJobError, OutputError, shorten
from mapreduce.inputs.picklefiles import PickleFiles
from mapreduce.inputs.sources import SplitSource
from mapreduce.outputs.batches import Batches
from tuplespace.pickles import dump_plain

#: The file that says that all the others are there.
SUCCESS: Final = "_SUCCESS"
_BATCH: Final = 2048
_COMPRESSIONS: Final = {None: "", "gz": ".gz"}


class Output:
    """Where a job's results are written, and how; use one of the classes below.

    Args:
        directory: A folder that is absent or empty, or a URL that fsspec knows (``s3://...``); it
            gets a file for each partition.

    Attributes:
        suffix: Of the files' names.
    """

    suffix: str = ""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        path = str(os.fspath(directory))
        if not path or "\0" in path:
            raise InvalidJobError(f"an output directory is a path, not {shorten(directory)}")
        self.directory = path

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.directory!r})"

    def check(self) -> None:
        """Check, in the driver, that it can be written.

        Raises:
            InvalidJobError: It cannot; says what is missing.
        """

    def write_items(self, file: IO[bytes], items: Iterable[Any]) -> None:
        """Write one partition.

        Raises:
            OutputError: An item is none that this format can take. OSError: The disk is full, say.
        """
        raise NotImplementedError

    def settle(self, paths: list[str], open_file: Callable[[str, str], IO[bytes]]) -> None:
        """Make the whole of the files consistent, in the driver, before they are published.

        Args:
            paths: The files, in order. One may be replaced, in this list, by another that was
                written beside it. open_file: Opens a path, as `open` does.

        Raises:
            OutputError: They cannot be made so. OSError: The disk is full, say.
        """


class _Lines(Output):
    """One item a line."""

    plain_suffix: ClassVar[str]

    def __init__(self, directory: str | os.PathLike[str], *, compress: str | None = None) -> None:
        super().__init__(directory)
        if compress not in _COMPRESSIONS:
            raise InvalidJobError(f"compress is None or 'gz', not {shorten(compress)}")
        self.suffix = self.plain_suffix + _COMPRESSIONS[compress]
        self._compress = compress

    def write_items(self, file: IO[bytes], items: Iterable[Any]) -> None:
        """Write one partition, a batch of lines at a time."""
        if self._compress is None:
            self._write_lines(file, items)
            return
        # Neither a name nor a time in it: the same items give the same bytes.
        with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
            self._write_lines(packed, items)

    def _write_lines(self, file: Any, items: Iterable[Any]) -> None:
        batches = Batches(items, _BATCH)
        for batch in batches:
            try:
                data = "".join([self.line(item) for item in batch]).encode()
            except UnicodeEncodeError as error:
                raise OutputError(f"an item is no text that UTF-8 can hold: {error}") from error
            file.write(data)
            batches.came_to(len(data))

    def line(self, item: Any) -> str:
        """Return the line of one item, with its end."""
        raise NotImplementedError


class TextOutput(_Lines):
    r"""Text in UTF-8: ``key<TAB>value`` for a pair, ``str(item)`` for anything else, one a line.

    A str is written as it is: if it has newlines, it becomes several lines.

    Args:
        directory: A folder that is absent or empty, or a URL that fsspec knows (``s3://...``); it
            gets a file for each partition.
        compress: None for plain ``.txt``; "gz" for ``.txt.gz``, packed by gzip.
    """

    plain_suffix = ".txt"

    def line(self, item: Any) -> str:
        """Return the line of one item, with its end."""
        if isinstance(item, tuple) and len(item) == 2:
            return f"{item[0]}\t{item[1]}\n"
        return f"{item}\n"


class JsonLinesOutput(_Lines):
    """``json.dumps(item)``, one a line; a pair is a list of two.

    Args:
        directory: A folder that is absent or empty, or a URL that fsspec knows (``s3://...``); it
            gets a file for each partition.
        compress: None for plain ``.jsonl``; "gz" for ``.jsonl.gz``, packed by gzip.
    """

    plain_suffix = ".jsonl"

    def line(self, item: Any) -> str:
        """Return the line of one item, with its end."""
        try:
            return json.dumps(item) + "\n"
        except (TypeError, ValueError) as error:
            raise OutputError(f"{shorten(item)} cannot be written as JSON: {error}") from error


class PickleOutput(Output, SplitSource):
    """Pickles of lists of items, one after the other; `PickleFiles` reads them back.

    Equal items give equal bytes, unless their types travel by value (classes of the script itself)
    or they contain themselves. To read a file without `PickleFiles`, call `pickle.load` until it
    raises EOFError at the file's end.

    As ``data`` of a job, ``PickleOutput(directory)`` is what an earlier job has written there: it
    must have ended well, so the directory must have its ``_SUCCESS``. `PickleFiles` asks for none.

    Args:
        directory: A folder that is absent or empty, or a URL that fsspec knows (``s3://...``); it
            gets a file for each partition.
    """

    suffix = ".pickle"

    def write_items(self, file: IO[bytes], items: Iterable[Any]) -> None:
        """Write one partition."""
        batches = Batches(items, _BATCH)
        for batch in batches:
            try:
                data = dump_plain(batch)
            except Exception as error:
                raise OutputError(f"an item cannot be pickled: {error}") from error
            file.write(data)
            batches.came_to(len(data))

    def plan(self, map_tasks: int | None = None) -> Sequence[Any]:
        """Return the splits of what has been written there; see `PickleFiles`.

        Raises:
            InputError: There is nothing, or no ``_SUCCESS``.
        """
        splits = PickleFiles(self.directory).plan(map_tasks)
        if not Path(self.directory, SUCCESS).exists():
            raise InputError(
                f"there is no {SUCCESS} in {self.directory}, so the job that wrote it did not end "
                "well: run it again, or give PickleFiles(...), which asks for none"
            )
        return splits


class BytesOutput(Output):
    """Bytes, with nothing between them: records of a fixed length, or that carry their own.

    Args:
        directory: A folder that is absent or empty, or a URL that fsspec knows (``s3://...``); it
            gets a file for each partition.
        suffix: How the files' names end.
    """

    def __init__(self, directory: str | os.PathLike[str], suffix: str = ".bin") -> None:
        super().__init__(directory)
        if "/" in suffix:
            raise InvalidJobError(f"a suffix is the end of a file's name, not {shorten(suffix)}")
        self.suffix = suffix

    def write_items(self, file: IO[bytes], items: Iterable[Any]) -> None:
        """Write one partition."""
        batches = Batches(items, _BATCH)
        for batch in batches:
            try:
                data = b"".join(batch)
            except TypeError as error:
                wrong = next(item for item in batch if not isinstance(item, (bytes, bytearray)))
                raise OutputError(f"BytesOutput writes bytes, not {shorten(wrong)}") from error
            file.write(data)
            batches.came_to(len(data))


def as_output(output: Any) -> Output | None:
    """Return what ``job.output`` says; a path means text.

    Raises:
        InvalidJobError: It is no output and no path.
    """
    if output is None or isinstance(output, Output):
        return output
    if isinstance(output, (str, os.PathLike)):
        return TextOutput(output)
    raise InvalidJobError(
        f"job.output is a directory or such as PickleOutput(directory), not {shorten(output)}"
    )


def items_of(result: Any) -> Iterable[Any]:
    """Return the items of what reduce returned.

    Raises:
        OutputError: It is None: more likely a slip than a wish for an empty file.
    """
    if result is None:
        raise OutputError(
            "reduce returned None: there is nothing to write. Is a `return` missing? For no items, "
            "return []."
        )
    if isinstance(result, Mapping):
        return result.items()
    if isinstance(result, Iterable) and not isinstance(result, (str, bytes, bytearray)):
        return result
    return [result]
