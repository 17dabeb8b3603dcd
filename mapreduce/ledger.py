"""The ledger: what a job's driver has learned, in order, so that another can go on.

A plan is pure, so its inputs, replayed in order, give the same plan: the same attempts, errors,
deaths and losses. The ledger holds them as events::

    ("head", facts)                                        M (None: of a stream), R, the work, ...
    ("split", number, argument, blocks, affinity, wait, files, description)    as it is first ordered
    ("end",)                                               a stream has no more splits
    ("outcome", phase, number, attempt, ...)               as the plan has taken it in
    ("revoked", number, message)                           a reduce's result was gone
    ("call", method, argument, ...)                        any other method of the plan

How they travel: see `records`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mapreduce.errors import LedgerError
from mapreduce.options import Options
from mapreduce.plan import MAP, Order, Plan
from mapreduce.records import PIECE_BYTES, Event
from mapreduce.shuffle import MapOutput
from mapreduce.tally import Tally
from tuplespace.pickles import dump, load
from workers.task import OK, Outcome, Parcel, this_runtime


class RecordedSplit(NamedTuple):
    """What a driver needs of a split that has been sent before.

    Attributes:
        argument: The split, pickled. blocks: What else has been sent of it. affinity, wait, files: See `PlannedSplit`.
        description: What its `describe` says.
    """

    argument: Parcel
    blocks: tuple[Parcel, ...]
    affinity: str | None
    wait: float
    files: tuple[str, ...]
    description: str

    def describe(self) -> str:
        """See `PlannedSplit.describe`."""
        return self.description


def head_event(planned: Any, results: Any, parcels: dict[str, Parcel]) -> Event:
    """Return the event that begins the ledger of a job.

    Args:
        planned: The job, planned. results: What becomes of its results.
        parcels: The functions and modules, sent; small ones stand in the ledger all the same.
    """
    work, plan = planned.work, planned.plan
    return ("head", {
        "maps": None if plan.more_maps else len(plan.outputs), "reduces": len(plan.results),
        "options": tuple(plan.options), "description": planned.description,
        "runtime": this_runtime(), "output": dump(results.output), "mark": results.mark,
        **{
            name: None if data is None
            else data if len(data) <= PIECE_BYTES else parcels[name].to_plain()
            for name, data in (("map", work.map), ("reduce", work.reduce), ("bundle", work.bundle))
        },
    })  # fmt: skip


def split_event(number: int, argument: Parcel, split: Any) -> Event:
    """Return the event of a split that is ordered for the first time."""
    blocks = tuple(parcel.to_plain() for parcel in split.blocks)
    return ("split", number, argument.to_plain(), blocks, split.affinity, split.wait,
            tuple(split.files), split.describe())  # fmt: skip


def outcome_event(outcome: Outcome) -> Event:
    """Return the event of an outcome that the plan takes in."""
    value = outcome.value and outcome.value.to_plain()
    return ("outcome", *outcome[1:8], value, outcome.details or None, outcome.counters or None)


# -- from events to a plan


@dataclass
class History:
    """What a ledger tells; `take` it event by event.

    Attributes:
        facts: What the head says; empty: there is none yet. plan: The plan, as it was.
        splits: Those that have been sent. ended: Whether these are all.
        events: How many there were. tasks_by_worker: See `Report`.
        revoked: How often each reduce's result was gone. tally: What was counted.
        seconds: (phase, seconds) of each task that is done.
    """

    job: str
    facts: dict[str, Any] = field(default_factory=dict)
    plan: Plan = field(default_factory=lambda: Plan(0, 0))
    splits: list[RecordedSplit] = field(default_factory=list)
    ended: bool = False
    events: int = 0
    tasks_by_worker: dict[str, int] = field(default_factory=dict)
    revoked: dict[int, int] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    seconds: list[tuple[str, float]] = field(default_factory=list)
    _orders: dict[tuple[str, int, int], Order] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        """Take in one more event.

        Raises:
            LedgerError: It cannot come here.
        """
        kind, *rest = event
        if (kind == "head") == bool(self.facts):
            raise LedgerError(f"the ledger of job {self.job} has {kind!r} at {self.events}")
        self.events += 1
        getattr(self, f"_{kind}")(*rest)

    @property
    def unanswered(self) -> list[Order]:
        """The orders that have no outcome yet, and still may count."""
        return [
            order for order in self._orders.values()
            if not self.plan.is_settled(order.phase, order.number, order.attempt)
        ]  # fmt: skip

    def _issue(self, orders: Any) -> None:
        for order in [orders] if isinstance(orders, Order) else orders or ():
            self._orders[order.phase, order.number, order.attempt] = order

    def _head(self, facts: dict[str, Any]) -> None:
        self.facts = facts
        stream = facts["maps"] is None
        self.plan = Plan(
            facts["maps"] or 0, facts["reduces"], Options(*facts["options"]), more_maps=stream
        )
        if not stream:
            self.ended = True
            self._issue(self.plan.start())

    def _split(
        self, number: int, argument: Any, blocks: Any, affinity: str | None, wait: float,
        files: Any, said: str,
    ) -> None:  # fmt: skip
        if number != len(self.splits):
            raise LedgerError(f"the ledger of job {self.job} has no split {len(self.splits)}")
        parcels = tuple(map(Parcel.from_plain, blocks))
        self.splits.append(
            RecordedSplit(Parcel.from_plain(argument), parcels, affinity, wait, tuple(files), said)
        )
        if self.facts["maps"] is None:
            self._issue(self.plan.add_map())

    def _end(self) -> None:
        self.ended = True
        self._issue(self.plan.no_more_maps())

    def _outcome(self, *fields: Any) -> None:
        outcome = _outcome_of(self.job, fields)
        output: MapOutput | None = None
        if outcome.status == OK:
            self.seconds.append((outcome.phase, outcome.seconds))
            if outcome.phase == MAP:
                assert outcome.value is not None
                output = load(outcome.value.content or b"")
        self._orders.pop((outcome.phase, outcome.number, outcome.attempt), None)
        self._issue(self.plan.decide(outcome, output))
        if self.tally.note(self.plan, outcome, output):
            worker = outcome.worker
            self.tasks_by_worker[worker] = self.tasks_by_worker.get(worker, 0) + 1

    def _revoked(self, number: int, _: str) -> None:
        self.revoked[number] = self.revoked.get(number, 0) + 1
        won = self.plan.results[number]
        if won is not None:
            self._issue(self.plan.revoke(won))

    def _call(self, method: str, *arguments: Any) -> None:
        if method.startswith("_"):
            raise LedgerError(f"the ledger of job {self.job} calls {method!r}")
        self._issue(getattr(self.plan, method)(*arguments))


def _outcome_of(job: str, fields: Any) -> Outcome:
    phase, number, attempt, status, worker, pid, seconds, value, details, counters = fields
    parcel = None if value is None else Parcel.from_plain(value)
    return Outcome(
        job, phase, number, attempt, status, worker, pid, seconds, parcel, details or {},
        counters or {},
    )  # fmt: skip
