"""Pages: a small web, as lines of JSON with each page's url, text and links."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

_FILES: Final = 2
_PAGES: Final = 500
_HOSTS: Final = ("news", "cooking", "chess", "gardens", "trains")
#: What all write of; the first are the most common, and so are the first of a host's own words.
_WORDS: Final = ("the", "and", "für", "with", "today", "naïve", "more", "all", "日本", "never")
_OF_ITS_OWN: Final = 0.3


def write_pages(folder: Path, size: int) -> None:
    """Write two files of 500 pages times `size` each, about 0.4 MB times `size`."""
    draw = Random(4).random
    count = _FILES * _PAGES * size
    for file_number in range(_FILES):
        with open(folder / f"pages{file_number}.jsonl", "w", encoding="utf-8") as file:
            for number in range(file_number, count, _FILES):
                file.write(json.dumps(_page(number, count, draw), ensure_ascii=False) + "\n")


def _page(number: int, count: int, draw: Callable[[], float]) -> dict[str, object]:
    host = _host(number)
    words = []
    for _ in range(10 + int(draw() * 60)):
        own, chance = draw() < _OF_ITS_OWN, draw()
        words.append(f"{host}{_early(chance, 20)}" if own else _WORDS[_early(chance, len(_WORDS))])
    # Old pages are linked more than new ones, as it is in the web.
    links = [_url(_early(draw(), count)) for _ in range(int(draw() * 8))]
    return {"url": _url(number), "text": " ".join(words), "links": links}


def _early(chance: float, count: int) -> int:
    """Return one of so many numbers from 0 on, the first more often than the last."""
    return int(count * chance * chance)


def _url(number: int) -> str:
    return f"http://{_host(number)}.example/page{number}.html"


def _host(number: int) -> str:
    return _HOSTS[number % 13 % len(_HOSTS)]
