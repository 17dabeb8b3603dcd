from itertools import chain, count

import pytest

from mapreduce import dealing
from mapreduce.dealing import deal
from mapreduce.partition import hash_partition
from mapreduce.ranges import range_partition
from mapreduce.weights import size_of


def test_many_pairs_come_in_batches_that_keep_their_order(monkeypatch):
    monkeypatch.setattr(dealing, "_BATCH_BYTES", 100_000)
    pairs = [(number % 97, "x" * (number % 50)) for number in range(20_000)]

    batches = list(deal(pairs, hash_partition, 3))

    assert len(batches) > 10
    for part in range(3):
        dealt = chain.from_iterable(
            zip(*batch.get(part, ((), ())), strict=True) for batch in batches
        )
        assert list(dealt) == [pair for pair in pairs if hash_partition(pair[0], 3) == part]


def test_a_batch_is_handed_on_before_the_next_pair_is_asked_for(monkeypatch):
    monkeypatch.setattr(dealing, "_BATCH_BYTES", 1_000_000)
    asked = count()
    pairs = ((next(asked), b"x" * 100_000) for _ in range(1000))

    first = next(deal(pairs, hash_partition, 2))

    assert sum(len(keys) for keys, _ in first.values()) == next(asked)
    assert size_of(first) < 2_000_000


def test_a_few_pairs_go_to_the_last_of_many_partitions():
    pairs = [(number, number) for number in range(3000)]
    [columns] = deal(pairs, lambda key, R: R - 1, 500)
    assert columns == {499: ([*range(3000)], [*range(3000)])}


@pytest.mark.parametrize("pairs", [[], [(1, 1)]])
def test_there_is_always_a_batch(pairs):
    assert [len(batch) for batch in deal(pairs, hash_partition, 4)] == [len(pairs)]


@pytest.mark.parametrize(
    "partition", [hash_partition, range_partition([250, 500, 750]), lambda key, R: key % R]
)
def test_partitions_come_in_order_and_only_those_that_have_pairs(partition):
    keys = [900, 3, 501, 250, 3, 0]
    [columns] = deal([(key, -key) for key in keys], partition, 4000)
    assert [*columns] == sorted({partition(key, 4000) for key in keys})
    assert all(values == [-key for key in dealt] for dealt, values in columns.values())
    assert sorted(chain.from_iterable(dealt for dealt, _ in columns.values())) == sorted(keys)
