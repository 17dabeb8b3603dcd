"""Files as input: which files, and their records cut into splits."""

from __future__ import annotations

import codecs
import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import IO, Any

from mapreduce.errors import InputError, InvalidJobError, shorten
from mapreduce.inputs.filerange import FileRange, InputFile, local_files
from mapreduce.inputs.filesplit import FileSplit
from mapreduce.inputs.readers import Called, Reader, fixed_length
from mapreduce.inputs.sources import SplitSource
from mapreduce.inputs.textlines import Lines
from mapreduce.inputs.urls import is_url, local_path, url_files

_SPLIT_BYTES = 8 << 20
_SMALL_SPLIT_BYTES = 256 << 10
_FEW_SPLITS = 8
_MANY_SPLITS = 1000
#: Of files that are not cut, each may be a map task of its own, up to so many: what is done with a
#: file says more about the time it takes than its size.
_WHOLE_FILES = 16

ReadRecords = Callable[[IO[bytes]], Iterable[Any]]


class TextFiles(SplitSource):
    r"""The lines of text files, or the records of other files: data of a job.

    Lines are str without their line ends, which are ``\n`` or ``\r\n`` and nothing else. Files
    ending in .gz, .bz2, .xz, .lzma, .zst or .lz4 are decompressed. The files are looked up by the
    driver, when it plans the job; workers open them themselves, and read those of the driver's
    disk through the driver where they have no such disk.

    It is iterable as well: ``for line in TextFiles(path)`` reads here and now, so that a map
    function can open what it is given: ``data=[Split("s3://bucket/a.gz"), ...]``.

    Args:
        paths: A path, URL or pattern (``logs/**/*.gz``, ``s3://bucket/*.json``), or several. The
            files come in this order, those of one pattern sorted, and each file once. URLs take
            the extra ``tuplemill[remote]`` and what fsspec reads them with.
        encoding: What the files are encoded in.
        errors: What to do with bytes that are not so encoded, as for ``open``: ``strict`` fails
            the job, ``replace`` goes on.
        records: What the records are, if not lines: ``json_lines``, ``fixed_length(100)``,
            ``whole_file``, or a function that gets a file, open for reading bytes and already
            decompressed, whose ``name`` is the path as given here, and returns an iterable of
            records. It is called in the map tasks, once a file, and only it knows of the encoding.

    Raises:
        InvalidJobError: There is no such encoding, or a path is no str or path.
    """

    def __init__(
        self,
        paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        encoding: str = "utf-8",
        errors: str = "strict",
        records: Reader | ReadRecords | None = None,
    ) -> None:
        try:
            several = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
            self.patterns = [_text_path(path) for path in several]
            codecs.lookup_error(errors)
            "\n".encode(encoding)  # refuses codecs that do not encode text, too
        except (LookupError, TypeError) as error:
            msg = f"TextFiles({shorten(paths)}, {encoding!r}, {errors!r}): {error}"
            raise InvalidJobError(msg) from error
        self.encoding = encoding
        self.errors = errors
        self.reader = _reader(records).in_text(encoding, errors)

    def __repr__(self) -> str:
        records = "" if type(self.reader) is Lines else f", records={self.reader!r}"
        return (
            f"TextFiles({self.patterns!r}, encoding={self.encoding!r}, errors={self.errors!r}"
            f"{records})"
        )

    def __iter__(self) -> Iterator[Any]:
        """Look the files up now and yield their records, file by file."""
        return FileSplit(tuple(self.files()), self.reader).records()

    def files(self) -> list[FileRange]:
        """Look the files up; each is one range.

        Raises:
            InputError: A path or pattern matches no file, there is no path at all, or a file
                cannot have such records.
        """
        if not self.patterns:
            raise InputError("TextFiles([]): there is no path or pattern in it")
        files: dict[str, FileRange] = {}
        for pattern in self.patterns:
            for file in _files_matching(pattern):
                self.reader.check(file)
                whole = FileRange.whole(file, cuttable=self.reader.cuttable)
                files.setdefault(file.path, whole)
        return list(files.values())

    def plan(self, map_tasks: int | None = None) -> list[FileSplit]:
        """Cut the files into splits of about the same number of bytes.

        Args:
            map_tasks: How many. By default about 8 MiB each, but at most 1000 of them, however
                large they become; and small inputs make up to 8, so that several cores have
                something to do.
        """
        files = self.files()
        weights = [_weight(file, self.reader) for file in files]
        total = sum(weights)
        if map_tasks is None:
            whole = sum(file.end is None for file in files)
            parts = _cut(files, weights, max(_default_map_tasks(total), min(_WHOLE_FILES, whole)))
            parts = [part for part in parts if part]
        else:
            parts = _cut(files, weights, map_tasks)
        return [FileSplit(tuple(part), self.reader) for part in parts]


def _reader(records: Any) -> Reader:
    if records is None:
        return Lines()
    if isinstance(records, Reader):
        return records
    if not callable(records) or records is fixed_length:
        raise InvalidJobError(
            f"records= is json_lines, fixed_length(100), whole_file, or a function of an open "
            f"file, not {shorten(records)}"
        )
    return Called(records)


def _text_path(path: Any) -> str:
    name = os.fspath(path)
    if not isinstance(name, str):
        msg = f"a path must be a str, not {shorten(name)}"
        raise TypeError(msg)
    return name


def _files_matching(pattern: str) -> Iterable[InputFile]:
    path = local_path(pattern)
    if path is not None:
        return local_files(path)
    return url_files(pattern) if is_url(pattern) else local_files(pattern)


def _weight(file: FileRange, reader: Reader) -> int:
    return max(file.size, 1) if reader.reads_empty else file.size


def _default_map_tasks(total: int) -> int:
    for_their_size = min(-(-total // _SPLIT_BYTES), _MANY_SPLITS)
    for_the_cores = min(_FEW_SPLITS, total // _SMALL_SPLIT_BYTES)
    return max(for_their_size, for_the_cores)


def _cut(files: list[FileRange], weights: list[int], parts: int) -> list[list[FileRange]]:
    """Lay the files end to end, cut at equal distances; what cannot be cut stays where it starts."""
    total = sum(weights)
    cuts = [total * number // parts for number in range(parts)] if parts else []
    ends = [*cuts[1:], total]
    dealt: list[list[FileRange]] = [[] for _ in range(parts)]
    here = 0
    for file, weight in zip(files, weights, strict=True):
        start, here = here, here + weight
        if start == here:
            continue  # an empty file has no record
        first = bisect_right(cuts, start) - 1
        if file.end is None:
            dealt[first].append(file)
            continue
        for number in range(first, bisect_right(cuts, here - 1)):
            low, high = max(cuts[number], start), min(ends[number], here)
            if low < high:
                dealt[number].append(replace(file, start=low - start, end=high - start))
    return dealt
