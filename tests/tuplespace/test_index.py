"""EntryIndex and WaiterIndex by themselves, against a list that is searched from end to end."""

from __future__ import annotations

import random
import re

import pytest

from tuplespace import Between, Exactly, OneOf
from tuplespace.entry import Claim, Entry
from tuplespace.index import EntryIndex
from tuplespace.template import RANGE, TYPE, VALUE, Template
from tuplespace.waiting import WaiterIndex

VALUES = [
    *range(40), 2.5, 7.0, -0.0, float("nan"), float("inf"), 10**30, True, False, None,
    "a", "b", "ba", "word", b"a", b"zz", (1, 2), (1, "x"), [1], {"k": 1},
]  # fmt: skip
QUERIES = [
    None, 3, 7, "a", True, Exactly(None), Exactly((1, 2)), int, float, str, bytes, tuple, dict,
    Between(3, 9), Between(2.5, 2.5), Between(9, 3), Between("a", "b"), Between(b"", b"b"),
    Between(False, True), Between(0, "a"), Between(-1e300, 10**31), Between((0,), (2,)),
    range(5, 30, 3), range(30, 5, -1), range(0), re.compile("b"), (1, None),
    OneOf(3, 4.0, "a"), OneOf(int, str), OneOf(Between(1, 3), "b"), OneOf(None), OneOf(), OneOf(True, 1, 1.0), OneOf(int, int),
    Between(float("nan"), 9), Between(20, None), Between(None, 4), Between("b", None),
    Between(None, True), Between((1,), None),
]  # fmt: skip


class Stock:
    """An index, and the same entries in a list."""

    def __init__(self):
        self.index, self.ready, self.held, self.number = EntryIndex(), [], [], 0

    def write(self, value):
        self.number += 1
        entry = Entry(self.number, value, 0.0, 1.0)
        self.index.add(entry)
        self.ready.append(entry)

    def take(self, entry):
        self.ready.remove(entry)
        del self.index.entries[entry.id]
        self.index.hide(entry)

    def claim(self, entry):
        self.ready.remove(entry)
        entry.claim = Claim(1, None, 1.0)
        self.index.hide(entry)
        self.held.append(entry)

    def release(self, entry):
        self.held.remove(entry)
        entry.claim = None
        self.index.show(entry)
        self.ready.append(entry)
        self.ready.sort(key=lambda each: each.id)

    def check(self, query):
        template = Template(query)
        expected = [
            entry for entry in self.ready
            if entry.shape == template.shape and template.matches(entry.value)
        ]  # fmt: skip
        assert self.index.first(template) is (expected[0] if expected else None)
        assert self.index.find(template) == expected
        assert self.index.find(template, 3) == expected[:3]
        assert self.index.count(template) == len(expected)
        return expected


@pytest.mark.parametrize("seed", range(4))
def test_whatever_indexes_there_are_a_search_finds_what_a_list_has(seed):
    rng = random.Random(seed)
    stock, seen = Stock(), set()
    # Long enough for indexes to be made, a line to be compacted, and the shape to run empty.
    for step in range(1500):
        for _ in range(rng.choice((0, 1, 3)) if step % 500 < 250 else 0):
            stock.write((rng.choice(VALUES), rng.choice(VALUES[:6])))
        query = (rng.choice(QUERIES), rng.choice((None, None, 3, Between(1, 4))))
        found = stock.check(query)
        for entry in found[: rng.choice((0, 1, 1, 2))]:
            rng.choice((stock.take, stock.claim))(entry)
        if stock.held and rng.random() < 0.5:
            stock.release(rng.choice(stock.held))
        seen |= {id for shape in stock.index._shapes.values() for id in shape.indexes}
    assert {kind for _, kind in seen} == {VALUE, TYPE, RANGE}


@pytest.mark.parametrize(
    "field, kind",
    [
        (77, VALUE),
        (OneOf(77, 78), VALUE),
        (str, TYPE),
        (OneOf(str, bytes), TYPE),
        (re.compile("wor"), TYPE),
        (("nested", None), TYPE),
        (Between(70, 80), RANGE),
        (Between(990, None), RANGE),
        (Between(None, 10), RANGE),
        (range(70, 80), RANGE),
        (Between("w", "x"), RANGE),
    ],
)
def test_what_a_first_search_walked_a_second_one_looks_up(field, kind):
    stock = Stock()
    for number in range(1000):
        stock.write((number, "k"))
    for odd in ("word", b"bytes", ("nested", 1)):
        stock.write((odd, "k"))
    template = Template((field, "k"))

    before = stock.index.explain(template)
    stock.check((field, "k"))
    after = stock.index.explain(template)

    assert (before["by"], before["candidates"], before["indexes"]) == (None, 1003, [])
    assert (after["by"], after["position"], after["indexes"]) == (kind, 0, [(0, kind)])
    assert after["candidates"] <= 11
    assert after["ready"] == 1003


def test_no_index_is_made_that_would_spare_nothing():
    stock = Stock()
    for number in range(1000):
        stock.write(("k", number))
    for field in (int, Between(0, 10_000), range(-5, 5000)):
        stock.check((re.compile("other"), field))
        stock.check(("k", field))
    assert stock.index.explain(Template(("k", None)))["indexes"] == []


def test_taking_the_oldest_of_a_wide_range_again_and_again_looks_at_few():
    stock = Stock()
    for number in range(4000):
        stock.write((number,))
    template = Template((Between(2000, 4000),))
    looked_at = 0

    def counting(value, matches=template.matches):
        nonlocal looked_at
        looked_at += 1
        return matches(value)

    template = type("Counting", (), {
        name: getattr(template, name) for name in ("shape", "lookups", "fits", "matches_all")
    } | {"matches": staticmethod(counting)})()  # fmt: skip
    for number in range(2000, 2500):
        entry = stock.index.first(template)
        assert entry.value == (number,)
        stock.take(entry)
        if number == 2100:
            stock.write((number + 1000.5,))
            looked_at = 0
    assert looked_at <= 2 * 400
    assert stock.index.count(template) == 1501


