"""Lines: records and pairs as a program reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from mapreduce.errors import RecordFailedError
from mapreduce.pairs import blocks_of

#: What is no UTF-8 comes through unchanged.
ENCODING: Final = ("utf-8", "surrogateescape")


def lines_of(items: Iterable[Any], kind: str) -> Iterator[bytes]:
    """Yield the lines of records or pairs, many at a time.

    Args:
        items: They. kind: ``record`` or ``pair``: what to call one that cannot be a line.

    Raises:
        RecordFailedError: One cannot be: it is no text or number, or has a newline in it.
    """
    position = 0
    for block in blocks_of(items):
        lines = _lines_at_once(block)
        if lines is None:
            made = []
            for number, item in enumerate(block, position):
                try:
                    made.append(_line(item))
                except (TypeError, ValueError) as error:
                    at = number if kind == "record" else -1
                    raise RecordFailedError.on(item, at, kind) from error
            lines = b"".join(made)
        position += len(block)
        yield lines


def _lines_at_once(block: Sequence[Any]) -> bytes | None:
    """Return the lines of texts, or of pairs of texts; None: look at each of them."""
    kinds = set(map(type, block))
    try:
        if kinds == {str}:
            text = "\n".join(block)
        elif kinds == {tuple}:
            text = "\n".join(map("\t".join, block))
            if text.count("\t") != len(block):
                return None
        else:
            return None
        return None if text.count("\n") != len(block) - 1 else (text + "\n").encode(*ENCODING)
    except (TypeError, ValueError):
        return None


def _line(item: Any) -> bytes:
    if not isinstance(item, (tuple, list)):
        line = _field(item)
    else:
        whole = item[:1] if len(item) == 2 and item[1] is None else item
        fields = [_field(part) for part in whole]
        if any(b"\t" in field for field in fields[: max(1, len(fields) - 1)]):
            raise ValueError("there is a tab in it, which would end it as a key")
        line = b"\t".join(fields)
    if b"\n" in line:
        raise ValueError("there is a newline in it, so a program would take it for two")
    return line + b"\n"


def _field(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode(*ENCODING)
    if isinstance(value, bytes):
        return value
    if isinstance(value, (int, float)):
        return str(value).encode()
    if value is None:
        return b""
    raise TypeError(
        f"a program reads lines, and {type(value).__name__} is no text: make one of it, as in "
        "lambda records: run_program([...])(json.dumps(record) for record in records)"
    )
