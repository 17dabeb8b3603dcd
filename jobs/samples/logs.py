"""Logs: what web servers write of each request, in the common log format."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Final

_LINES: Final = 10_000
_PAGES: Final = 200


def write_logs(folder: Path, size: int) -> None:
    """Write two access logs of 10,000 lines times `size` each, about 0.9 MB times `size`."""
    draw = Random(2).random
    for number in range(2):
        with open(folder / f"access{number}.log", "w", encoding="ascii") as file:
            for line in range(_LINES * size):
                file.write(_request(line, draw(), draw(), draw()) + "\n")


def _request(line: int, who: float, what: float, how: float) -> str:
    page = int(_PAGES * what * what)
    kind = ("html", "html", "xml", "png")[page % 4]
    hour, minute, second = line // 3600 % 24, line // 60 % 60, line % 60
    return (
        f"10.0.{int(who * 4)}.{int(who * 1000) % 250} - - "
        f"[21/Nov/2026:{hour:02}:{minute:02}:{second:02} +0000] "
        f'"{"GET" if how < 0.9 else "POST"} /page{page}.{kind} HTTP/1.1" '
        f"{200 if how < 0.95 else 404} {int(how * 9000)}"
    )
