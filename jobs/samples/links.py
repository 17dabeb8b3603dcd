"""Links: the pages of a small web and where each leads to, a JSON object a line."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Final

_PAGES: Final = 2_000
_FILES: Final = 2
_SITES: Final = 50
_MOST_LINKS: Final = 9


def write_links(folder: Path, size: int) -> None:
    """Write two files of 1,000 pages times `size` each, about 0.3 MB times `size` in all.

    The first pages are the favourites; about one page in ten leads nowhere.
    """
    draw = Random(3).random
    pages = _PAGES * size
    for number in range(_FILES):
        with open(folder / f"links{number}.jsonl", "w", encoding="ascii", newline="\n") as file:
            for page in range(number, pages, _FILES):
                count = int(draw() * (_MOST_LINKS + 1))
                links = [_url(int(pages * draw() * draw() * draw())) for _ in range(count)]
                file.write(json.dumps({"url": _url(page), "links": links}) + "\n")


def _url(page: int) -> str:
    return f"http://site{page % _SITES}.example/{page // _SITES}"
