"""tinymr's class of today, and what the one of 0.1 has in common with it, against plain loops."""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from mapreduce import (
    InvalidJobError,
    InvalidPairsError,
    JobFailedError,
    RecordFailedError,
    Split,
    UnstableKeyError,
)
from mapreduce.engine.space import SpaceEngine
from mapreduce.styles.tinymr import (
    ElementCountError,
    MapReduce,
    MemMapReduce,
    single_key_output,
)
from tuplespace import connect

cloudpickle.register_pickle_by_value(sys.modules[__name__])

LINES = [f"{n % 13} The quick {'brown' if n % 3 else 'red'} fox no {n % 7}" for n in range(200)]
COUNTS = Counter(word for line in LINES for word in line.lower().split())


class WordCount(MemMapReduce):
    """As in the documentation of 0.1."""

    def mapper(self, item: str) -> Any:
        return zip(item.lower().split(), itertools.repeat(1))

    def reducer(self, key: str, values: Any) -> Any:
        yield key, sum(values)

    def output(self, items: Any) -> Any:
        return single_key_output(items)


class Count(MapReduce):
    """As in the documentation of today."""

    def mapper(self, line: str) -> Any:
        for word in line.lower().split():
            yield word, 1

    def reducer(self, word: str, instances: Any) -> Any:
        return word, sum(instances)

    def output(self, mapping: Any) -> Any:
        return Counter(mapping)


# --- today ----------------------------------------------------------------------------------------


def test_the_word_count_of_todays_documentation(anywhere: Any) -> None:
    counts = Count()(LINES, space=anywhere)
    assert type(counts) is Counter
    assert counts == COUNTS
    assert list(counts) == list(COUNTS)  # in the order of the data, as in tinymr


def test_a_mapper_returns_one_tuple_or_many() -> None:
    class One(Count):
        def mapper(self, line: str) -> Any:
            return None, Counter(line.lower().split())

        def reducer(self, key: None, values: Any) -> Any:
            return key, sum(values, Counter())

        def output(self, mapping: Any) -> Any:
            return mapping[None]

    class Items(Count):
        def mapper(self, line: str) -> Any:
            return Counter(line.lower().split()).items()

    assert One()(LINES) == Items()(LINES) == COUNTS


