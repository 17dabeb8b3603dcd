"""From what reduce returns to one file a partition, whatever dies.

::

    prepare   <dir>/.tuplemill-<job>/owner          a random token, the driver's host, and a token of
                                                    its own; locked
    worker    <dir>/.tuplemill-<job>/part-00003-0-5f0c..   if it sees that token there; else a block
    keep      the driver takes in the winner's file, or pulls the winner's block to one beside it
    finish    each winner's file is renamed to <dir>/part-00003.txt, then _SUCCESS, the folder goes

Only the driver renames, so no late or second attempt can touch a file that counts. One that takes
the job over puts an owner file of its own in the place of the first one's, which from then on
neither renames nor deletes anything.

=====================================  ============================================================
what happens                           what comes of it
=====================================  ============================================================
worker killed while it writes          half a file aside; another attempt writes another
killed after writing, unconfirmed      a whole file aside that nobody names; the same
two attempts end well                  the first outcome wins; the other's file goes with the folder
the winner's block is gone             the reduce runs again
reduce raises, disk full, cancel       JobFailedError or JobCancelledError; the directory is as before
driver killed, and the job taken over  its successor's owner file; what has its name already has it
driver killed                          the folder aside stays, unlocked: the next run of a driver on
                                       the same host into this directory removes it; others (and any
                                       run, for a URL) say what to delete
driver killed between two renames      some part files and no _SUCCESS: the next run says so
power lost                             as in Hadoop, files are not synced: what the system had not
                                       written yet is lost, _SUCCESS or not
=====================================  ============================================================
"""

from __future__ import annotations

import errno
import secrets
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import IO, Any, Final, NamedTuple

from mapreduce.engine.interface import Engine
from mapreduce.errors import InvalidJobError, JobFailedError, OutputError
from mapreduce.outputs.folders import Folder, folder_at
from mapreduce.outputs.formats import SUCCESS, Output, items_of
from mapreduce.outputs.ownership import finalize_here
from tuplespace.pickles import load
from workers.errors import BlockLostError
from workers.task import Parcel, Task
from workers.workplace import Workplace

ASIDE: Final = ".tuplemill-"
_OWNER: Final = "owner"
#: What a disk says, and no user's function.
_DISK: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})


class Written(NamedTuple):
    """A file that a worker has written aside."""

    path: str
    size: int


class FileWork(NamedTuple):
    """What a reduce task does with its result: it goes to a file.

    Attributes:
        output: The format. folder: Where. aside: The job's own folder in it. token: What is there
            if this is the driver's folder and not another's of the same name.
    """

    output: Output
    folder: Folder
    aside: str
    token: str

    def __call__(self, result: Any, workplace: Workplace, task: Task) -> Written | Parcel:
        """Write a partition's items; return where they are.

        Raises:
            OutputError: The disk is full, or an item is not what the format takes.
        """
        name = f"{part_name(task.number)}-{task.attempt}-{secrets.token_hex(4)}"
        file = self.open_aside(name)
        if file is not None:
            return self.write(file, self.folder.path(self.aside, name), result)
        parcel = workplace.parcel_writer(task.job, name)
        with disk_errors(f"{name} on {workplace.host}"), parcel:
            self.output.write_items(parcel, items_of(result))  # type: ignore[arg-type]
            return parcel.finish()

    def open_aside(self, name: str) -> IO[bytes] | None:
        """Return a new file in the driver's folder; None if that is out of reach."""
        try:
            with self.folder.open(self.folder.path(self.aside, _OWNER), "rb") as owner:
                if owner.read().split(b"\n")[0] != self.token.encode():
                    return None
            return self.folder.open(self.folder.path(self.aside, name), "xb")
        except Exception:  # noqa: BLE001  # whatever a file system raises, the block file is left
            return None

    def write(self, file: IO[bytes], path: str, result: Any) -> Written:
        """Write a result's items to an open file, which is deleted if that fails."""
        try:
            with disk_errors(path):
                with file:
                    self.output.write_items(file, items_of(result))
                return Written(path, self.folder.size(path))
        except BaseException:
            self.folder.remove(path)
            raise


