"""run_program: a command as map, combine or reduce, with records on its standard input.

It is what Hadoop calls streaming and Spark ``pipe``; the Rinda article wished for it as "popen a C
or OCaml program". What the program sees and says is lines of UTF-8, and both ways alike::

    a str, bytes or number     <-->  a line
    a pair, or another tuple   <-->  key TAB value
    a pair whose value is None <-->  key

Bytes that are no UTF-8 come through unchanged, as ``surrogateescape`` has it.
"""

from __future__ import annotations

import copy
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Final, NamedTuple

from mapreduce.errors import InvalidJobError, InvalidPairsError, shorten
from mapreduce.lines import ENCODING, lines_of
from mapreduce.pairs import Pair, PairBlocks
from mapreduce.piping import piped
from mapreduce.spilling.allowance import UNLIMITED, Allowance, allowance
from mapreduce.spilling.groups import Arrangement, groups_of
from workers.counters import counter
from workers.errors import summary

#: How a program counts, by way of its standard error: the line that Hadoop has for it.
_COUNTER: Final = "reporter:counter:"
_PAIR: Final = re.compile(r"^([^\t\n]*)\t([^\n]*)$", re.MULTILINE)
_BY_KEY: Final = Arrangement(sort=True)


class _Sent(NamedTuple):
    """A file that goes with the program. Attributes: name, content; runs: Whether it is one."""

    name: str
    content: bytes
    runs: bool