def test_the_oldest_of_all_is_found_after_any_number_of_takes():
    stock = Stock()
    for number in range(300):
        stock.write(("k", number) if number % 2 else ("k", number, "x"))
    for entry in stock.ready[:200]:
        stock.take(entry)
    assert stock.index.oldest() is stock.ready[0]
    for entry in stock.ready[:]:
        stock.take(entry)
    assert stock.index.oldest() is None


def entry_of(value):
    return Entry(1, value, 0.0, 1.0)


class Waiting:
    def __init__(self, number, query):
        self.number, self.template, self.hooks = number, Template(query), None


def test_waiters_are_found_by_the_tuples_they_match_in_order_of_arrival():
    rng = random.Random(7)
    index, waiting = WaiterIndex(), []
    many = OneOf(*range(1000))  # too many to hang on each
    for number in range(3000):
        if rng.random() < 0.6 or not waiting:
            waiter = Waiting(
                number, (rng.choice([*QUERIES, many]), rng.choice((None, 3, int, OneOf(1, 2))))
            )
            index.add(waiter)
            waiting.append(waiter)
        elif rng.random() < 0.7:
            index.remove(waiting.pop(rng.randrange(len(waiting))))
        value = (rng.choice(VALUES), rng.choice(VALUES[:6]))
        expected = [waiter for waiter in waiting if waiter.template.matches(value)]
        assert list(index.matching(entry_of(value))) == expected
    while waiting:
        index.remove(waiting.pop())
    assert not index


@pytest.mark.parametrize(
    "template, value, passed",
    [
        (lambda n: ("task", n), ("task", 3), 1),
        (lambda n: ("task", n), ("other", 3), 0),
        (lambda n: (f"name {n % 10}", n, None), ("name 4", 3, "x"), 0),
        (lambda n: ("task", OneOf(n, -n - 1)), ("task", 3), 1),
        (lambda n: ("task", str(n), int), ("task", "3", 5), 1),
        (lambda n: ("task", (int, str, bytes, dict)[n % 4]), ("task", b""), 250),
        (lambda n: {"name": n, "other": None}, {"name": 3, "other": [1]}, 1),
        (lambda n: (n, Between(0, 9)), (3, 5), 1),
    ],
)
def test_a_tuple_passes_only_those_waiters_that_agree_with_it(template, value, passed):
    index, asked = WaiterIndex(), []
    for number in range(1000):
        waiter = Waiting(number, template(number))
        original = waiter.template.matches
        waiter.template = Counting(waiter.template, asked)
        assert original(value) is waiter.template.matches(value)
        index.add(waiter)
    asked.clear()
    found = list(index.matching(entry_of(value)))
    assert len(found) == len(asked) == passed


class Counting:
    def __init__(self, template, asked):
        self.template, self.asked = template, asked
        self.shape, self.lookups = template.shape, template.lookups

    def matches(self, value):
        self.asked.append(value)
        return self.template.matches(value)


class Counted(dict):
    """Entries that count how often one is looked at."""

    looks = 0

    def get(self, *args):
        self.looks += 1
        return super().get(*args)


@pytest.mark.parametrize("field", [None, int, Between(0, 5000)])
def test_a_line_that_is_drained_in_batches_is_not_walked_over_again(field):
    stock = Stock()
    stock.index.entries = Counted()
    values = list(range(5000))
    random.Random(1).shuffle(values)
    for number in values:
        stock.write(("k", number))
    template = Template(("k", field))
    for at in range(0, 5000, 10):
        found = stock.index.find(template, 10)
        assert [entry.value[1] for entry in found] == values[at : at + 10]
        for entry in found:
            stock.take(entry)
    assert stock.index.entries.looks < 10 * 5000


def test_many_that_came_back_are_not_sorted_again_for_each_batch():
    stock = Stock()
    for number in range(3000):
        stock.write(("k", number))
    held = stock.ready[:]
    for entry in held:
        stock.claim(entry)
    random.Random(2).shuffle(held)
    for entry in held:
        stock.release(entry)
    stock.index.entries = Counted(stock.index.entries)
    template = Template(("k", None))
    for at in range(0, 3000, 10):
        found = stock.index.find(template, 10)
        assert [entry.value[1] for entry in found] == list(range(at, at + 10))
        for entry in found:
            stock.take(entry)
    assert stock.index.entries.looks < 20 * 3000


def test_near_misses_at_the_front_do_not_hide_that_an_index_would_help():
    stock = Stock()
    for number in range(300):
        stock.write(("a", 2, number + 10))
    for number in range(5000):
        stock.write((f"b{number}", number, 3))
    stock.write(("a", 2, 3))
    for template in (("a", 2, 3), ("a", None, 3)):
        stock.check(template)
        assert stock.index.explain(Template(template))["candidates"] <= 301


def test_a_line_of_those_who_came_back_is_sampled_too():
    stock = Stock()
    for number in range(400):
        stock.write(("k", number % 2, number))
    held = stock.ready[:]
    for entry in held:
        stock.claim(entry)
    for entry in held:
        stock.release(entry)
    assert len(stock.index._shapes[3].line.sample(100, stock.index.entries)) >= 90
    stock.check(("k", int, 399))  # two of its three fields tell nothing
    assert stock.index.explain(Template(("k", int, 399)))["indexes"] == [(2, VALUE)]
