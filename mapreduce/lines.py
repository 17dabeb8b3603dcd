"""Lines: records and pairs as a program reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from mapreduce.errors import RecordFailedError
from mapreduce.pairs import blocks_of

#: What is no UTF-8 comes through unchanged.
ENCODING: Final = ("utf-8", "surrogateescape")

_PLAIN: Final = {str, int, float, bool}


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
    """Return the lines of a block of plain texts, or of plain pairs; None: look at each of them."""
    kinds = set(map(type, block))
    tabs = None
    try:
        if kinds == {str}:
            text = "\n".join(block)
        elif kinds == {tuple}:
            keys, values = zip(*block, strict=True)
            of_keys, of_values = set(map(type, keys)), set(map(type, values))
            if of_keys | of_values <= _PLAIN:
                text, tabs = "\n".join(map("%s\t%s".__mod__, block)), len(block)
            elif of_keys == {str} and of_values == {type(None)}:
                text, tabs = "\n".join(keys), 0
            else:
                return None
        else:
            return None
        if text.count("\n") != len(block) - 1 or tabs not in (None, text.count("\t")):
            return None
        return (text + "\n").encode(*ENCODING)
    except ValueError:
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
