"""tinymr's class of its release 0.1, and its roadmap, against plain loops."""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
import threading
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from mapreduce import InvalidJobError, JobFailedError, RecordFailedError
from mapreduce.engine.space import SpaceEngine
from mapreduce.styles.tinymr import (
    KeyCountError,
    MapReduce,
    MemMapReduce,
    popitems,
    single_key_output,
)

cloudpickle.register_pickle_by_value(sys.modules[__name__])

LINES = [f"{n % 13} The quick {'brown' if n % 3 else 'red'} fox no {n % 7}" for n in range(200)]
COUNTS = Counter(word for line in LINES for word in line.lower().split())
#: (state, town, year, day, note): notes cannot be compared, and days come several times.
VISITS = [("ab"[n % 2], n % 3, n * 7 % 5, n * 5 % 4, {"n": n}) for n in range(240)]


class WordCount(MemMapReduce):
    """As in the documentation of 0.1."""

    def mapper(self, item: str) -> Any:
        return zip(item.lower().split(), itertools.repeat(1))

    def reducer(self, key: str, values: Any) -> Any:
        yield key, sum(values)

    def output(self, items: Any) -> Any:
        return single_key_output(items)


class Visits(MemMapReduce):
    n_partition_keys = 2
    n_sort_keys = 2

    def mapper(self, visit: Any) -> Any:
        yield visit

    def reducer(self, key: Any, values: Any) -> Any:
        yield key, [note["n"] for note in values]


def visits_in_order() -> dict[Any, list[Any]]:
    expected = defaultdict(list)
    for state, town, _, _, note in sorted(VISITS, key=lambda visit: visit[:4]):
        expected[state, town].append(note["n"])
    return {key: [notes] for key, notes in expected.items()}


# --- 0.1 ------------------------------------------------------------------------------------------


def test_the_word_count_of_the_documentation(anywhere: Any) -> None:
    wc = WordCount()
    assert dict(wc(LINES, space=anywhere)) == COUNTS
    assert dict(wc(iter(LINES), space=anywhere)) == COUNTS


def test_jobs_are_processes_of_this_machine() -> None:
    class Pids(WordCount):
        jobs = 2
        reduce_jobs = property(lambda self: 1)

        def mapper(self, item: str) -> Any:
            return [("map", os.getpid())]

        def reducer(self, key: str, values: Any) -> Any:
            yield key, set(values)
            yield "reduce", {os.getpid()}

    pids = dict(Pids()(LINES))
    assert pids.keys() == {"map", "reduce"}
    assert os.getpid() not in pids["map"] | pids["reduce"]
    alone = Pids()
    alone.jobs = 1
    assert dict(alone(LINES)) == {"map": {os.getpid()}, "reduce": {os.getpid()}}


def test_composite_keys_partition_sort_and_leave_the_data(anywhere: Any) -> None:
    """Sorted by both sort keys; equal ones stay in their order, for notes cannot be compared."""
    assert dict(Visits()(VISITS, space=anywhere)) == visits_in_order()


@pytest.mark.parametrize(
    "partition_keys, sort_keys, expected",
    [
        (1, 0, {("p", ((1, "q", 2),))}),
        (1, 1, {("p", (2,))}),
        (2, 0, {(("p", "q"), (2,))}),
        (3, 0, {(("p", "q", 1), (2,))}),
        (1, 2, {("p", (2,))}),
        (2, 1, {(("p", "q"), (2,))}),
    ],
)
def test_a_single_partition_key_is_itself_and_several_are_a_tuple(
    partition_keys: int, sort_keys: int, expected: Any
) -> None:
    class Keys(MemMapReduce):
        n_partition_keys, n_sort_keys = partition_keys, sort_keys

        def mapper(self, item: Any) -> Any:
            count = partition_keys + sort_keys
            yield ("p", (1, "q", 2)) if count == 1 else (*("p", "q", 1)[:count], 2)

        def reducer(self, key: Any, values: Any) -> Any:
            yield key, tuple(values)

    assert set(single_key_output(Keys()([0]))) == expected


def test_without_an_output_of_its_own_it_hands_out_keys_with_lists_and_forgets_them() -> None:
    class Plain(WordCount):
        output = MemMapReduce.output

        def reducer(self, key: str, values: Any) -> Any:
            yield key[0], sum(values)

    items = Plain()(["ab ab", "b", "ac"])
    assert iter(items) is items
    assert list(items) == [("b", [1]), ("a", [2, 1])]


