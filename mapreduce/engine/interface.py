"""Engine: what a job's driver needs of whatever carries its tasks out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from mapreduce.records import Event
from mapreduce.report import Progress
from workers.blocks import Location
from workers.task import INLINE_BYTES, Outcome, Parcel, Task


class Running(NamedTuple):
    """What an agent says of a worker process that has been with one task for a while.

    Attributes:
        agent, pid: The agent and the process. host: Theirs. phase, number: Of the task.
        seconds: How long it had run when the agent said so.
    """

    agent: str
    host: str
    pid: int
    phase: str
    number: int
    seconds: float


class Load(NamedTuple):
    """What the workers have to do.

    Attributes:
        waiting: Whether a task of any job waits that any of them could run.
        idle: How many worker processes have nothing to do.
        running: Those of this job's tasks that have run for a while.
    """

    waiting: bool
    idle: int
    running: list[Running]


class Engine(Protocol):
    """Carries out the tasks of one job."""

    def open(self, job: str, description: dict[str, Any]) -> None:
        """Begin the job of this id.

        Raises:
            TupleSpaceError: It cannot be begun.
        """

    def record(self, event: Event) -> None:
        """Put an event into the job's ledger, with the next tasks or soon; for any thread."""

    def taken_in(self) -> None:
        """Note that the events of all outcomes so far are recorded."""

    def check(self) -> None:
        """Make sure that the job is still this driver's.

        Raises:
            JobSupersededError: It is another's.
        """

    def send(
        self, name: str, data: bytes, inline: int = INLINE_BYTES, *, shared: bool = False
    ) -> Parcel:
        """Return bytes as something that a task can carry, or that many share; for any thread.

        It takes no memory here if they are more than `inline`, and can be had until `close`.
        """

    def adopt(self, parcel: Parcel) -> Parcel:
        """Return a parcel of a driver that is gone as one that tasks can carry.

        Raises:
            BlockLostError: It is a block that is not on this host any more, or never was.
        """

    def share(self, paths: Collection[str]) -> str:
        """Let workers of other hosts read these files of this host.

        Returns:
            The URI of the block server that hands them out; empty: there is no need.
        """

    def write(self, tasks: Iterable[Task]) -> None:
        """Have these tasks run; for any thread. After `close` it does nothing.

        They may be taken one by one, as there is room for them, by the thread that asks for
        `outcomes`.
        """

    def lift(self, task: Task) -> bool:
        """Let a task that waits for the worker or host it is aimed at run anywhere.

        Returns:
            Whether it did wait; else it runs or has been run, or cannot be written now.
        """

    def load(self) -> Load:
        """Return what the workers have to do."""

    def withdraw(self, phase: str, number: int, attempt: int) -> None:
        """End an attempt of a task that is done, if that can be: then it has no outcome."""

    def interrupt(self) -> None:
        """Let a `write` under way end without having written all, and all later ones; for any thread."""

    def tell(self, progress: Progress) -> None:
        """Show how far the job is to whoever looks, soon, if that can be; never blocks."""

    def outcomes(self, timeout: float) -> list[Outcome]:
        """Return the outcomes there are, waiting up to `timeout` seconds for the first.

        One that is not recorded when the driver dies is there again for the next.

        Raises:
            JobSupersededError: Another driver has the job.
            JobCancelledError: It was ended from elsewhere.
        """

    def receive(self, parcel: Parcel) -> bytes:
        """Return the bytes a task has sent.

        Raises:
            BlockLostError: They are gone.
        """

    def pieces(self, parcel: Parcel) -> Iterator[bytes]:
        """Yield the bytes a task has sent, in pieces that fit into memory.

        Raises:
            BlockLostError: They are gone.
        """

    def secure(self, parcel: Parcel, path: Path) -> None:
        """Make the bytes a task has sent a file of the driver's; frames are checked when read.

        Raises:
            BlockLostError: They are gone. OSError: The file cannot be written.
        """

    def elsewhere(self, locations: Iterable[Location]) -> dict[Location, Location]:
        """Return where those of these block files can be had that another server of their host has.

        Args:
            locations: Of files whose servers have not answered.
        """

    def hold(
        self, job: str, description: dict[str, Any]
    ) -> tuple[Callable[[], None], Callable[[], set[str]]]:
        """Keep a job's blocks on the workers' disks beyond `close`.

        Returns:
            What lets them go; what says which hosts have workers.

        Raises:
            InvalidJobError: The workers are gone with this engine.
        """

    def bury(self, task: tuple[Any, ...]) -> None:
        """Show a task that has failed for good to whoever looks, also after `close`; see `burying`."""

    def runtimes(self) -> set[str]:
        """Return the runtimes of the workers there are."""

    def places(self) -> set[str]:
        """Return the names of the workers there are and of their hosts: what a task can be aimed at."""

    def slots(self) -> int:
        """Return how many tasks the workers there are can run at once."""

    def desert(self) -> bool:
        """Leave the job, whose space is away, as it is, so that it can be resumed; before `close`.

        Returns:
            Whether it can be: else it ends.
        """

    def close(self) -> None:
        """End the job: whatever is left of its tasks and blocks goes."""