class FileResults:
    """The results of a job as files; see `results.Results`.

    Args:
        output: What and where. job: The job's id.
    """

    def __init__(self, output: Output, job: str) -> None:
        self.output, self._job = output, job
        self._folder = folder_at(output.directory)
        self._aside = ASIDE + job
        self.work = FileWork(output, self._folder, self._aside, secrets.token_hex(16))
        self.mark = self.work.token
        self._kept: dict[int, str] = {}
        self._skipped: set[int] = set()
        self._published: list[str] = []
        self._paths: list[str | None] = []
        self._abandon: Any = None
        self._engine: Engine | None = None
        self._own = secrets.token_hex(8)
        #: Whether a driver that is gone had published all.
        self._is_whole = False

    def prepare(self) -> None:
        """Make the folder aside.

        Raises:
            InvalidJobError: The directory is in use or not empty, or cannot be made.
        """
        self.output.check()
        directory = self.output.directory
        try:
            aside = self._folder.path(self._aside)
            self._abandon = finalize_here(
                self, _abandon, self._folder, aside, self._published, self._own
            )
            with self._folder.alone():
                self._refuse_unless_empty()
                self._folder.make(aside)
                owner = self._folder.path(self._aside, _OWNER)
                with self._folder.open(owner, "xb") as file:
                    file.write(self._owner())
                self._folder.hold(owner)
                self._refuse_unless_empty()  # a driver of another host may have come meanwhile
        except InvalidJobError:
            self.abandon()
            raise
        except OSError as error:
            self.abandon()
            raise InvalidJobError(f"cannot write output to {directory}: {error}") from error

    def _owner(self) -> bytes:
        return f"{self.work.token}\n{socket.gethostname()}\n{self._own}".encode()

    def adopt(self, mark: str) -> None:
        """Take the folder aside over from a driver that is gone.

        Raises:
            InvalidJobError: It is not there: somebody has deleted it, or this is another host.
        """
        aside = self._folder.path(self._aside)
        self.work = self.work._replace(token=mark)
        self.mark = mark
        try:
            self._is_whole = SUCCESS in self._folder.names()
            if self._is_whole:
                return
            with self._folder.open(self._folder.path(self._aside, _OWNER), "rb") as file:
                if file.read().split(b"\n")[0] != mark.encode():
                    raise FileNotFoundError(f"{aside} is of another folder")
            self._abandon = finalize_here(
                self, _abandon, self._folder, aside, self._published, self._own
            )
            draft = self._folder.path(self._aside, f"{_OWNER}-{self._own}")
            with self._folder.open(draft, "xb") as file:
                file.write(self._owner())
            self._folder.hold(draft)
            self._folder.move(draft, self._folder.path(self._aside, _OWNER))
        except OSError as error:
            raise InvalidJobError(
                f"job {self._job} cannot go on writing to {self.output.directory} from here: {error}"
            ) from error

    def _refuse_unless_empty(self) -> None:
        names = set(self._folder.names()) - {self._aside}
        for name in names:
            if name.startswith(ASIDE):
                self._clear_after(name)
        found = sorted(name for name in names if not name.startswith(ASIDE))
        if not found:
            return
        why = ""
        if SUCCESS not in found and all(name.startswith("part-") for name in found):
            why = "; there is no _SUCCESS, so the run that wrote it did not end"
        raise InvalidJobError(
            f"the output directory {self.output.directory} is not empty ({found[0]!r} is there"
            f"{why}): delete it, or choose another"
        )

    def _clear_after(self, name: str) -> None:
        """Delete what a driver that is dead has left."""
        owner = self._folder.path(name, _OWNER)
        host = b""
        with suppress(FileNotFoundError), self._folder.open(owner, "rb") as file:
            host = [*file.read().split(b"\n"), b""][1]
        ours = host in {b"", socket.gethostname().encode()}
        if not ours or not self._folder.hold(owner):
            raise InvalidJobError(
                f"job {name.removeprefix(ASIDE)} on host {host.decode() or 'unknown'} is writing to "
                f"{self.output.directory}; if it is not any more, delete {name} there"
            )
        self._folder.remove(self._folder.path(name))

    def begin(self, engine: Engine) -> None:
        """See `Results.begin`."""
        self._engine = engine

    def keep(self, number: int, parcel: Parcel, engine: Engine) -> None:
        """Take in the file of a reduce whose outcome counts.

        Raises:
            BlockLostError: It is gone. JobFailedError: There is no room for it.
        """
        if self._is_whole:
            return
        found: Written | Parcel = load(engine.receive(parcel))
        if isinstance(found, Written):
            if self._is_published(number, found):
                self._kept[number] = self._final(number)
                return
            try:
                size = self._folder.size(found.path)
            except OSError as error:
                raise BlockLostError(f"{found.path} is gone: {error}") from None
            if size != found.size:
                raise BlockLostError(f"{found.path} has {size} bytes and not {found.size}")
            self._kept[number] = found.path
            return
        path = self._folder.path(self._aside, f"{part_name(number)}-{secrets.token_hex(4)}")
        try:
            with self._folder.open(path, "xb") as file:
                file.writelines(engine.pieces(found))
        except OSError as error:
            raise _no_room(path, error) from error
        self._kept[number] = path

    def _final(self, number: int) -> str:
        return self._folder.path(part_name(number) + self.output.suffix)

    def _is_published(self, number: int, found: Written) -> bool:
        """Whether a driver that is gone has given this file its name."""
        try:
            return self._folder.size(self._final(number)) == found.size
        except OSError:
            return False

    def keep_here(self, number: int, result: Any) -> None:
        """Write a result of this very process."""
        path = self._folder.path(self._aside, part_name(number))
        self._kept[number] = path
        self.work.write(self._folder.open(path, "xb"), path, result)

    def skip(self, number: int) -> None:
        """See `Results.skip`: as in Hadoop, its file is not there; its path is None."""
        self._skipped.add(number)

    def skip_here(self, number: int) -> None:
        """See `Results.skip_here`."""
        self._skipped.add(number)

    def finish(self) -> None:
        """Publish: give the files their names, then write ``_SUCCESS``.

        Raises:
            JobFailedError: That cannot be done.
        """
        if self._engine is not None:
            self._engine.check()  # a driver that was superseded publishes nothing
        if self._is_whole:
            there = {name for name in self._folder.names() if name.startswith("part-")}
            parts = (part_name(n) for n in range(len(there) + len(self._skipped)))
            names = [part + self.output.suffix for part in parts]
            self._paths = [self._folder.shown(n) if n in there else None for n in names]
            self._folder.remove(self._folder.path(self._aside))
            return
        numbers = sorted(self._kept.keys() - self._skipped)
        kept = [self._kept[number] for number in numbers]
        try:
            self.output.settle(kept, self._folder.open)  # it may replace some
            names = [part_name(number) + self.output.suffix for number in numbers]
            for name, path in zip(names, kept, strict=True):
                final = self._folder.path(name)
                if path != final:
                    self._folder.move(path, final)
                self._published.append(final)
            success = self._folder.path(SUCCESS)
            self._published.append(success)
            with self._folder.open(success, "xb"):
                pass
            self._folder.remove(self._folder.path(self._aside))
        except OSError as error:
            raise _no_room(self.output.directory, error) from error
        shown = dict(zip(numbers, map(self._folder.shown, names), strict=True))
        self._paths = [shown.get(number) for number in sorted(shown.keys() | self._skipped)]
        self._published.clear()
        self._folder.let_go()
        self._abandon.detach()

    def leave(self) -> None:
        """Leave what has been written where it is."""
        if self._abandon is not None:
            self._abandon.detach()
            self._folder.let_go()

    def abandon(self) -> None:
        """Leave the directory as it was."""
        if self._abandon is not None:
            self._abandon()

    def all(self) -> list[Any]:
        """Return the paths."""
        return list(self._paths)

    def each(self) -> Iterator[Any]:
        """Yield the paths."""
        yield from self._paths


class disk_errors:  # noqa: N801  # reads as contextlib.suppress does
    """Say as an OutputError what the disk says; whatever else is raised comes through."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and error.errno in _DISK:
            raise OutputError(f"cannot write {self._path}: {error.strerror}") from error


def part_name(number: int) -> str:
    """Return the name of a partition's file, without its suffix."""
    return f"part-{number:05}"


def _abandon(folder: Folder, aside: str, published: Iterable[str], own: str) -> None:
    owner = folder.path(aside, _OWNER)
    with suppress(OSError), folder.open(owner, "rb") as file:
        if file.read().split(b"\n")[-1] != own.encode():
            folder.let_go()  # another driver's by now
            return
    for path in (*published, aside):
        folder.remove(path)
    folder.undo()
    folder.let_go()


def _no_room(path: str, error: OSError) -> JobFailedError:
    return JobFailedError(f"cannot write the output {path}: {error.strerror or error}")