def test_popitems_empties_the_dict_as_it_goes() -> None:
    held = {"a": 1, "b": 2}
    left = [(item, len(held)) for item in popitems(held)]
    assert left == [(("b", 2), 1), (("a", 1), 0)]


@pytest.mark.parametrize("keys", [("a",), ("a", 1, 2), "ab", ["a", 1, 2]])
def test_tuples_of_the_wrong_length_are_counted(keys: Any) -> None:
    class Wrong(WordCount):
        def mapper(self, item: Any) -> Any:
            yield keys

    class WrongReducer(WordCount):
        def reducer(self, key: Any, values: Any) -> Any:
            yield keys

    count = 1 if keys == "ab" else len(keys)
    message = "Expected 2 keys from the {} phase, not {} - first keys: {!r}"
    for wrong, phase in ((Wrong, "map"), (WrongReducer, "reduce")):
        with pytest.raises(KeyCountError) as raised:
            wrong()(LINES)
        assert str(raised.value) == message.format(phase, count, keys)


def test_on_workers_they_are_counted_as_well(standing_cluster: Any) -> None:
    class Wrong(WordCount):
        n_sort_keys = 2

    with pytest.raises(
        JobFailedError,
        match=r"Expected 4 keys from the map phase, not 2 - first keys: \('\d+', 1\)",
    ):
        Wrong()(LINES, space=standing_cluster.uri, retries=0)


def test_the_first_keys_of_each_phase_may_be_checked() -> None:
    class Checked(WordCount):
        def __init__(self) -> None:
            self.checked: list[Any] = []

        def check_map_keys(self, keys: Any) -> None:
            self.checked.append(keys)

        def check_reduce_keys(self, keys: Any) -> None:
            self.checked.append(keys)
            if keys[1] > 1:
                raise KeyError("too many")

    checked = Checked()
    dict(checked(["a b", "c"]))
    assert checked.checked == [("a", 1), ("a", 1)]
    with pytest.raises(RecordFailedError) as raised:
        checked(["a a"])
    assert repr(raised.value.__cause__) == "KeyError('too many')"


def test_init_reduce_comes_once_after_all_maps_and_before_all_reduces() -> None:
    events: list[str] = []

    class Told(WordCount):
        def init_map(self) -> None:
            events.append("init_map")

        def init_reduce(self) -> None:
            events.append("init_reduce")

        def mapper(self, item: Any) -> Any:
            events.append("map")
            yield item, 1

        def reducer(self, key: Any, values: Any) -> Any:
            events.append("reduce")
            yield key, 1

    assert len(dict(Told()(LINES[:40]))) == len(set(LINES[:40]))
    assert [event for event, _ in itertools.groupby(events)] == [
        "init_map", "map", "init_reduce", "reduce"
    ]  # fmt: skip
    assert events.count("init_map") == events.count("init_reduce") == 1


def test_on_workers_init_reduce_comes_once_in_each_process_of_each_run(
    standing_cluster: Any,
) -> None:
    class Told(WordCount):
        reduces = 0

        def init_map(self) -> None:
            self.made_here = os.getpid()  # goes along to the workers

        def init_reduce(self) -> None:
            self.reduces += 1

        def reducer(self, key: Any, values: Any) -> Any:
            yield key, (self.reduces, self.made_here)

    for _ in range(2):  # on the same worker processes
        found = dict(Told()(LINES, space=standing_cluster.uri, reduce_tasks=6))
        assert set(found.values()) == {(1, os.getpid())}


def test_threads_work_in_this_process_side_by_side() -> None:
    together = threading.Barrier(2, timeout=20)

    class Threads(WordCount):
        jobs = 2
        threaded = True

        def mapper(self, item: Any) -> Any:
            together.wait()
            yield item, os.getpid()

        def reducer(self, key: Any, values: Any) -> Any:
            together.wait()
            yield key, set(values)

    assert dict(Threads()(["a", "b"])) == {"a": {os.getpid()}, "b": {os.getpid()}}


def test_a_chunk_is_what_a_map_task_gets(standing_cluster: Any) -> None:
    class Chunks(MemMapReduce):
        chunksize = 10
        map_chunksize = property(lambda self: 2 * self.chunksize)
        space = standing_cluster.uri

        def mapper(self, item: Any) -> Any:
            yield "items", 1

        def combiner(self, key: Any, values: Any) -> Any:
            yield key, sum(values)

        def reducer(self, key: Any, values: Any) -> Any:
            yield key, list(values)

    assert dict(single_key_output(Chunks()(range(50)))) == {"items": [20, 20, 10]}


