"""Keeping: tuples and claims that live as long as their client does, and a little longer.

Source: Rinda's ``SimpleRenewer``. There the space calls the client back under its lock; here the
client renews from its own side, in one thread for all that it keeps. What if the client dies
right here? Nobody renews, and the lease ends.
"""

from __future__ import annotations

import math
import threading
import time
from operator import attrgetter
from types import TracebackType
from typing import Any, Final, Protocol

from tuplespace import errors
from tuplespace.entry import check_seconds

#: A lease is renewed when this share of it has passed, so that a try or two may fail.
_SHARE: Final = 1 / 3
_due = attrgetter("due")


class Renewable(Protocol):
    """A `interface.Handle` or a `interface.Claim`."""

    def renew(self, lease: float) -> None:
        """Let it live `lease` seconds from now."""


class Kept:
    """What is being kept; see `interface.Kept`."""

    def __init__(self, keeper: Keeper, what: Renewable, lease: float) -> None:
        self._keeper, self.what, self.lease = keeper, what, lease
        self.error: errors.TupleSpaceError | None = None
        self.due = 0.0

    @property
    def alive(self) -> bool:
        """See `interface.Kept.alive`."""
        return self in self._keeper.kept

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
        kept: What is being kept now.
    """

    def __init__(self) -> None:
        self.kept: set[Kept] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def keep(self, what: Any, lease: float) -> Kept:
        """Renew now, and again and again; see `interface.Space.keep`."""
        if not 0 < check_seconds("lease", lease) < math.inf:
            raise errors.InvalidArgumentError(f"what is kept has a lease in seconds, not {lease!r}")
        if not callable(getattr(what, "renew", None)):
            raise errors.InvalidArgumentError(f"a handle or a claim can be kept, not {what!r:.200}")
        what.renew(lease)
        kept = Kept(self, what, lease)
        kept.due = time.monotonic() + _SHARE * lease
        with self._changed:
            if self._stopped:
                raise errors.ClosedError("this space was closed")
            self.kept.add(kept)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
                self._thread.start()
            self._changed.notify()
        return kept

    def let_go(self, kept: Kept) -> None:
        """Renew it no more."""
        with self._changed:
            self.kept.discard(kept)

    def stop(self) -> None:
        """Renew nothing any more."""
        with self._changed:
            self._stopped = True
            self.kept.clear()
            self._changed.notify()

    def _run(self) -> None:
        while (kept := self._next()) is not None:
            self._renew(kept)

    def _next(self) -> Kept | None:
        """Wait for what falls due next; None: nothing will."""
        with self._changed:
            while not self._stopped:
                kept = min(self.kept, key=_due, default=None)
                wait = None if kept is None else kept.due - time.monotonic()
                if kept is not None and wait is not None and wait <= 0:
                    return kept
                self._changed.wait(wait)
            return None

    def _renew(self, kept: Kept) -> None:
        began = time.monotonic()
        try:
            kept.what.renew(kept.lease)
        except (errors.LeaseExpiredError, errors.ClaimLostError, errors.SpaceLostError) as error:
            kept.error = error  # it is gone
            self.let_go(kept)
        except errors.ClosedError:
            self.let_go(kept)
        except errors.TupleSpaceError:
            pass  # the space is away; it may be back before the lease ends
        kept.due = began + _SHARE * kept.lease
