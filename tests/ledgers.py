"""What the drivers of a space write into their jobs' ledgers, for a test to look into."""

from __future__ import annotations

from typing import Any

from mapreduce.records import Decoder
from tuplespace import MatchTimeoutError, RemoteSpace


class Ledgers:
    """Hears of all that is written into ledgers from now on."""

    def __init__(self, space: RemoteSpace) -> None:
        self._space = space
        self._heard = space.notify("write", ("ledger", None, None, None))

    def events(self, job: str) -> list[Any]:
        """Return the events of a job so far; once."""
        tuples = []
        try:
            while True:
                tuples.append(self._heard.next(timeout=0).tuple)
        except MatchTimeoutError:
            pass
        mine = [value for value in tuples if value is not None and value[1] == job]
        return list(Decoder(job, self._space.key).feed(mine))
