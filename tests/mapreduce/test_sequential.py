import tracemalloc
from collections import Counter, defaultdict

import pytest

from mapreduce.errors import RecordFailedError
from mapreduce.grouping import (
    by_key,
    collect,
    count_values,
    each,
    max_value,
    min_value,
    sum_values,
    top,
)
from mapreduce.inputs.splits import Split, TextFiles, plan_splits
from mapreduce.partition import stable_hash
from mapreduce.sequential import run_sequential

LINES = ["the cat the dog", "", "a cat", "the end", "dog", "a a a"] * 5
words = each(lambda line: [(word, len(line)) for word in line.split()])


def in_partitions(pairs, reduce_tasks):
    return [
        [(key, value) for key, value in pairs if stable_hash(key) % reduce_tasks == number]
        for number in range(reduce_tasks)
    ]


@pytest.mark.parametrize("reduce_tasks", [1, 3])
@pytest.mark.parametrize("map_tasks", [None, 1, 7, 100])
def test_words_are_counted_in_order_of_first_appearance(map_tasks, reduce_tasks):
    results = run_sequential(
        splits=plan_splits(LINES, map_tasks),
        map=each(lambda line: [(word, 1) for word in line.split()]),
        reduce=by_key(lambda key, values: sum(values)),
        reduce_tasks=reduce_tasks,
    )

    counts = Counter(word for line in LINES for word in line.split())
    assert results == in_partitions(counts.items(), reduce_tasks)


@pytest.mark.parametrize(
    "reduction", [sum_values, count_values, min_value, max_value, collect, top, top(2)], ids=repr
)
def test_a_reduction_as_combine_changes_nothing(reduction):
    splits = plan_splits(LINES, 4)
    plain = run_sequential(splits=splits, map=words, reduce=reduction, reduce_tasks=2)
    assert plain == run_sequential(
        splits=splits, map=words, combine=reduction, reduce=reduction, reduce_tasks=2
    )


def test_reduce_may_take_the_pairs_of_a_partition_whole():
    results = run_sequential(
        splits=plan_splits(range(10), 3),
        map=lambda numbers: [(number, number * number) for number in numbers],
        reduce=dict,
        partition=lambda key, r: key % r,
        reduce_tasks=2,
    )
    assert results == [{n: n * n for n in range(0, 10, 2)}, {n: n * n for n in range(1, 10, 2)}]


def test_empty_data_is_reduced_for_every_partition():
    assert run_sequential(splits=[], map=words, reduce=sum_values, reduce_tasks=3) == [[], [], []]


def test_an_inverted_index_over_files_is_what_plain_python_makes(tmp_path):
    expected = defaultdict(list)
    for number in range(5):
        text = "".join(f"{word} {number}\n" for word in "abc"[: number % 3 + 1])
        (tmp_path / f"{number}.txt").write_text(text)
        for line in text.splitlines():
            expected[line.split()[0]].append(int(line.split()[1]))

    [result] = run_sequential(
        splits=plan_splits(TextFiles(tmp_path / "*.txt"), 3),
        map=each(lambda line: [(line.split()[0], int(line.split()[1]))]),
        reduce=collect,
        reduce_tasks=1,
    )
    assert dict(result) == expected


def fail_on(bad):
    return each(lambda record: [(record, 1 / (record != bad))])


def test_a_failing_record_is_named_with_its_place_in_the_data():
    with pytest.raises(RecordFailedError, match="record 17 of the data") as caught:
        run_sequential(
            splits=plan_splits(list(range(20)), 4),
            map=fail_on(17),
            reduce=sum_values,
            reduce_tasks=2,
        )
    assert caught.value.record == "17"
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("combine", [None, sum_values, by_key(lambda key, values: sum(values))])
def test_a_failing_line_is_named_with_its_file_and_number(tmp_path, combine):
    (tmp_path / "a.log").write_text("one\ntwo\n")
    (tmp_path / "b.log").write_text("three\nfour\nbad")
    with pytest.raises(RecordFailedError, match=r"b\.log, line 3"):
        run_sequential(
            splits=plan_splits(TextFiles(tmp_path / "*.log"), 2),
            map=fail_on("bad"),
            combine=combine,
            reduce=sum_values,
            reduce_tasks=1,
        )


def test_a_failing_key_is_named_with_its_partition():
    with pytest.raises(RecordFailedError, match=r"key 'b' \(partition 0\): ZeroDivisionError: "):
        run_sequential(
            splits=plan_splits(["a", "b"]),
            map=each(lambda record: [(record, 1)]),
            reduce=by_key(lambda key, values: 1 / (key != "b")),
            reduce_tasks=1,
        )


def test_other_errors_of_user_functions_come_through_as_they_are():
    with pytest.raises(ZeroDivisionError):
        run_sequential(
            splits=plan_splits([Split([1])]), map=lambda n: 1 / 0, reduce=dict, reduce_tasks=1
        )


def test_partitions_that_small_splits_leave_empty_take_no_memory():
    splits = plan_splits([Split([number]) for number in range(200)])
    tracemalloc.start()
    try:
        results = run_sequential(
            splits=splits,
            map=each(lambda number: [(number, number)]),
            reduce=sum_values,
            reduce_tasks=512,
        )
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(len(list(result)) for result in results) == 200
    assert most < 4 << 20  # 200 * 512 empty ones took 17 MB
