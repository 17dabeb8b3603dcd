"""Logs: what web servers write of each request, in the common log format."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Final

_LINES: Final = 5_000
_PAGES: Final = 200
_DAYS: Final = 30


def write_logs(folder: Path, size: int) -> None:
    """Write two access logs of 5,000 lines times `size` each, about 0.8 MB times `size` in all."""
    draw = Random(2).random
    for number in range(2):
        with open(folder / f"access{number}.log", "w", encoding="ascii", newline="\n") as file:
            for line in range(_LINES * size):
                file.write(_request(line, draw(), draw(), draw(), draw()) + "\n")


def _request(second: int, who: float, what: float, how: float, much: float) -> str:
    """Return the request of this second of November, or of the time beyond it."""
    page = int(_PAGES * what * what)  # the first pages are the favourites
    kind = ("html", "html", "xml", "png")[page % 4]
    day, hour = second // 86_400 % _DAYS + 1, second // 3600 % 24
    client = int(who * 1000)
    return (
        f"10.0.{client // 250}.{client % 250 + 1} - - "
        f"[{day:02}/Nov/2026:{hour:02}:{second // 60 % 60:02}:{second % 60:02} +0000] "
        f'"{"GET" if how < 0.9 else "POST"} /page{page}.{kind} HTTP/1.1" '
        f"{200 if how < 0.95 else 404} {200 + int(much * 9000)}"
    )
