"""PyMOTW's SimpleMapReduce: its programs give what they gave, in the order they gave it."""

from __future__ import annotations

import gc
import itertools
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from mapreduce import (
    InvalidJobError,
    InvalidPairsError,
    JobFailedError,
    MapReduceJob,
    RecordFailedError,
    stable_hash,
)
from mapreduce.styles.pymotw import SimpleMapReduce
from tuplespace import RemoteSpace
from tuplespace.resources import cores

# Functions of this module travel by value, as those of a script do.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

COUNT_FILES = '''\
import glob
import multiprocessing
import operator
import string

from mapreduce.styles.pymotw import SimpleMapReduce

STOP_WORDS = {"a", "and", "be", "in", "of", "or", "the", "to"}


def file_to_words(filename):
    """Read a file and return (word, 1) of each word that counts."""
    tr = str.maketrans(string.punctuation, " " * len(string.punctuation))
    print(f"{multiprocessing.current_process().name} reading {filename}")
    output = []
    with open(filename) as f:
        for line in f:
            if line.lstrip().startswith(".."):  # a comment
                continue
            for word in line.translate(tr).split():
                word = word.lower()
                if word.isalpha() and word not in STOP_WORDS:
                    output.append((word, 1))
    return output


def count_words(item):
    word, occurrences = item
    return word, sum(occurrences)


if __name__ == "__main__":
    mapper = SimpleMapReduce(file_to_words, count_words)
    word_counts = mapper(sorted(glob.glob("*.rst")))
    word_counts.sort(key=operator.itemgetter(1))
    word_counts.reverse()

    print("TOP 20 WORDS BY FREQUENCY")
    top20 = word_counts[:20]
    longest = max(len(word) for word, count in top20)
    for word, count in top20:
        print("%-*s: %5s" % (longest + 1, word, count))
'''


def in_one_dict(
    map_func: Callable[[Any], Any], reduce_func: Callable[[Any], Any], inputs: Iterable[Any]
) -> list[Any]:
    """What the original does, in one loop."""
    groups: dict[Any, list[Any]] = {}
    for item in inputs:
        for key, value in map_func(item):
            groups.setdefault(key, []).append(value)
    return [reduce_func(pair) for pair in groups.items()]


def test_the_words_of_files_are_counted_by_the_script_of_the_article(
    tmp_path: Path, run_python: Callable[..., subprocess.Popen[str]]
) -> None:
    chosen = random.Random(20)
    vocabulary = [
        "The",
        "task",
        "tasks,",
        "worker",
        "(pool)",
        "queue.",
        "x1",
        *map(chr, range(98, 120)),
    ]
    for number in range(4):
        lines = [" ".join(chosen.choices(vocabulary, k=9)) for _ in range(60)]
        lines[::7] = [f".. {line}" for line in lines[::7]]
        (tmp_path / f"page{number}.rst").write_text("\n".join([*lines, ""]))
    (tmp_path / "count.py").write_text(COUNT_FILES)

    output, error = run_python("count.py", cwd=tmp_path).communicate(timeout=40)

    shell = (
        "cat *.rst | grep -v '^ *[.][.]' | tr '[:punct:]' ' ' | tr '[:upper:] ' '[:lower:]\\n' "
        "| grep -xE '[a-z]+' | grep -vxE 'a|and|be|in|of|or|the|to' | sort | uniq -c | sort -rn"
    )
    counted = subprocess.run(shell, shell=True, cwd=tmp_path, capture_output=True, text=True)
    expected = [line.split() for line in counted.stdout.splitlines()]
    lines = output.splitlines()
    at = lines.index("TOP 20 WORDS BY FREQUENCY")
    said = "".join(lines[:at])  # by two processes at once
    assert [said.count(f" reading page{number}.rst") for number in range(4)] == [1] * 4
    shown = [
        (word.strip(), int(count))
        for word, _, count in (line.partition(":") for line in lines[at + 1 :])
    ]
    assert [count for _, count in shown] == [int(count) for count, _ in expected[:20]]
    assert set(shown) <= {(word, int(count)) for count, word in expected}
    assert (len(shown), error) == (20, "")


@pytest.mark.parametrize("place", ["here", "cluster"])
@pytest.mark.parametrize("chunksize", [1, 3, 1000])
def test_results_come_in_the_order_of_the_original(
    chunksize: int, place: str, request: pytest.FixtureRequest
) -> None:
    chosen = random.Random(chunksize)
    inputs = [[chosen.choice([1, 1.0, True, "a", ("b", 2), None, frozenset("c")]), *chosen.choices("defghijklmno", k=3)]
              for _ in range(40)]  # fmt: skip
    positions = itertools.count()
    numbered = [(row, [next(positions) for _ in row]) for row in inputs]

    def pairs(item: Any) -> Any:
        return zip(*item, strict=True)

    def positions_of(item: Any) -> Any:
        key, values = item
        return key, len(values), values, values[-1]

    uri = request.getfixturevalue("standing_cluster").uri if place == "cluster" else None
    mapper = SimpleMapReduce(pairs, positions_of, 1, space=uri, reduce_tasks=5)

    assert mapper(numbered, chunksize) == in_one_dict(pairs, positions_of, numbered)
    assert mapper(iter(numbered), chunksize=chunksize) == in_one_dict(pairs, positions_of, numbered)


