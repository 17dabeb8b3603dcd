"""The pages of docs/ as a reader meets them: blocks to type or to save, and what they print.

In a page's fenced blocks,

- ```sh``` is typed line by line, in one folder for the whole page. A block that only starts a server or
  a worker (`invoke tuplespace ...`, `invoke worker ...`) goes on in the background, as in a terminal of its own,
  until the page ends; `invoke` and `tuplemill` are the same there. What makes an environment, or takes a
  second machine, stands in the README with the same words, is tested there, and is not typed again: a block of
  nothing but such lines is left out.
- ```python``` is a script, run in that folder. If its first line is a comment with a file's name
  (`# count.py`), it is saved under that name, for a later ```sh``` block to run; and it is
  not run by itself.
- ```text``` right after one of them is what it prints on stdout (a server: until it is ready, on both); a
  line `...` stands for any lines, and `...` within a line for any text. `json` and all other languages are
  files whose first line names them in a comment, or only shown.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

_BLOCK = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE_NAME = re.compile(r"(?:#|//|/\*) (\w[\w./-]*\.\w+)(?: \*/)?\n")
_SERVER = re.compile(r"(?:invoke|tuplemill) (?:tuplespace|worker)\b[^\n]*\n")
_ELSEWHERE = re.compile(r"venv|activate|--host 0\.0\.0\.0|scp ")


class Block(NamedTuple):
    """A fenced block.

    Attributes:
        line: Of the page, where it begins. language, text: As they stand there.
        printed: What it prints, if the page says so.
    """

    line: int
    language: str
    text: str
    printed: str | None = None

    @property
    def file_name(self) -> str | None:
        """What the block is saved as; None: it is run, or shown."""
        found = _FILE_NAME.match(self.text)
        return found[1] if found and self.language not in ("sh", "text") else None

    @property
    def is_server(self) -> bool:
        """Whether it goes on until the page ends."""
        return self.language == "sh" and _SERVER.fullmatch(self.text) is not None

    @property
    def is_elsewhere(self) -> bool:
        """Whether the README's tests do it all."""
        lines = set(self.text.splitlines())
        return self.language == "sh" and lines <= README_SET_UP

    @property
    def is_done(self) -> bool:
        """Whether a reader of the page runs or saves it."""
        return not self.is_elsewhere and bool(self.language in ("python", "sh") or self.file_name)


def pages() -> list[Path]:
    """Return all pages, without those that were built of them."""
    return sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page, in order; what is printed goes with what prints it."""
    text = page.read_text(encoding="utf-8")
    blocks: list[Block] = []
    for found in _BLOCK.finditer(text):
        language, body = found[1], found[2]
        if language == "text" and blocks and blocks[-1].printed is None and blocks[-1].is_done:
            blocks[-1] = blocks[-1]._replace(printed=body)
        else:
            blocks.append(Block(text.count("\n", 0, found.start()) + 1, language, body))
    return blocks


def as_pattern(printed: str) -> re.Pattern[str]:
    """Return what matches the text that a block prints."""
    lines = [
        r"(?:.*\n)*?" if line.strip() == "..." else
        r"[^\n]*?".join(map(re.escape, line.rstrip().split("..."))) + r"[ \t]*\n"
        for line in printed.splitlines()
    ]  # fmt: skip
    return re.compile("".join(lines))


README_SET_UP = {
    line
    for block in blocks_of(ROOT / "README.md") if block.language == "sh"
    for line in block.text.splitlines() if _ELSEWHERE.search(line)
} | {". .venv/bin/activate"}  # fmt: skip
