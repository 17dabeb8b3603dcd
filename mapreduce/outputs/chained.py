"""Chained jobs: results that stay on the workers' disks, as blocks, and are another job's data.

The blocks lie in a folder of a job of their own, ``<job>-kept``, which a leased job tuple keeps
from the agents' sweep: renewed by the driver until `Blocks.delete`, until the handle is forgotten,
or until the process ends. Killed, the driver leaves them for as long as the lease runs.
What if a host dies with its blocks? The next job fails and says which one to run again: at once if
the host is there without them, else after trying for about a minute, since it may be back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Final, NamedTuple

from mapreduce.engine.interface import Engine
from mapreduce.errors import InputError, InvalidJobError
from mapreduce.inputs.counted import Records
from mapreduce.inputs.sources import SplitSource
from mapreduce.inputs.splits import Split
from mapreduce.outputs.batches import Batches
from mapreduce.outputs.formats import items_of
from mapreduce.outputs.ownership import finalize_here
from tuplespace.pickles import dump_data, load
from workers.blocks import FRAME_BYTES, Frame, Location
from workers.errors import BlockLostError
from workers.task import Parcel, Task
from workers.workplace import Workplace

_FRAME_ITEMS: Final = 1 << 20
#: How long a partition waits for a worker of the host that has it.
_WAIT_SECONDS: Final = 3.0


class KeepBlocks:
    """As ``job.output``: leave the results on the workers' disks, for the next job.

    The job's result is then a `Blocks`, which is the ``data`` of the next job on the same space.

    Examples:
        >>> from mapreduce import MapReduceJob
        >>> first = MapReduceJob(data=["a b", "b"], output=KeepBlocks())
    """

    def __repr__(self) -> str:
        return "KeepBlocks()"


class KeptPartition(NamedTuple):
    """Where the items of one partition are; each frame is a pickled list of some."""

    location: Location
    frames: tuple[Frame, ...]
    items: int


class BlockWork(NamedTuple):
    """What a reduce task does with its result: it stays here.

    Attributes:
        job: The job in whose folder the blocks lie.
    """

    job: str

    def __call__(self, result: Any, workplace: Workplace, task: Task) -> KeptPartition:
        """Write a partition's items; a generator's as they come."""
        batches = Batches(items_of(result), _FRAME_ITEMS, FRAME_BYTES)
        frames: list[Frame] = []
        count = 0
        with workplace.block_file(self.job, f"reduce-{task.number}") as file:
            for batch in batches:
                data = dump_data(batch)
                frames.append(file.write(data))
                count += len(batch)
                batches.came_to(len(data))
        return KeptPartition(workplace.location(file.path), tuple(frames), count)


class Blocks(list[KeptPartition], SplitSource):
    """The results of a job, on its workers' disks: the data of another, one split a partition.

    It lists where each partition is, which nobody but that job needs to know. A context manager that deletes them at its end. They are deleted as well when nobody refers
    to this any more, and when the process ends.

    Attributes:
        job: The id of the job that made them.
    """

    def __init__(
        self, job: str, partitions: list[KeptPartition], hosts: Callable[[], set[str]],
        release: Callable[[], None],
    ) -> None:  # fmt: skip
        super().__init__(partitions)
        self.job = job
        self._hosts = hosts
        self._release = finalize_here(self, release)

    def __repr__(self) -> str:
        gone = "" if self._release.alive else ", deleted"
        return f"<Blocks of job {self.job}: {len(self)} partitions{gone}>"

    def plan(self, map_tasks: int | None = None) -> list[BlockSplit]:
        """Return one split for each partition, to be mapped where it lies if somebody is there.

        Raises:
            InvalidJobError: They are deleted, or M is not R of the job that made them.
        """
        if not self._release.alive:
            raise InvalidJobError(f"the blocks of job {self.job} are deleted: run that job again")
        if map_tasks not in (None, len(self)):
            raise InvalidJobError(
                f"the data is {len(self)} partitions of job {self.job}, so map_tasks cannot be "
                f"{map_tasks}"
            )
        hosts = self._hosts()
        return [
            BlockSplit(self.job, number, kept, _host_among(hosts, kept), owner=self)
            for number, kept in enumerate(self)
        ]

    def delete(self) -> None:
        """Delete them, on all hosts, within seconds."""
        self._release()

    def __enter__(self) -> Blocks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.delete()


def _host_among(hosts: set[str], kept: KeptPartition) -> str | None:
    return kept.location.host if kept.location.host in hosts else None


@dataclass(frozen=True)
class BlockSplit:
    """One partition of an earlier job: a planned split.

    Attributes:
        job: That job. number: The partition's. kept: Where it is. affinity, wait: See `Split`.
        workplace: Who reads it; see `read_by`. owner: The `Blocks`, which must not be forgotten
            while a driver has the split; it does not travel.
    """

    job: str
    number: int
    kept: KeptPartition
    affinity: str | None = None
    wait: float = _WAIT_SECONDS
    workplace: Workplace | None = None
    owner: Blocks | None = None

    def __reduce__(self) -> Any:
        return BlockSplit, (self.job, self.number, self.kept, self.affinity, self.wait)

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return sum(frame.length for frame in self.kept.frames)

    @property
    def blocks(self) -> tuple[Parcel, ...]:
        """No blocks of the driver's."""
        return ()

    @property
    def files(self) -> tuple[str, ...]:
        """No files: the blocks are not the driver's."""
        return ()

    def at_home(self, uri: str) -> BlockSplit:
        """Return the same split."""
        return self

    def read_by(self, workplace: Workplace) -> BlockSplit:
        """Return the same split, in the hands of the worker that maps it."""
        return replace(self, workplace=workplace)

    def records(self, open_at: object = None) -> Records:
        """Return the items, which come frame by frame.

        Raises:
            InvalidJobError: There is no worker here.
            InputError: While they are read: they are gone. BlockLostError: Nobody answers.
        """
        if self.workplace is None:
            raise InvalidJobError(
                f"only workers can read the blocks of job {self.job}: for a run in one process, "
                "run that job in one process, too"
            )
        return Records.of(self._lists(self.workplace))

    def _lists(self, workplace: Workplace) -> Iterator[list[Any]]:
        for frame in self.kept.frames:
            try:
                data = workplace.read(self.kept.location, [frame])[0]
            except BlockLostError as error:
                again = f"run job {self.job} again"
                if error.answered or self.kept.location.host == workplace.host:
                    raise InputError(f"{self.describe()} is gone: {again} ({error})") from error
                raise BlockLostError(
                    f"{self.describe()} is out of reach: if that lasts, {again} ({error})",
                    answered=False,
                ) from error
            items: list[Any] = load(data)
            yield items

    def describe(self) -> str:
        """Say what it is."""
        return f"partition {self.number} of job {self.job}"

    def locate(self, position: int, open_at: object = None) -> str:
        """Say where a record is."""
        return f"record {position} of {self.describe()}"


