"""What a script defines travels by value, also what cloudpickle alone takes by its name."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tuplespace.pickles import dump, load

SCRIPT = """
import functools, sys, textwrap
from tuplespace.pickles import dump

@functools.cache
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

class Words:
    @functools.lru_cache(maxsize=7, typed=True)
    def first(self, text):
        return text.split()[0]

def made(width):
    @functools.lru_cache
    def shortened(text):
        return importable(text)[:width]
    return shortened

@functools.cache
def importable(text):
    return text

print(dump((fibonacci, Words, made(4), functools.lru_cache(textwrap.dedent))).hex())
"""


def test_functions_that_remember_what_they_returned_travel_by_value(
    run_python: Callable[..., Any],
) -> None:
    output, errors = run_python("-c", SCRIPT).communicate(timeout=30)
    assert not errors
    fibonacci, words, shortened, dedent = load(bytes.fromhex(output))

    assert fibonacci(80) == 23416728348467685
    assert fibonacci.cache_info().currsize == 81
    assert words().first("one two") == "one"
    assert words.first.cache_parameters() == {"maxsize": 7, "typed": True}
    assert shortened("12345") == "1234"
    assert dedent("  x") == "x"


@functools.cache
def remembered() -> None: ...


def test_one_that_a_module_defines_stays_that_module_s_own() -> None:
    assert load(dump(remembered)) is remembered