class Dealt(MapReduce):
    """Values of two keys in the order of `sort_map_with_value` and `sort_map_reverse`."""

    has_sort = with_value = reverse = False
    sort_map_with_value = property(lambda self: self.with_value)
    sort_map_reverse = property(lambda self: self.reverse)

    def mapper(self, item: tuple[int, int]) -> Any:
        sort, value = item
        return (value % 2, sort, value) if self.has_sort else (value % 2, value)

    def reducer(self, key: int, values: list[int]) -> Any:
        return key, list(values)


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("with_value", [False, True])
@pytest.mark.parametrize("has_sort", [False, True])
def test_values_are_sorted_as_the_table_says(
    has_sort: bool, with_value: bool, on_disk: bool, request: pytest.FixtureRequest
) -> None:
    data = [(n * 7 % 5, n * 11 % 23) for n in range(40)]
    order: Callable[[Any], Any] | None = {
        (False, False): lambda item: 0,
        (False, True): lambda item: item[1],
        (True, False): lambda item: item[0],
        (True, True): lambda item: item,
    }[has_sort, with_value]
    for reverse in (False, True):
        task = Dealt()
        task.has_sort, task.with_value, task.reverse = has_sort, with_value, reverse
        if on_disk:
            task.map_on_disk = True
            task.space = request.getfixturevalue("standing_cluster").uri
        ordered = sorted(data, key=order, reverse=reverse)
        assert task(data) == {
            key: [value for _, value in ordered if value % 2 == key] for key in (0, 1)
        }


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize(
    "has_sort, with_value, reverse, expected",
    [
        (False, False, False, [3, 1, 2, 1]),
        (False, True, False, [1, 1, 2, 3]),
        (False, True, True, [3, 2, 1, 1]),
        (True, False, False, [1, 1, 2, 3]),
        (True, False, True, [3, 2, 1, 1]),
    ],
)
def test_what_reducers_yield_is_sorted_likewise(
    has_sort: bool, with_value: bool, reverse: bool, expected: list[int], on_disk: bool,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    class Reduced(MapReduce):
        sort_reduce_with_value, sort_reduce_reverse = with_value, reverse
        reduce_on_disk = on_disk

        def mapper(self, item: int) -> Any:
            return 0, item

        def reducer(self, key: int, values: Any) -> Any:
            for value in values:
                yield ("all", value, value) if has_sort else ("all", value)

        def output(self, mapping: Any) -> Any:
            return dict(mapping)

    space = request.getfixturevalue("standing_cluster").uri if on_disk else None
    assert Reduced()([3, 1, 2, 1], space=space) == {"all": expected}


@pytest.mark.parametrize("on_disk", [False, True])
def test_of_several_values_that_reducers_return_for_a_key_the_first_is_it(
    on_disk: bool, request: pytest.FixtureRequest
) -> None:
    class Same(MapReduce):
        reduce_on_disk = on_disk

        def mapper(self, item: int) -> Any:
            return item, item

        def reducer(self, key: int, values: Any) -> Any:
            return key % 2, -key, key  # the largest key comes first

        def output(self, mapping: Any) -> Any:
            return dict(mapping)

    space = request.getfixturevalue("standing_cluster").uri if on_disk else None
    assert Same()(range(8), space=space) == {0: 6, 1: 7}


def test_maps_of_the_callers_own_do_the_calling() -> None:
    calls: list[str] = []

    def by(name: str, pool: Any, function: Any, items: Any) -> Iterator[Any]:
        calls.append(name)
        return pool.map(function, items)

    with ThreadPoolExecutor(2) as one, ThreadPoolExecutor(2) as two:
        first, second = partial(by, "one", one), partial(by, "two", two)
        assert Count()(LINES, mapper_map=first, reducer_map=second) == COUNTS
        assert calls == ["one", "two"]
        assert Count()(LINES, first) == COUNTS
        assert calls == ["one", "two", "one", "one"]
        assert Count()(iter(LINES), reducer_map=map) == COUNTS
        with pytest.raises(InvalidJobError, match="in this process"):
            Count()(LINES, mapper_map=first, space="127.0.0.1")


@pytest.mark.parametrize("keys", [(1,), (1, 2, 3, 4), [1], "ab"])
def test_tuples_of_neither_two_nor_three_are_refused(keys: Any) -> None:
    class Wrong(Count):
        def mapper(self, line: str) -> Any:
            yield keys

    with pytest.raises(ElementCountError, match="key, sort, value"):
        Wrong()(LINES)


def test_what_reducers_return_is_a_tuple() -> None:
    class Wrong(Count):
        def reducer(self, key: Any, values: Any) -> Any:
            return [(key, 1)]

    with pytest.raises(InvalidPairsError, match="it returns one tuple, or yields many"):
        Wrong()(LINES)


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_key_whose_tuples_differ_in_length_is_refused(
    on_disk: bool, request: pytest.FixtureRequest
) -> None:
    class Mixed(Count):
        map_on_disk = on_disk

        def mapper(self, line: str) -> Any:
            return ("a", 1, 1) if line else ("a", 1)

        def reducer(self, word: str, instances: Any) -> Any:
            return word, sum(instances)

    space = request.getfixturevalue("standing_cluster").uri if on_disk else None
    with pytest.raises((ElementCountError, JobFailedError), match="some have not"):
        Mixed()(["x", ""], space=space, retries=0)


# --- data, and mistakes ---------------------------------------------------------------------------


def test_the_space_is_the_calls_else_the_instances_else_the_classs(standing_cluster: Any) -> None:
    class Where(MapReduce):
        space = "127.0.0.1:1"  # nobody is there

        def mapper(self, item: Any) -> Any:
            return "pid", os.getpid()

        def reducer(self, key: str, pids: Any) -> Any:
            return key, set(pids)

    there = Where()(LINES, space=standing_cluster.uri)
    assert os.getpid() not in there["pid"]
    where = Where()
    where.space = SpaceEngine(
        connect(standing_cluster.uri), owned=True
    )  # it cannot be pickled, and need not
    assert os.getpid() not in where(LINES)["pid"]


def test_an_empty_stream_has_no_results(anywhere: Any) -> None:
    assert dict(WordCount()([], space=anywhere)) == Count()(iter(()), space=anywhere) == {}


def test_a_mapping_is_its_keys_and_a_file_can_be_read_again(tmp_path: Path) -> None:
    assert Count()({"a b": 1, "a": 2}) == {"a": 2, "b": 1}
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(LINES))
    with path.open() as file:
        assert dict(WordCount()(file)) == COUNTS
        file.seek(0)
        assert Count()(file) == COUNTS


def test_what_a_mapper_raises_names_the_item(anywhere: Any) -> None:
    class Broken(Count):
        def mapper(self, line: str) -> Any:
            yield line, 1 // (line != "bad")

    with pytest.raises((RecordFailedError, JobFailedError), match="'bad'") as raised:
        Broken()(["good", "bad"], space=anywhere, retries=0)
    assert "ZeroDivisionError" in f"{raised.value} {raised.value.__cause__!r}"
    assert Broken()(["good", "bad"], space=anywhere, skip_bad_records=1) == {"good": 1}


@pytest.mark.parametrize("kind", [Count, WordCount])
def test_a_mapper_that_returns_nothing_is_told_so(kind: Any) -> None:
    class Silent(kind):
        def mapper(self, line: str) -> Any:
            line.split()

    with pytest.raises(InvalidPairsError, match="mapper returned None"):
        Silent()(LINES)


