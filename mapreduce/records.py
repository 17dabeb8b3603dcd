"""Records: a job's events as tuples ``("ledger", job, serial, sealed)``, and back.

They are packed, in pieces of at most PIECE_BYTES, each sealed with the cluster key for its job and
serial, so that nothing unsigned is ever unpickled.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any, Final

from tuplespace.errors import AuthenticationError
from tuplespace.security import Key
from tuplespace.wire import pack, unpack

logger = logging.getLogger(__name__)

Event = tuple[Any, ...]

PIECE_BYTES: Final = 1 << 20
_MORE: Final = b"+"
_LAST: Final = b"."


def encode(events: Iterable[Event], job: str, serial: int, key: Key) -> Iterator[tuple[Any, ...]]:
    """Yield the tuples of some events, numbered from `serial` on."""
    data = pack(tuple(events))
    for start in range(0, len(data), PIECE_BYTES):
        piece = data[start : start + PIECE_BYTES]
        mark = _LAST if start + PIECE_BYTES >= len(data) else _MORE
        yield ("ledger", job, serial, key.seal(_context(job, serial), mark + piece))
        serial += 1


class Decoder:
    """Turns a ledger's tuples, in the order of their serials, into events again.

    Attributes:
        serial: Of the first tuple that is not part of what has been decoded.
    """

    def __init__(self, job: str, key: Key) -> None:
        self._job, self._key = job, key
        self._pieces: list[bytes] = []
        self._seen = 0
        self.serial = 0

    def feed(self, tuples: Iterable[tuple[Any, ...]]) -> Iterator[Event]:
        """Yield the events in some more tuples.

        What was not sealed with this key for this job and serial, somebody else has written: it
        is passed over.
        """
        for _, _, serial, sealed in sorted(tuples, key=lambda each: each[2]):
            if serial != self._seen:  # a repetition; or a gap, after which nothing can be known
                continue
            try:
                body = self._key.unseal(_context(self._job, serial), sealed)
            except (AuthenticationError, ValueError) as error:
                logger.warning("job %s passes over a forged record: %s", self._job, error)
                continue
            self._seen += 1
            self._pieces.append(body[1:])
            if body[:1] == _LAST:
                events, self._pieces = unpack(b"".join(self._pieces)), []
                self.serial = self._seen
                yield from events


def _context(job: str, serial: int) -> str:
    return f"ledger|{job}|{serial}"
