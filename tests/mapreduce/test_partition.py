import datetime
import enum
import math
import os
import subprocess
import sys
import uuid
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from itertools import combinations
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapreduce.errors import PartitionError, UnstableKeyError
from mapreduce.partition import check_partition, hash_partition, stable_hash


class Colour(enum.Enum):
    RED = 1
    GREEN = 2


class Level(enum.IntEnum):
    LOW = 1


class Suit(str, enum.Enum):
    HEARTS = "hearts"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    y: int


NOON = datetime.datetime(2024, 5, 1, 12, tzinfo=datetime.timezone.utc)
BERLIN = datetime.timezone(datetime.timedelta(hours=2))

EQUAL = [
    (1, 1.0, True, Decimal(1), Decimal("1.00"), Fraction(1), 1 + 0j, Level.LOW),
    (0, 0.0, -0.0, False, Decimal("-0"), Decimal("0E99999"), Fraction(0), 0j),
    (0.5, Fraction(1, 2), Decimal("0.5"), 0.5 + 0j),
    (Fraction(1, 10), Decimal("0.1")),
    (0.1, Fraction(0.1), Decimal.from_float(0.1)),
    (10**400, Decimal("1E400"), Fraction(10**400)),
    (2**70, float(2**70), Decimal(2**70)),
    (math.inf, Decimal("Infinity")),
    ((1, (2.0, "x")), (True, (2, "x"))),
    (Point(1, 2), (1, 2)),
    (frozenset("abc"), frozenset("cba")),
    ("hearts", Suit.HEARTS),
    (NOON, NOON.astimezone(BERLIN)),
]


@pytest.mark.parametrize("keys", EQUAL, ids=lambda keys: type(keys[0]).__name__)
def test_equal_keys_have_equal_hashes(keys):
    assert len(set(keys)) == 1
    assert len(set(map(stable_hash, keys))) == 1


def test_keys_that_differ_in_kind_or_structure_have_different_hashes():
    day = datetime.date(2024, 5, 1)
    keys = [
        "a", b"a", ("a",), frozenset("a"), (("a",),), "", b"", (), frozenset(), ((),), None, (None,),
        0, 1, -1, 255, -256, 2**64, -(2**64), 0.5, -0.5, math.inf, -math.inf, 1j, 1 + 1j, Fraction(1, 3),
        ("ab", "c"), ("a", "bc"), ("abc",), ("c", "ab"), (1, (2, 3)), ((1, 2), 3), (1, 2, 3),
        day, day.toordinal(), NOON, NOON.replace(tzinfo=None), NOON.timestamp(),
        Colour.RED, Colour.GREEN, "RED", Access.READ, Access.READ | Access.WRITE,
        uuid.UUID(int=7), uuid.UUID(int=7).bytes, 7, "\ud800", "\udc80",
    ]  # fmt: skip
    for left, right in combinations(keys, 2):
        assert stable_hash(left) != stable_hash(right), (left, right)


def test_hashes_are_the_numbers_they_have_always_been():
    assert stable_hash("word") == 4960047609084747341
    assert stable_hash(7) == 17291593897000930469
    assert stable_hash((b"x", 0.5, None)) == 17463185196953588603


def test_hashes_do_not_depend_on_the_process():
    script = (
        "from mapreduce.partition import stable_hash\n"
        "keys = ['a', b'a', 3, 2.5, None, ('x', 1), frozenset(['x', 'y', 'z'])]\n"
        "print([stable_hash(key) for key in keys])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ([1], "a tuple"),
        ({1}, "a frozenset"),
        ({"a": 1}, "sorted items"),
        (bytearray(b"x"), "bytes"),
        (object(), "object"),
        (("deep", ([],)), "list"),
        (math.nan, "NaN"),
        (Decimal("NaN"), "NaN"),
        (Decimal("sNaN"), "NaN"),
        (complex(0, math.nan), "NaN"),
        (Decimal("1E99999999"), "exponent"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_key_without_a_stable_hash_is_refused_and_told_what_to_use(key, hint):
    with pytest.raises(UnstableKeyError, match=hint):
        stable_hash(key)


numbers = st.one_of(
    st.integers(),
    st.floats(allow_nan=False),
    st.fractions(),
    st.decimals(allow_nan=False),
    st.booleans(),
    st.integers(-3, 3).map(float),
    st.complex_numbers(allow_nan=False),
)


@given(numbers, numbers)
def test_numbers_have_equal_hashes_exactly_if_they_are_equal(left, right):
    assert (stable_hash(left) == stable_hash(right)) == (left == right)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_hashes_as_the_ratio_and_the_decimal_it_equals(value):
    assert stable_hash(value) == stable_hash(Fraction(value)) == stable_hash(Decimal(value))


def test_hash_partition_spreads_keys_evenly():
    sizes = Counter(hash_partition(f"key {number}", 8) for number in range(8000))
    assert set(sizes) == set(range(8))
    assert all(850 < size < 1150 for size in sizes.values())


class Index:
    def __index__(self):
        return 2


@pytest.mark.parametrize("value", [2, Level.LOW, Index()])
def test_a_partitioner_may_return_anything_that_is_an_int(value):
    checked = check_partition(value, "key", 3)
    assert type(int(checked)) is int
    assert checked == value.__index__()


@pytest.mark.parametrize("value", [3, -1, True, False, None, 1.0, "1"])
def test_what_is_no_int_in_range_is_refused_with_value_key_and_r(value):
    with pytest.raises(PartitionError) as caught:
        check_partition(value, "the key", 3)
    for part in (repr(value), "'the key'", "R is 3"):
        assert part in str(caught.value)
