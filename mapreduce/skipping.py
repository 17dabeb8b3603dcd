"""Skipping: from the outcomes of a task's attempts, what its next attempt is to do. No I/O, no clock.

::

    first attempt    as if nobody skipped anything: it costs nothing
       | fails
    tracked          the position of the record in hand is noted where it outlives the process
       |             (see `tracking`); a record that raises is skipped on the spot
       | fails
       |-- on a record (`each`) or key (`by_key`): it is bad if it has raised, or killed twice
       |                     --> tracked again, without it
       '-- somewhere among the first `bound` records or pairs
             --> probes   the first k of them, their output is thrown away: the least k that fails
                          ends with the bad one   --> tracked again, without it

Probes run a prefix, not a part of the middle: a function may need what comes before (a header,
say). What if the failure is not the record's? A killed worker names a record once, and seldom the
same again. A probe that passes where the task has failed ends the search: the task fails as any
other. What counts against a task's limit is what nothing was learned from, so the end comes in any
case: at most N records are skipped, and each takes at most about log2(records) probes.

Source: Dean and Ghemawat, MapReduce (OSDI 2004), section 4.6; Hadoop's SkipBadRecords.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, NamedTuple

from workers.task import DIED, ERROR, MEMORY, Outcome

#: What a bad one is, beside its position; a key's position is its hash.
RECORD: Final = "record"
KEY: Final = "key"
PAIR: Final = "pair"
KINDS: Final = (RECORD, KEY, PAIR)

#: How often a record must have been in hand when its worker died, to be the reason.
_DEATHS_TO_BLAME: Final = 2
_ERROR_CHARACTERS: Final = 300
_SHOWN: Final = 3

Task = tuple[str, int]
_Bad = tuple[str, int]  # kind, position


class SkippedRecord(NamedTuple):
    """A bad record: left out, because a function raised on it or its worker died of it.

    Attributes:
        phase, number: The task's. where: Which record of what, with its byte in a file.
        error: What happened, in short. record: Its repr, cut to 200 characters.
        kind: ``record`` of a split, or ``key`` or ``pair`` of a partition.
        position: From 0, of a record in its split or a pair in its partition; of a key its hash.
    """

    phase: str
    number: int
    where: str
    error: str
    record: str
    kind: str = "record"
    position: int = -1

    def __str__(self) -> str:
        place = self.where or f"{self.kind} {self.position} of {self.phase} {self.number}"
        return f"{place}: {self.record or 'unknown'} ({self.error})"


class Verdict(NamedTuple):
    """What has become of a task with an outcome.

    Attributes:
        counts: The outcome that counts against the task's limit; None: nothing does.
        explained: Whether a death that has been counted was a record's doing.
    """

    counts: Outcome | None = None
    explained: bool = False


_FREE: Final = Verdict()


@dataclass
class _Search:
    """For the least number of first records that fails.

    Attributes:
        passes, fails: As far as it is known. named: `fails`, if the task has told it.
        needed: How often `fails` must have been seen. seen: How often it was, by how many records.
        failure: The outcome it began with. last: That of the last probe that failed.
        first: How many the probe under way runs.
    """

    fails: int
    named: int
    needed: int
    failure: Outcome
    last: Outcome
    passes: int = 0
    none_passes: bool = False
    first: int = 0
    seen: Counter[int] = field(default_factory=Counter)

    def next_probe(self) -> int | None:
        """Return how many records to try; None: the last of `fails` is the bad one."""
        if self.fails == self.named and self.passes < self.fails - 1:
            return self.fails - 1
        if self.fails - self.passes > 1:
            return (self.passes + self.fails) // 2
        if self.seen[self.fails] + (self.fails == self.named) < self.needed:
            return self.fails
        return None if self.passes or self.none_passes else 0


@dataclass
class _State:
    """What is known of a task that has failed."""

    step: int = 0
    suspect: _Bad | None = None
    bad: dict[_Bad, SkippedRecord] = field(default_factory=dict)
    search: _Search | None = None
    fruitless: str = ""  # why a search has found nothing


class Skipping:
    """Which records of a job are bad.

    Args:
        limit: How many may be; 0: nothing is looked for.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._states: dict[Task, _State] = {}
        #: At which step of its task an attempt was issued, and whether as a probe.
        self._issued: dict[tuple[Task, int], tuple[int, bool]] = {}
        self._count = 0

    @property
    def exceeded(self) -> bool:
        """Whether more records are bad than may be."""
        return self._count > self._limit

    def records(self) -> list[SkippedRecord]:
        """Return the bad ones: maps before reduces, by number and position."""
        found = [
            record
            for task in sorted(self._states)
            for record in sorted(self._states[task].bad.values(), key=_place)
        ]
        return found[: self._limit + 1] if self.exceeded else found

    def track(self, task: Task) -> None:
        """Track a task from its first attempt on."""
        self._states.setdefault(task, _State())

    def knows(self, task: Task) -> bool:
        """Say whether a task is tracked."""
        return task in self._states

    def options(self, task: Task, attempt: int) -> dict[str, Any]:
        """Return what this attempt, issued now, is to do; see `selecting.Selection`."""
        state = self._states.get(task)
        if state is None:
            return {}
        search = state.search
        self._issued[task, attempt] = state.step, search is not None
        options: dict[str, Any] = {
            "selects": True,
            "skip": tuple(sorted(at for kind, at in state.bad if kind != KEY)),
            "keys": tuple(sorted(at for kind, at in state.bad if kind == KEY)),
        }
        if search is not None:
            return options | {"first": search.first}
        return options | {"budget": max(0, self._limit - self._count)}

    def is_probe(self, task: Task, attempt: int) -> bool:
        """Say whether an attempt was one."""
        return self._issued.get((task, attempt), (0, False))[1]

    def forget(self, task: Task) -> None:
        """Take in that the task's data is another now."""
        state = self._states.get(task)
        if state is not None:
            self._count -= len(state.bad)
            self._states[task] = _State(step=state.step + 1)

    def failed(self, task: Task, outcome: Outcome) -> Verdict:
        """Take in that an attempt raised, or died."""
        if not self._limit or outcome.status not in (ERROR, DIED):
            return Verdict(outcome)
        state = self._states.get(task)
        if state is None:
            self._states[task] = _State()
            return _FREE
        step, probe = self._issued.get((task, outcome.attempt), (-1, False))
        if step != state.step:
            return _FREE  # it came too late to be of any use
        if probe:
            return self._probe_failed(task, state, outcome)
        self._add(task, state, outcome)
        return self._learn(task, state, outcome)

    def passed(self, task: Task, outcome: Outcome) -> Verdict:
        """Take in that a probe passed."""
        state = self._states[task]
        search = state.search
        if self._issued[task, outcome.attempt][0] != state.step or search is None:
            return _FREE  # it came too late to be of any use
        state.step += 1
        if search.first == 0:
            search.none_passes = True
        if search.first >= search.fails:
            return self._give_up(
                state, search, "the first {first} of its records pass on their own"
            )
        search.passes = max(search.passes, search.first)
        return self._go_on(task, state, search)

    def done(self, task: Task, outcome: Outcome) -> Verdict:
        """Take in the outcome that is the task's: what that has skipped is what was skipped."""
        state = self._states.get(task)
        if state is None:
            return _FREE
        known, state.bad = state.bad, {}
        self._count -= len(known)
        state.search, state.suspect, state.step = None, None, state.step + 1
        self._add(task, state, outcome)
        for bad, record in known.items():
            if bad in state.bad and not state.bad[bad].error:
                state.bad[bad] = state.bad[bad]._replace(error=record.error)
        return _FREE

    # -- one task

    def _learn(self, task: Task, state: _State, outcome: Outcome) -> Verdict:
        details = outcome.details
        position, bound = _number(details, "position"), _number(details, "bound")
        if position >= 0:
            bad = (RECORD if task[0] == "map" else KEY), position
            if bad in state.bad:  # and skipped: it cannot be the reason
                return Verdict(outcome)
            if outcome.status == DIED and state.suspect != bad:
                state.suspect = bad
                return Verdict(outcome)
            self._blame(task, state, bad, outcome)
            return Verdict(explained=outcome.status == DIED)
        # Memory fills up with many records: whichever comes last is to blame for nothing.
        if bound > 0 and not state.fruitless and details.get("cause") != MEMORY:
            named = bound if _number(details, "named") > 0 else 0
            needed = _DEATHS_TO_BLAME if outcome.status == DIED else 1
            state.step += 1
            state.search = _Search(bound, named, needed, outcome, outcome)
            return self._go_on(task, state, state.search)
        return Verdict(_with(outcome, state.fruitless))

    def _probe_failed(self, task: Task, state: _State, outcome: Outcome) -> Verdict:
        search = state.search
        assert search is not None
        state.step += 1
        if search.first == 0:
            return self._give_up(state, search, "it fails without any record, too")
        search.fails = min(search.fails, search.first)
        search.seen[search.first] += 1
        search.needed = _DEATHS_TO_BLAME if outcome.status == DIED else 1
        search.last = outcome
        return self._go_on(task, state, search)

    def _go_on(self, task: Task, state: _State, search: _Search) -> Verdict:
        first = search.next_probe()
        if first is not None:
            search.first = first
            return _FREE
        state.search = None
        kind = RECORD if task[0] == "map" else PAIR
        bad = kind, search.fails - 1
        if bad in state.bad:
            return self._give_up(state, search, "the last of them is one that was skipped")
        self._blame(task, state, bad, search.last)
        return _FREE

    def _give_up(self, state: _State, search: _Search, why: str) -> Verdict:
        state.search = None
        state.fruitless = f"no bad record was found: {why.format(first=search.first)}"
        return Verdict(_with(search.failure, state.fruitless))

    def _blame(self, task: Task, state: _State, bad: _Bad, outcome: Outcome) -> None:
        details = outcome.details
        self._note(task, state, bad, _text(details, "where"), _text(details, "record"),
                   _text(details, "message"))  # fmt: skip
        state.suspect, state.step = None, state.step + 1

    def _add(self, task: Task, state: _State, outcome: Outcome) -> None:
        """Take in what an attempt says that it has skipped."""
        skipped = outcome.details.get("skipped", ())
        for entry in skipped if type(skipped) in (tuple, list) else ():
            if type(entry) not in (tuple, list) or [*map(type, entry)] != [str, int, str, str, str]:
                continue
            kind, position, where, record, error = entry
            if kind in KINDS:
                self._note(task, state, (kind, position), where, record, error)

    def _note(
        self, task: Task, state: _State, bad: _Bad, where: str, record: str, error: str
    ) -> None:
        known = state.bad.get(bad)
        self._count += known is None
        error = error or (known.error if known else "")
        state.bad[bad] = SkippedRecord(
            *task, where, error[:_ERROR_CHARACTERS], record, bad[0], bad[1]
        )


def complaint(limit: int, records: Iterable[SkippedRecord], outcome: Outcome) -> str:
    """Say why a job fails that has more bad records than may be. Args: outcome: The last straw."""
    shown = "; ".join(map(str, islice(records, _SHOWN)))
    last = _text(outcome.details, "message")
    more = f"; the last error: {last}" if last else ""
    return f"more than {limit} bad record{'s' * (limit != 1)}: {shown}{more}"


def _with(outcome: Outcome, why: str) -> Outcome:
    if not why:
        return outcome
    message = f"{outcome.details.get('message', outcome.status)} ({why})"
    return outcome._replace(details={**outcome.details, "message": message})


def _place(record: SkippedRecord) -> tuple[bool, int]:
    return record.kind == KEY, record.position


def _number(details: dict[str, Any], name: str) -> int:
    value = details.get(name)
    return value if type(value) is int else -1


def _text(details: dict[str, Any], name: str) -> str:
    value = details.get(name)
    return value if type(value) is str else ""
