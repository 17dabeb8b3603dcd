"""Plan: outcomes in, tasks to write out. No I/O, no clock, so that every crash is a list.

::

    task     issued --OK--> done                       the first outcome wins, later ones are dropped
               ^ |  --ERROR--> issued again, RETRIES times, then the job fails
               | |  --DIED---> issued again, DEATHS times in all, then the job fails (if
               | |             it was for its memory, MEMORY_DEATHS times)
               | |  --LOST, cut off--> issued again, LOSSES times: who serves what it reads is silent
               | '--LOST (reduce)--> waits; the maps whose blocks are gone, and no other agent of
               |                     their host has them (`relocate`), are voided, LOSSES times
               |                     each, then the job fails: nobody can reach where they run
               '--------- all maps done again -----------'

    map      done --voided--> issued as a new attempt; its old outcomes no longer count

What if a host dies after its maps are done? The first reduce to miss their blocks says which;
just those maps run again, and the reduces that need them wait. A map that then gives other
blocks than before was not deterministic: every reduce that read the old ones runs again.

What if a driver dies? What it has sent of a task, its function, say, may be gone with it. An attempt
from its time that misses it costs the task nothing (`succeed`), for drivers may die as often as they like.

Two attempts of a task may be under way: the second is its backup (`back_up`). Whichever is OK
first wins. If one fails it is counted as ever, but nothing is issued and the job does not fail
while the other goes on; if that one fails too, what the first has cost is taken into account.
A task that may not be tried again has failed for good: it is buried, and the job fails or, with
``on_bad_task="skip"``, goes on as if it had made nothing. What of its records is to blame, if some
may be skipped, `skipping` finds out.

Of a stream nobody knows how many maps there will be: `add_map` adds one, no reduce begins before
`no_more_maps`, and all else is the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from mapreduce.misfits import misfit
from mapreduce.options import SKIP, Options
from mapreduce.shuffle import MapOutput, empty_output, sources_of
from mapreduce.skipping import SkippedRecord, Skipping, Verdict
from mapreduce.volume import Volume
from workers.blocks import Location
from workers.task import DIED, LOST, MEMORY, OK, REFUSED, Outcome

MAP: Final = "map"
REDUCE: Final = "reduce"
#: How many attempts of one task may end with the death of their worker.
DEATHS: Final = 4
#: How many may because of the memory they used: another worker may have more, but a third try
#: on the same data would only take longer to say so.
MEMORY_DEATHS: Final = 2
#: How often the output of one map may be gone when a reduce needs it, and one task be cut off.
LOSSES: Final = 16


class Order(NamedTuple):
    """A task to write: an attempt at one map or reduce.

    Attributes:
        phase, number, attempt: Which. sources: What a reduce pulls; None for a map.
        options: See `Task.options`.
    """

    phase: str
    number: int
    attempt: int
    sources: list[Any] | None = None
    options: dict[str, Any] = {}  # noqa: RUF012  # never changed


class Plan:
    """The state of one job.

    Args:
        map_tasks: M. reduce_tasks: R. options: What its user said.
        more_maps: Whether others may come, see `add_map`.

    Attributes:
        options: As given. outputs: For each map its output, None until it has one.
        results: For each reduce the outcome that won, None until one has; that of a reduce which
            is skipped is the one that has buried it.
        failure: The outcome that ended the job, None while it may succeed.
        ordered, failed: How many attempts of each phase were ordered, and how many did not end OK.
        maps_done, reduces_done: How many tasks have an output, or a result.
        volume: What the maps that are done have read and written.
        buried: The last outcomes of the tasks that have failed for good.
        under_way: Of each task that is, the attempts that may end it: one, or two (see `back_up`).
        more_maps: Whether others may come.
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
        self.ordered: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.maps_done = self.reduces_done = 0
        self.volume = Volume()
        self.buried: list[Outcome] = []
        self.under_way: dict[tuple[str, int], tuple[int, ...]] = {}
        self.options = options
        self._skipping = Skipping(options.skip_bad_records)
        self._attempts: Counter[tuple[str, int]] = Counter()
        self._errors: Counter[tuple[str, int]] = Counter()
        self._deaths: Counter[tuple[str, int]] = Counter()
        self._memory_deaths: Counter[tuple[str, int]] = Counter()
        self._losses: Counter[int] = Counter()
        self._cut_off: Counter[tuple[str, int]] = Counter()
        #: What may miss what a driver had sent that is dead by now.
        self._bereft: set[tuple[tuple[str, int], int]] = set()
        #: Outcomes that end the job unless another attempt, which is under way, ends OK.
        self._last_words: dict[tuple[str, int], Outcome] = {}
        self._orders = 0
        #: When each map's output came and each attempt of a reduce was issued, counted in orders.
        self._output_since = [0] * map_tasks
        self._issued: dict[tuple[int, int], int] = {}
        self._voided: dict[int, MapOutput] = {}
        self._waiting = set(range(reduce_tasks))
        self.more_maps = more_maps

    @property
    def done(self) -> bool:
        """Whether every reduce has a result."""
        return self.reduces_done == len(self.results)

    @property
    def maps_to_do(self) -> int:
        """How many maps that there are have no output."""
        return len(self.outputs) - self.maps_done

    @property
    def failed_attempts(self) -> int:
        """How many attempts did not end OK."""
        return self.failed.total()

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
        return self._order(MAP, len(self.outputs) - 1)

    def no_more_maps(self) -> list[Order]:
        """Take in that these were all; return the reduces, if all maps are done."""
        self.more_maps = False
        return self._reduces() if self.failure is None else []

    def misfit(self, outcome: Outcome) -> str:
        """Return why this cannot be the outcome of a task of this job; "": it can."""
        tasks = {MAP: len(self.outputs), REDUCE: len(self.results)}.get(outcome.phase, 0)
        if type(outcome.number) is not int or not 0 <= outcome.number < tasks:
            return "there is no such task"
        attempts = self._attempts[outcome.phase, outcome.number]
        return misfit(outcome, attempts, len(self.outputs))

    def decide(self, outcome: Outcome, output: MapOutput | None = None) -> list[Order]:
        """Take in one outcome and return the tasks to write now.

        Args:
            outcome: It. output: What a map that ended OK returned.
        """
        task = (outcome.phase, outcome.number)
        if self.failure is not None or not self._ends(task, outcome.attempt):
            return []
        probe = self._skipping.is_probe(task, outcome.attempt)
        if outcome.status == OK:
            if probe:
                return self._judge(task, outcome, self._skipping.passed(task, outcome))
            self._skipping.done(task, outcome)
            if self._skipping.exceeded:
                return self._fail_for_bad_records(outcome)
            self._forget(task)
            if outcome.phase == MAP:
                assert output is not None
                return self._map_done(outcome.number, output)
            self._reduce_done(outcome)
            return []
        self.failed[outcome.phase] += not probe
        missing = outcome.details.get("maps", ()) if outcome.status == LOST else ()
        if missing and outcome.phase == REDUCE:
            last = None if task in self.under_way else self._last_words.get(task)
            return self._void(outcome, missing) if last is None else self._bury(last)
        return self._judge(task, outcome, self._skipping.failed(task, outcome))

    def attempts(self, phase: str, number: int) -> int:
        """Return how many attempts of a task there were."""
        return self._attempts[phase, number]

    @property
    def has_too_many_bad(self) -> bool:
        """Whether more records are bad than may be: then the job has failed."""
        return self._skipping.exceeded

    def skipped_records(self) -> list[SkippedRecord]:
        """Return the bad records found so far: maps' first, in order."""
        return self._skipping.records()

    def back_up(self, phase: str, number: int) -> Order | None:
        """Return a second attempt of a task that is under way; None: it is not, or has one.

        Nor has one that looks for bad records, step by step, nor one that has failed as often as
        it may: with a new backup each time it would never end.
        """
        task = (phase, number)
        alone = len(self.under_way.get(task, ())) == 1
        if self.failure is not None or not alone or self._skipping.knows(task):
            return None
        if task in self._last_words:
            return None
        if phase == MAP:
            return self._order(*task)
        if self.maps_to_do:  # they run again, and it will be issued anew or has what it needs
            return None
        return self._order(phase, number, sources_of([number], self._outputs())[number])

    def succeed(self) -> None:
        """Take in that the driver is another now: who misses what the dead one has sent is not to blame.

        Each attempt under way may: it is tried again, with what this driver sends.
        """
        self._bereft = {
            (task, each) for task, attempts in self.under_way.items() for each in attempts
        }

    def relocate(self, number: int, location: Iterable[str]) -> None:
        """Take in where a map's block file is to be had now: who has missed it runs again, no map."""
        output = self.outputs[number]
        assert output is not None
        self.outputs[number] = output._replace(location=Location(*location))
        self._output_since[number] = self._orders

    def revoke(self, outcome: Outcome) -> list[Order]:
        """Run a reduce again whose result is gone before anybody has fetched it."""
        if self.results[outcome.number] is outcome:
            self._void_reduce(outcome.number)
        return self._reduces()

    def is_settled(self, phase: str, number: int, attempt: int) -> bool:
        """Whether no outcome of this attempt would change anything; after a driver's death one may come twice."""
        return self.failure is not None or attempt not in self.under_way.get((phase, number), ())

    def _ends(self, task: tuple[str, int], attempt: int) -> bool:
        """Take in that an attempt has ended; False if it counts no more, or did end before."""
        under_way = self.under_way.get(task, ())
        if attempt not in under_way:
            return False
        if len(under_way) == 1:
            del self.under_way[task]
        else:
            self.under_way[task] = tuple(other for other in under_way if other != attempt)
        return True

    def _forget(self, task: tuple[str, int]) -> None:
        """Let no attempt so far count any more."""
        self.under_way.pop(task, None)
        self._last_words.pop(task, None)

    def _outputs(self) -> list[MapOutput]:
        return [output for output in self.outputs if output is not None]

    def _order(self, phase: str, number: int, sources: list[Any] | None = None) -> Order:
        attempt = self._attempts[phase, number]
        self._attempts[phase, number] += 1
        self.ordered[phase] += 1
        self.under_way[phase, number] = (*self.under_way.get((phase, number), ()), attempt)
        self._orders += 1
        if phase == REDUCE:
            self._issued[number, attempt] = self._orders
        options = self._skipping.options((phase, number), attempt)
        return Order(phase, number, attempt, sources, options)

    # -- what has failed

    def _judge(self, task: tuple[str, int], outcome: Outcome, verdict: Verdict) -> list[Order]:
        """Try a task again that has failed or was probed, if it may be and no attempt goes on."""
        if self._skipping.exceeded:
            return self._fail_for_bad_records(outcome)
        if verdict.explained:
            count, _ = self._limit(outcome)
            count[task] -= count[task] > 0
            self._last_words.pop(task, None)
        bereft = outcome.status == LOST and (task, outcome.attempt) in self._bereft
        if verdict.counts is not None and not bereft:
            count, limit = self._limit(verdict.counts)
            count[task] += 1
            if count[task] > limit or verdict.counts.status == REFUSED:
                self._last_words.setdefault(task, verdict.counts)
        if task in self.under_way:
            return []
        if task in self._last_words:
            return self._bury(self._last_words[task])
        phase, number = task
        return self._reduces([number]) if phase == REDUCE else [self._order(*task)]

    def _limit(self, outcome: Outcome) -> tuple[Counter[tuple[str, int]], int]:
        """Return where an outcome counts, and how many may."""
        if outcome.is_cut_off:
            return self._cut_off, LOSSES
        if outcome.status != DIED:
            return self._errors, self.options.retries
        if outcome.details.get("cause") == MEMORY:
            return self._memory_deaths, MEMORY_DEATHS - 1
        return self._deaths, DEATHS - 1

    def _bury(self, outcome: Outcome) -> list[Order]:
        self.buried.append(outcome)
        # A wrong signature is no fault of the task, nor are hosts that cannot reach each other.
        blameless = outcome.status == REFUSED or outcome.is_cut_off
        if self.options.on_bad_task != SKIP or blameless:
            self.failure = outcome
            return []
        self._forget((outcome.phase, outcome.number))
        if outcome.phase == MAP:
            return self._map_done(outcome.number, empty_output(len(self.results)))
        self._reduce_done(outcome)
        return []

    def _fail_for_bad_records(self, outcome: Outcome) -> list[Order]:
        self.failure = outcome
        self.buried.append(outcome)
        return []

    def _map_done(self, number: int, output: MapOutput) -> list[Order]:
        self.outputs[number] = output
        self.maps_done += 1
        self.volume.add(output)
        self._output_since[number] = self._orders
        old = self._voided.pop(number, None)
        if old is not None:
            for partition in range(len(self.results)):
                if old.digests(partition) != output.digests(partition):
                    self._void_reduce(partition)
                    self._skipping.forget((REDUCE, partition))
        return self._reduces()

    def _reduce_done(self, outcome: Outcome) -> None:
        self.results[outcome.number] = outcome
        self.reduces_done += 1

    def _void_reduce(self, partition: int) -> None:
        """Let no outcome of the attempts so far count."""
        self.reduces_done -= self.results[partition] is not None
        self.results[partition] = None
        self._forget((REDUCE, partition))
        self._waiting.add(partition)

    def _void(self, outcome: Outcome, missing: Iterable[int]) -> list[Order]:
        """Run the maps again whose blocks a reduce has missed; it waits for them."""
        self._waiting.add(outcome.number)
        issued = self._issued[outcome.number, outcome.attempt]
        orders = []
        for number in missing:
            output = self.outputs[number]
            # Another reduce may have missed the same blocks before, and the map be done again.
            if output is not None and self._output_since[number] < issued:
                self._losses[number] += 1
                if self._losses[number] > LOSSES:
                    self.failure = outcome
                    return []
                self._voided[number] = output
                self.outputs[number] = None
                self.maps_done -= 1
                self.volume.remove(output)
                orders.append(self._order(MAP, number))
        return orders or self._reduces()

    def _reduces(self, numbers: list[int] | None = None) -> list[Order]:
        """Return the reduces that wait, if all maps are done."""
        self._waiting.update(numbers or ())
        if self.maps_to_do or self.more_maps:
            return []
        outputs = self._outputs()
        # The largest first, so that the last to end is a small one.
        waiting = [number for number in self._waiting if self.results[number] is None]
        self.volume.divide(outputs, len(self.results))
        waiting.sort(key=lambda number: (-self.volume.sizes[number], number))
        self._waiting = set()
        sources = sources_of(waiting, outputs)
        return [self._order(REDUCE, number, sources[number]) for number in waiting]
