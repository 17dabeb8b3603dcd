"""What goes into Kaylee's functions and comes out is the same, in the same order, wherever they run."""

from __future__ import annotations

import sys
from typing import Any

import cloudpickle
import pytest

from mapreduce import InvalidJobError, MapReduceError, sum_values
from mapreduce.styles.kaylee import Server

cloudpickle.register_pickle_by_value(sys.modules[__name__])


def test_a_datafn_that_forgets_to_yield_is_named() -> None:
    server = Server()
    server.datafn, server.mapfn = lambda: None, lambda key, value: []
    server.reducefn = lambda key, values: None
    with pytest.raises(InvalidJobError, match=r"datafn returned None: it yields .* pairs"):
        server.start()


@pytest.mark.parametrize("data_of", ["datafn", "data"])
def test_results_are_in_the_order_of_the_data_everywhere(anywhere: Any, data_of: str) -> None:
    words = [f"{'abc'[n * 7 % 3]}{n * 11 % 17}" for n in range(60)]
    server = Server(anywhere, reduce_tasks=7)
    if data_of == "datafn":
        server.datafn = lambda: enumerate(words)
    else:
        server.data = dict(enumerate(words))
    server.mapfn = lambda number, word: [(word, number), (word[0], number)]
    server.reducefn = lambda word, numbers: next(numbers)  # the others are left
    server.start()
    firsts: dict[str, int] = {}
    for number, word in enumerate(words):
        firsts.setdefault(word, number)
        firsts.setdefault(word[0], number)
    assert list((server.results() or {}).items()) == list(firsts.items())


def test_with_a_combine_of_its_own_the_results_are_the_same(anywhere: Any) -> None:
    server = Server(anywhere, reduce_tasks=3, combine=sum_values)
    server.datafn = lambda: enumerate(["a b a", "b c"])
    server.mapfn = lambda number, line: [(word, 1) for word in line.split()]
    server.reducefn = lambda word, ones: sum(ones)
    server.start()
    assert server.results() == {"a": 2, "b": 2, "c": 1}


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        (None, "returned None: expected an iterable of"),
        (("red", 1), "got 'red' among them: for one pair return"),
        ([("red", 1, 2)], "got ('red', 1, 2)"),
    ],
)
def test_a_mapfn_that_returns_no_pairs_is_told_so_everywhere(
    anywhere: Any, returned: Any, told: str
) -> None:
    server = Server(anywhere)
    server.data, server.mapfn = {1: "red"}, lambda key, value: returned
    server.reducefn = lambda key, values: None
    with pytest.raises(MapReduceError) as caught:
        server.start()
    assert told in str(caught.value)
