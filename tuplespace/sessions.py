"""Who calls: sessions, their lanes, and the reply each lane may ask for again.

::

    session   connected --last connection gone--> gone --GRACE--> claims released
                  ^                                |   --FORGET_AFTER--> forgotten
                  |         restored by a store: gone --ABSENCE--> claims released
                  '------- connects again ---------'   (a goodbye: all of it at once)

    lane      idle --call--> parked --served, timed out--> answered --next call--> ...
              answered --same number again--> the kept reply, applied once
              parked   --same number again--> goes on waiting at its old place

An operation id is (session, lane, number). What if ... right here?

- the reply is lost on the way: the client repeats the number and gets the kept reply;
- the client dies while parked: its connection goes, the waiter is skipped from then on
  (`Lane.link` is None) and dropped with its session, so it never swallows a tuple;
- the client dies holding claims: they are released GRACE after its last connection went;
- the space dies and has a store: each lane has its last reply that changed anything (what changed
  nothing is simply done again), and each session ABSENCE to come back before its claims are released.
"""

from __future__ import annotations

from typing import Any

#: Seconds from a session's last connection until its claims are released.
GRACE = 1.0
#: Seconds from the space's restart until the claims of who has not come back are released.
ABSENCE = 10.0
#: Seconds from a session's last connection until its kept replies are dropped.
FORGET_AFTER = 600.0


class Lane:
    """One caller of a session: one call outstanding, its last reply kept.

    Attributes:
        number: The latest operation number seen. waiter: Its parked request, if it is parked.
        reply: Its kept reply, None while it has none. link: Where replies go (the host's
            business), None while the caller has no connection. latest: The caller's newest
            connection (the host's business); it becomes the link with its first call. weight: Of the tuples in its
            kept reply, in `entry.WEIGHT_UNIT` s; 0 if that is little.
    """

    __slots__ = ("id", "latest", "link", "number", "reply", "session", "waiter", "weight")

    def __init__(self, session: Session, id: int) -> None:
        self.session, self.id = session, id
        self.number = -1
        self.waiter: Any = None
        self.reply: Any = None
        self.link: Any = None
        self.latest: Any = None
        self.weight = 0


class Session:
    """A client, however many connections it has.

    Attributes:
        connections: How many it has now. claims: The tokens it holds.
        subscriptions: Their numbers. returns: Whether it can come back and repeat a call.
        is_stored: Whether a store keeps replies of it.
    """

    __slots__ = (
        "claims", "connections", "id", "is_stored", "lanes", "returns", "subscriptions",
    )  # fmt: skip

    def __init__(self, id: str) -> None:
        self.id = id
        self.connections = 0
        self.lanes: dict[int, Lane] = {}
        self.claims: set[int] = set()
        self.subscriptions: set[int] = set()
        self.returns, self.is_stored = True, False

    def lane(self, id: int) -> Lane:
        """Return the lane of that id, a new one if it has none."""
        lane = self.lanes.get(id)
        if lane is None:
            lane = self.lanes[id] = Lane(self, id)
        return lane
