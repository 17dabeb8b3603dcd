"""What can go wrong in a tuple space.

::

    TupleSpaceError
    ├── MatchTimeoutError (TimeoutError)          the space said: no match in time
    ├── SpaceUnreachableError (ConnectionError)   no answer; .outcome_unknown
    ├── SpaceLostError                            the space restarted empty
    ├── ClaimLostError (LookupError)              the claim ended before
    ├── LeaseExpiredError (LookupError)           the tuple behind a handle is gone
    ├── SpaceFullError                            .limit, .size, .retry_after
    ├── TupleTooLargeError (ValueError)
    ├── InvalidTupleError (TypeError)
    ├── InvalidTemplateError (TypeError)
    ├── InvalidArgumentError (ValueError)         a timeout, lease or limit that is none
    ├── AuthenticationError (PermissionError)     the cluster key is missing or wrong
    └── ClosedError                               this client or space was closed

Two of them are ``OSError`` s by inheritance: never write ``except OSError`` around a space call.
"""

from __future__ import annotations

from typing import Any


class TupleSpaceError(Exception):
    """Root of everything this package raises on purpose."""


class MatchTimeoutError(TupleSpaceError, TimeoutError):
    """No matching tuple appeared in time; the space is unchanged."""


class SpaceUnreachableError(TupleSpaceError, ConnectionError):
    """No space answered.

    Attributes:
        outcome_unknown: True if a call had been sent and may have been applied.
    """

    def __init__(self, message: str, outcome_unknown: bool = False) -> None:
        super().__init__(message)
        self.outcome_unknown = outcome_unknown


class SpaceLostError(TupleSpaceError):
    """The space restarted without a store: its tuples, claims and waiters are gone."""


class ClaimLostError(TupleSpaceError, LookupError):
    """The claim had ended: confirmed, released, expired, cancelled or taken from its session."""


class LeaseExpiredError(TupleSpaceError, LookupError):
    """The tuple behind a handle is gone: taken, cancelled or expired."""


class SpaceFullError(TupleSpaceError):
    """The space refuses writes for now; takes and confirms still work.

    Attributes:
        limit: The limit that was hit. size: What the write would have made it.
        retry_after: Seconds after which to try again.
    """

    def __init__(
        self, message: str, limit: int = 0, size: int = 0, retry_after: float = 1.0
    ) -> None:
        super().__init__(message)
        self.limit, self.size, self.retry_after = limit, size, retry_after


class TupleTooLargeError(TupleSpaceError, ValueError):
    """One tuple is larger than the space takes; send its bulk by reference."""


class InvalidTupleError(TupleSpaceError, TypeError):
    """The value is no tuple, or a field of it cannot be stored or read back."""


class InvalidTemplateError(TupleSpaceError, TypeError):
    """The template is no tuple or holds something that is neither plain data nor a matcher."""


class InvalidArgumentError(TupleSpaceError, ValueError):
    """A timeout, lease or limit that is none."""


class AuthenticationError(TupleSpaceError, PermissionError):
    """The cluster key is missing, unreadable, or not the one the other side has."""


class ClosedError(TupleSpaceError):
    """The space, or this client of it, was closed."""


_BY_NAME: dict[str, type[TupleSpaceError]] = {
    cls.__name__: cls for cls in TupleSpaceError.__subclasses__()
}


def to_wire(error: TupleSpaceError) -> tuple[str, str, dict[str, Any]]:
    """Return (class name, message, fields) of an error, all plain data."""
    return type(error).__name__, str(error), dict(vars(error))


def from_wire(name: str, message: str, fields: dict[str, Any]) -> TupleSpaceError:
    """Rebuild an error that `to_wire` took apart; unknown names become the root."""
    error = _BY_NAME.get(name, TupleSpaceError)(message)
    vars(error).update(fields)
    return error
