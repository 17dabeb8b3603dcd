"""What people see, on a terminal and in a pipe."""

import re
from io import BytesIO, StringIO, TextIOWrapper
from typing import Any

import pytest
from rich.console import Console

from jobs.terminal.progress import ProgressDisplay
from jobs.terminal.tables import print_error, print_table
from mapreduce.report import Progress


def a_console(*, terminal: bool) -> Console:
    return Console(
        file=StringIO(),
        force_terminal=terminal,
        force_interactive=terminal,
        width=80,
        color_system=None,
    )


def progress(map_done: int, reduce_done: int, attempts_failed: int = 0, **known: Any) -> Progress:
    return Progress(map_done, 64, reduce_done, 8, attempts_failed, **known)


@pytest.fixture
def pipe() -> Console:
    return a_console(terminal=False)


@pytest.fixture
def terminal() -> Console:
    return a_console(terminal=True)


def printed(console: Console) -> str:
    """Return what stands on the console, without the sequences that move the cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())


def test_in_a_pipe_progress_is_at_most_one_line_a_second(pipe: Console) -> None:
    now = 100.0

    with ProgressDisplay(pipe, clock=lambda: now) as display:
        for tenth in range(25):
            now = 100.0 + tenth / 10
            display.update(progress(tenth, 0))

    assert printed(pipe).splitlines() == [
        "map 0/64  reduce 0/8",
        "map 10/64  reduce 0/8",
        "map 20/64  reduce 0/8",
        "map 24/64  reduce 0/8",
    ]


def test_in_a_pipe_progress_that_stands_still_is_said_once(pipe: Console) -> None:
    now = 0.0

    with ProgressDisplay(pipe, clock=lambda: now) as display:
        for seconds in (0.0, 5.0, 10.0):
            now = seconds
            display.update(progress(12, 0))

    assert printed(pipe) == "map 12/64  reduce 0/8\n"


@pytest.mark.parametrize(("count", "words"), [(1, "1 failed attempt"), (3, "3 failed attempts")])
def test_failed_attempts_are_counted(
    count: int, words: str, pipe: Console, terminal: Console
) -> None:
    for console in (pipe, terminal):
        with ProgressDisplay(console) as display:
            display.update(progress(64, 1, attempts_failed=count))

        assert printed(console).rstrip().endswith(words)


def test_a_display_that_was_never_updated_prints_nothing_in_a_pipe(pipe: Console) -> None:
    with ProgressDisplay(pipe):
        pass

    assert printed(pipe) == ""


def test_on_a_terminal_there_is_a_bar_for_each_phase(terminal: Console) -> None:
    with ProgressDisplay(terminal) as display:
        display.update(progress(12, 0))
        display.update(progress(64, 8))

    map_line, reduce_line = printed(terminal).rstrip().splitlines()[-2:]
    assert "map" in map_line
    assert "64/64" in map_line
    assert "reduce" in reduce_line
    assert "8/8" in reduce_line


def test_a_table_in_a_pipe_is_aligned_text(pipe: Console) -> None:
    print_table(("word", "count"), [("be", 12), ("or", 3)], "Words", pipe)

    assert printed(pipe).splitlines() == [
        "Words",
        "word  count",
        "be       12",
        "or        3",
    ]


def test_a_table_without_rows_is_its_head(pipe: Console) -> None:
    print_table(("word", "count"), [], "Words", pipe)

    assert printed(pipe).splitlines() == ["Words", "word  count"]


def test_wide_characters_take_the_room_they_need(pipe: Console) -> None:
    print_table(("word", "count"), [("日本", 1), ("a", 2)], "Words", pipe)

    assert printed(pipe).splitlines()[2:] == ["日本      1", "a         2"]


def test_long_rows_are_not_cut_in_a_pipe(pipe: Console) -> None:
    print_table(("count", "line"), [(1, "x" * 500)], "Lines", pipe)

    assert "x" * 500 in printed(pipe)


def test_a_table_on_a_terminal_has_title_head_and_rows(terminal: Console) -> None:
    print_table(("word", "count"), [("be", 12)], "Words", terminal)

    for text in ("Words", "word", "count", "be", "12"):
        assert text in printed(terminal)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_cells_are_shown_as_they_are_and_not_obeyed(is_terminal: bool) -> None:
    console = a_console(terminal=is_terminal)

    print_table(("line",), [("[red]not markup[/]",), ("\x1b[2Jnot cleared\r",)], "[b]", console)

    assert "[red]not markup[/]" in printed(console)
    assert r"\x1b[2Jnot cleared\r" in printed(console)
    assert "[b]" in printed(console)


def test_what_the_encoding_lacks_is_shown_escaped() -> None:
    raw = BytesIO()
    console = Console(file=TextIOWrapper(raw, encoding="ascii"), force_terminal=False)

    print_table(("word",), [("naïve",), ("\udcff",)], "Words", console)
    console.file.flush()

    assert raw.getvalue().splitlines()[2:] == [rb"na\xefve", rb"\udcff"]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_an_error_is_one_line(is_terminal: bool) -> None:
    console = a_console(terminal=is_terminal)

    print_error(ValueError("no space at [b]\n\n  tried loopback " + "x" * 100), console)

    assert printed(console) == "error: no space at [b] tried loopback " + "x" * 100 + "\n"