def test_map_may_return_a_mapping_or_be_a_generator_and_nothing_gives_nothing() -> None:
    def words(line: str) -> Iterator[tuple[str, int]]:
        for word in line.split():
            yield word, 1

    assert SimpleMapReduce(words, list, 1)(["a b", "a"]) == [["a", [1, 1]], ["b", [1]]]
    assert SimpleMapReduce(lambda word: {word: 1}, list, 1)("ab") == [["a", [1]], ["b", [1]]]
    assert SimpleMapReduce(words, list, 1)([]) == []


def test_lambdas_run_in_workers_that_stay_for_the_next_call_and_go_with_the_object(
    alive: Callable[[int], bool], eventually: Callable[..., Any]
) -> None:
    factor = 2
    mapper = SimpleMapReduce(
        lambda n: [(os.getpid(), n * factor)], lambda item: (item[0], os.getpid(), sum(item[1])), 2
    )
    first, second = mapper(range(4)), mapper(range(40), chunksize=2)

    pids = {
        pid
        for result in (first, second)
        for mapped, reduced, _ in result
        for pid in (mapped, reduced)
    }
    assert (sum(row[2] for row in first), sum(row[2] for row in second)) == (12, 1560)
    assert os.getpid() not in pids
    assert len(pids) <= 2
    assert all(map(alive, pids))
    del mapper
    gc.collect()
    eventually(lambda: not any(map(alive, pids)))


def test_one_worker_is_this_very_process_and_the_default_is_one_a_core() -> None:
    assert SimpleMapReduce(lambda n: [(os.getpid(), n)], list, 1)([5]) == [[os.getpid(), [5]]]
    assert SimpleMapReduce(list, list).num_workers == cores()


class InOrder(SimpleMapReduce):
    """Keys by groupby, as some did it; they need not even be hashable."""

    def __init__(self, least: int, **options: Any) -> None:
        super().__init__(lambda word: [([word[0]], word)], self.chosen, **options)
        self.least = least
        self.seen_by = os.getpid()

    def partition(self, mapped_values: Iterable[Any]) -> Iterable[Any]:
        pairs = list(mapped_values)
        yield "how many", [len(pairs)]
        for key, group in itertools.groupby(sorted(pairs), key=lambda pair: pair[0]):
            yield tuple(key), [value for _, value in group]

    def chosen(self, item: Any) -> Any:
        key, values = item
        return (key, values) if len(values) >= self.least or key == "how many" else None


WORDS = ["apple", "bee", "ant", "cow", "bat", "ape"]
IN_ORDER = [
    ("how many", [6]), (("a",), ["ant", "ape", "apple"]), (("b",), ["bat", "bee"]), None,
]  # fmt: skip


def test_a_partition_of_its_own_sees_all_pairs_and_decides_keys_and_order() -> None:
    assert InOrder(2, num_workers=1)(WORDS) == IN_ORDER


def test_a_partition_of_its_own_runs_in_a_worker_with_what_the_object_has(
    space: RemoteSpace,
) -> None:
    assert InOrder(2, space=space)(WORDS, chunksize=2) == IN_ORDER


def test_a_partition_given_to_an_object_counts_as_its_own() -> None:
    mapper: Any = SimpleMapReduce(lambda word: [(word[0], word)], list, 1)
    assert mapper(["ab", "b", "a"]) == [["a", ["ab", "a"]], ["b", ["b"]]]
    mapper.partition = lambda pairs: [("all", [value for _, value in pairs])]
    assert mapper(["ab", "b", "a"]) == [["all", ["ab", "b", "a"]]]


class Doubling(SimpleMapReduce):
    def partition(self, mapped_values: Iterable[Any]) -> Iterable[Any]:
        return [(key, values + values) for key, values in super().partition(mapped_values)]


def test_with_more_reduce_tasks_a_partition_of_its_own_sees_the_pairs_of_each() -> None:
    def sorted_sums(mapper: SimpleMapReduce) -> list[Any]:
        return sorted(mapper(range(100)))

    def pairs(n: int) -> Any:
        return [(n % 17, n)]

    def add_up(item: Any) -> Any:
        return item[0], sum(item[1])

    several = Doubling(pairs, add_up, 1, reduce_tasks=4)
    expected = [(rest, 2 * sum(range(rest, 100, 17))) for rest in range(17)]

    assert sorted_sums(several) == expected == sorted_sums(Doubling(pairs, add_up, 1))
    assert several(range(100)) != expected  # in the order of the partitions


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_workers": 0}, "num_workers is a whole number from 1 on, not 0"),
        ({"num_workers": True}, "num_workers is"),
        ({"map_func": None}, "map_func is no function: None"),
        ({"reduce_func": 7}, "reduce_func is no function: 7"),
    ],
)
def test_what_cannot_run_is_refused_at_once(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidJobError, match=message):
        SimpleMapReduce(**{"map_func": list, "reduce_func": list, **arguments})


