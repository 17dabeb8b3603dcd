"""A tuple space: Linda's verbs, in this process or served by Pyro5.

>>> space = TupleSpace()
>>> handle = space.write(("colour", "red", 3))
>>> space.read(("colour", ANY, int))
('colour', 'red', 3)
"""

# Where things are, from the top:
#   connect client proxy | serve server stock daemon   the two ends; both over frames
#   discovery networks                                 the ring
#   transport connection                               the server's event loop
#   space                                              the local host of a core
#   verbs keeping interface                            what users call, for every kind of space
#   wire opaque pickles security resources             bytes, objects, the key, the machine
#   core                                               the state machine
#   events limits calls sessions deadlines             its parts: subscribers, limits, callers, time
#   index positions lines waiting                      its parts: finding entries, finding waiters
#   entry template values errors                       what everything stands on

from tuplespace import starting as starting  # isort: skip  # first, see there
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
