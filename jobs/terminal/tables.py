"""What people see: tables and errors.

On a terminal these are rich's tables. Anywhere else (a pipe, a file, CI) they are plain lines. Results
go to stdout, errors to stderr.
"""

import sys
from collections.abc import Iterable, Sequence
from typing import Final

from rich.box import HEAVY_HEAD
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from tuplespace.values import brief

#: A terminal shows so many characters of a cell, some lines of it, and no more: a row is to be seen whole.
_LONGEST: Final = 300


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    title: str,
    console: Console | None = None,
) -> None:
    """Print a table with numbers to the right and all else to the left.

    Cells may hold anything: what a terminal could take for a command is shown, not obeyed.

    Args:
        columns: The head of each column.
        rows: As many values as there are columns, in each row.
        title: A line above the table.
        console: Where to print, by default on stdout.
    """
    console = console or Console()
    rows = list(rows)
    if console.is_interactive:
        console.print(grid_of(columns, rows, title, console.encoding))
    else:
        print_plain(console, title)
        lines = [[legible(value, console.encoding) for value in row] for row in rows]
        for text in _aligned([list(columns), *lines], _numeric(columns, rows)):
            print_plain(console, text)


def grid_of(
    columns: Sequence[str], rows: Sequence[Sequence[object]], title: str, encoding: str,
    *, is_dense: bool = False,
) -> Table:  # fmt: skip
    """Return the table that `print_table` prints on a terminal of this encoding.

    A dense one has no rules, and no row takes more than a line: it has two lines more than rows.
    """
    lines = [[legible(value, encoding) for value in row] for row in rows]
    shown = [[_cut(text) for text in line] for line in lines]
    grid = Table(
        title=Text(title), min_width=cell_len(title),
        box=None if is_dense else HEAVY_HEAD, title_justify="left" if is_dense else "center",
    )  # fmt: skip
    if shown != lines:
        grid.caption = Text("... cells cut short: in a pipe, a file and --json they are whole")
    for head, is_number in zip(columns, _numeric(columns, rows), strict=True):
        justify: JustifyMethod = "right" if is_number else "left"
        grid.add_column(_cell(head, is_dense), justify=justify, overflow="fold")
    for line in shown:
        grid.add_row(*(_cell(text, is_dense) for text in line))
    return grid


def _cell(text: str, is_dense: bool) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis") if is_dense else Text(text)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _numeric(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[bool]:
    """Say of each column whether it holds numbers only, and perhaps gaps ("")."""
    return [
        any(isinstance(row[at], int | float) for row in rows)
        and all(isinstance(row[at], int | float) or row[at] == "" for row in rows)
        for at in range(len(columns))
    ]


def print_error(message: object, console: Console | None = None) -> None:
    """Print an error as one line on stderr, however many lines the message has."""
    console = console or Console(stderr=True)
    line = " ".join(filter(None, map(str.strip, str(message).splitlines())))
    style = "bold red" if console.is_interactive else None
    print_plain(console, legible(f"error: {line}", console.encoding), style)


def _aligned(lines: Sequence[Sequence[str]], numeric: Sequence[bool]) -> Iterable[str]:
    """Yield lines whose columns are as wide as their widest cell on a terminal."""
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = []
        for cell, width, is_number in zip(line, widths, numeric, strict=True):
            gap = " " * (width - cell_len(cell))
            cells.append(gap + cell if is_number else cell + gap)
        yield "  ".join(cells).rstrip()


def legible(value: object, encoding: str) -> str:
    """Return a value as text that can be printed: no control characters, nothing unencodable."""
    try:
        text = str(value).expandtabs()
    except Exception:  # noqa: BLE001  # an int may be too long to be shown; anybody may write a str
        text = brief(value)
    if not text.isprintable():
        text = "".join(
            each if each.isprintable() else each.encode("unicode_escape").decode("ascii")
            for each in text
        )
    return text.encode(encoding, "backslashreplace").decode(encoding)


def print_plain(console: Console, text: str, style: str | None = None) -> None:
    """Print text as it is: no markup, no colours of rich's own choosing, no line breaks."""
    console.print(Text(text), style=style, soft_wrap=True)


def print_lines(lines: Iterable[str]) -> None:
    """Print lines on stdout, as they are but for what its encoding lacks, and see them off.

    Raises:
        BrokenPipeError: Nobody reads them any more.
    """
    encoding = sys.stdout.encoding or "utf-8"
    for line in lines:
        sys.stdout.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    sys.stdout.flush()