class run_program:  # noqa: N801 - reads as the words it is
    r"""Make a map, combine or reduce of a program: one process for each task.

    As *map* it reads the split's records, one a line; a split that is a mere text, such as a path,
    is one record. As *combine* or *reduce* it reads ``key TAB value`` lines that come sorted by
    key, so equal keys follow each other; what exceeds the memory of the worker is spilled. Each
    line it prints is a pair, cut at the first tab; the value of one without a tab is None. As
    reduce, such a line is a result of its own, a str.

    It runs in a new folder, empty but for `files`, which is gone when it ends. It ends with its
    task, and so do the processes that it has started; what it prints ends when all of these have
    closed it, as in a shell's pipeline. What it writes to its standard error is shown
    with the worker's name, but lines ``reporter:counter:GROUP,NAME,AMOUNT`` count for the counter
    ``GROUP.NAME``.

    In a function of your own it is a function of an iterable: ``run_program(["sort"])(lines)``
    returns an iterator of pairs.

    Args:
        command: The program and its arguments. No shell reads it: for a shell's line write
            ``["sh", "-c", line]``.
        key, value: Make keys and values of the texts that it prints, such as ``int``; None: they
            stay str.
        sort: Whether what it reads is pairs, to be sorted by key; None: as combine and reduce yes,
            as map no. With False as reduce, a program that groups by itself is spared the sorting.
        files: Paths of files, here, that it needs: the program itself, scripts, word lists. They
            are read now, travel with the job and lie in the folder where it runs, under their bare
            names; those that may be executed may be so there, and are found first.
        env: Variables for it, beside those of the worker.

    Raises:
        InvalidJobError: The command is no list of str, or a file cannot be read.
        ProgramFailedError: When it runs: it cannot be started, or its exit status is not 0.
        InvalidPairsError: When it runs: key or value does not take what it has printed.
        RecordFailedError: When it runs: a record cannot be a line, since it is no text, say, or
            has a newline in it.

    Examples:
        >>> words = run_program(["tr", " ", "\n"])
        >>> list(words(["to be", "or not"]))
        [('to', None), ('be', None), ('or', None), ('not', None)]
        >>> lengths = run_program(["awk", '{ print $1 "\t" length($1) }'], value=int)
        >>> list(lengths(["rose", "is"]))
        [('rose', 4), ('is', 2)]
    """

    def __init__(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        key: Callable[[str], Any] | None = None,
        value: Callable[[str], Any] | None = None,
        sort: bool | None = None,
        files: Iterable[str | os.PathLike[str]] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.command = _words(command)
        self.key = _convert("key", key)
        self.value = _convert("value", value)
        self.sort = sort
        self.files = tuple(_read(path) for path in _paths(files))
        if len({sent.name for sent in self.files}) < len(self.files):
            raise InvalidJobError("run_program(files=): two of them have the same name")
        self.env = _variables(env)
        self._gives_results = False

    def __repr__(self) -> str:
        return f"run_program({self.command!r})"

    def in_phase(self, phase: str) -> run_program:
        """Return the same as the function that a job has by this name."""
        other = copy.copy(self)
        other.sort = phase != "map" if self.sort is None else self.sort
        other._gives_results = phase == "reduce"
        return other

    def __call__(self, given: Iterable[Any]) -> Iterator[Any]:
        """Run the program on records or pairs; return an iterator of what it prints."""
        records = [given] if isinstance(given, (str, bytes)) else given
        blocks = self._blocks(records, allowance())
        return (
            chain.from_iterable(blocks) if self._gives_results else PairBlocks.from_blocks(blocks)
        )

    def _blocks(self, given: Iterable[Any], allowed: Allowance) -> Iterator[list[Any]]:
        items = _by_key(given, allowed) if self.sort else given
        with self._folder(allowed) as folder:
            environment = {**os.environ, **self.env}
            if self.files:
                path = environment.get("PATH", os.defpath)
                environment["PATH"] = f"{folder}{os.pathsep}{path}"
            kind = "pair" if self.sort else "record"
            printed = piped(self.command, lines_of(items, kind), folder, environment, _hear)
            with closing(printed):  # before its folder goes
                for block in printed:
                    yield self._pairs(block.decode(*ENCODING))

    @contextmanager
    def _folder(self, allowed: Allowance) -> Iterator[Path]:
        # Where a worker that is killed leaves nothing behind, if there is a worker.
        parent = None if allowed is UNLIMITED else allowed.folder()
        folder = Path(tempfile.mkdtemp(prefix="program-", dir=parent))
        try:
            for sent in self.files:
                path = folder / sent.name
                path.write_bytes(sent.content)
                path.chmod(0o755 if sent.runs else 0o644)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _pairs(self, text: str) -> list[Any]:
        key, value = self.key, self.value
        lines = text.split("\n")
        if key is value is None:  # if all lines have a tab, or none has, it takes half the time
            if "\t" not in text:
                return lines if self._gives_results else list(zip(lines, repeat(None)))
            if len(found := _PAIR.findall(text)) == len(lines):
                return found
        parts: list[tuple[Any, str, Any]] = [line.partition("\t") for line in lines]
        try:
            if key is not None:
                parts = [(key(name), tab, text) for name, tab, text in parts]
            if value is not None:
                parts = [(name, tab, value(text) if tab else None) for name, tab, text in parts]
        except Exception as error:
            raise self._unread(lines) from error
        if self._gives_results:
            return [(name, text) if tab else name for name, tab, text in parts]
        return [(name, text if tab else None) for name, tab, text in parts]

    def _unread(self, lines: list[str]) -> InvalidPairsError:
        for line in lines:
            name, tab, text = line.partition("\t")
            for what, convert, part in (("key", self.key, name), ("value", self.value, text)):
                try:
                    if convert is not None and (tab or what == "key"):
                        convert(part)
                except Exception as error:  # noqa: BLE001 - it is user code
                    return InvalidPairsError(
                        f"{shlex.join(self.command):.200} printed {shorten(line)}, whose {what} "
                        f"{convert!r} does not take: {summary(error)}"
                    )
        return InvalidPairsError(f"{self!r} printed what key= or value= did not take at first")


def _by_key(pairs: Iterable[Pair], allowed: Allowance) -> Iterator[Pair]:
    for _, key, values in groups_of(pairs, _BY_KEY, allowed):
        for value in values:
            yield key, value


# --- what it says ---------------------------------------------------------------------------------


def _hear(line: str) -> bool:
    """Count what is counted, and show all else."""
    if line.startswith(_COUNTER):
        group, _, rest = line.removeprefix(_COUNTER).partition(",")
        name, _, amount = rest.rpartition(",")
        try:
            number = int(amount)
        except ValueError:
            number = None
        if group and name and number is not None:
            counter(f"{group}.{name}").add(number)
            return False
    sys.stderr.write(line + "\n")
    return True


# --- what the user filled in ----------------------------------------------------------------------


def _words(command: Any) -> list[str]:
    if isinstance(command, (str, bytes, os.PathLike)):
        raise InvalidJobError(
            f"run_program takes a program and its arguments, [{command!r}, ...]; no shell reads "
            'them: for a line of a shell write ["sh", "-c", line]'
        )
    try:
        words = [os.fspath(word) for word in command]
    except TypeError as error:
        raise InvalidJobError(f"run_program takes a list of str: {error}") from None
    if not words or not words[0] or not all(type(word) is str for word in words):
        raise InvalidJobError(f"run_program takes a program and its arguments, not {command!r}")
    if not all(map(_for_system, words)):
        raise InvalidJobError(
            f"a program's arguments have no null characters, nor half a character: {words!r}"
        )
    return words


def _for_system(word: str) -> bool:
    """Return whether the system takes this text, of a command or a variable."""
    try:
        return b"\0" not in os.fsencode(word)
    except UnicodeEncodeError:
        return False


def _variables(env: Any) -> dict[str, str]:
    try:
        variables = dict(env or {})
    except (TypeError, ValueError):
        variables = {None: None}
    for name, value in variables.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidJobError("run_program(env=) is a mapping of str to str")
        if not name or "=" in name or not _for_system(name + value):
            raise InvalidJobError(f"run_program(env=) cannot have {name!r} set to {value!r}")
    return variables


def _convert(name: str, function: Any) -> Callable[[str], Any] | None:
    if function is None or callable(function):
        return function  # type: ignore[no-any-return]
    raise InvalidJobError(f"run_program({name}=) is a function, such as int, not {function!r}")


def _paths(files: Any) -> list[Path]:
    if isinstance(files, (str, bytes, os.PathLike)):
        raise InvalidJobError(f"run_program(files=) is a list of paths: write [{files!r}]")
    return [Path(path) for path in files]


def _read(path: Path) -> _Sent:
    try:
        return _Sent(path.name, path.read_bytes(), os.access(path, os.X_OK))
    except OSError as error:
        raise InvalidJobError(f"run_program(files=): {path} cannot be read: {error}") from None