class BlockResults:
    """The results of a job as `Blocks`; see `results.Results`.

    Args:
        job: The job's id.
    """

    def __init__(self, job: str) -> None:
        self._job, self._folder = job, f"{job}-kept"
        self.output, self.mark = KeepBlocks(), ""
        self.work = BlockWork(self._folder)
        self._kept: dict[int, KeptPartition] = {}
        self._here: list[Split] = []
        self._release: Callable[[], None] = lambda: None
        self._hosts: Callable[[], set[str]] = set

    def prepare(self) -> None:
        """See `Results.prepare`."""

    def adopt(self, mark: str) -> None:
        """See `Results.adopt`."""

    def begin(self, engine: Engine) -> None:
        """See `Results.begin`."""
        self._release, self._hosts = engine.hold(self._folder, {"kept": True})

    def keep(self, number: int, parcel: Parcel, engine: Engine) -> None:
        """See `Results.keep`."""
        self._kept[number] = load(engine.receive(parcel))

    def keep_here(self, number: int, result: Any) -> None:
        """See `Results.keep_here`: with no worker to leave them with, they become splits."""
        self._here.append(Split(list(items_of(result))))

    def skip(self, number: int) -> None:
        """See `Results.skip`: the partition is empty."""
        self._kept[number] = KeptPartition(Location("", "", ""), (), 0)

    def skip_here(self, number: int) -> None:
        """See `Results.skip_here`."""
        self._here.append(Split([]))

    def finish(self) -> None:
        """See `Results.finish`."""
        if self._here:
            return
        kept = [self._kept[number] for number in sorted(self._kept)]
        self._blocks = Blocks(self._job, kept, self._hosts, self._release)

    def leave(self) -> None:
        """See `Results.leave`."""

    def abandon(self) -> None:
        """See `Results.abandon`."""
        self._release()

    def all(self) -> list[Any]:
        """Return what the next job takes as its data."""
        return self._here or self._blocks

    def each(self) -> Iterator[Any]:
        """Yield where each partition is."""
        yield from self.all()
