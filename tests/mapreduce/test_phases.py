from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapreduce import dealing
from mapreduce.combining import combined
from mapreduce.dealing import deal
from mapreduce.errors import InvalidPairsError, PartitionError, UnstableKeyError
from mapreduce.grouping import by_key, collect, count_values, each, sum_values, top
from mapreduce.partition import hash_partition, stable_hash
from mapreduce.phases import (
    map_split,
    reduce_columns,
    run_reduce,
    same_reduction,
)


def partition_pairs(pairs, partition, reduce_tasks):
    (columns,) = deal(pairs, partition, reduce_tasks)
    return [columns.get(number, ([], [])) for number in range(reduce_tasks)]


def unzipped(columns):
    return [list(zip(keys, values, strict=True)) for keys, values in columns]


def test_the_map_function_gets_the_very_list_of_records():
    records = [1, 2]
    seen = []
    assert list(map_split(lambda given: seen.append(given) or [(1, 2)], records)) == [(1, 2)]
    assert seen[0] is records


def test_map_may_return_a_mapping():
    assert list(map_split(Counter, ["a", "b", "a"])) == [("a", 2), ("b", 1)]


@pytest.mark.parametrize("returned", [None, "ab", b"ab", 7])
def test_what_map_or_combine_return_must_be_pairs(returned):
    with pytest.raises(InvalidPairsError):
        map_split(lambda records: returned, [])
    with pytest.raises(InvalidPairsError):
        combined(lambda pairs: returned, [])


def test_without_a_combine_pairs_are_handed_on():
    assert list(combined(None, [("a", 1)])) == [("a", 1)]


def test_a_combine_may_be_a_reduction_a_by_key_or_a_function_to_a_mapping():
    pairs = [("a", 1), ("b", 2), ("a", 3)]
    assert list(combined(count_values, pairs)) == [("a", 2), ("b", 1)]
    assert list(combined(by_key(lambda k, v: max(v)), pairs)) == [("a", 3), ("b", 2)]
    assert list(combined(dict, pairs)) == [("a", 3), ("b", 2)]


keys = st.one_of(
    st.text(), st.integers(-9, 9), st.booleans(), st.none(), st.tuples(st.integers(0, 3), st.text())
)


@given(st.lists(st.tuples(keys, st.integers())), st.integers(1, 5))
def test_each_partition_has_its_pairs_in_order_of_appearance(pairs, reduce_tasks):
    columns = partition_pairs(iter(pairs), hash_partition, reduce_tasks)

    expected = [[] for _ in range(reduce_tasks)]
    for key, value in pairs:
        expected[stable_hash(key) % reduce_tasks].append((key, value))
    # repr, as the keys 1 and True are equal, but each has to come out as it went in.
    assert repr(unzipped(columns)) == repr(expected)


def test_more_keys_than_are_remembered_are_dealt_out_as_well(monkeypatch):
    monkeypatch.setattr(dealing, "_MEMO_LIMIT", 3)
    pairs = [(number % 10, number) for number in range(100)]
    for number, part in enumerate(unzipped(partition_pairs(pairs, hash_partition, 3))):
        assert part == [pair for pair in pairs if hash_partition(pair[0], 3) == number]


def test_a_users_partitioner_decides():
    pairs = [(5, "a"), (0, "b"), (7, "c")]
    assert unzipped(partition_pairs(pairs, lambda key, r: min(key, r - 1), 3)) == [
        [(0, "b")],
        [],
        [(5, "a"), (7, "c")],
    ]


def test_a_users_partitioner_may_take_keys_that_have_no_stable_hash():
    assert unzipped(partition_pairs([([1], 2)], lambda key, r: 0, 1)) == [[([1], 2)]]


def test_a_partitioners_bad_answer_and_its_own_errors_are_told():
    def failing(key, r):
        raise TypeError("mine")

    with pytest.raises(PartitionError, match="'k'"):
        partition_pairs([("k", 1)], lambda key, r: r, 2)
    with pytest.raises(TypeError, match="mine"):
        partition_pairs([("k", 1)], failing, 2)


@pytest.mark.parametrize("reduce_tasks", [1, 2])
@pytest.mark.parametrize("key", [[1], {1: 2}, float("nan"), object(), (1, [2])])
def test_an_unstable_key_is_refused_for_every_r(key, reduce_tasks):
    with pytest.raises(UnstableKeyError):
        partition_pairs([(key, 1)], hash_partition, reduce_tasks)


@pytest.mark.parametrize("partition", [hash_partition, lambda key, r: 0])
@pytest.mark.parametrize("pair", ["word", 3, None, (1, 2, 3), (1,)])
def test_what_is_no_pair_is_refused_and_shown(pair, partition):
    with pytest.raises(InvalidPairsError) as caught:
        partition_pairs([(1, 1), pair], partition, 2)
    assert repr(pair) in str(caught.value)


@pytest.mark.parametrize("error", [TypeError, ValueError, KeyError])
@pytest.mark.parametrize("partition", [hash_partition, lambda key, r: 0])
def test_an_error_in_what_computes_the_pairs_comes_through(error, partition):
    def pairs():
        yield "a", 1
        raise error("mine")

    with pytest.raises(error, match="mine"):
        partition_pairs(pairs(), partition, 2)


def test_reduce_gets_all_pairs_once_in_map_order():
    columns = [(["a", "b"], [1, 2]), ([], []), (["a"], [3])]
    seen = []
    assert (
        reduce_columns(lambda pairs: seen.extend([list(pairs), list(pairs)]) or "r", columns) == "r"
    )
    assert seen == [[("a", 1), ("b", 2), ("a", 3)], []]


def test_what_a_reduce_yields_comes_back_as_a_list():
    def reduce(pairs):
        for key, value in pairs:
            yield key * value

    assert run_reduce(0, reduce, [([2, 3], [4, 5])], merged=False) == [8, 15]


def test_partials_are_merged_only_if_reduce_made_them():
    columns = [(["a"], [2]), (["a"], [3])]
    assert reduce_columns(count_values, columns, merged=True) == [("a", 5)]
    assert reduce_columns(count_values, columns, merged=False) == [("a", 2)]


def test_two_reductions_are_the_same_if_they_do_the_same():
    assert same_reduction(count_values, count_values)
    assert same_reduction(top(3), top(3))
    assert not same_reduction(top(3), top(4))
    assert not same_reduction(sum_values, collect)
    assert not same_reduction(None, None)
    function = by_key(len)
    assert not same_reduction(function, function)


def test_an_each_map_flows_through_all_phases():
    words = each(lambda line: [(word, 1) for word in line.split()])
    parts = [
        partition_pairs(combined(sum_values, map_split(words, lines)), hash_partition, 2)
        for lines in (["a b", "a"], ["b a"])
    ]
    results = [reduce_columns(sum_values, [part[r] for part in parts], merged=True) for r in (0, 1)]
    assert dict(results[0] + results[1]) == {"a": 3, "b": 2}


def test_what_a_worker_imports_for_its_tasks_brings_no_driver_with_it(run_python):
    driver = {"mapreduce.job", "mapreduce.driver", "mapreduce.plan", "workers.agent", "statistics"}
    code = f"""
import sys, workers.worker, mapreduce.work
print(*{driver} & set(sys.modules))
import mapreduce
print(mapreduce.MapReduceJob.__module__)
"""
    output, _ = run_python("-c", code).communicate(timeout=30)
    assert output.split() == ["mapreduce.job"]