def test_keys_that_cannot_be_hashed_are_refused() -> None:
    class Lists(Count):
        def mapper(self, line: str) -> Any:
            yield [line], 1

    with pytest.raises(TypeError, match="list"):
        Lists()(LINES)


def test_what_cannot_travel_is_said_before_anything_runs(standing_cluster: Any) -> None:
    class Holding(WordCount):
        def __init__(self) -> None:
            self.lock = threading.Lock()

    assert dict(Holding()(LINES)) == COUNTS  # here it need not
    with pytest.raises(InvalidJobError, match=r"make such things .* inside the function"):
        Holding()(LINES, space=standing_cluster.uri)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"reduce_task": 3}, r"'reduce_task' is no option here; is it reduce_tasks\?"),
        ({"output": "folder"}, "'output' is no option here"),
    ],
)
def test_options_are_those_of_a_job(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidJobError, match=message):
        Count()(LINES, **options)


@pytest.mark.parametrize(
    "name, value, message",
    [("jobs", 0, "jobs is an int"), ("threaded", True, "the map of a thread pool")],
)
def test_attributes_are_checked(name: str, value: Any, message: str) -> None:
    count = Count()
    setattr(count, name, value)
    with pytest.raises(InvalidJobError, match=message):
        count(LINES)


def test_a_with_statement_closes_it() -> None:
    class Counting(MapReduce):
        def mapper(self, line: str) -> Any:
            for word in line.split():
                yield word, 1

        def reducer(self, word: str, ones: Any) -> Any:
            return word, sum(ones)

        def close(self) -> None:
            self.was_closed = self.closed

    with Counting() as wc:
        assert not wc.closed
        assert wc(["a rose", "a"]) == {"a": 2, "rose": 1}
    assert (wc.closed, wc.was_closed) == (True, True)


# --- what is said when something is wrong ----------------------------------------------------------


@pytest.mark.parametrize(("missing", "hint"), [("mapper", "item"), ("reducer", "key, values")])
def test_a_class_without_a_method_is_refused_before_anything_runs(missing: str, hint: str) -> None:
    methods = {name: getattr(Count, name) for name in ("mapper", "reducer") if name != missing}
    task = type("Half", (MapReduce,), methods)()
    message = rf"Half has no {missing}: define {missing}\(self, {hint}\)"
    with pytest.raises(InvalidJobError, match=message):
        task(iter([]), space="nowhere")


def test_a_key_of_a_reducer_that_cannot_be_hashed_is_told_with_the_reducer(anywhere: Any) -> None:
    class Listed(Count):
        def reducer(self, word: str, instances: Any) -> Any:
            return [word], 1

    with pytest.raises((RecordFailedError, JobFailedError)) as caught:
        Listed()(["red"], space=anywhere)
    told = f"{caught.value} {caught.value.__cause__}"
    assert "Listed.reducer emitted (['red'], 1), whose key cannot be hashed (list)" in told
    assert "use a tuple instead" in told


@pytest.mark.parametrize("wrong", ["mapper", "reducer"])
def test_a_tuple_of_the_wrong_length_is_told_with_who_emitted_it(wrong: str) -> None:
    task = type("Long", (Count,), {wrong: lambda self, *_: (1, 2, 3, 4)})()
    with pytest.raises(ElementCountError, match=rf"of {wrong}, got \(1, 2, 3, 4\)"):
        task(["red"])


def test_in_one_process_items_are_read_as_they_are_mapped_and_not_again() -> None:
    read = mapped = most = 0

    class Counting(Count):
        def mapper(self, item: str) -> Any:
            nonlocal mapped, most
            mapped += 1
            most = max(most, read - mapped)
            return super().mapper(item)

    def lines() -> Iterator[str]:
        nonlocal read
        for line in LINES:
            read += 1
            yield line

    stream = lines()
    assert Counting()(stream) == COUNTS
    assert (mapped, most) == (len(LINES), 0)
    with pytest.raises(InvalidJobError, match="an earlier run has read"):
        Counting()(stream)


@pytest.mark.parametrize("kind", [list, iter])
def test_in_one_process_a_split_of_the_stream_is_its_items(kind: Callable[[Any], Any]) -> None:
    assert Count()(kind([Split(LINES[:90]), Split(LINES[90:])])) == COUNTS


def test_in_one_process_a_key_of_no_stable_hash_ends_it_at_its_item() -> None:
    mapped = []

    class Bad(MapReduce):
        def mapper(self, item: Any) -> Any:
            mapped.append(item)
            yield (object() if item == 3 else item), 1

        def reducer(self, key: Any, values: Any) -> Any:
            return key, sum(values)

    with pytest.raises(UnstableKeyError):
        Bad()(range(1000))
    assert mapped == [0, 1, 2, 3]
