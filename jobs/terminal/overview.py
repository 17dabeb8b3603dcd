"""What is going on in a space: its figures, workers, jobs, the oldest ready task and the buried ones.

One look costs the space CALLS_PER_LOOK calls and one more for each job, up to JOBS_COUNTED. Anybody may write tuples
under these names: what is not as it should be is not shown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from tuplespace import MatchTimeoutError
from tuplespace.interface import Space
from tuplespace.template import matches
from tuplespace.values import brief
from workers.claims import deserted_jobs

CALLS_PER_LOOK: Final = 9
#: Of the ready tasks of so many jobs; of more jobs nobody counts them each second.
JOBS_COUNTED: Final = 20
#: Of more buried tasks, each with a traceback, nobody is sent all each second.
_MOST_BURIED: Final = 500
#: What a cell shows of a text at most: anybody may have written it.
_LONGEST: Final = 160
_WORKER: Final = ("worker", str, str, str, int)
_RUNNING: Final = ("running", str, str, int, tuple, tuple)
_TASK: Final = (int, str, str, int, float)  # as in `workers.presence`
_PROCESS: Final = (int, int)
_READY: Final = ("task", str, str, int, str, str, bytes)
_JOB: Final = ("job", str, dict)
_BURIED: Final = ("buried", str, str, int, dict)
_STEP: Final = re.compile(r"(\w+), step \d+", re.ASCII)
_PROGRESS: Final = ("progress", str, str, (int, int), (int, int), float)


class Agent(NamedTuple):
    """A host's agent: its name as ``affinity=`` takes it, how many processes it has and how many are idle."""

    worker: str
    host: str
    runtime: str
    processes: int
    idle: int | None = None
    memory: int | None = None


class Process(NamedTuple):
    """A worker process: what it runs ("job map 12") for how many seconds, its resident bytes."""

    host: str
    pid: int
    task: str
    seconds: float | None
    memory: int | None


class Job(NamedTuple):
    """A job: M and R as it says them, its ready tasks (None: not counted), and who drives it.

    What its driver has told last, within 10 s (None: nothing yet): how many maps and reduces are done, and
    for how many seconds it had been at it.
    """

    id: str
    name: str
    maps: int | None
    reduces: int | None
    ready: int | None
    driver: str
    maps_done: int | None = None
    reduces_done: int | None = None
    seconds: float | None = None


class ReadyTask(NamedTuple):
    """The oldest task that nobody has claimed; `seconds` since it was first seen as that."""

    job: str
    phase: str
    number: int
    seconds: float


@dataclass
class Overview:
    """One look into a space.

    Attributes:
        uri: The space's. figures, limits: Of the space, see `Space.status`. rate: Calls a second since the
            look before; None: this is the first.
        agents, processes, jobs: What there is. oldest: The oldest ready task; None: none is ready.
        buried: The tuples of tasks that have failed for good; of very many the oldest alone.
        buried_count: How many there are.
    """

    uri: str
    figures: dict[str, Any]
    limits: dict[str, Any]
    rate: float | None
    agents: list[Agent]
    processes: list[Process]
    jobs: list[Job]
    oldest: ReadyTask | None
    buried: list[Sequence[Any]]
    buried_count: int


class Lookout:
    """Looks into one space, as often as it is asked to."""

    def __init__(self) -> None:
        self._operations: tuple[float, int] | None = None
        self._oldest: tuple[tuple[str, str, int], float] | None = None

    def look(self, space: Space, uri: str, now: float) -> Overview:
        """Return what is going on at `now`, in seconds from any start.

        Raises:
            TupleSpaceError: The space is away, or was lost.
        """
        figures = space.status()
        limits = figures.pop("limits", {})
        running = space.read_all(_RUNNING)
        workers = sorted(space.read_all(_WORKER))
        jobs = jobs_in(space)
        return Overview(
            uri, figures, limits, self._rate(figures.get("operations"), now),
            [_agent(value, running) for value in workers], _processes(running), jobs,
            self._oldest_ready(space, now), *_buried(space),
        )  # fmt: skip

    def _rate(self, operations: Any, now: float) -> float | None:
        before, self._operations = self._operations, (now, operations)
        if before is None or now <= before[0] or operations < before[1]:  # it has begun anew
            return None
        return float((operations - before[1]) / (now - before[0]))

    def _oldest_ready(self, space: Space, now: float) -> ReadyTask | None:
        try:
            _, job, phase, number, *_ = space.read(_READY, timeout=0)
        except MatchTimeoutError:
            self._oldest = None
            return None
        if self._oldest is None or self._oldest[0] != (job, phase, number):
            self._oldest = (job, phase, number), now
        return ReadyTask(job, phase, number, now - self._oldest[1])


