"""The ready-made partitioners: what goes together, that it does so everywhere, and what is refused."""

from __future__ import annotations

import pickle
from typing import Any
from urllib.parse import urlsplit

import pytest

from mapreduce import (
    InvalidJobError,
    MapReduceJob,
    PartitionError,
    UnstableKeyError,
    partitioners,
    stable_hash,
)
from mapreduce import hash_partition as the_default
from mapreduce import range_partition as in_ranges
from tuplespace.pickles import dump, load

HOSTS = ["a.org", "B.org", "10.0.0.1", "[::1]", "xn--a-ecp.ru"]
URLS = [
    f"{scheme}{host}{port}/{page}"
    for host in HOSTS for scheme in ("http://", "https://me:secret@", "") for port in ("", ":8080")
    for page in ("", "x?q=http://other.org/", "y#z")
]  # fmt: skip


def test_there_are_the_jobs_own_partitioners_too() -> None:
    assert partitioners.hash_partition is the_default is MapReduceJob().partition
    assert partitioners.range_partition is in_ranges


def test_all_urls_of_a_host_go_where_its_stable_hash_says() -> None:
    for url in URLS:
        host = str(urlsplit(url if url.startswith("http") else f"//{url}").hostname)
        assert partitioners.host_partition(url, 97) == stable_hash(host) % 97
    found = {partitioners.host_partition(url, 1 << 60) for url in URLS}
    assert len(found) == len(HOSTS)


@pytest.mark.parametrize(
    "key", ["/index.html", "", 7, b"http://a.org/", ("http://a.org/",), "http://[::1", "?x"]
)
def test_a_key_without_a_host_is_refused_and_shown(key: Any) -> None:
    with pytest.raises(PartitionError, match=r"host|URL") as caught:
        partitioners.host_partition(key, 4)
    assert repr(key) in str(caught.value)


def test_composite_keys_go_by_the_fields_that_were_named() -> None:
    keys = [(user, second, page) for user in "abcdef" for second in range(5) for page in "xy"]

    for key in keys:
        assert partitioners.field_partition(0)(key, 11) == stable_hash(key[0]) % 11
        assert partitioners.field_partition(-1)(key, 11) == stable_hash(key[2]) % 11
        assert partitioners.field_partition(0, 2)(key, 11) == stable_hash((key[0], key[2])) % 11


@pytest.mark.parametrize("key", ["ab", ("a",), 7, None])
def test_a_key_without_such_a_field_is_refused_and_shown(key: Any) -> None:
    with pytest.raises(PartitionError, match=r"field_partition\(0, 1\) deals tuples") as caught:
        partitioners.field_partition(0, 1)(key, 4)
    assert repr(key) in str(caught.value)


def test_a_function_may_say_what_goes_together() -> None:
    by_initial = partitioners.partition_by(lambda word: word[0])
    for word in ("apple", "ant", "bee"):
        assert by_initial(word, 13) == stable_hash(word[0]) % 13
    with pytest.raises(UnstableKeyError, match="list cannot be a key"):
        partitioners.partition_by(list)("ab", 2)


@pytest.mark.parametrize("arguments", [(), ("user",), (True,), ([0],)])
def test_what_are_no_fields_is_refused_at_once(arguments: Any) -> None:
    with pytest.raises(InvalidJobError, match="positions of fields"):
        partitioners.field_partition(*arguments)
    with pytest.raises(InvalidJobError, match="takes a function"):
        partitioners.partition_by("user")  # type: ignore[arg-type]


def test_all_of_them_travel_and_deal_the_same_there() -> None:
    key = ("http://a.org/x", 3)
    for partition in (partitioners.field_partition(1), partitioners.partition_by(str)):
        assert pickle.loads(pickle.dumps(partition))(key, 101) == partition(key, 101)
        assert repr(pickle.loads(pickle.dumps(partition))) == repr(partition)
    assert (
        load(dump(partitioners.partition_by(lambda key: key[1])))(key, 101) == stable_hash(3) % 101
    )
    assert pickle.loads(pickle.dumps(partitioners.host_partition)) is partitioners.host_partition


def test_a_job_deals_by_them() -> None:
    job = MapReduceJob(URLS, reduce_tasks=3, partition=partitioners.host_partition)
    job.map = lambda urls: [(url, 1) for url in urls]
    job.reduce = lambda pairs: {url for url, _ in pairs}

    results = job.run_sequential()

    assert [
        all(partitioners.host_partition(url, 3) == n for url in part)
        for n, part in enumerate(results)
    ] == [True] * 3
    assert set().union(*results) == set(URLS)
