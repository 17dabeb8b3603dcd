import copy
import gc
import math
import pickle
import random
import sys
from array import array
from collections import defaultdict
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapreduce.errors import InvalidJobError, InvalidPairsError, RecordFailedError, UnstableKeyError
from mapreduce.grouping import (
    by_key,
    collect,
    count_values,
    max_value,
    min_value,
    sum_values,
    top,
)
from mapreduce.pairs import PairBlocks
from mapreduce.spilling.allowance import Allowance, allowed
from mapreduce.spilling.runs import FAN_IN, Runs, in_order
from mapreduce.spilling.sizes import Meter
from mapreduce.weights import size_of

REDUCTIONS = [sum_values, count_values, min_value, max_value, collect, top, top(2)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("spilled")


@pytest.fixture
def within(folder):
    """Call something within so many bytes; fails if nothing was spilled."""

    def call(memory, function, *arguments):
        asked = []
        with allowed(Allowance(memory, lambda: asked.append(1) or folder)):
            result = function(*arguments)
        assert asked, "nothing was spilled"
        return result

    return call


# -1 and -2 have one hash, 1 and True are one key.
keys = st.one_of(
    st.integers(-3, 3), st.booleans(), st.sampled_from(["a", "b", "", "ä" * 40]), st.none(),
    st.tuples(st.integers(-2, 2), st.text(max_size=2)), st.floats(allow_nan=False),
)  # fmt: skip
numbers = st.one_of(
    st.integers(-9, 9), st.booleans(), st.floats(-1e9, 1e9), st.just(2**70), st.just(-0.0)
)
pairs_lists = st.lists(st.tuples(keys, numbers), min_size=1, max_size=60)
# A pair is more than this, so all is spilled again and again; blocks of any length.
memories = st.sampled_from([0, 300, 2000])
cuts = st.integers(1, 7)
quick = settings(max_examples=60, deadline=None)


def in_blocks(pairs, cut):
    return PairBlocks.from_blocks(pairs[i : i + cut] for i in range(0, len(pairs), cut))


def grouped(pairs):
    groups = defaultdict(list)
    for key, value in pairs:
        groups[key].append(value)
    return list(groups.items())


def listed(key, values):
    return list(values)


@quick
@given(pairs_lists, memories, cuts)
def test_groups_that_were_spilled_are_those_of_a_plain_dict(folder, pairs, memory, cut):
    with allowed(Allowance(memory, lambda: folder)):
        results = by_key(listed)(in_blocks(pairs, cut))
    # repr, since the key 1 equals True, but has to come out as it came in.
    assert repr(results) == repr(grouped(pairs))


@pytest.mark.parametrize("reduction", REDUCTIONS, ids=repr)
@quick
@given(pairs=pairs_lists, memory=memories, cut=cuts)
def test_reductions_that_were_spilled_are_exactly_those_in_memory(
    folder, reduction, pairs, memory, cut
):
    expected = reduction(pairs)
    with allowed(Allowance(memory, lambda: folder)):
        assert repr(reduction(in_blocks(pairs, cut))) == repr(expected)


@pytest.mark.parametrize("reduction", REDUCTIONS, ids=repr)
@quick
@given(pairs=pairs_lists, memory=memories, cut=cuts)
def test_merges_that_were_spilled_are_exactly_those_in_memory(
    folder, reduction, pairs, memory, cut
):
    half = len(pairs) // 2
    partials = [*reduction.partials(pairs[:half]), *reduction.partials(pairs[half:])]
    expected = reduction.merge(partials)
    with allowed(Allowance(memory, lambda: folder)):
        assert repr(reduction.merge(in_blocks(partials, cut))) == repr(expected)


words = st.text("ab", max_size=3)
values = st.tuples(st.integers(0, 2), st.integers(0, 2))


@quick
@given(st.lists(st.tuples(words, values), min_size=1, max_size=60), memories, cuts)
def test_sorted_keys_and_values_are_those_of_sorted(folder, pairs, memory, cut):
    by_first = lambda value: value[0]  # noqa: E731
    with allowed(Allowance(memory, lambda: folder)):
        in_key_order = by_key(listed, sort=True)(in_blocks(pairs, cut))
        in_value_order = by_key(listed, sort_values=True)(in_blocks(pairs, cut))
        in_part_order = by_key(listed, sort=True, sort_values=by_first)(in_blocks(pairs, cut))
    assert in_key_order == sorted(grouped(pairs))
    assert in_value_order == [(key, sorted(values)) for key, values in grouped(pairs)]
    assert in_part_order == [
        (key, sorted(values, key=by_first)) for key, values in sorted(grouped(pairs))
    ]


@quick
@given(
    st.lists(st.tuples(st.tuples(words, words), values), min_size=1, max_size=60), memories, cuts,
    st.booleans(),
)  # fmt: skip
def test_a_secondary_sort_gives_values_in_order_of_the_full_key(
    folder, pairs, memory, cut, sort_values
):
    second = lambda key: key[1]  # noqa: E731 - its groups do not follow each other in key order
    with allowed(Allowance(memory, lambda: folder)):
        reduce = by_key(listed, sort=True, group=second, sort_values=sort_values)
        results = reduce(in_blocks(pairs, cut))

    def order(pair):
        key, value = pair
        return (key[1], key, value) if sort_values else (key[1], key)

    assert results == [
        (key, [value for _, value in group])
        for key, group in groupby(sorted(pairs, key=order), lambda pair: pair[0][1])
    ]


def test_floats_that_were_spilled_add_up_in_their_order(within):
    addends = [1e16, 1.0, -1e16, 3, 1.0, True, 0.1]
    floats = [(number % 50, addends[number * 3 % 7]) for number in range(700)]
    ints_first = [(number % 50, number) for number in range(600)] + floats
    for pairs in (floats, ints_first):
        assert within(2000, sum_values, pairs) == sum_values(pairs)
    parts = [*sum_values(floats[:350]), *sum_values(floats[350:])]
    assert sum_values(parts) != sum_values(floats)  # it could have gone wrong


def test_two_hot_keys_with_one_hash_are_told_apart(within):
    assert hash(-1) == hash(-2)
    pairs = [(-1 - number % 2, number) for number in range(5000)]
    assert within(4000, by_key(listed), pairs) == grouped(pairs)
    # Their values cannot be compared, and need not be.
    mixed = [(-1, 1), (-2, "x"), (-1, 0), (-2, "a")] * 300
    assert within(4000, by_key(listed, sort_values=True), mixed) == [
        (-1, [0] * 300 + [1] * 300), (-2, ["a"] * 300 + ["x"] * 300)
    ]  # fmt: skip


@pytest.mark.timeout(20)
def test_nans_and_sets_are_sorted_somehow_and_not_for_ever(within):
    chosen = random.Random(1)
    floats = [chosen.random() if chosen.random() < 0.9 else math.nan for _ in range(20_000)]
    sets = [frozenset(chosen.sample(range(9), 3)) for _ in range(20_000)]
    for values in (floats, sets):
        pairs = [(number % 3, (value, number)) for number, value in enumerate(values)]
        results = within(200_000, by_key(listed, sort_values=lambda value: value[0]), pairs)
        assert [(key, sorted(numbers_of(held))) for key, held in results] == [
            (key, list(range(key, 20_000, 3))) for key in range(3)
        ]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("options", [{}, {"group": lambda key: key[0]}])
def test_keys_and_groups_that_are_nans_give_each_value_once(within, options):
    chosen = random.Random(1)
    pairs = [
        ((chosen.choice([math.nan, 1.0, 2.0]), number % 50), number) for number in range(20_000)
    ]
    results = within(200_000, by_key(listed, sort=True, **options), pairs)
    assert sorted(value for _, held in results for value in held) == list(range(20_000))


def numbers_of(values):
    return [number for _, number in values]


def test_values_that_the_function_leaves_are_skipped(within):
    pairs = [(number % 7, number) for number in range(3000)]
    assert within(2000, by_key(lambda key, values: next(values)), pairs) == [
        (number, number) for number in range(7)
    ]
    assert within(2000, by_key(lambda key, values: None), pairs) == [
        (number, None) for number in range(7)
    ]


def test_an_iterator_as_result_is_made_a_list_spilled_or_not(within):
    pairs = [(number % 3, number) for number in range(900)]
    for function in (lambda key, values: values, lambda key, values: (v for v in values)):
        assert by_key(function)(pairs) == grouped(pairs)
        assert within(2000, by_key(function), pairs) == grouped(pairs)


def test_results_that_exceed_the_allowance_come_in_order_too(within):
    pairs = [(str(number * 7919 % 5000), 1) for number in range(5000)]
    long = by_key(lambda key, values: key * 20)
    assert within(5000, long, pairs) == [(key, key * 20) for key, _ in pairs]


def test_a_failure_names_its_key_when_spilled(within):
    with pytest.raises(RecordFailedError) as caught:
        within(500, by_key(lambda key, values: 1 / (key != "c")), [("a", 1), ("c", 1)] * 300)
    assert (caught.value.kind, caught.value.record) == ("key", "'c'")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("reduce", [by_key(listed), by_key(listed, sort=True), *REDUCTIONS])
def test_what_is_no_pair_or_no_key_is_told_within_an_allowance(folder, reduce):
    with allowed(Allowance(500, lambda: folder)):
        with pytest.raises(InvalidPairsError, match="abc"):
            reduce([("a", 1)] * 300 + ["abc"])
        with pytest.raises(UnstableKeyError, match="use a tuple instead"):
            reduce([("a", 1)] * 300 + [(["a"], 1)])


@pytest.mark.parametrize("memory", [500, sys.maxsize])
def test_keys_and_values_that_cannot_be_compared_are_named_by_type(folder, memory):
    with allowed(Allowance(memory, lambda: folder)):
        for pairs in ([(1, 1), ("a", 1)] * 300, [(1, 1)] * 300 + [("a", 1)] * 300):
            with pytest.raises(InvalidPairsError, match=r"(?=.*'int')(?=.*'str')"):
                by_key(listed, sort=True)(pairs)
        with pytest.raises(RecordFailedError) as caught:
            by_key(listed, sort_values=True)([("k", 1), ("k", "a")] * 300)
        assert caught.value.record == "'k'"


def test_options_that_make_no_sense_are_refused_and_others_shown():
    with pytest.raises(InvalidJobError, match="sort=True"):
        by_key(len, group=len)
    with pytest.raises(InvalidJobError):
        by_key(len, sort=True, group=3)
    with pytest.raises(InvalidJobError):
        by_key(len, sort_values="yes")
    assert repr(by_key(len, sort=True)) == "by_key(<built-in function len>, sort=True)"


@pytest.mark.parametrize(
    "results",
    [by_key(listed).results, by_key(listed, sort=True).results, collect.results, sum_values.results],
)  # fmt: skip
def test_whoever_stops_half_way_leaves_no_file(tmp_path, results):
    pairs = [(str(number), 1) for number in range(3000)]
    with allowed(Allowance(3000, lambda: tmp_path)):
        iterator = results(iter(pairs))
        assert next(iterator)[0] == "0"
        del iterator  # a file that is left open is a ResourceWarning, and an error here
        gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_more_runs_than_are_merged_at_once_are_merged_in_their_order(tmp_path):
    runs = Runs(lambda: tmp_path, 100)
    for number in range(2 * FAN_IN + 3):
        runs.add((order, number) for order in range(0, 20, 1 + number % 3))
    merged = [record for batch in runs.merged() for record in batch]
    runs.close()
    assert len(merged) > 20 * FAN_IN
    assert merged == sorted(merged)


def test_records_come_in_order_from_memory_and_from_disk(tmp_path):
    records = [(number * 7919 % 2000, "x" * (number % 50)) for number in range(2000)]
    given_memory = Allowance(20_000, lambda: tmp_path)
    assert list(in_order(iter(records), given_memory)) == sorted(records)
    nowhere = Allowance(10**9, lambda: 1 / 0)
    assert list(in_order(iter(records), nowhere)) == sorted(records)


def test_results_are_not_held_back_unless_something_was_spilled():
    def records():
        yield 0, "a"
        yield 1, "b"
        raise AssertionError("read ahead")

    iterator = in_order(records(), Allowance(10**9, lambda: 1 / 0))
    assert [next(iterator), next(iterator)] == [(0, "a"), (1, "b")]


def test_sizes_are_about_those_of_what_is_in_a_value():
    text = "x" * 1000
    assert size_of(None) == size_of(True) == size_of(7) == 0
    assert 1000 <= size_of(text) <= 1100
    assert 3000 <= size_of((text, [text], {"k": text})) <= 3800
    assert 100_000 <= size_of([text] * 100) <= 120_000
    loop = []
    loop.append(loop)
    assert size_of(loop) < 1000

    class Record:
        def __init__(self):
            self.text = text

    class Slotted:
        __slots__ = ("text",)

        def __init__(self):
            self.text = text

    assert size_of(Record()) > 1000
    assert size_of(Slotted()) > 1000


class Heavy:
    def __sizeof__(self):
        raise OSError("not now")


class Less:
    def __sizeof__(self):
        return -(10**9)


class Shy:
    @property
    def __dict__(self):
        raise KeyError("nothing to see")


class Endless(list):
    def __len__(self):
        raise RuntimeError("count yourself")


@pytest.mark.parametrize("kind", [Heavy, Less, Shy, Endless])
def test_a_value_that_tells_no_size_fails_no_job_and_is_guessed(within, kind):
    assert 0 < size_of(kind()) < 1000
    pairs = [(number % 3, kind()) for number in range(300)]
    count = by_key(lambda key, values: sum(1 for _ in values))
    assert within(1000, count, pairs) == [(0, 100), (1, 100), (2, 100)]


def test_equal_values_weigh_the_same_however_they_came_about():
    grown, text = [], "ä" * 100
    for number in range(1009):
        grown.append(number * 1000)  # noqa: PERF401 - it has to grow
    shrunk = dict.fromkeys(range(5000), 1.5)
    for number in range(10, 5000):
        del shrunk[number]
    before = size_of(text)
    assert size_of(pickle.loads(pickle.dumps(text))) == size_of(text) == before
    for value in (grown, shrunk, bytearray(b"x" * 77), array("d", grown), {str(n) for n in grown}):
        if isinstance(value, (bytearray, array)):
            value.append(1)
        for twin in (pickle.loads(pickle.dumps(value)), copy.copy(value)):
            assert twin == value
            assert size_of(twin) == size_of(value)
    assert size_of(bytearray(10**6)) > 10**6


def test_a_meter_counts_pairs_that_are_held_and_partials_once_a_key():
    block = [(f"key{number}", "v" * 100) for number in range(100)]
    values, partials = Meter(30_000, keeps_values=True), Meter(30_000, keeps_values=False)
    assert not values.add(block, 0)
    assert 14_000 < values.held < 20_000
    assert values.add(block, 0)
    assert not partials.add(block, 0)
    assert partials.held == 0
    assert partials.add(block, 100)


def test_a_few_huge_values_are_cut_apart_and_come_whole(within):
    pairs = [(number % 2, "x" * 3000 if number % 41 < 4 else number) for number in range(3000)]
    assert within(20_000, by_key(listed), pairs) == grouped(pairs)
    lists = [(number % 30, ["x" * 5000, number]) for number in range(400)]
    for reduction in (
        min_value,
        collect,
    ):  # for one, a list is a value; for the other, it is values
        assert within(20_000, reduction, lists) == reduction(lists)


GROUP_200_MB = """
import resource, sys
from mapreduce.spilling.allowance import Allowance, allowed
from mapreduce.grouping import by_key, collect
from pathlib import Path

def pairs(count, keys):
    for number in range(count):
        yield f"key {number * 7919 % keys}", f"value {number}" + "." * 140

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

kind, folder, memory = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
keys = {"hot": 1}.get(kind, 100_000)
total = lambda key, values: sum(map(len, values))
reduce = {"collect": collect, "sorted": by_key(total, sort=True, sort_values=True)}.get(kind, by_key(total))
for _ in pairs(1000, 10):
    pass
before = peak()
with allowed(Allowance(memory, lambda: folder)):
    size = 0
    for key, result in reduce.results(pairs(1_000_000, keys)):
        size += sum(map(len, result)) if kind == "collect" else result
print(size, peak() - before)
"""


@pytest.mark.faults  # it takes long, on a busy machine
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["many", "hot", "sorted", "collect"])
def test_200_mb_are_grouped_within_30(run_python, tmp_path, kind):
    allowance = 30 << 20
    process = run_python("-c", GROUP_200_MB, kind, str(tmp_path), str(allowance))
    output, errors = process.communicate(timeout=280)
    assert process.returncode == 0, errors
    size, growth = map(int, output.split())
    assert size == sum(len(f"value {number}") + 140 for number in range(1_000_000))
    assert growth < 2 * allowance
