"""A tuple space: Linda's verbs, in this process or served by Pyro5.

>>> space = TupleSpace()
>>> handle = space.write(("colour", "red", 3))
>>> space.read(("colour", ANY, int))
('colour', 'red', 3)
"""

from tuplespace.client import RemoteSpace
from tuplespace.connect import connect
from tuplespace.errors import (
    AuthenticationError,
    ClaimLostError,
    ClosedError,
    InvalidArgumentError,
    InvalidTemplateError,
    InvalidTupleError,
    LeaseExpiredError,
    MatchTimeoutError,
    SpaceFullError,
    SpaceLostError,
    SpaceUnreachableError,
    TupleSpaceError,
    TupleTooLargeError,
)
from tuplespace.interface import Claim, Event, Handle, Kept, Space, Subscription
from tuplespace.limits import Limits
from tuplespace.security import handshake
from tuplespace.space import TupleSpace
from tuplespace.template import ANY, Between, Exactly, OneOf, matches

__all__ = [
    # Spaces
    "Limits", "RemoteSpace", "Space", "TupleSpace", "connect", "handshake",
    # What they return
    "Claim", "Event", "Handle", "Kept", "Subscription",
    # Templates
    "ANY", "Between", "Exactly", "OneOf", "matches",
    # Errors
    "AuthenticationError", "ClaimLostError", "ClosedError", "InvalidArgumentError",
    "InvalidTemplateError", "InvalidTupleError", "LeaseExpiredError", "MatchTimeoutError",
    "SpaceFullError", "SpaceLostError", "SpaceUnreachableError", "TupleSpaceError",
    "TupleTooLargeError",
]  # fmt: skip
