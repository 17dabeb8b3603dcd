"""Store: the durable log of what a core decided.

::

    core --changes--> host --append--> writer --commit--> disk
                        |                                   |
          answers wait -'<---- durable reached `position` --'

The host appends the changes of a turn before it sends an answer that has seen them; the answer goes
out once `durable` has reached their position. What if the process dies right here? Before the
commit: nobody has had an answer, and a repeated call is new. After it: the reply is stored with the
changes, in one transaction, and the repetition gets it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple, Protocol

from tuplespace.errors import TupleSpaceError
from tuplespace.values import Tuple

# What a change begins with. Plain tuples, since every operation makes some.
#: (PUT, id, value, written, expires): an entry is stored, ready.
PUT: Final = 0
#: (GONE, id): an entry, ready or claimed, is no more.
GONE: Final = 1
#: (EXPIRES, id, expires): its own lease ends then.
EXPIRES: Final = 2
#: (CLAIM, id, token, session, lease): it is claimed, by the session of that id, for so many seconds;
#: with the token that it is claimed with already: for so many seconds from now on.
CLAIM: Final = 3
#: (UNCLAIM, id): it is ready again.
UNCLAIM: Final = 4
#: (REPLY, session, lane, number, reply): the lane's kept reply, bytes, instead of any before.
REPLY: Final = 5
#: (FORGET, session): none of its replies is kept any more.
FORGET: Final = 6
#: (LISTEN, number, session, kind, template, expires): a subscription; its template packed.
LISTEN: Final = 7
#: (UNLISTEN, number): it has ended.
UNLISTEN: Final = 8

Change = tuple[Any, ...]


class StoreError(TupleSpaceError):
    """A store cannot be used, or not any more; says which file, and what to do."""


class StoredClaim(NamedTuple):
    """Who held an entry: see CLAIM."""

    token: int
    session: str
    lease: float


class StoredEntry(NamedTuple):
    """An entry as it was: see PUT and CLAIM. Times are of the space's clock."""

    id: int
    value: Tuple
    written: float
    expires: float
    claim: StoredClaim | None


class Contents(NamedTuple):
    """What a store held when it was opened.

    Attributes:
        space_id: The space's, as long as the store lives. generation: How often it was opened, this
            time included, so that numbers of this run are like none of an earlier one.
        now: The space's clock when it was last heard of. entries: In order of their ids; once.
        replies: (session, lane, number, reply). subscriptions: (number, session, kind, template,
            expires).
    """

    space_id: str
    generation: int
    now: float
    entries: Iterable[StoredEntry]
    replies: list[tuple[str, int, int, bytes]]
    subscriptions: list[tuple[int, str, str | None, bytes, float]]


class Store(Protocol):
    """Keeps what one core decides; `append` and `load` are for the host's thread.

    Attributes:
        name: What a person calls it: "memory", or its file.
        keeps: Whether changes are wanted at all; False: nothing outlives the process.
        position: How many appends there were. durable: How many of them are safe.
        failure: Why it keeps nothing any more; None while all is well. The host is to stop then:
            what was durable is safe, what was not was never answered.
    """

    name: str
    keeps: bool
    position: int
    durable: int
    failure: StoreError | None

    def load(self) -> Contents:
        """Return what it holds; called once, first.

        Raises:
            StoreError: The file is damaged.
        """

    def start(self, wake: Callable[[], None]) -> None:
        """Begin to keep; from now on `wake` is called, in any thread, when `durable` or `failure` changed."""

    def append(self, changes: list[Change], now: float) -> int:
        """Keep these soon, after all before and together; never blocks.

        Args:
            changes: What was decided, in order; the store's from now on. now: The space's clock.

        Returns:
            The position that `durable` must reach.
        """

    def shortage(self) -> str:
        """Return why no more tuples should be written now, as when the disk is nearly full; "": they may."""

    def close(self) -> None:
        """Keep all that was appended, then let the file go; blocks until that is done."""
