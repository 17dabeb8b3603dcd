"""Space: what everything above depends on; local and remote spaces both are one.

The verbs are Rinda's (``rinda/tuplespace.rb``) and JavaSpaces' (``net.jini.space.JavaSpace``),
the claim is beanstalkd's reserve with a fencing token.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Protocol

from tuplespace.errors import TupleSpaceError
from tuplespace.values import Found, Tuple


class Handle(Protocol):
    """A written tuple, for as long as it is there."""

    def renew(self, lease: float | None) -> None:
        """Let it live `lease` seconds from now, for ever if None.

        Raises:
            LeaseExpiredError: It is gone.
        """

    def cancel(self) -> bool:
        """Remove it, claimed or not; False if it was gone already."""


class Claim(Protocol):
    """A tuple taken on approval: confirmed it is gone, released it is back at its old place."""

    @property
    def tuple(self) -> Found:
        """The tuple."""

    def confirm(self, write: Iterable[Tuple] = (), lease: float | None = None) -> None:
        """Remove the tuple and write these, in one atomic step.

        Raises:
            ClaimLostError: The claim had ended; nothing was written.
        """

    def renew(self, lease: float | None = None, write: Iterable[Tuple] = ()) -> Sequence[Handle]:
        """Keep the claim `lease` seconds from now (None: as long as before) and write these.

        Returns:
            The handles of what was written.

        Raises:
            ClaimLostError: The claim had ended; nothing was written.
        """

    def release(self) -> None:
        """Give the tuple back to its old place in line.

        Raises:
            ClaimLostError: The claim had ended.
        """

    def __enter__(self) -> Claim:
        """Enter a block whose exception releases the claim, if it was not confirmed."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...  # fmt: skip


class Kept(Protocol):
    """A tuple or claim that is renewed in the background; see `Space.keep`.

    Attributes:
        error: Why it is not kept any more: `LeaseExpiredError`, `ClaimLostError` or
            `SpaceLostError`; None while it is, and after `stop`.
    """

    error: TupleSpaceError | None

    @property
    def alive(self) -> bool:
        """Whether it is being kept: its lease runs, as far as this client knows."""

    def stop(self) -> None:
        """Renew it no more; its lease ends it. As a context manager, at the block's end."""

    def __enter__(self) -> Kept: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...  # fmt: skip


class Event(Protocol):
    """What a `notify` yields; unpacks to (event, tuple).

    Attributes:
        event: "write", "take", "delete", or with no tuple "overflow" and "close".
        sequence: Its number, without gaps from 1.
    """

    event: str
    tuple: Tuple | None
    sequence: int

    def __iter__(self) -> Iterator[Any]: ...


class Subscription(Protocol):
    """An iterator of events, in order; ends after "close"."""

    def __iter__(self) -> Iterator[Event]: ...

    def __next__(self) -> Event:
        """Wait for the next event."""

    def next(self, timeout: float | None = None) -> Event:
        """Wait for the next event.

        Raises:
            MatchTimeoutError: None in time. StopIteration: It has ended.
        """

    def cancel(self) -> None:
        """End it; a thread that waits on it gets "close"."""


class Space(Protocol):
    """A tuple space.

    Every verb may raise what the whole tree in `tuplespace.errors` says of connections and
    arguments; below stands what is particular. `timeout` is how long the caller waits (None: for
    ever, 0: not at all; a space that cannot be reached is asked again for `retry_for` seconds
    besides, see `tuplespace.connect`), `lease` how long a tuple or claim lives (None: for ever), in seconds.
    """

    def write(self, tuple: Tuple, lease: float | None = None) -> Handle:
        """Store a copy of the tuple; serve all matching readers, then the first taker."""

    def write_many(self, tuples: Iterable[Tuple], lease: float | None = None) -> list[Handle]:
        """Store all the tuples in one atomic step, before any waiter is served."""

    def take(self, template: Tuple, timeout: float | None = None) -> Found:
        """Remove the oldest tuple that matches and return it.

        Raises:
            MatchTimeoutError: None in time; the space is unchanged.
        """

    def take_many(self, template: Tuple, limit: int, timeout: float | None = None) -> list[Found]:
        """Remove and return 1 to `limit` matching tuples as soon as one is there.

        Raises:
            MatchTimeoutError: None in time.
        """

    def read(self, template: Tuple, timeout: float | None = None) -> Found:
        """Return a copy of the oldest tuple that matches; it stays.

        Raises:
            MatchTimeoutError: None in time.
        """

    def read_all(self, template: Tuple) -> list[Found]:
        """Return copies of all that match now, oldest first; never waits."""

    def count(self, template: Tuple) -> int:
        """Return how many match now."""

    def claimed(self, template: Tuple) -> list[Found]:
        """Return copies of all that match and that somebody has claimed now, the longest claimed first.

        It is for looking in: who waits, reads or takes does not see them. Walks all claims.
        """

    def explain(self, template: Tuple) -> dict[str, Any]:
        """Say how a search with this template would be answered now; nothing is searched or made.

        Returns:
            A dict. ``ready``: tuples of this shape that nobody has claimed; ``candidates``: how
            many of them would be looked at, at most; ``by``: "value", "type" or "range" of the
            ``position`` whose index gives them, None if they are all of the shape; ``indexes``:
            the (position, kind) pairs there are. An index is made when a search has looked at
            many tuples in vain, so what a first search walks a second one looks up.
        """

    def claim(
        self, template: Tuple, lease: float | None = 30.0, timeout: float | None = None
    ) -> Claim:
        """Take on approval: the tuple is back if the claim is not confirmed within `lease`.

        Raises:
            MatchTimeoutError: None in time.
        """

    def claim_many(
        self, template: Tuple, limit: int, lease: float | None = 30.0,
        timeout: float | None = None,
    ) -> list[Claim]:  # fmt: skip
        """Claim 1 to `limit` matching tuples as soon as one is there.

        Raises:
            MatchTimeoutError: None in time.
        """

    def confirm_many(
        self, pairs: Iterable[tuple[Claim, Iterable[Tuple]]]
    ) -> list[TupleSpaceError | None]:
        """Confirm each (claim, tuples to write) in one round trip; one error or None for each."""

    def renew_many(self, claims: Iterable[Claim]) -> list[TupleSpaceError | None]:
        """Renew each claim for as long as before; one error or None for each."""

    def release_many(self, claims: Iterable[Claim]) -> list[TupleSpaceError | None]:
        """Release each claim; one error or None for each."""

    def swap(self, template: Tuple, replacement: Tuple, lease: float | None = None) -> Found:
        """Take the oldest match, write the replacement and return the old, in one atomic step.

        Raises:
            MatchTimeoutError: Nothing matches now; it never waits.
        """

    def notify(
        self, event: str | None, template: Tuple, lease: float | None = None
    ) -> Subscription:
        """Hear of every "write", "take" or "delete" (None: all) of tuples that match."""

    def keep(self, what: Handle | Claim, lease: float = 10.0) -> Kept:
        """Let a tuple or a claim live as long as this client does, and at most `lease` seconds more.

        It is renewed for `lease` seconds now, and again in the background each time a third of
        them has passed, until `Kept.stop`, until it is gone, or until this client is closed or
        dies. Source: Rinda's ``SimpleRenewer``.

        Raises:
            LeaseExpiredError, ClaimLostError: It is gone already.
            InvalidArgumentError: It is kept already, or the lease has no end.
        """

    def status(self) -> dict[str, Any]:
        """Return figures: tuples, waiters, claims, connections, oldest_ready_seconds, operations."""

    def close(self) -> None:
        """End the session: parked calls get `ClosedError`, claims are released."""
