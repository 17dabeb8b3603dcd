"""Pages: a small web, as lines of JSON with each page's url, text and links."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

from jobs.samples.texts import word

_FILES: Final = 2
_PAGES: Final = 500
_HOSTS: Final = ("news", "cooking", "chess", "gardens", "trains")
_WORDS_OF_ITS_OWN: Final = 0.3


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
        own = draw() < _WORDS_OF_ITS_OWN
        words.append(f"{host}{int(20 * draw() ** 3)}" if own else word(draw()))
    # Old pages are linked more than new ones, as it is in the web.
    links = [_url(int(count * draw() ** 3)) for _ in range(int(draw() * 8))]
    return {"url": _url(number), "text": " ".join(words), "links": links}


def _url(number: int) -> str:
    return f"http://{_host(number)}.example/page{number}.html"


def _host(number: int) -> str:
    return _HOSTS[number % 13 % len(_HOSTS)]
