"""The four styles in one process against the plain loop that their users would write themselves.

A million inputs, or 200,000 with ``--quick``, of which each is next to nothing and makes one pair: what is
left is what the styles cost. All in this process, so it is the processor's time that counts, and not
what else the machine does.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from benchmarks.measure import ROUNDS, Work, against, figure, in_turn, show
from mapreduce.styles import emit, kaylee, pymotw, tinymr

INPUTS, QUICK_INPUTS = 1_000_000, 200_000
#: Of a million, which take a minute a round where others use the machine.
LONG_ROUNDS = 3
KEYS = 1000

Groups = dict[int, list[int]]
#: What both the style and the loop return: each key with the sum of its values.
Sums = dict[int, int]


def numbered_inputs(count: int) -> Iterator[tuple[int, int]]:
    """Yield inputs with their numbers, as Kaylee's ``datafn`` does."""
    return enumerate(range(count))


def map_of_two(_: int, value: int) -> Iterator[tuple[int, int]]:
    """Yield the pair of an input."""
    yield value % KEYS, 1


def sum_of(_: int, values: Iterable[int]) -> int:
    """Return the sum."""
    return sum(values)


def by_kaylee(count: int) -> Sums:
    """Do it in Kaylee's style."""
    server = kaylee.Server()
    server.datafn = lambda: numbered_inputs(count)
    server.mapfn, server.reducefn = map_of_two, sum_of
    server.start()
    return server.results() or {}


def as_kaylee(count: int) -> Sums:
    """Do it in the loop that this stands for."""
    groups: Groups = {}
    for number, value in numbered_inputs(count):
        for key, made in map_of_two(number, value):
            groups.setdefault(key, []).append(made)
    return {key: sum_of(key, iter(values)) for key, values in groups.items()}


class Summing(tinymr.MapReduce):
    """The program in tinymr's style."""

    def mapper(self, item: int) -> Iterator[tuple[int, int]]:
        """Yield the pair of an input."""
        yield item % KEYS, 1

    def reducer(self, key: int, values: list[int]) -> tuple[int, int]:
        """Return the key with the sum."""
        return key, sum(values)


def by_tinymr(count: int) -> Sums:
    """Do it in tinymr's style."""
    sums: Sums = Summing()(range(count))
    return sums


def as_tinymr(count: int) -> Sums:
    """Do it in the loop that this stands for."""
    program = Summing()
    groups: Groups = {}
    for item in range(count):
        for key, made in program.mapper(item):
            groups.setdefault(key, []).append(made)
    return dict(program.reducer(key, values) for key, values in groups.items())


def pairs_of(value: int) -> list[tuple[int, int]]:
    """Return the pair of an input."""
    return [(value % KEYS, 1)]


def total(item: tuple[int, list[int]]) -> tuple[int, int]:
    """Return a key with the sum of its values."""
    return item[0], sum(item[1])


def by_pymotw(count: int) -> Sums:
    """Do it in the style of Python Module of the Week."""
    return dict(pymotw.SimpleMapReduce(pairs_of, total, num_workers=1)(range(count)))


def as_pymotw(count: int) -> Sums:
    """Do it in the loop that this stands for."""
    groups: Groups = {}
    for value in range(count):
        for key, made in pairs_of(value):
            groups.setdefault(key, []).append(made)
    return dict(map(total, groups.items()))


class Course:
    """The twenty lines that the course hands out."""

    def __init__(self) -> None:
        self.intermediate: Groups = {}
        self.result: list[Any] = []

    def emit_intermediate(self, key: int, value: int) -> None:
        """Note a pair."""
        self.intermediate.setdefault(key, []).append(value)

    def emit(self, value: Any) -> None:
        """Note a result."""
        self.result.append(value)

    def execute(
        self, data: Iterable[str], mapper: Callable[[Any], None],
        reducer: Callable[[Any, list[int]], None],
    ) -> None:  # fmt: skip
        """Run it, and print the results."""
        for line in data:
            mapper(json.loads(line))
        for key, values in self.intermediate.items():
            reducer(key, values)
        for item in self.result:
            print(json.dumps(item))


def _emitting(mr: Course | emit.MapReduce, count: int) -> Sums:
    def mapper(record: int) -> None:
        mr.emit_intermediate(record % KEYS, 1)

    def reducer(key: int, values: list[int]) -> None:
        mr.emit((key, sum(values)))

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        mr.execute(map(str, range(count)), mapper, reducer)
    return dict(map(json.loads, printed.getvalue().splitlines()))


def by_emit(count: int) -> Sums:
    """Do it in the style of the course."""
    return _emitting(emit.MapReduce(num_workers=1), count)


def as_emit(count: int) -> Sums:
    """Do it by what the course hands out, which is such a loop."""
    return _emitting(Course(), count)


STYLES = {
    "kaylee": (by_kaylee, as_kaylee),
    "tinymr": (by_tinymr, as_tinymr),
    "pymotw": (by_pymotw, as_pymotw),
    "emit": (by_emit, as_emit),
}


def timed(name: str, count: int, work: Callable[[int], Sums]) -> Work:
    """Return what measures the processor's seconds of a work, and checks what it returns."""
    expected = {key: len(range(key, count, KEYS)) for key in range(KEYS)}

    def measure() -> dict[str, float]:
        gc.collect()
        started = time.process_time()
        sums = work(count)
        seconds = time.process_time() - started
        assert sums == expected, name
        assert [*sums] == [*expected], name
        return {name: seconds * 1e9 / count}

    return measure


def main() -> None:
    """Print the table."""
    quick = "--quick" in sys.argv[1:]
    count, rounds = (QUICK_INPUTS, ROUNDS) if quick else (INPUTS, LONG_ROUNDS)
    command = "python -m benchmarks.styles --quick" if quick else "invoke bench styles"
    rows = []
    for name, (style, plain) in STYLES.items():
        loop = f"{name}, plain"
        found = in_turn(timed(loop, count, plain), timed(name, count, style), rounds=rounds)
        rows += [
            (f"{name}: the plain loop", figure(found[loop], "ns an input"), "1"),
            (f"{name}: the style", figure(found[name], "ns an input"),
             f"takes {against(found[name], found[loop], 'the loop')}"),
        ]  # fmt: skip
    title = f"Styles in one process, {count:,} inputs, processor time"
    show(title, command, rows, rounds)


if __name__ == "__main__":
    main()
