import doctest
import pickle
import pydoc
import random
from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapreduce.errors import (
    InvalidJobError,
    InvalidPairsError,
    RecordFailedError,
    UnstableKeyError,
)
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
from mapreduce.pairs import blocks_of
from mapreduce.weights import size_of

PAIRS = [("b", 3), ("a", 1), ("b", -2), ("c", 7), ("a", 1), ("b", 9)]

REDUCTIONS = {
    sum_values: sum,
    count_values: len,
    min_value: min,
    max_value: max,
    collect: list,
    top: lambda values: sorted(values, reverse=True)[:10],
    top(2): lambda values: sorted(values, reverse=True)[:2],
}
every_reduction = pytest.mark.parametrize("reduction", REDUCTIONS, ids=repr)


def expected(reduction, pairs):
    groups = defaultdict(list)
    for key, value in pairs:
        groups[key].append(value)
    return [(key, REDUCTIONS[reduction](values)) for key, values in groups.items()]


@pytest.mark.parametrize(
    "function",
    [
        lambda n: [(n, n), (n + 1, n)],
        lambda n: ((n, n), (n + 1, n)),
        lambda n: {n: n, n + 1: n},
        lambda n: iter([(n, n), (n + 1, n)]),
        lambda n: {n: n, n + 1: n}.items(),
    ],
)
def test_each_yields_the_pairs_of_all_records_in_order(function):
    pairs = list(each(function)(iter(range(1000))))
    assert pairs == [pair for n in range(1000) for pair in ((n, n), (n + 1, n))]


def test_each_does_not_hold_all_pairs_that_a_generator_yields():
    def endless(_):
        number = 0
        while True:
            yield number, 1
            number += 1

    pairs = each(endless)(["record"])
    assert [next(pairs) for _ in range(5000)] == [(number, 1) for number in range(5000)]


def test_each_names_the_record_on_which_the_function_failed():
    records = ["1", "2", "three" * 100, "4"]
    with pytest.raises(RecordFailedError) as caught:
        list(each(lambda text: [(int(text), 1)])(records))

    assert caught.value.position == 2
    assert caught.value.record.startswith("'threethree")
    assert len(caught.value.record) == 200
    assert isinstance(caught.value.__cause__, ValueError)


def test_each_names_the_record_when_a_generator_fails_half_way():
    def pairs_of(number):
        yield number, 1
        yield number, 1 / (number - 3)

    with pytest.raises(RecordFailedError) as caught:
        list(each(pairs_of)(range(10)))
    assert (caught.value.position, caught.value.record) == (3, "3")


def test_an_error_in_what_reads_the_records_is_not_blamed_on_a_record():
    def records():
        yield 1
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        list(each(lambda n: [(n, n)])(records()))


@pytest.mark.parametrize("returned", [None, 5, "ab", b"ab"])
def test_each_refuses_what_are_no_pairs(returned):
    with pytest.raises(InvalidPairsError, match=r"expected an iterable of \(key, value\) pairs"):
        list(each(lambda record: returned)(["x"]))


def test_none_instead_of_pairs_is_answered_with_what_to_do():
    with pytest.raises(InvalidPairsError, match=r"return \[\]"):
        list(each(lambda record: None)(["x"]))


def test_by_key_groups_in_order_of_first_appearance():
    assert by_key(lambda key, values: list(values))(iter(PAIRS)) == expected(collect, PAIRS)


def test_by_key_gives_values_that_can_be_gone_through_once():
    assert by_key(lambda key, values: (list(values), list(values)))([("k", 1)]) == [
        ("k", ([1], []))
    ]


def test_by_key_names_the_key_on_which_the_function_failed():
    with pytest.raises(RecordFailedError) as caught:
        by_key(lambda key, values: 1 / (key != "c"))(PAIRS)
    assert (caught.value.kind, caught.value.record) == ("key", "'c'")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("wrapper", [each, by_key])
def test_wrappers_show_and_keep_their_function_and_refuse_what_is_none(wrapper):
    assert wrapper(len).function is len
    assert repr(wrapper(len)) == f"{wrapper.__name__}(<built-in function len>)"
    assert pickle.loads(pickle.dumps(wrapper(len))).function is len
    with pytest.raises(InvalidJobError):
        wrapper(None)


@every_reduction
def test_a_reduction_gives_what_plain_python_gives(reduction):
    assert reduction(iter(PAIRS)) == expected(reduction, PAIRS)
    assert reduction([]) == []


@every_reduction
@given(st.lists(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(-9, 9)))))
def test_merged_partials_are_what_one_reduction_gives(reduction, parts):
    partials = [pair for part in parts for pair in reduction.partials(iter(part))]
    assert reduction.merge(iter(partials)) == reduction([pair for part in parts for pair in part])


