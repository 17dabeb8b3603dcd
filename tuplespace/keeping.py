"""Keeping: tuples and claims that live as long as their client does, and a little longer.

Source: Rinda's ``SimpleRenewer``. There the space calls the client back under its lock; here the
client renews from its own side, in one thread for all that it keeps, many in one round trip.
What if the client dies right here? Nobody renews, and the lease ends.
"""

from __future__ import annotations

import math
import threading
import time
from heapq import heapify, heappop, heappush
from itertools import count
from types import TracebackType
from typing import Any, Final, Protocol

from tuplespace import errors
from tuplespace.entry import check_seconds
from tuplespace.values import brief

#: A lease is renewed when this share of it has passed, so that a try or two may fail.
_SHARE: Final = 1 / 3
#: What falls due within this share of its lease is renewed with what is due now.
_EARLY: Final = 1 / 10
#: Renewals in one round trip.
_BATCH: Final = 1_000
#: Seconds after which to ask a space again that did not answer.
_RETRY_AFTER: Final = 0.5
_GONE: Final = (errors.LeaseExpiredError, errors.ClaimLostError, errors.SpaceLostError)


class Renewable(Protocol):
    """A `interface.Handle` or a `interface.Claim`."""

    _space: Any
    #: The verb that renews many of the kind.
    _renewed_by: str
    #: Seconds that its holder may be silent, however long the lease.
    _silence: float

    def renew(self, lease: float) -> None:
        """Let it live `lease` seconds from now."""

    def _renewal(self, lease: float) -> tuple[Any, ...]:
        """Return what to tell the verb: first which of the kind this is."""


class Kept:
    """What is being kept; see `interface.Kept`."""

    def __init__(self, keeper: Keeper, what: Renewable, lease: float) -> None:
        self._keeper, self.what, self.lease = keeper, what, lease
        self.error: errors.TupleSpaceError | None = None
        self.group = what._space, what._renewed_by
        self.key = *self.group, what._renewal(lease)[0]
        self.until = 0.0

    @property
    def alive(self) -> bool:
        """See `interface.Kept.alive`."""
        return self.is_held and time.monotonic() < self.until

    @property
    def is_held(self) -> bool:
        """Whether it is still to be renewed, though the space may be away."""
        return self._keeper.kept.get(self.key) is self

    def stop(self) -> None:
        """See `interface.Kept.stop`."""
        self._keeper.let_go(self)

    def __enter__(self) -> Kept:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.stop()


class Keeper:
    """Renews what it was given, until that is gone or let go.

    Attributes:
        kept: What is being kept now, by space, verb and number.
    """

    def __init__(self) -> None:
        self.kept: dict[Any, Kept] = {}
        # When to renew what; what was let go is dropped when its time comes.
        self._due: list[tuple[float, int, Kept]] = []
        self._turns = count()
        self._renewing: set[Any] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def keep(self, what: Any, lease: float) -> Kept:
        """Renew now, and again and again; see `interface.Space.keep`."""
        if not 0 < check_seconds("lease", lease) < math.inf:
            raise errors.InvalidArgumentError(f"what is kept has a lease in seconds, not {lease!r}")
        if not callable(getattr(what, "_renewal", None)):
            raise errors.InvalidArgumentError(f"a handle or a claim can be kept, not {brief(what)}")
        kept = Kept(self, what, lease)
        with self._changed:
            # The last renewal of one that was let go must not come after ours.
            while kept.key in self._renewing and not self._stopped:
                self._changed.wait()
            self._check_open()
            if kept.key in self.kept:
                raise errors.InvalidArgumentError(f"{brief(what)} is kept already")
            self.kept[kept.key] = kept
        began = time.monotonic()
        try:
            what.renew(lease)
        except BaseException:
            self.let_go(kept)
            raise
        with self._changed:
            self._check_open()
            self._renewed(kept, began)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
                self._thread.start()
            if self._due[0][2] is kept:
                self._changed.notify_all()
        return kept

    def _check_open(self) -> None:
        if self._stopped:
            raise errors.ClosedError("this space was closed")

    def let_go(self, kept: Kept) -> None:
        """Renew it no more."""
        with self._changed:
            if kept.is_held:
                del self.kept[kept.key]
                if len(self._due) > 2 * len(self.kept) + _BATCH:
                    self._due = [each for each in self._due if each[2].is_held]
                    heapify(self._due)

    def stop(self) -> None:
        """Renew nothing any more."""
        with self._changed:
            self._stopped = True
            self.kept.clear()
            self._due.clear()
            self._changed.notify_all()

    def _renewed(self, kept: Kept, at: float) -> None:
        """Note that it was renewed, and when it falls due again."""
        kept.until = at + kept.lease
        self._push(kept, at + min(_SHARE * kept.lease, kept.what._silence))

    def _push(self, kept: Kept, due: float) -> None:
        heappush(self._due, (due, next(self._turns), kept))

    def _run(self) -> None:
        while batch := self._next():
            groups: dict[Any, list[Kept]] = {}
            for kept in batch:
                groups.setdefault(kept.group, []).append(kept)
            for (space, verb), members in groups.items():
                self._renew(space, verb, members)

    def _next(self) -> list[Kept]:
        """Wait for what falls due next; nothing: nothing will."""
        batch: list[Kept] = []
        with self._changed:
            while not self._stopped and not batch:
                now = time.monotonic()
                while self._due and len(batch) < _BATCH:
                    due, _, kept = self._due[0]
                    if kept.is_held:
                        if due - (_EARLY * kept.lease if batch else 0.0) > now:
                            break
                        batch.append(kept)
                    heappop(self._due)
                if not batch:
                    wait = self._due[0][0] - now if self._due else math.inf
                    self._changed.wait(min(wait, threading.TIMEOUT_MAX))
            self._renewing.update(kept.key for kept in batch)
        return batch

    def _renew(self, space: Any, verb: str, members: list[Kept]) -> None:
        """Renew these in one round trip, and see to it that what is not gone is renewed again."""
        began = time.monotonic()
        outcomes: list[errors.TupleSpaceError | None]
        try:
            outcomes = space._each(verb, [kept.what._renewal(kept.lease) for kept in members])
        except errors.TupleSpaceError as error:
            outcomes = [error] * len(members)
        now = time.monotonic()
        with self._changed:
            for kept, outcome in zip(members, outcomes, strict=True):
                self._renewing.discard(kept.key)
                if not kept.is_held:
                    continue
                if isinstance(outcome, (*_GONE, errors.ClosedError)):
                    kept.error = outcome if isinstance(outcome, _GONE) else None
                    del self.kept[kept.key]
                elif outcome is None:
                    self._renewed(kept, began)
                else:  # the space is away; it may be back before the lease ends
                    self._push(kept, now + min(_RETRY_AFTER, _SHARE * kept.lease))
            self._changed.notify_all()