def test_what_is_no_option_or_chunksize_is_refused() -> None:
    with pytest.raises(InvalidJobError, match="'retrys' is no option here; is it retries"):
        SimpleMapReduce(list, list, retrys=3)
    with pytest.raises(InvalidJobError, match="chunksize is a whole number from 1 on, not 0"):
        SimpleMapReduce(list, list, 1)([1], chunksize=0)


@pytest.mark.parametrize("returned", [None, 7, "ab", ["ab", "cd"], [("key", 1, 2)]])
def test_what_map_returns_must_be_pairs(returned: Any) -> None:
    with pytest.raises(InvalidPairsError, match="pairs"):
        SimpleMapReduce(lambda _: returned, list, 1)([1])


def test_an_input_that_fails_is_named_with_its_chunk(space: RemoteSpace) -> None:
    mapper = SimpleMapReduce(lambda n: [(1 // (n - 5), n)], list, space=space)
    with pytest.raises(JobFailedError, match="ZeroDivisionError") as caught:
        mapper(range(10), chunksize=2)
    assert (caught.value.record, caught.value.where) == ("5", "record 1 of split 2 of the data")

    with pytest.raises(RecordFailedError, match="key 'b'") as here:
        SimpleMapReduce(lambda c: [(c, 1)], lambda item: 1 // (item[0] == "a"), 1)("ab")
    assert type(here.value.__cause__) is ZeroDivisionError


def test_options_of_the_job_reach_it() -> None:
    mapper = SimpleMapReduce(lambda n: [(1 // (n - 5), n)], list, 1, skip_bad_records=1)
    assert mapper(range(4, 7)) == [[-1, [4]], [1, [6]]]


def test_without_a_reduce_task_that_fails_the_others_results_are_there() -> None:
    def reduced(item: Any) -> Any:
        return 1 // (item[0] != "c"), item[0]

    mapper = SimpleMapReduce(lambda c: [(c, 1)], reduced, 1, on_bad_task="skip", reduce_tasks=20)
    lost = {c for c in "abcdef" if stable_hash(c) % 20 == stable_hash("c") % 20}
    assert mapper("fedcba") == [(1, c) for c in "fedcba" if c not in lost]


def test_a_worker_imports_the_styles_without_a_driver(
    run_python: Callable[..., subprocess.Popen[str]],
) -> None:
    code = (
        "import sys, mapreduce.styles.emit, mapreduce.styles.pymotw; "
        "print('mapreduce.job' in sys.modules, 'mapreduce.driver' in sys.modules)"
    )
    assert run_python("-c", code).communicate(timeout=30)[0].split() == ["False", "False"]


def test_one_pair_that_is_in_no_list_is_told_how_to_be_returned() -> None:
    mapper = SimpleMapReduce(lambda word: (word, 1), lambda item: item, 1)
    with pytest.raises(
        InvalidPairsError, match=r"got 'red' .* for one pair return \[\(key, value\)\]"
    ):
        mapper(["red"])


@pytest.mark.parametrize("kind", [list, iter])
def test_many_small_inputs_do_not_make_many_reduce_tasks(
    kind: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each map task has something to do for each reduce task, so their product is what takes time.
    jobs: list[MapReduceJob] = []
    run_sequential = MapReduceJob.run_sequential

    def kept(job: MapReduceJob) -> Any:
        jobs.append(job)
        return run_sequential(job)

    monkeypatch.setattr(MapReduceJob, "run_sequential", kept)
    mapper = SimpleMapReduce(lambda n: [(n % 3, n)], lambda item: (item[0], sum(item[1])), 1)
    assert mapper(kind(range(3000))) == [(n, sum(range(n, 3000, 3))) for n in range(3)]
    assert (jobs[0].reduce_tasks or 3000) <= 32
    assert len(jobs[0].data.plan()) == 1


def test_an_input_far_down_is_named_by_where_it_is_in_the_data() -> None:
    mapper = SimpleMapReduce(lambda number: [(number, 1 // (number - 77))], lambda item: item, 1)
    with pytest.raises(RecordFailedError, match=r"record 77 \(record 77 of the data\)"):
        mapper(range(100))


@pytest.mark.parametrize("kind", [list, iter])
def test_nor_do_they_of_workers(kind: Callable[[Any], Any]) -> None:
    mapper = SimpleMapReduce(lambda n: [(n, 1)], lambda item: item, 2)
    assert 1 < (mapper._job(kind(range(3000)), 1).reduce_tasks or 3000) <= 32
