"""What a space takes before it refuses: the limits, and the account of what is stored. Pure.

When a space is full it refuses writes and new waits, at once, with `SpaceFullError`; takes go
on, and so do confirms: a confirm removes a tuple, and whoever cannot confirm keeps everything
full. What confirms write may go a third beyond the limits.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from itertools import accumulate
from operator import attrgetter
from typing import Final

from tuplespace.entry import WEIGHT_UNIT, Entry
from tuplespace.errors import InvalidArgumentError, SpaceFullError
from tuplespace.sessions import Lane

#: What a call may be in all, however many tuples it writes.
CALL_BYTES: Final = 256 << 20
#: What a template may be: all that wait are kept.
TEMPLATE_BYTES: Final = 256 << 10
#: Seconds after which to try again when a space is full; takes may have made room by then.
RETRY_AFTER: Final = 0.5
#: The same, where somebody has to make room on a disk.
_SHORTAGE_RETRY: Final = 5.0
#: How far beyond a limit confirms may go.
_CONFIRMS: Final = 4 / 3
_SIZE: Final = re.compile(r"(\d+)([KMGT]?)i?B?", re.IGNORECASE)
#: A reply that weighs less is not counted.
_LARGE_REPLY: Final = (64 << 10) // WEIGHT_UNIT
#: What a reply of many tuples may weigh; there may be fewer tuples in it than were asked for.
_REPLY_WEIGHT: Final = (64 << 20) // WEIGHT_UNIT
#: The same while there is a shortage: a kept reply takes its own room on the disk that is full.
_SHORT_REPLY_WEIGHT: Final = (256 << 10) // WEIGHT_UNIT
_weight_of = attrgetter("weight")


@dataclass(frozen=True)
class Limits:
    """What one space takes; None: no limit.

    Attributes:
        tuple_bytes: Of one tuple, as it travels. tuples: Stored tuples, claimed ones included.
        bytes: What all of them take in memory, estimated from what they hold. waiters: Parked
            searches. connections: Of all clients. unauthenticated: Connections that have not
            shown the cluster key yet; more of them wait to be accepted.
    """

    tuple_bytes: int = 16 << 20
    tuples: int | None = None
    bytes: int | None = None
    waiters: int | None = 100_000
    connections: int | None = None
    unauthenticated: int = 512

    def changed(self, settings: Iterable[str]) -> Limits:
        """Return these limits with some changed.

        Args:
            settings: Texts like ``tuples=1000000``, ``bytes=4G`` or ``waiters=none``.

        Raises:
            InvalidArgumentError: One of them says nothing of the kind.
        """
        names = [field.name for field in fields(self)]
        changes: dict[str, int | None] = {}
        for setting in settings:
            name, _, text = setting.partition("=")
            name = name.strip().replace("-", "_")
            found = _SIZE.fullmatch(text.strip())
            optional = name not in ("tuple_bytes", "unauthenticated")
            if name in names and text.strip().lower() == "none" and optional:
                changes[name] = None
            elif name in names and found and int(found[1]):
                changes[name] = int(found[1]) << 10 * " KMGT".index(found[2].upper() or " ")
            else:
                raise InvalidArgumentError(
                    f"{setting!r} is no limit; write NAME=NUMBER, as in bytes=4G or tuples=1000000 "
                    f"(or =none), where NAME is one of {', '.join(names)}"
                )
        return replace(self, **changes)  # type: ignore[arg-type]


class Account:
    """How much is stored, in tuples and in weight.

    Args:
        limits: What may be.

    Attributes:
        tuples: Stored. weight: Of them. kept: Of the large replies that may be asked for again.
        shortage: Why nothing may be added now, as when the disk is nearly full; "": it may.
    """

    __slots__ = ("_limits", "kept", "shortage", "tuples", "weight")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.tuples = self.weight = self.kept = 0
        self.shortage = ""

    @property
    def bytes(self) -> int:
        """What is stored, by estimate."""
        return self.weight * WEIGHT_UNIT

    def admit(self, entries: list[Entry], leaving: Entry | None = None) -> None:
        """Let these entries be stored, or refuse them all.

        Args:
            entries: What is to be stored. leaving: What they are to take the place of.

        Raises:
            SpaceFullError: There is no room; nothing has changed.
        """
        limits = self._limits
        if self.shortage and entries and leaving is None:
            self.check_shortage()
        if limits.tuples is not None:
            count = self.tuples + len(entries) - (leaving is not None)
            self._check("tuples", limits.tuples, count, self.tuples, leaving)
        if limits.bytes is not None:
            before = (self.weight + self.kept) * WEIGHT_UNIT
            weight = sum(map(_weight_of, entries)) - (0 if leaving is None else leaving.weight)
            size = before + weight * WEIGHT_UNIT
            self._check("bytes", limits.bytes, size, before, leaving)

    def check_shortage(self) -> None:
        """Let something be added that takes the place of nothing.

        Raises:
            SpaceFullError: There is no room for it outside this process.
        """
        if self.shortage:
            raise SpaceFullError(
                f"the space is full: {self.shortage}; takes and confirms go on",
                0, 0, _SHORTAGE_RETRY,
            )  # fmt: skip

    @staticmethod
    def _check(what: str, limit: int, size: int, now: int, leaving: Entry | None) -> None:
        allowed = limit if leaving is None else int(limit * _CONFIRMS)
        if size > allowed and size > now:
            raise SpaceFullError(
                f"the space is full: this would make it {size:,} {what}, and {limit:,} are allowed; try "
                "again when some have been taken, or start it with a larger --limit",
                limit, size, RETRY_AFTER,
            )  # fmt: skip

    def add(self, entry: Entry) -> None:
        """Count an entry that is stored now."""
        self.tuples += 1
        self.weight += entry.weight

    def keep(self, lane: Lane, weight: int) -> None:
        """Count the tuples in a lane's kept reply, if they are worth it, instead of the last."""
        if weight < _LARGE_REPLY:
            weight = 0
        self.kept += weight - lane.weight
        lane.weight = weight

    def as_many_as_fit(self, entries: list[Entry]) -> tuple[list[Entry], int]:
        """Return the first of these entries, one at least, that can be sent in one reply; their weight."""
        most = _SHORT_REPLY_WEIGHT if self.shortage else _REPLY_WEIGHT
        totals = list(accumulate(map(_weight_of, entries)))
        if totals and totals[-1] > most:
            count = max(bisect_right(totals, most), 1)
            return entries[:count], totals[count - 1]
        return entries, totals[-1] if totals else 0

    def remove(self, entry: Entry) -> None:
        """Count an entry that is gone now."""
        self.tuples -= 1
        self.weight -= entry.weight


def check_waiters(waiting: int, limits: Limits) -> None:
    """Let one more search wait, or one more subscriber listen.

    Raises:
        SpaceFullError: As many wait as may.
    """
    if limits.waiters is not None and waiting >= limits.waiters:
        raise SpaceFullError(
            f"{waiting:,} calls wait or listen in this space, and no more are allowed; try again with a "
            "timeout of 0, or start it with a larger --limit waiters=",
            limits.waiters, waiting + 1, RETRY_AFTER,
        )  # fmt: skip
