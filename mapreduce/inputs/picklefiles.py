"""Files of pickles as input: what `PickleOutput` has written, or anything of that form."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import IO, Any, NamedTuple

from mapreduce.errors import InputError, InvalidJobError
from mapreduce.inputs.counted import Records
from mapreduce.inputs.filesplit import OpenAt
from mapreduce.inputs.sources import SplitSource
from tuplespace.pickles import load_all
from workers.errors import BlockLostError
from workers.task import Parcel
from workers.workplace import Workplace


class PickleFiles(SplitSource):
    """The items in files of pickled lists, as `PickleOutput` writes them.

    Unpickling runs what the file says: give only files that you or somebody you trust has
    written, in a place that nobody else can write to.

    Args:
        paths: A directory (its ``*.pickle``, whether there is a ``_SUCCESS`` or not), a path or
            pattern, or several of them.
    """

    def __init__(self, paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> None:
        several = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
        self.patterns = [os.fspath(path) for path in several]

    def __repr__(self) -> str:
        return f"PickleFiles({self.patterns!r})"

    def plan(self, map_tasks: int | None = None) -> list[PickleSplit]:
        """Return a split for each file, or so many with some files each.

        Raises:
            InputError: There is no such file.
        """
        files = [_file(path) for pattern in self.patterns for path in _paths(pattern)]
        parts = len(files) if map_tasks is None else map_tasks
        cuts = [len(files) * number // parts for number in range(parts + 1)]
        return [PickleSplit(tuple(files[low:high])) for low, high in pairwise(cuts)]


class _File(NamedTuple):
    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class PickleSplit:
    """The items of some files: a planned split.

    Attributes:
        parts: The files, as the driver saw them. affinity, home, wait: See `filesplit.FileSplit`.
    """

    parts: tuple[_File, ...]
    affinity: str | None = None
    home: str = ""
    wait: float = 0.0

    @property
    def blocks(self) -> tuple[Parcel, ...]:
        """None."""
        return ()

    @property
    def files(self) -> tuple[str, ...]:
        """The paths it reads."""
        return tuple(part.path for part in self.parts)

    @property
    def size(self) -> int:
        """How many bytes the files have."""
        return sum(part.size for part in self.parts)

    def at_home(self, uri: str) -> PickleSplit:
        """Return the same split, whose files the block server at this URI has."""
        return replace(self, home=uri)

    def read_by(self, workplace: Workplace) -> PickleSplit:
        """Return the same split."""
        return self

    def records(self, open_at: OpenAt | None = None) -> Records:
        """Return the items.

        Raises:
            InputError: While they are read: a file has vanished or changed, or is none of these.
        """
        return Records.of(chain.from_iterable(self._lists(part, open_at) for part in self.parts))

    def _lists(self, part: _File, open_at: OpenAt | None) -> Iterator[list[Any]]:
        with self._open(part, open_at) as file:
            lists = load_all(file)
            while True:
                try:
                    items = next(lists, None)
                except OSError as error:
                    raise InputError(f"{part.path} cannot be read: {error}") from error
                except BlockLostError:  # nobody answers: that is not the file's fault
                    raise
                except Exception as error:
                    raise InputError(f"{part.path} cannot be unpickled here: {error}") from error
                if items is None:
                    return
                if not isinstance(items, list):
                    raise InputError(f"{part.path} holds no pickled lists, as PickleOutput writes")
                yield items

    def _open(self, part: _File, open_at: OpenAt | None) -> IO[bytes]:
        try:
            file = open(part.path, "rb")  # noqa: SIM115  # the caller closes it
        except OSError:
            file = None
        if file is not None:
            found = os.fstat(file.fileno())
            if (found.st_size, found.st_mtime_ns) == part[1:]:
                return file
            file.close()
        if open_at is None or not self.home:
            raise InputError(f"{part.path} has vanished or changed since the job was planned")
        return open_at(self.home, *part)

    def describe(self) -> str:
        """Say which files these are."""
        return f"items of {', '.join(self.files) or 'no files'}"

    def locate(self, position: int, open_at: OpenAt | None = None) -> str:
        """Say where a record is."""
        return f"record {position} of the {self.describe()}"


def _paths(pattern: str) -> list[str]:
    if "://" in pattern:
        raise InvalidJobError(f"pickles are read from files of this machine only, not {pattern}")
    if Path(pattern).is_dir():
        found = sorted(map(str, Path(pattern).glob("*.pickle")))
    else:
        found = [pattern] if Path(pattern).is_file() else sorted(glob.glob(pattern, recursive=True))
    if not found:
        raise InputError(f"{pattern}: there are no pickled files")
    return found


def _file(path: str) -> _File:
    status = os.stat(path)  # noqa: PTH116  # a str it is, and a str it stays
    return _File(str(Path(path).absolute()), status.st_size, status.st_mtime_ns)
