import pickle
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mapreduce.columns import decode, encode

texts = st.lists(st.text())
equal_bytes = st.integers(0, 5).flatmap(
    lambda size: st.lists(st.binary(min_size=size, max_size=size))
)
mixed = st.lists(st.one_of(st.text(), st.binary(), st.integers(), st.booleans(), st.none()))
column = st.one_of(texts, equal_bytes, st.lists(st.binary()), mixed)


class Word(str):
    """Equal to a plain str, and not one."""


@given(column, column)
@example(["a\0b", ""], ["", "\0"])
@example(["\ud800"], [b""])
@example([], [])
def test_columns_come_back_as_they_were(keys, values):
    decoded = decode(encode((keys, values)))

    assert decoded == (keys, values)
    assert [list(map(type, each)) for each in decoded] == [
        list(map(type, keys)), list(map(type, values))
    ]  # fmt: skip


@pytest.mark.parametrize("count", [1, 999, 1000, 1001, 2500])
@pytest.mark.parametrize("length", [1, 100])
def test_bytes_of_one_length_are_cut_where_they_were_joined(count, length):
    keys = [(b"%d " % number * length)[:length] for number in range(count)]
    assert decode(encode((keys, keys))) == (keys, keys)


def test_a_type_that_only_looks_like_text_is_kept():
    keys, _ = decode(encode(([Word("a")], [1])))
    assert type(keys[0]) is Word


def test_what_keys_and_values_refer_to_travels_once():
    shared = [Fraction(number, 3) for number in range(1000)]
    together = encode(([(1, shared)], [shared]))
    assert len(together) < 1.2 * len(pickle.dumps(shared))
    assert decode(together) == ([(1, shared)], [shared])
