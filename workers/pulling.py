"""Pulling: many frames of many hosts in the order wanted, several hosts at once.

This host's frames are read when their turn comes. Those of other hosts are fetched ahead, small
ones together, up to WINDOW_BYTES that nobody has taken yet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from itertools import groupby
from typing import Final, NamedTuple

from workers.blocks import FRAME_BYTES, BlockReader, Frame, Location
from workers.errors import BlockLostError

#: What is fetched ahead, in bytes.
WINDOW_BYTES: Final = 32 << 20

Wanted = tuple[Location, Frame]


class _Lot(NamedTuple):
    """Frames that travel together, and their bytes, which may be on their way."""

    wanted: list[Wanted]
    size: int
    coming: Future[list[bytes]] | None


def pull(wanted: Iterable[Wanted], reader: BlockReader) -> Iterator[bytes]:
    """Yield the bytes of these frames, each checked against its digest.

    Raises:
        BlockLostError: Of the next frame: it is gone, damaged, or nobody who has it answers.
    """
    lots = _lots(wanted, reader)
    ahead: deque[_Lot] = deque()
    held = 0
    try:
        while True:
            while held < WINDOW_BYTES and (lot := next(lots, None)) is not None:
                ahead.append(lot)
                held += lot.size
            if not ahead:
                return
            lot = ahead[0]
            yield from _bytes_of(lot, reader)
            ahead.popleft()
            held -= lot.size
    finally:
        for lot in ahead:
            if lot.coming is not None:
                lot.coming.cancel()


def _bytes_of(lot: _Lot, reader: BlockReader) -> Iterator[bytes]:
    if lot.coming is not None:
        try:
            found = lot.coming.result()
        except BlockLostError as error:
            if not error.answered:
                raise
        else:
            yield from found
            return
    # Near; or one of them is lost: which?
    for location, frame in lot.wanted:
        yield reader.read(location, [frame])[0]


def _lots(wanted: Iterable[Wanted], reader: BlockReader) -> Iterator[_Lot]:
    """Put frames together that lie with one block server; begin to fetch each lot that is made."""

    def server(one: Wanted) -> str:
        return "" if reader.is_near(one[0]) else one[0].uri

    for uri, run in groupby(wanted, server):
        if not uri:
            yield from (_Lot([one], 0, None) for one in run)
            continue
        for lot in _of_about(FRAME_BYTES, run):
            yield _Lot(lot, sum(frame.length for _, frame in lot), reader.fetch_later(lot))


def _of_about(size: int, run: Iterable[Wanted]) -> Iterator[list[Wanted]]:
    lot: list[Wanted] = []
    total = 0
    for one in run:
        if lot and total + one[1].length > size:
            yield lot
            lot, total = [], 0
        lot.append(one)
        total += one[1].length
    if lot:
        yield lot
