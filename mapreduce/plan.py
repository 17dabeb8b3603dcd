"""Plan: outcomes in, tasks to write out. No I/O, no clock, so that every crash is a list.

::

    task     issued --OK--> done                       the first outcome wins, later ones are dropped
               ^ |  --ERROR--> issued again, RETRIES times, then the job fails
               | |  --DIED---> issued again, DEATHS times in all, then the job fails (if
               | |             it was for its memory, MEMORY_DEATHS times)
               | '--LOST (reduce)--> waits; the maps whose blocks are gone are voided, LOSSES times
               |                     each, then the job fails: nobody can reach where they run
               '--------- all maps done again -----------'

    map      done --voided--> issued as a new attempt; its old outcomes no longer count

What if a host dies after its maps are done? The first reduce to miss their blocks says which;
just those maps run again, and the reduces that need them wait. A map that then gives other
blocks than before was not deterministic: every reduce that read the old ones runs again.

Of a stream nobody knows how many maps there will be: `add_map` adds one, no reduce begins before
`no_more_maps`, and all else is the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from mapreduce.options import Options
from mapreduce.shuffle import MapOutput, sources_of
from workers.task import DIED, ERROR, LOST, MEMORY, OK, REFUSED, Outcome

MAP: Final = "map"
REDUCE: Final = "reduce"
STATUSES: Final = (OK, ERROR, DIED, LOST, REFUSED)
#: How many attempts of one task may end with the death of their worker.
DEATHS: Final = 4
#: How many may because of the memory they used: another worker may have more, but a third try
#: on the same data would only take longer to say so.
MEMORY_DEATHS: Final = 2
#: How often the output of one map may be gone when a reduce needs it.
LOSSES: Final = 16


class Order(NamedTuple):
    """A task to write: an attempt at one map or reduce.

    Attributes:
        phase, number, attempt: Which. sources: What a reduce pulls; None for a map.
    """

    phase: str
    number: int
    attempt: int
    sources: list[Any] | None = None


class Plan:
    """The state of one job.

    Args:
        map_tasks: M. reduce_tasks: R. options: What its user said.
        more_maps: Whether others may come, see `add_map`.

    Attributes:
        outputs: For each map its output, None until it has one.
        results: For each reduce the outcome that won, None until one has.
        failure: The outcome that ended the job, None while it may succeed.
        failed_attempts: How many attempts did not end OK.
        options: What its user said. more_maps: Whether others may come.
    """

    def __init__(
        self,
        map_tasks: int,
        reduce_tasks: int,
        options: Options = Options(),
        *,
        more_maps: bool = False,
    ) -> None:
        self.outputs: list[MapOutput | None] = [None] * map_tasks
        self.results: list[Outcome | None] = [None] * reduce_tasks
        self.failure: Outcome | None = None
        self.failed_attempts = 0
        self.options = options
        self._attempts: Counter[tuple[str, int]] = Counter()
        self._oldest_valid: Counter[tuple[str, int]] = Counter()
        self._errors: Counter[tuple[str, int]] = Counter()
        self._deaths: Counter[tuple[str, int]] = Counter()
        self._memory_deaths: Counter[tuple[str, int]] = Counter()
        self._losses: Counter[int] = Counter()
        #: Attempts that did not end OK: after the death of a driver one may be told of twice.
        self._failed: set[tuple[str, int, int]] = set()
        self._orders = 0
        #: When each map's output came and each reduce was last issued, counted in orders.
        self._output_since = [0] * map_tasks
        self._issued = [0] * reduce_tasks
        self._voided: dict[int, MapOutput] = {}
        self._waiting = set(range(reduce_tasks))
        #: How many maps that there are have no output.
        self.maps_to_do = map_tasks
        self.more_maps = more_maps

    @property
    def done(self) -> bool:
        """Whether every reduce has a result."""
        return None not in self.results

    def start(self) -> list[Order]:
        """Return the first tasks."""
        if not self.outputs:
            return self._reduces()
        return [self._order(MAP, number) for number in range(len(self.outputs))]

    def add_map(self) -> Order:
        """Take in one more map and return its first attempt."""
        assert self.more_maps
        self.outputs.append(None)
        self._output_since.append(0)
        self.maps_to_do += 1
        return self._order(MAP, len(self.outputs) - 1)

    def no_more_maps(self) -> list[Order]:
        """Take in that these were all; return the reduces, if all maps are done."""
        self.more_maps = False
        return self._reduces() if self.failure is None else []

    def misfit(self, outcome: Outcome) -> str:
        """Return why this cannot be the outcome of a task of this job; "": it can.

        Whoever may write to the space may write such tuples.
        """
        tasks = {MAP: len(self.outputs), REDUCE: len(self.results)}.get(outcome.phase, 0)
        if type(outcome.number) is not int or not 0 <= outcome.number < tasks:
            return "there is no such task"
        if not 0 <= outcome.attempt < self._attempts[outcome.phase, outcome.number]:
            return f"there was no attempt {outcome.attempt}"
        if outcome.status not in STATUSES:
            return f"no attempt ends as {outcome.status!r}"
        if outcome.status == OK and outcome.value is None:
            return "it has no value"
        maps = outcome.details.get("maps", ()) if outcome.status == LOST else ()
        if type(maps) not in (tuple, list) or not all(
            type(number) is int and 0 <= number < len(self.outputs) for number in maps
        ):
            return "it misses maps that do not exist"
        return ""

    def decide(self, outcome: Outcome, output: MapOutput | None = None) -> list[Order]:
        """Take in one outcome and return the tasks to write now.

        Args:
            outcome: It. output: What a map that ended OK returned.
        """
        task = (outcome.phase, outcome.number)
        if self.failure is not None or self._settled(task, outcome.attempt):
            return []
        if outcome.status == OK:
            if outcome.phase == MAP:
                assert output is not None
                return self._map_done(outcome.number, output)
            self.results[outcome.number] = outcome
            return []
        if (*task, outcome.attempt) in self._failed:
            return []
        self._failed.add((*task, outcome.attempt))
        self.failed_attempts += 1
        missing = outcome.details.get("maps", ()) if outcome.status == LOST else ()
        if missing and outcome.phase == REDUCE:
            return self._void(outcome, missing)
        if outcome.status != DIED:
            count, limit = self._errors, self.options.retries
        elif outcome.details.get("cause") == MEMORY:
            count, limit = self._memory_deaths, MEMORY_DEATHS - 1
        else:
            count, limit = self._deaths, DEATHS - 1
        count[task] += 1
        if count[task] > limit or outcome.status == REFUSED:
            self.failure = outcome
            return []
        if outcome.phase == REDUCE:
            return self._reduces([outcome.number])
        return [self._order(*task)]

    def revoke(self, outcome: Outcome) -> list[Order]:
        """Run a reduce again whose result is gone before anybody has fetched it."""
        if self.results[outcome.number] is outcome:
            self._void_reduce(outcome.number)
        return self._reduces()

    def is_settled(self, phase: str, number: int, attempt: int) -> bool:
        """Whether no outcome of this attempt would change anything."""
        return self.failure is not None or self._settled((phase, number), attempt)

    def _settled(self, task: tuple[str, int], attempt: int) -> bool:
        phase, number = task
        if attempt < self._oldest_valid[task]:
            return True
        return (self.outputs if phase == MAP else self.results)[number] is not None

    def _order(self, phase: str, number: int, sources: list[Any] | None = None) -> Order:
        attempt = self._attempts[phase, number]
        self._attempts[phase, number] += 1
        self._orders += 1
        if phase == REDUCE:
            self._issued[number] = self._orders
        return Order(phase, number, attempt, sources)

    def _map_done(self, number: int, output: MapOutput) -> list[Order]:
        self.outputs[number] = output
        self.maps_to_do -= 1
        self._output_since[number] = self._orders
        old = self._voided.pop(number, None)
        if old is not None:
            for partition in range(len(self.results)):
                if old.digests(partition) != output.digests(partition):
                    self._void_reduce(partition)
        return self._reduces()

    def _void_reduce(self, partition: int) -> None:
        """Let no outcome of the attempts so far count."""
        self.results[partition] = None
        self._oldest_valid[REDUCE, partition] = self._attempts[REDUCE, partition]
        self._waiting.add(partition)

    def _void(self, outcome: Outcome, missing: Iterable[int]) -> list[Order]:
        """Run the maps again whose blocks a reduce has missed; it waits for them."""
        self._waiting.add(outcome.number)
        orders = []
        for number in missing:
            output = self.outputs[number]
            # Another reduce may have missed the same blocks before, and the map be done again.
            if output is not None and self._output_since[number] < self._issued[outcome.number]:
                self._losses[number] += 1
                if self._losses[number] > LOSSES:
                    self.failure = outcome
                    return []
                self._voided[number] = output
                self.outputs[number] = None
                self.maps_to_do += 1
                self._oldest_valid[MAP, number] = self._attempts[MAP, number]
                orders.append(self._order(MAP, number))
        return orders or self._reduces()

    def _reduces(self, numbers: list[int] | None = None) -> list[Order]:
        """Return the reduces that wait, if all maps are done."""
        self._waiting.update(numbers or ())
        if self.maps_to_do or self.more_maps:
            return []
        outputs = [output for output in self.outputs if output is not None]
        # The largest first, so that the last to end is a small one.
        waiting = sorted(self._waiting, key=lambda number: (-_size(number, outputs), number))
        self._waiting = set()
        return [self._order(REDUCE, number, sources_of(number, outputs)) for number in waiting]


def _size(partition: int, outputs: list[MapOutput]) -> int:
    return sum(output.part_size(partition) for output in outputs)
