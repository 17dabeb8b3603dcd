"""The ledger: what a job's driver has learned, in order, so that another can go on.

A plan is pure, so its inputs, replayed in order, give the same plan: the same attempts, errors,
deaths and losses. The ledger holds them as events::

    ("head", facts)                                        M (None: of a stream), R, the work, ...
    ("split", number, argument, blocks, affinity, wait, files, description)    as it is first ordered
    ("end",)                                               a stream has no more splits
    ("outcome", phase, number, attempt, ...)               as the plan has taken it in
    ("revoked", number, message)                           a reduce's result was gone
    ("call", method, argument, ...)                        any other method of the plan

Events travel as ``("ledger", job, serial, sealed)``: packed, in pieces of at most PIECE_BYTES, each
sealed with the cluster key for its job and serial, so that nothing unsigned is ever unpickled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from mapreduce.errors import LedgerError
from mapreduce.options import Options
from mapreduce.plan import MAP, Order, Plan
from mapreduce.shuffle import MapOutput
from tuplespace.pickles import dump, load
from tuplespace.security import Key
from tuplespace.wire import pack, unpack
from workers.task import OK, Outcome, Parcel, this_runtime

Event = tuple[Any, ...]

PIECE_BYTES: Final = 1 << 20
_MORE: Final = b"+"
_LAST: Final = b"."


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


# -- from events to tuples and back


def encode(events: Iterable[Event], job: str, serial: int, key: Key) -> Iterator[tuple[Any, ...]]:
    """Yield the tuples of some events, numbered from `serial` on."""
    data = pack(tuple(events))
    for start in range(0, len(data), PIECE_BYTES):
        piece = data[start : start + PIECE_BYTES]
        mark = _LAST if start + PIECE_BYTES >= len(data) else _MORE
        yield ("ledger", job, serial, key.seal(_context(job, serial), mark + piece))
        serial += 1


class Decoder:
    """Turns a ledger's tuples, in the order of their serials, into events again.

    Attributes:
        serial: Of the first tuple that is not part of what has been decoded.
    """

    def __init__(self, job: str, key: Key) -> None:
        self._job, self._key = job, key
        self._pieces: list[bytes] = []
        self._seen = 0
        self.serial = 0

    def feed(self, tuples: Iterable[tuple[Any, ...]]) -> Iterator[Event]:
        """Yield the events in some more tuples.

        Raises:
            AuthenticationError: One was not sealed with this key for this job and serial.
        """
        for _, _, serial, sealed in sorted(tuples, key=lambda each: each[2]):
            if serial != self._seen:  # a repetition; or a gap, after which nothing can be known
                continue
            body = self._key.unseal(_context(self._job, serial), sealed)
            self._seen += 1
            self._pieces.append(body[1:])
            if body[:1] == _LAST:
                events, self._pieces = unpack(b"".join(self._pieces)), []
                self.serial = self._seen
                yield from events


def _context(job: str, serial: int) -> str:
    return f"ledger|{job}|{serial}"


# -- from events to a plan


@dataclass
class History:
    """What a ledger tells; `take` it event by event.

    Attributes:
        facts: What the head says; empty: there is none yet. plan: The plan, as it was.
        splits: Those that have been sent. ended: Whether these are all.
        events: How many there were. tasks_by_worker: See `Report`.
        revoked: How often each reduce's result was gone.
    """

    job: str
    facts: dict[str, Any] = field(default_factory=dict)
    plan: Plan = field(default_factory=lambda: Plan(0, 0))
    splits: list[RecordedSplit] = field(default_factory=list)
    ended: bool = False
    events: int = 0
    tasks_by_worker: dict[str, int] = field(default_factory=dict)
    revoked: dict[int, int] = field(default_factory=dict)
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
            worker = outcome.worker
            self.tasks_by_worker[worker] = self.tasks_by_worker.get(worker, 0) + 1
            if outcome.phase == MAP:
                assert outcome.value is not None
                output = load(outcome.value.content or b"")
        self._orders.pop((outcome.phase, outcome.number, outcome.attempt), None)
        self._issue(self.plan.decide(outcome, output))

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
