import pickle
import random
import sys
from collections import Counter, defaultdict

import pytest

from mapreduce import by_key, collect, combining, count_values, min_value, sum_values, top
from mapreduce.combining import combined
from mapreduce.errors import InvalidPairsError, RecordFailedError

REDUCTIONS = [sum_values, count_values, min_value, collect, top(3)]


@pytest.fixture(autouse=True)
def short_trial(monkeypatch):
    monkeypatch.setattr(combining, "_TRIAL_PAIRS", 2000)


def pairs_of(keys, count=10_000):
    chosen = random.Random(5)
    return [(chosen.randrange(keys), number) for number in range(count)]


@pytest.mark.parametrize("reduction", REDUCTIONS, ids=repr)
@pytest.mark.parametrize("keys", [10, 3000, 1_000_000])
def test_partials_merge_to_what_all_pairs_reduce_to(reduction, keys):
    pairs = pairs_of(keys)
    assert reduction.merge(combined(reduction, iter(pairs))) == reduction(pairs)


def test_a_combine_that_shrinks_goes_on_to_the_end():
    assert len(list(combined(sum_values, pairs_of(10)))) == 10
    assert len(list(combined(by_key(lambda key, values: sum(values)), pairs_of(10)))) == 10


def test_a_combine_that_does_not_shrink_stops():
    distinct = pairs_of(1_000_000)
    again = [*distinct, *distinct]  # would shrink by half, had it not stopped
    assert len(list(combined(sum_values, again))) > 1.7 * len(distinct)


def test_what_by_key_returns_may_be_of_another_kind_than_its_values():
    pairs = pairs_of(1_000_000)
    mean = by_key(lambda key, values: (lambda held: (sum(held), len(held)))(list(values)))

    totals = defaultdict(lambda: (0, 0))
    for key, (total, count) in combined(mean, pairs):
        totals[key] = (totals[key][0] + total, totals[key][1] + count)

    expected = defaultdict(lambda: (0, 0))
    for key, value in pairs:
        expected[key] = (expected[key][0] + value, expected[key][1] + 1)
    assert totals == expected


def test_a_function_is_called_once_with_all_pairs():
    calls = []

    def combine(pairs):
        calls.append(list(pairs))
        return Counter(key for key, _ in calls[-1])

    pairs = pairs_of(1_000_000)
    assert list(combined(combine, iter(pairs))) == list(Counter(key for key, _ in pairs).items())
    assert calls == [pairs]


@pytest.mark.parametrize(
    "combine", [collect, by_key(lambda key, values: [*values])], ids=["c", "b"]
)
def test_what_is_held_goes_on_when_it_grows_too_large(combine, monkeypatch):
    monkeypatch.setattr(combining, "_HELD_BYTES", 200_000)
    pairs = [(number % 300, "x" * 50) for number in range(30_000)]

    made = list(combined(combine, pairs))

    assert 2 * 300 < len(made) < len(pairs) / 2
    assert collect.merge(made) == collect(pairs)


def test_sums_that_are_held_go_on_when_they_grow_too_large(monkeypatch):
    monkeypatch.setattr(combining, "_HELD_BYTES", 100_000)
    pairs = [(key * 10**20, number) for key, number in pairs_of(600)]

    made = list(combined(sum_values, pairs))

    assert 2 * 600 < len(made) < 0.9 * len(pairs)
    assert sum_values.merge(made) == sum_values(pairs)


@pytest.mark.parametrize(
    "combine",
    [*REDUCTIONS, by_key(lambda key, values: [*values])],
    ids=lambda combine: str(combine).partition("(")[0],
)
def test_a_pair_that_is_none_is_named_whether_combining_pays_or_not(combine):
    for keys in (10, 1_000_000):
        with pytest.raises(InvalidPairsError, match="'odd'"):
            list(combined(combine, [*pairs_of(keys), "odd", *pairs_of(keys)]))


def test_values_that_do_not_add_up_name_their_pair():
    for keys in (10, 1_000_000):
        with pytest.raises(RecordFailedError, match=r"'odd', 'one'"):
            list(combined(sum_values, [*pairs_of(keys), ("odd", "one")]))


@pytest.fixture
def model():
    """Hold something large from the first call on."""
    held = []

    def load():
        if not held:
            held.append(bytearray(b"x") * 150_000_000)

    yield load
    held.clear()


def test_what_a_map_loads_on_first_use_does_not_change_the_sums_of_floats(model):
    def pairs():
        chosen = random.Random(1)
        for number in range(60_000):
            if number == 30_000:
                model()
            yield number % 97, chosen.random() * 10 ** chosen.randint(-8, 8)

    first = list(combined(sum_values, pairs()))
    assert len(first) == 97
    assert first == list(combined(sum_values, pairs()))


def test_lists_that_grew_are_combined_as_are_their_copies(monkeypatch):
    monkeypatch.setattr(combining, "_HELD_BYTES", 1_000_000)
    kept = by_key(lambda key, values: list(values))
    grown = [(number % 50, []) for number in range(20_000)]
    for number, (_, values) in enumerate(grown):
        for each in range(9):
            values.append(number + each / 7)
    copies = pickle.loads(pickle.dumps(grown))
    assert sys.getsizeof(grown[0][1]) != sys.getsizeof(copies[0][1])  # it could go wrong
    assert list(combined(kept, iter(grown))) == list(combined(kept, iter(copies)))
