"""What people see, on a terminal and in a pipe."""

import re
from io import BytesIO, StringIO, TextIOWrapper
from typing import Any

import pytest
from rich.console import Console

from jobs.terminal.amounts import bytes_text, seconds_text
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


def test_records_that_a_driver_before_has_read_are_no_pace_of_this_one(pipe: Console) -> None:
    with ProgressDisplay(pipe, records_before=9000) as display:
        display.update(progress(20, 0, records=9000, seconds=0.01))
        display.update(progress(30, 0, records=9500, seconds=10.0))

    assert printed(pipe).splitlines() == [
        "map 20/64  reduce 0/8", "map 30/64  reduce 0/8  50 records/s",
    ]  # fmt: skip


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


def test_a_long_title_stands_in_one_line_above_a_narrow_table(terminal: Console) -> None:
    print_table(("word", "count"), [("lo", 9)], "Words, the most common first", terminal)

    assert printed(terminal).splitlines()[0].strip() == "Words, the most common first"


def test_on_a_terminal_a_cell_of_many_lines_is_cut_and_says_where_all_of_it_is(
    pipe: Console, terminal: Console
) -> None:
    for console in (pipe, terminal):
        print_table(("page", "from"), [("a", "b " * 1000), ("c", "d")], "Links", console)

    assert len(printed(terminal).splitlines()) < 15
    assert "--json" in printed(terminal)
    assert printed(pipe).count("b ") == 999  # the last space is stripped


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


FACTS: dict[str, Any] = {
    "seconds": 2.0, "records": 24_690, "shuffle_bytes": 3_210_000, "seconds_left": 12.3,
    "notice": "no workers yet",
}  # fmt: skip


def test_in_a_pipe_a_line_has_all_that_is_known(pipe: Console) -> None:
    with ProgressDisplay(pipe) as display:
        display.update(progress(12, 0, attempts_failed=1, **FACTS))

    assert printed(pipe) == (
        "map 12/64  reduce 0/8  12,345 records/s  3.2 MB shuffled  1 failed attempt  "
        "map: about 12 s left  no workers yet\n"
    )


def test_what_is_left_is_said_of_the_phase_under_way(pipe: Console, terminal: Console) -> None:
    for console in (pipe, terminal):
        with ProgressDisplay(console) as display:
            display.update(progress(64, 2, **FACTS))

    assert "  reduce: about 12 s left  " in printed(pipe)
    maps, reduces, _ = printed(terminal).rstrip().splitlines()[-3:]
    assert "left" not in maps
    assert reduces.rstrip().endswith("about 12 s left")


def test_on_a_terminal_it_stands_beside_and_below_the_bars(terminal: Console) -> None:
    with ProgressDisplay(terminal) as display:
        display.update(progress(12, 0, attempts_failed=1, **FACTS))

    maps, reduces, notice = printed(terminal).rstrip().splitlines()[-3:]
    assert maps.rstrip().endswith("12,345 records/s 3.2 MB shuffled about 12 s left")
    assert reduces.rstrip().endswith(" 1 failed attempt")
    assert notice.rstrip() == "no workers yet"
    assert max(map(len, (maps, reduces))) <= 80


def test_clocks_that_go_on_are_no_news_of_a_job_that_stands_still(pipe: Console) -> None:
    now = 0.0

    with ProgressDisplay(pipe, clock=lambda: now) as display:
        for seconds in (1.0, 5.0, 10.0):
            now = seconds
            display.update(progress(12, 0, seconds=seconds, records=100, seconds_left=seconds))
        display.update(progress(12, 0, seconds=10.0, records=100, notice="no workers yet"))

    assert printed(pipe).splitlines() == [
        "map 12/64  reduce 0/8  100 records/s  map: about 1 s left",
        "map 12/64  reduce 0/8  10 records/s  no workers yet",
    ]


def test_the_pace_of_maps_stands_once_they_are_done(pipe: Console) -> None:
    with ProgressDisplay(pipe) as display:
        for done, seconds in ((63, 9.0), (64, 10.0), (64, 99.0)):
            display.update(progress(done, 0, seconds=seconds, records=900))

    assert printed(pipe).splitlines()[-1] == "map 64/64  reduce 0/8  100 records/s"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_notice_is_shown_and_not_obeyed(is_terminal: bool) -> None:
    console = a_console(terminal=is_terminal)
    with ProgressDisplay(console) as display:
        display.update(progress(1, 0, notice="[red]no\x1b[2J workers"))

    assert r"[red]no\x1b[2J workers" in printed(console)


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_999, "1.0 MB"), (99_940, "99.9 kB"),
     (123_456, "123 kB"), (3_210_000_000, "3.2 GB"), (10**300, "1000 PB")],
)  # fmt: skip
def test_bytes_are_told_as_people_read_them(amount: int, text: str) -> None:
    assert bytes_text(amount) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.00024, "0.24 ms"), (0.0123, "0.012 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1:00 min"),
     (187, "3:07 min"), (7387, "2:03:07 h"), (1e300, "1e+300 s")],
)  # fmt: skip
def test_seconds_are_told_as_people_read_them(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


def test_a_number_that_python_does_not_show_is_a_cell_all_the_same(pipe: Console) -> None:
    print_table(("count",), [(1 << 40_000,)], "Numbers", pipe)

    assert len(printed(pipe).splitlines()) == 3
