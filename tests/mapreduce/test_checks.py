from collections import Counter

import pytest

from mapreduce import (
    InvalidJobError,
    InvalidPairsError,
    MapReduceJob,
    Split,
    TextFiles,
    by_key,
    each,
    hash_partition,
    range_partition,
    sum_values,
    whole_file,
)


def job(**filled_in):
    return MapReduceJob(**{"data": ["a b"], "map": Counter, "reduce": sum_values, **filled_in})


@pytest.mark.parametrize(
    "filled_in, hint",
    [
        ({"map": lambda key, value: []}, r"job\.map .* each\(function\)"),
        ({"reduce": lambda key, values: 1}, r"job\.reduce .* by_key\(function\)"),
        ({"combine": lambda key, values: 1}, r"job\.combine .* by_key\(function\)"),
        ({"partition": lambda key: 1}, r"job\.partition .* a key and R, 2 arguments"),
        ({"map": lambda: [("a", 1)]}, r"the records of a split, 1 argument"),
        ({"map": each}, r"write each\(function\)"),
        ({"reduce": by_key}, r"write by_key\(function\)"),
        ({"partition": range_partition}, r"write range_partition\(\)"),
    ],
)
def test_a_function_of_other_arguments_is_refused_before_anything_runs(filled_in, hint):
    with pytest.raises(InvalidJobError, match=hint):
        job(**filled_in).run_sequential()


@pytest.mark.parametrize("function", [Counter, list, sorted, dict, lambda *records: [], sum_values])
def test_what_can_be_called_so_is_taken(function):
    job(map=lambda records: [(r, 1) for r in records], reduce=function).run_sequential()


def test_a_misspelt_attribute_is_refused_with_the_right_one():
    with pytest.raises(AttributeError, match="'reduce_task'; is it reduce_tasks"):
        job().reduce_task = 3
    with pytest.raises(AttributeError, match="'combiner'; is it combine"):
        job().combiner = sum_values
    with pytest.raises(AttributeError, match="it has data, map, "):
        job().nonsense = 1


@pytest.mark.parametrize("function", [str.split, lambda line: ("ab", "cd"), lambda line: {"ab": 1}])
def test_words_are_no_pairs(function):
    refused = function("to be") != {"ab": 1}
    made = each(function)(["to be"])
    if refused:
        with pytest.raises(InvalidPairsError, match=r"\[\(word, 1\) for word"):
            list(made)
    else:
        assert list(made) == [("ab", 1)]


@pytest.mark.parametrize("returned", [[None], (None,), iter([None]), [5], iter([5, 6])])
def test_what_is_no_pair_is_not_passed_over(returned):
    with pytest.raises(InvalidPairsError, match=r"expected .* pairs, got"):
        sum_values(each(lambda record: returned)([1]))


def test_a_group_of_a_secondary_sort_is_in_one_partition():
    data = [(user, second) for second in range(40) for user in range(20)]
    counting = job(data=data, reduce_tasks=7)
    counting.map = each(lambda visit: [(visit, None)])
    counting.reduce = by_key(
        lambda user, values: len(list(values)), sort=True, group=lambda key: key[0]
    )

    results = counting.run_sequential()

    assert sorted(pair for part in results for pair in part) == [(user, 40) for user in range(20)]
    for number, part in enumerate(results):
        assert all(hash_partition(user, 7) == number for user, _ in part)


def test_small_whole_files_are_map_tasks_of_their_own(tmp_path):
    for number in range(30):
        (tmp_path / f"{number:02}.dat").write_bytes(b"x" * 100)
    paths = str(tmp_path / "*.dat")

    assert len(TextFiles(paths, records=whole_file).plan()) == 16
    assert len(TextFiles(paths, records=lambda file: [file.read()]).plan()) == 16
    assert len(TextFiles(paths).plan()) == 1


def test_a_task_that_dies_says_what_it_worked_on(standing_cluster):
    import os

    from mapreduce import JobFailedError

    dying = job(
        data=[Split(n) for n in range(3)], map=lambda n: os._exit(9) if n == 1 else [(n, 1)]
    )
    dying.retries = 0
    with pytest.raises(JobFailedError, match="status 9") as caught:
        dying.run(standing_cluster.connect())
    assert caught.value.where == "split 1 of the data"