def _buried(space: Space) -> tuple[list[Sequence[Any]], int]:
    """Return what is shown of the buried tasks, and how many there are; costs two calls."""
    count = space.count(_BURIED)
    if count <= _MOST_BURIED:
        found = space.read_all(_BURIED)
        return found, len(found)
    try:
        return [space.read(_BURIED, timeout=0)], count
    except MatchTimeoutError:  # somebody has just taken them all
        return [], 0


def jobs_in(space: Space) -> list[Job]:
    """Return the jobs of a space; costs three calls, and one for each of the first JOBS_COUNTED.

    Raises:
        TupleSpaceError: The space is away, or was lost.
    """
    found = space.read_all(_JOB)
    waiting = deserted_jobs(space)
    told = {value[1]: value[3:] for value in space.read_all(_PROGRESS)}
    jobs = []
    for place, (_, id, about) in enumerate(found):
        ready = space.count(("task", id, *[None] * 5)) if place < JOBS_COUNTED else None
        label = _text(about.get("label"))
        driver = _without_driver(id, label) if id in waiting else _text(about.get("driver"))
        maps, reduces = _number(about.get("maps")), _number(about.get("reduces"))
        (maps_done, maps), (reduces_done, reduces), seconds = told.get(
            id, ((None, maps), (None, reduces), None)
        )
        jobs.append(Job(id, label, maps, reduces, ready, driver,
                        maps_done, reduces_done, seconds))  # fmt: skip
    return jobs


def _without_driver(id: str, label: str) -> str:
    """Say what is to be done about a job that nobody drives."""
    if whole := whole_of(label):
        return f"none: run {whole} again (invoke resume {id}: this step alone)"
    return f"none: invoke resume {id}"


def step_label(whole: str, number: int) -> str:
    """Return what a step of a ready-made job is called, from 1."""
    return f"{whole}, step {number}"


def whole_of(label: str) -> str:
    """Return the name of the ready-made job that a job of this label is a step of; empty: it is none."""
    found = _STEP.fullmatch(label)
    return found[1] if found else ""


def claimed_tasks(space: Space, job: str) -> int:
    """Return how many tasks of a job agents have claimed; walks all claims, and has them sent.

    Raises:
        TupleSpaceError: The space is away, or was lost.
    """
    return len(space.claimed(("task", job, *[None] * 5)))


def _agent(value: Sequence[Any], running: Iterable[Sequence[Any]]) -> Agent:
    _, name, host, runtime, slots = value
    told = next((each for each in running if each[1:3] == (name, host)), None)
    if told is None:
        return Agent(name, host, runtime, slots)
    sizes = [size for _, size in _proper(told[5], _PROCESS)]
    return Agent(name, host, runtime, slots, told[3], sum(sizes) if sizes else None)


def _processes(running: Iterable[Sequence[Any]]) -> list[Process]:
    """Return the worker processes, those that have run longest first, the idle ones last."""
    found = []
    for _, _, host, _, tasks, processes in running:
        at_work = {task[0]: task[1:] for task in _proper(tasks, _TASK) if math.isfinite(task[4])}
        sizes = dict(_proper(processes, _PROCESS))
        for pid in sizes.keys() | at_work.keys():
            job, phase, number, seconds = at_work.get(pid, ("", "", 0, None))
            task = f"{job} {phase} {brief(number)}" if seconds is not None else ""
            found.append(Process(host, pid, task, seconds, sizes.get(pid)))
    return sorted(found, key=lambda each: (-(each.seconds or 0.0), each.host, each.pid))


def _proper(values: Iterable[Any], template: tuple[Any, ...]) -> list[Any]:
    return [each for each in values if type(each) is tuple and matches(template, each)]


def _text(value: Any) -> str:
    return value if type(value) is str else ""


def _number(value: Any) -> int | None:
    return value if type(value) is int else None


def short(text: str) -> str:
    """Return a text as long as a cell may show it."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