def test_a_with_statement_closes_it() -> None:
    class Closing(WordCount):
        def close(self) -> None:
            self.was_closed = self.closed

    with Closing() as wc:
        assert not wc.closed
        assert dict(wc(LINES)) == COUNTS
    assert wc.closed
    assert wc.was_closed


# --- the roadmap: disk and combiner ---------------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
def test_on_disk_values_and_results_are_iterators_in_the_same_order(
    standing_cluster: Any, reverse: bool
) -> None:
    """More than the memory that a task may have, so it is sorted on disk."""

    class Big(MemMapReduce):
        n_sort_keys = 1
        on_disk = True
        memory = "1MB"
        sort_map_reverse = reverse
        space = standing_cluster.uri

        def mapper(self, n: int) -> Any:
            yield n % 3, n * 7 % 100, (n, bytes(1000))

        def reducer(self, key: int, values: Any) -> Any:
            assert iter(values) is values
            yield "all", (key, [n for n, _ in values])
            yield key, "end"

        def output(self, items: Any) -> Any:
            assert iter(items) is items
            return items

    folders = set(os.listdir(tempfile.gettempdir()))
    items = Big()(range(6000))
    new = [name for name in set(os.listdir(tempfile.gettempdir())) - folders if "tinymr" in name]
    assert len(new) == 1
    found = dict(items)
    by_sort_key = sorted(range(6000), key=lambda n: n * 7 % 100, reverse=reverse)
    assert sorted(found.pop("all")) == [
        (key, [n for n in by_sort_key if n % 3 == key]) for key in range(3)
    ]
    assert found == {key: ["end"] for key in range(3)}
    assert not Path(tempfile.gettempdir(), new[0]).exists()


def test_each_phase_is_on_disk_by_a_flag_of_its_own(standing_cluster: Any) -> None:
    class Kinds(MapReduce):
        map_on_disk: Any = False
        reduce_on_disk: Any = False

        def mapper(self, item: int) -> Any:
            return item % 2, item

        def reducer(self, key: int, values: Any) -> Any:
            kind = type(values) is list
            return key, (kind, sorted(values))

        def output(self, mapping: Any) -> Any:
            return isinstance(mapping, dict), dict(mapping)

    for on_disk in itertools.product([False, True], repeat=2):
        kinds = Kinds()
        kinds.map_on_disk, kinds.reduce_on_disk = on_disk
        in_dict, found = kinds(range(6), space=standing_cluster.uri)
        in_list = not on_disk[0]
        assert in_dict is not on_disk[1]
        assert found == {0: (in_list, [0, 2, 4]), 1: (in_list, [1, 3, 5])}


def test_on_disk_alone_means_processes_of_this_machine(standing_cluster: Any) -> None:
    class OnDisk(WordCount):
        on_disk = True

        def mapper(self, item: str) -> Any:
            yield "there", os.getpid() != parent
            yield from WordCount.mapper(self, item)

    parent = os.getpid()
    assert dict(OnDisk()(LINES)) == {**COUNTS, "there": len(LINES)}
    engine = SpaceEngine(standing_cluster.connect(), owned=True)
    with pytest.raises(InvalidJobError, match="give a space, no engine"):
        OnDisk()(LINES, space=engine)
    engine.close()


def test_a_combiner_takes_the_place_of_a_map_tasks_values(anywhere: Any) -> None:
    class Combined(WordCount):
        def combiner(self, key: str, values: list[int]) -> Any:
            yield key, sum(values)

        def reducer(self, key: str, values: Any) -> Any:
            yield key, (len(values), sum(values))

    found = dict(Combined()(LINES, space=anywhere, map_tasks=4))
    assert {word: total for word, (_, total) in found.items()} == COUNTS
    assert max(count for count, _ in found.values()) == 4


def test_a_combiner_gets_sorted_values_and_keeps_sort_keys(anywhere: Any) -> None:
    class Earliest(Visits):
        def combiner(self, key: Any, values: list[Any]) -> Any:
            first = values[0]["n"]
            yield *key, VISITS[first][2], VISITS[first][3], values[0]

        def reducer(self, key: Any, values: Any) -> Any:
            yield key, next(iter(values))["n"]

    found = dict(single_key_output(Earliest()(VISITS, space=anywhere)))
    assert found == {key: notes[0] for key, [notes] in visits_in_order().items()}
