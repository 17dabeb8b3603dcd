"""Tuples and templates as people type them, and values as programs read them."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.errors import JobsError, NotationError
from jobs.terminal.documents import as_json, print_json
from jobs.terminal.notation import opaque_size, parse_template, parse_tuple, show
from mapreduce.report import Report, TimedTask
from tuplespace import ANY, Between, Exactly, OneOf
from tuplespace.values import Opaque
from tuplespace.wire import pack

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(1 << 12_000), 1 << 12_000),
    st.floats().map(lambda value: math.nan if math.isnan(value) else value),  # there are many
    st.text(), st.text(st.characters(categories=["Cs", "Cc", "Zl"])), st.binary(),
)  # fmt: skip
KEYS = st.one_of(st.text(), st.integers(), st.binary())
FIELDS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(KEYS, inner, max_size=3),
    ),
    max_leaves=8,
)  # fmt: skip
TUPLES = st.one_of(
    st.lists(FIELDS, max_size=4).map(tuple), st.dictionaries(st.text(), FIELDS, max_size=4)
)


@given(TUPLES)
def test_what_is_shown_can_be_read_again_and_stands_in_a_line(value: Any) -> None:
    shown = show(value)

    assert "\n" not in shown
    assert pack(parse_tuple(shown)) == pack(value)  # bytes: True is not 1, nan is nan


@given(TUPLES)
def test_it_can_be_read_from_what_has_no_letters_but_ascii(value: Any) -> None:
    shown = show(value).encode("ascii", "backslashreplace").decode("ascii")

    assert pack(parse_tuple(shown)) == pack(value)


@given(st.text(st.sampled_from("()[]{}'\"\\,.:-+*1ajbfrx \n#=Noe")))
def test_any_text_is_a_tuple_or_an_error_of_one_line(text: str) -> None:
    for parse in (parse_tuple, parse_template):
        said = ""
        try:
            assert type(parse(text)) in (tuple, dict)
        except NotationError as error:
            said = str(error)
        assert "\n" not in said


def test_what_is_no_plain_data_is_shown_sealed_and_can_be_written_again() -> None:
    value = ("job", [Opaque(b"\x00sealed")])

    assert show(value, opaque_size) == "('job', [<opaque 7 bytes>])"
    assert parse_tuple(show(value))[1][0].sealed == b"\x00sealed"


@pytest.mark.parametrize(
    ("text", "template"),
    [
        ('("task", None, ...)', ("task", None, ANY)),
        ('"task", int', ("task", int)),
        ("(ANY, str, float, bytes, bool, tuple, list, dict)",
         (ANY, str, float, bytes, bool, tuple, list, dict)),
        ('("a", Between(1, None), OneOf("x", int, None))',
         ("a", Between(1, None), OneOf("x", int, None))),
        ("(range(1, 9, 2), Exactly(None), -1.5, +2)", (range(1, 9, 2), Exactly(None), -1.5, 2)),
        (r'(re("^b\d+"), ("x", (...,)))', (re.compile(r"^b\d+"), ("x", (ANY,)))),
        ('{"name": str, "size": Between(0, inf)}', {"name": str, "size": Between(0, math.inf)}),
        ("  ()  ", ()),
    ],
)  # fmt: skip
def test_templates_are_written_as_in_python(text: str, template: Any) -> None:
    assert parse_template(text) == template


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "invalid syntax"),
        ('("a"', "never closed"),
        ('"a"', 'of one field it is ("a",), with a comma'),
        ("None", "a dict with str keys; of one field it is (None,), with a comma"),
        ("ANY", "a dict with str keys; of one field it is (ANY,), with a comma"),
        ("{1: 2}", "a dict with str keys"),
        ('("a", __import__("os").abort())', "what is"),
        ('("a", object)', "what is 'object'"),
        ('("a", Between(1))', "Between: missing 1 required"),
        ('("a", Between(low=1, high=2))', "what is"),
        ('("a", re("("))', "unterminated"),
        ('("a", re(1))', "re: "),
        ('("a", range(1, 2, 0))', "must not be zero"),
        ('("a", 1j)', "what is '1j'"),
        ('("a", {[1]: 2})', "[1] cannot be a key"),
        ("(" * 300 + ")" * 300, "nested"),
        ("(" + "[" * 70 + "]" * 70 + ",)", "nested more than 64 deep"),
        ("(" + "9" * 5000 + ",)", "integer"),
        ('("a", {1, 2})', "what is '{1, 2}'"),
        ('("a", f"{1}")', "what is"),
        ('("a", *("b",))', "what is"),
        ('("a", \x00)', "null bytes"),
    ],
)
def test_what_is_no_template_is_said_in_a_line(text: str, part: str) -> None:
    with pytest.raises(NotationError, match=re.escape(part)) as failed:
        parse_template(text)

    assert "\n" not in str(failed.value)
    assert len(str(failed.value)) < 500


@pytest.mark.parametrize("text", ['("a", ...)', '("a", int)', '("a", ANY)', '("a", OneOf(1))'])
def test_wildcards_are_for_templates(text: str) -> None:
    with pytest.raises(NotationError, match="wildcards are for templates"):
        parse_tuple(text)


def test_an_opaque_field_that_is_no_base64_is_refused() -> None:
    with pytest.raises(NotationError, match="base64"):
        parse_tuple('("a", Opaque("%"))')


class Point(NamedTuple):
    x: int
    y: bytes


class Speechless:
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "document"),
    [
        ((1, ("a", None, True)), [1, ["a", None, True]]),
        (b"caf\xc3\xa9\xff", "café\\xff"),
        ({"a": {2}, "b": range(2)}, {"a": [2], "b": [0, 1]}),
        (Counter({("a", 1): 2}), [[["a", 1], 2]]),
        ({1: "one", "1": "a str"}, [[1, "one"], ["1", "a str"]]),
        ([math.nan, -math.inf, 1e300], ["nan", "-inf", 1e300]),
        ([1 << 40_000], [hex(1 << 40_000)]),
        (Decimal("1.50"), "1.50"),
        (Point(1, b"y"), {"x": 1, "y": "y"}),
        (Opaque(b"1234"), "<opaque 4 bytes>"),
        (TimedTask("map", 1, 2.0, "lab/7"),
         {"phase": "map", "number": 1, "seconds": 2.0, "worker": "lab/7", "what": ""}),
    ],
)  # fmt: skip
def test_what_json_has_no_word_for_becomes_what_it_has(value: Any, document: Any) -> None:
    assert as_json(value) == document
    assert json.loads(json.dumps(as_json(value))) == document


def test_a_report_is_a_document_of_its_fields() -> None:
    report = as_json(Report(tasks_by_worker=Counter({"lab/7": 3})))

    assert report["tasks_by_worker"] == {"lab/7": 3}
    assert report["map"]["slowest"] == []


def test_what_cannot_say_what_it_is_does_no_harm() -> None:
    assert "Speechless" in as_json(Speechless())


def test_a_result_that_contains_itself_is_one_line() -> None:
    loop: list[Any] = []
    loop.append(loop)

    with pytest.raises(JobsError, match="contains itself"):
        print_json(loop)