@every_reduction
@given(st.lists(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(-9, 9)))))
def test_pairs_folded_part_by_part_or_lifted_give_what_one_reduction_gives(reduction, parts):
    folded, lifted, merged = {}, {}, {}
    for part in parts:
        reduction.fold(folded, iter(part))
        reduction.fold_partials(lifted, ((key, reduction.lift(value)) for key, value in part))
        reduction.fold_partials(merged, reduction.partials(part))
    expected = reduction([pair for part in parts for pair in part])
    for partials in (folded, lifted, merged):
        assert list(reduction.finish(partials)) == expected


def test_the_partials_of_top_that_travel_are_its_n_largest_values():
    assert list(top(2).partials(("k", number) for number in range(30))) == [("k", [29, 28])]


def test_pairs_of_each_can_be_had_in_blocks_or_one_by_one():
    double = each(lambda n: [(n, n), (n, -n)])
    expected = [pair for n in range(1000) for pair in ((n, n), (n, -n))]
    assert list(double(range(1000))) == expected
    blocks = list(blocks_of(double(range(1000))))
    assert 1 < len(blocks) < 20
    assert [pair for block in blocks for pair in block] == expected


@every_reduction
def test_merging_leaves_the_partials_alone(reduction):
    partials = [*reduction.partials(PAIRS), *reduction.partials(PAIRS)]
    before = pickle.dumps(partials)
    reduction.merge(partials)
    assert pickle.dumps(partials) == before


@every_reduction
def test_a_reduction_arrives_as_itself(reduction):
    arrived = pickle.loads(pickle.dumps(reduction))
    assert arrived == reduction
    assert hash(arrived) == hash(reduction)
    assert repr(arrived) == repr(reduction)


def test_reductions_without_parameters_travel_by_reference():
    for reduction in (sum_values, count_values, min_value, max_value, collect):
        assert pickle.loads(pickle.dumps(reduction)) is reduction


@every_reduction
def test_a_reduction_says_what_is_wrong_with_its_pairs(reduction):
    with pytest.raises(InvalidPairsError, match="abc"):
        reduction([("a", 1), "abc"])
    with pytest.raises(InvalidPairsError, match="7"):
        reduction([7])
    with pytest.raises(UnstableKeyError, match="use a tuple instead"):
        reduction([(["a"], 1)])


def test_values_that_cannot_be_added_are_reported_with_their_pair():
    with pytest.raises(RecordFailedError, match=r"\('a', 'x'\)") as caught:
        sum_values([("a", "x")])
    assert isinstance(caught.value.__cause__, TypeError)


def test_a_type_error_in_what_computes_the_pairs_comes_through():
    def pairs():
        yield "a", 1
        raise TypeError("not the pair's fault")

    for reduce in (*REDUCTIONS, by_key(lambda key, values: 0)):
        with pytest.raises(TypeError, match="not the pair's fault"):
            reduce(pairs())


def test_count_values_counts_as_a_counter_does():
    words = random.Random(1).choices(["x", "y", "z"], k=100)
    assert count_values((word, None) for word in words) == list(Counter(words).items())


def test_top_keeps_the_first_of_equal_values_over_many():
    class Ranked:
        def __init__(self, rank, number):
            self.rank, self.number = rank, number

        def __lt__(self, other):
            return self.rank < other.rank

    values = [Ranked(number % 3, number) for number in range(500)]
    [(_, best)] = top(4)(("key", value) for value in values)
    assert [value.number for value in best] == [2, 5, 8, 11]


@pytest.mark.parametrize("n", [0, -1, True])
def test_top_of_no_values_is_refused(n):
    with pytest.raises(InvalidJobError):
        top(n)


@pytest.mark.parametrize("returns", [list, iter])
def test_large_values_come_in_small_blocks_and_small_ones_in_large(returns):
    def blocks(size, count):
        made = each(lambda record: returns([(record, b"x" * size)]))(range(count))
        return [*blocks_of(made)], [*blocks_of((n, b"x" * size) for n in range(count))]

    for large in blocks(3_000_000, 8):
        assert max(map(len, large)) <= 2
    for middling in blocks(100_000, 50):
        assert max(map(len, middling)) <= 10
    for small in blocks(10, 3000):
        assert len(small) < 20
        assert [key for block in small for key, _ in block] == list(range(3000))


def test_a_record_of_many_large_pairs_is_not_gone_through_at_once():
    asked = []

    def large(record):
        for number in range(100):
            asked.append(number)
            yield number, b"x" * 1_000_000

    blocks = blocks_of(each(large)([1]))
    assert sum(size_of(next(blocks)) for _ in range(3)) < 10_000_000
    assert len(asked) < 10
    assert sum(map(len, blocks)) > 90


@every_reduction
def test_help_says_what_a_reduction_returns_by_an_example_that_holds(reduction):
    name = repr(reduction).partition("(")[0]
    shown = pydoc.render_doc(reduction, renderer=pydoc.plaintext).splitlines()
    assert any(f"``{name}``: " in line for line in shown[:7])
    [found] = doctest.DocTestFinder(recurse=False).find(type(reduction), globs=globals())
    failed, tried = doctest.DocTestRunner(verbose=False).run(found)
    assert (failed, tried) == (0, 1)
