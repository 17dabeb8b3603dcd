"""The verbs of a space, once, for every way to reach its core.

A subclass says how one call gets to the core and back (`_call`); arguments are checked, copied
and closed up here, results opened and wrapped.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any

from tuplespace import errors, interface
from tuplespace.entry import check_limit, check_seconds, check_timeout
from tuplespace.keeping import Keeper, Kept
from tuplespace.opaque import Opener
from tuplespace.sessions import ABSENCE
from tuplespace.values import Found, Tuple, brief


class Handle:
    """See `interface.Handle`."""

    __slots__ = ("_id", "_space")
    _renewed_by = "renew_entries"
    _silence = math.inf

    def __init__(self, space: SpaceVerbs, id: int) -> None:
        self._space, self._id = space, id

    def renew(self, lease: float | None) -> None:
        """See `interface.Handle.renew`."""
        check_seconds("lease", lease)
        self._space._call("renew_entry", (self._id, lease))

    def cancel(self) -> bool:
        """See `interface.Handle.cancel`."""
        return bool(self._space._call("cancel_entry", (self._id,)))

    def _renewal(self, lease: float) -> Any:
        return self._id, lease


class Claim:
    """See `interface.Claim`."""

    __slots__ = ("_space", "_token", "tuple")
    _renewed_by = "renew_many"
    # After its restart a space waits so long for those who hold claims, and nothing tells them of it.
    _silence = ABSENCE / 3

    def __init__(self, space: SpaceVerbs, value: Tuple, token: int) -> None:
        self._space, self.tuple, self._token = space, value, token

    def __repr__(self) -> str:
        return f"Claim({self.tuple!r})"

    def confirm(self, write: Iterable[Tuple] = (), lease: float | None = None) -> None:
        """See `interface.Claim.confirm`."""
        check_seconds("lease", lease)
        tokens, writes = (self._token,), (self._space._close_all(write),)
        _raise_first(self._space._each("confirm_many", tokens, writes, lease))

    def renew(self, lease: float | None = None, write: Iterable[Tuple] = ()) -> list[Handle]:
        """See `interface.Claim.renew`."""
        check_seconds("lease", lease)
        values, space = self._space._close_all(write), self._space
        first = space._call("renew_writing", (self._token, lease, values))
        return [Handle(space, first + place) for place in range(len(values))]

    def release(self) -> None:
        """See `interface.Claim.release`."""
        _raise_first(self._space._each("release_many", (self._token,)))

    def _renewal(self, lease: float) -> Any:
        return self._token, lease, ()

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if kind is not None:
            try:
                self.release()
            except errors.TupleSpaceError:
                pass  # it has ended, or will end by itself; the first error matters more


class Event:
    """See `interface.Event`."""

    __slots__ = ("event", "sequence", "tuple")

    def __init__(self, sequence: int, event: str, value: Tuple | None) -> None:
        self.sequence, self.event, self.tuple = sequence, event, value

    def __iter__(self) -> Iterator[Any]:
        return iter((self.event, self.tuple))

    def __repr__(self) -> str:
        return f"Event({self.sequence}, {self.event!r}, {self.tuple!r})"


class Subscription:
    """See `interface.Subscription`. For one thread at a time; `cancel` is for any."""

    def __init__(self, space: SpaceVerbs, number: int) -> None:
        self._space, self._number = space, number
        self._fetched: list[Event] = []
        self._seen = 0
        self._ended = False

    def __iter__(self) -> Subscription:
        return self

    def __next__(self) -> Event:
        return self.next()

    def next(self, timeout: float | None = None) -> Event:
        """See `interface.Subscription.next`."""
        if self._ended and not self._fetched:
            raise StopIteration
        if not self._fetched:
            records = self._space._call(
                "next_events", (self._number, self._seen, timeout), check_timeout(timeout)
            )
            if not records:
                raise errors.MatchTimeoutError("no event in time")
            self._fetched = [
                Event(sequence, kind, self._space._open(value) if value is not None else None)
                for sequence, kind, value in reversed(records)
            ]
        event = self._fetched.pop()
        self._seen = event.sequence
        self._ended = event.event == "close"
        return event

    def cancel(self) -> None:
        """See `interface.Subscription.cancel`."""
        self._space._call("cancel_notify", (self._number,))


class SpaceVerbs(ABC):
    """See `interface.Space`: every verb, over one `_call`."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._open = opener.open_up
        self._keeper = Keeper()

    @abstractmethod
    def _call(self, verb: str, args: Sequence[Any], timeout: float = 0.0) -> Any:
        """Have the core apply one verb and return its plain result.

        Args:
            verb: Its name. args: Plain data; a template as the user wrote it, always
                first. timeout: Seconds the core may park the call; infinity: for ever.
        """

    def _close_all(self, values: Iterable[Tuple]) -> tuple[Any, ...]:
        return tuple(map(self._opener.close_up, values))

    def _each(self, verb: str, *args: Any) -> list[errors.TupleSpaceError | None]:
        """Call a verb whose first argument has many parts; return an error or None for each."""
        failed = {number: error for number, *error in self._call(verb, args)}
        return [
            errors.from_wire(*failed[number]) if number in failed else None
            for number in range(len(args[0]))
        ]

    def write(self, tuple: Tuple, lease: float | None = None) -> Handle:
        """See `interface.Space.write`."""
        check_seconds("lease", lease)
        return Handle(self, self._call("write", ((self._opener.close_up(tuple),), lease)))

    def write_many(
        self, tuples: Iterable[Tuple], lease: float | None = None
    ) -> list[interface.Handle]:
        """See `interface.Space.write_many`."""
        check_seconds("lease", lease)
        values = self._close_all(tuples)
        if not values:
            return []
        first = self._call("write", (values, lease))
        return [Handle(self, id) for id in range(first, first + len(values))]

    def take(self, template: Tuple, timeout: float | None = None) -> Found:
        """See `interface.Space.take`."""
        return self._open(self._call("take", (template, timeout), check_timeout(timeout)))

    def take_many(self, template: Tuple, limit: int, timeout: float | None = None) -> list[Found]:
        """See `interface.Space.take_many`."""
        args = (template, check_limit(limit), timeout)
        return list(map(self._open, self._call("take_many", args, check_timeout(timeout))))

    def read(self, template: Tuple, timeout: float | None = None) -> Found:
        """See `interface.Space.read`."""
        return self._open(self._call("read", (template, timeout), check_timeout(timeout)))

    def read_all(self, template: Tuple) -> list[Found]:
        """See `interface.Space.read_all`."""
        return list(map(self._open, self._call("read_all", (template,))))

    def count(self, template: Tuple) -> int:
        """See `interface.Space.count`."""
        return int(self._call("count", (template,)))

    def claimed(self, template: Tuple) -> list[Found]:
        """See `interface.Space.claimed`."""
        return list(map(self._open, self._call("claimed", (template,))))

    def explain(self, template: Tuple) -> dict[str, Any]:
        """See `interface.Space.explain`."""
        return dict(self._call("explain", (template,)))

    def claim(
        self, template: Tuple, lease: float | None = 30.0, timeout: float | None = None
    ) -> interface.Claim:
        """See `interface.Space.claim`."""
        check_seconds("lease", lease)
        value, token = self._call("claim", (template, lease, timeout), check_timeout(timeout))
        return Claim(self, self._open(value), token)

    def claim_many(
        self, template: Tuple, limit: int, lease: float | None = 30.0,
        timeout: float | None = None,
    ) -> list[interface.Claim]:  # fmt: skip
        """See `interface.Space.claim_many`."""
        check_seconds("lease", lease)
        args = (template, check_limit(limit), lease, timeout)
        values, tokens = self._call("claim_many", args, check_timeout(timeout))
        return [
            Claim(self, value, token)
            for value, token in zip(map(self._open, values), tokens, strict=True)
        ]

    def confirm_many(
        self, pairs: Iterable[tuple[interface.Claim, Iterable[Tuple]]]
    ) -> list[errors.TupleSpaceError | None]:
        """See `interface.Space.confirm_many`."""
        pairs = list(pairs)
        return self._each(
            "confirm_many",
            tuple(_token_of(claim) for claim, _ in pairs),
            tuple(self._close_all(write) for _, write in pairs),
        )

    def renew_many(self, claims: Iterable[interface.Claim]) -> list[errors.TupleSpaceError | None]:
        """See `interface.Space.renew_many`."""
        return self._each("renew_many", tuple((_token_of(claim), None, ()) for claim in claims))

    def release_many(
        self, claims: Iterable[interface.Claim]
    ) -> list[errors.TupleSpaceError | None]:
        """See `interface.Space.release_many`."""
        return self._each("release_many", tuple(_token_of(claim) for claim in claims))

    def swap(self, template: Tuple, replacement: Tuple, lease: float | None = None) -> Found:
        """See `interface.Space.swap`."""
        check_seconds("lease", lease)
        args = (template, self._opener.close_up(replacement), lease)
        return self._open(self._call("swap", args))

    def notify(
        self, event: str | None, template: Tuple, lease: float | None = None
    ) -> Subscription:
        """See `interface.Space.notify`."""
        check_seconds("lease", lease)
        return Subscription(self, self._call("notify", (template, event, lease)))

    def keep(self, what: interface.Handle | interface.Claim, lease: float = 10.0) -> interface.Kept:
        """See `interface.Space.keep`."""
        return self._keeper.keep(what, lease)

    def status(self) -> dict[str, Any]:
        """See `interface.Space.status`."""
        return dict(self._call("status", ()))

    @abstractmethod
    def close(self) -> None:
        """See `interface.Space.close`."""


def _token_of(claim: Any) -> int:
    try:
        return int(claim._token)
    except AttributeError:
        raise errors.InvalidArgumentError(f"no claim of this space: {brief(claim)}") from None


def _raise_first(outcomes: list[errors.TupleSpaceError | None]) -> None:
    if outcomes[0] is not None:
        raise outcomes[0]


#: The verbs whose first argument is a template.
TEMPLATE_FIRST = frozenset(
    [
        "take",
        "take_many",
        "read",
        "read_all",
        "count",
        "claimed",
        "explain",
        "claim",
        "claim_many",
        "swap",
        "notify",
    ]
)


def _document(cls: type, protocol: type) -> None:
    """Let `help` show what stands in the interface: nobody should have to look for it there."""
    for name, method in vars(cls).items():
        told = getattr(protocol, name, None)
        if (method.__doc__ or "").startswith("See `interface.") and told is not None:
            method.__doc__ = told.__doc__


for _ours, _theirs in (
    (Handle, interface.Handle), (Claim, interface.Claim), (Event, interface.Event),
    (Subscription, interface.Subscription), (SpaceVerbs, interface.Space), (Kept, interface.Kept),
):  # fmt: skip
    _document(_ours, _theirs)
