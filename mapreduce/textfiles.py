"""Text files as input: which files, and their lines cut into splits."""

from __future__ import annotations

import codecs
import glob
import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import IO, Any

from mapreduce.errors import InputError, InvalidJobError, shorten
from mapreduce.textrange import TextRange

#: (block server, path, size, mtime_ns) -> the file on the block server's host
OpenAt = Callable[[str, str, int, int], IO[bytes]]

_SPLIT_BYTES = 8 << 20
_SMALL_SPLIT_BYTES = 256 << 10
_FEW_SPLITS = 8


class TextFiles:
    r"""The lines of text files: the records are str, without their line ends.

    Lines end at ``\n`` or ``\r\n`` and nowhere else. Files ending in .gz, .bz2, .xz or .lzma are
    decompressed. The files are looked up by the driver, when it plans the job.

    Args:
        paths: A path or pattern (``logs/**/*.gz``), or several. The files come in this order,
            those of one pattern sorted, and each file once.
        encoding: What the files are encoded in.
        errors: What to do with bytes that are not so encoded, as for ``open``: ``strict`` fails
            the job, ``replace`` goes on.

    Raises:
        InvalidJobError: There is no such encoding, or a path is no str or path.
    """

    def __init__(
        self,
        paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        encoding: str = "utf-8",
        errors: str = "strict",
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

    def __repr__(self) -> str:
        return f"TextFiles({self.patterns!r}, encoding={self.encoding!r}, errors={self.errors!r})"

    def files(self) -> list[TextRange]:
        """Look the files up; each is one range.

        Raises:
            InputError: A path or pattern matches no file, or there is no path at all.
        """
        if not self.patterns:
            raise InputError("TextFiles([]): there is no path or pattern in it")
        files: dict[str, TextRange] = {}
        for pattern in self.patterns:
            for name in _names_matching(pattern):
                file = TextRange.of_file(name, self.encoding)
                files.setdefault(file.path, file)
        return list(files.values())

    def plan(self, map_tasks: int | None = None) -> list[TextSplit]:
        """Cut the files into splits of about the same number of bytes.

        Args:
            map_tasks: How many. By default about 8 MiB each, but small inputs make up to 8
                splits, so that several cores have something to do.
        """
        files = self.files()
        total = sum(file.size for file in files)
        if map_tasks is None:
            parts = [part for part in _cut(files, total, _default_map_tasks(total)) if part]
        else:
            parts = _cut(files, total, map_tasks)
        return [TextSplit(tuple(part), self.encoding, self.errors) for part in parts]


@dataclass(frozen=True)
class TextSplit:
    """The lines of some ranges of files, one range after the other: a planned split.

    Attributes:
        ranges: Them. encoding, errors: See `TextFiles`. affinity: See `Split`.
        home: A block server of the driver's host that hands out the files; empty: none does.
    """

    ranges: tuple[TextRange, ...]
    encoding: str
    errors: str
    affinity: str | None = None
    home: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """The paths it reads."""
        return tuple(part.path for part in self.ranges)

    def at_home(self, uri: str) -> TextSplit:
        """Return the same split, whose files the block server at this URI has."""
        return replace(self, home=uri)

    @property
    def size(self) -> int:
        """How many bytes of the files the split spans."""
        return sum(part.size for part in self.ranges)

    def records(self, open_at: OpenAt | None = None) -> Iterator[str]:
        """Return the lines, without their line ends.

        Raises:
            InputError: While they are read: a file has vanished or changed since the job was
                planned, or is not in its encoding.
        """
        ranges = self._readable(open_at)
        lists = (part.lines(self.encoding, self.errors) for part in ranges)
        return chain.from_iterable(chain.from_iterable(lists))

    def describe(self) -> str:
        """Say which lines these are, in a few words."""
        if not self.ranges:
            return "no lines"
        others = len(self.ranges) - 1
        more = f" (+{others} file{'s' if others > 1 else ''})" if others else ""
        return f"lines of {self.ranges[0]}{more}"

    def _readable(self, open_at: OpenAt | None) -> Iterable[TextRange]:
        if open_at is None or not self.home:
            return self.ranges
        elsewhere = partial(open_at, self.home)
        return (replace(part, elsewhere=elsewhere) for part in self.ranges)

    def locate(self, position: int, open_at: OpenAt | None = None) -> str:
        """Say which line of which file a record is. Reads the files once more."""
        left = position
        for part in self._readable(open_at):
            line = 1
            for lines in part.lines(self.encoding, "replace"):
                if left < len(lines):
                    return f"{part.name}, line {part.lines_before() + line + left}"
                left -= len(lines)
                line += len(lines)
        return f"record {position} of the {self.describe()}"


def _text_path(path: Any) -> str:
    name = os.fspath(path)
    if not isinstance(name, str):
        msg = f"a path must be a str, not {shorten(name)}"
        raise TypeError(msg)
    return name


def _names_matching(pattern: str) -> list[str]:
    if os.path.isfile(pattern):  # noqa: PTH113 - "data[1].txt" can be a name, too
        return [pattern]
    if os.path.isdir(pattern):  # noqa: PTH112 - a str it is, and a str it stays
        msg = f"{pattern}: is a directory; for all files in it, give {os.path.join(pattern, '**')}"  # noqa: PTH118
        raise InputError(msg)
    names = [name for name in glob.glob(pattern, recursive=True) if not os.path.isdir(name)]  # noqa: PTH112
    if not names:
        kind = "no file matches" if glob.has_magic(pattern) else "there is no such file"
        msg = f"{pattern}: {kind} (seen from {os.getcwd()})"  # noqa: PTH109
        raise InputError(msg)
    return sorted(names)


def _default_map_tasks(total: int) -> int:
    for_their_size = -(-total // _SPLIT_BYTES)
    for_the_cores = min(_FEW_SPLITS, total // _SMALL_SPLIT_BYTES)
    return max(for_their_size, for_the_cores)


def _cut(files: list[TextRange], total: int, parts: int) -> list[list[TextRange]]:
    """Lay the files end to end, cut at equal distances; what cannot be cut stays where it starts."""
    cuts = [total * number // parts for number in range(parts)] if parts else []
    ends = [*cuts[1:], total]
    dealt: list[list[TextRange]] = [[] for _ in range(parts)]
    here = 0
    for file in files:
        start, here = here, here + file.size
        if start == here:
            continue  # an empty file has no line
        first = bisect_right(cuts, start) - 1
        if file.end is None:
            dealt[first].append(file)
            continue
        for number in range(first, bisect_right(cuts, here - 1)):
            low, high = max(cuts[number], start), min(ends[number], here)
            if low < high:
                dealt[number].append(replace(file, start=low - start, end=high - start))
    return dealt
