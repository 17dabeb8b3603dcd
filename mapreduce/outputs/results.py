"""What becomes of what the reduces return: `Results` secures it in the driver as it comes.

Nothing depends on workers or space once the job has ended. Small results stay in memory, big ones
become files of a folder ``results-...`` beside the folders of blocks; `JobRun` is its owner, and it
goes when that is forgotten or the process exits. It bears the mark of a folder in use (see
`workers.blocks`), so what a killed driver leaves, the next sweep of an agent or driver deletes.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from mapreduce.engine.interface import Engine
from mapreduce.errors import JobFailedError
from mapreduce.outputs.chained import BlockResults, KeepBlocks
from mapreduce.outputs.committing import FileResults
from mapreduce.outputs.formats import as_output
from mapreduce.outputs.ownership import finalize_here
from tuplespace.pickles import dump_data, load, load_from
from workers.errors import WorkFolderError
from workers.folders import occupy, remove_deserted, work_folder
from workers.parcels import open_frames
from workers.task import Parcel, Task
from workers.workplace import Workplace


class ResultWork(Protocol):
    """What a reduce task does with its result, in the worker."""

    def __call__(self, result: Any, workplace: Workplace, task: Task) -> Any:
        """Return what the outcome carries in its place."""


class Results(Protocol):
    """The results of one job, in the driver."""

    @property
    def work(self) -> ResultWork | None:
        """What the reduce tasks do with their results; None: they return them."""

    def prepare(self) -> None:
        """Begin; raises InvalidJobError if it cannot."""

    @property
    def output(self) -> Any:
        """As `MapReduceJob.output`."""

    @property
    def mark(self) -> str:
        """What `adopt` is told, in another driver."""

    def adopt(self, mark: str) -> None:
        """Begin as the successor of a driver that is gone, instead of `prepare`.

        Raises:
            InvalidJobError: What it has left cannot be gone on with.
        """

    def begin(self, engine: Engine) -> None:
        """Begin the job's work on this engine."""

    def keep(self, number: int, parcel: Parcel, engine: Engine) -> None:
        """Secure the result of a reduce whose outcome counts; it may have had another before.

        Raises:
            BlockLostError: It is gone. JobFailedError: There is no room for it.
        """

    def keep_here(self, number: int, result: Any) -> None:
        """Take in a result of this very process."""

    def skip(self, number: int) -> None:
        """Do without the result of a reduce: it has failed for good, and the job goes on."""

    def skip_here(self, number: int) -> None:
        """Do without one of this very process."""

    def finish(self) -> None:
        """End well: all results are there."""

    def abandon(self) -> None:
        """End as if it had never begun."""

    def leave(self) -> None:
        """Let go of what a driver that takes over needs; before `abandon`."""

    def all(self) -> list[Any]:
        """Return what the job's result is."""

    def each(self) -> Iterator[Any]:
        """Yield the results, in order, each loaded when it is asked for."""


class _Kept(NamedTuple):
    path: Path
    parcel: Parcel


class Values:
    """The results as values: the default.

    Args:
        job: The job's id.
    """

    work: ResultWork | None = None
    output = None
    mark = ""

    def __init__(self, job: str) -> None:
        self._job = job
        self._kept: dict[int, bytes | _Kept] = {}
        self._values: list[Any] = []
        self._folder: Path | None = None

    def prepare(self) -> None:
        """See `Results.prepare`."""

    def adopt(self, mark: str) -> None:
        """See `Results.adopt`: nothing is left of values."""

    def begin(self, engine: Engine) -> None:
        """See `Results.begin`."""

    def keep(self, number: int, parcel: Parcel, engine: Engine) -> None:
        """See `Results.keep`."""
        if parcel.content is not None:
            self._kept[number] = parcel.content
            return
        try:
            path = self._make_folder() / f"{number}-{secrets.token_hex(4)}"
            engine.secure(parcel, path)
        except (OSError, WorkFolderError) as error:
            raise JobFailedError(
                f"no room for the results of job {self._job}: {error}; give it an output directory"
            ) from error
        old, self._kept[number] = self._kept.get(number), _Kept(path, parcel)
        if isinstance(old, _Kept):
            old.path.unlink(missing_ok=True)

    def _make_folder(self) -> Path:
        if self._folder is None:
            root = work_folder()
            remove_deserted(root)
            folder = root / f"results-{self._job}-{secrets.token_hex(4)}"
            mark = occupy(folder)

            def clear() -> None:
                shutil.rmtree(folder, ignore_errors=True)
                mark.close()

            self._clear = finalize_here(self, clear)
            self._folder = folder
        return self._folder

    def keep_here(self, number: int, result: Any) -> None:
        """See `Results.keep_here`."""
        self._values.append(list(result) if isinstance(result, Iterator) else result)

    def skip(self, number: int) -> None:
        """See `Results.skip`: it is None."""
        self._kept[number] = dump_data(None)

    def skip_here(self, number: int) -> None:
        """See `Results.skip_here`."""
        self._values.append(None)

    def finish(self) -> None:
        """See `Results.finish`."""

    def leave(self) -> None:
        """See `Results.leave`."""

    def abandon(self) -> None:
        """See `Results.abandon`."""
        self._kept.clear()
        if self._folder is not None:
            self._clear()

    def all(self) -> list[Any]:
        """Return the list of all results; it is the same list each time."""
        if not self._values:
            self._values = list(self.each())
        return self._values

    def each(self) -> Iterator[Any]:
        """See `Results.each`."""
        for number in sorted(self._kept):
            kept = self._kept[number]
            if isinstance(kept, bytes):
                yield load(kept)
            else:
                with open_frames(kept.path, kept.parcel.frames) as file:
                    value = load_from(file)
                yield value
                del value


def results_of(output: Any, job: str) -> Results:
    """Return what collects the results of a job.

    Args:
        output: As `MapReduceJob.output`. job: The job's id.

    Raises:
        InvalidJobError: There is no such output.
    """
    if isinstance(output, KeepBlocks):
        return BlockResults(job)
    wanted = as_output(output)
    return Values(job) if wanted is None else FileResults(wanted, job)
