r"""What people's programs get to read: JSON documents, on stdout and nothing else there.

What JSON has no word for becomes what it has: a tuple, set or other sequence a list, a named tuple or
dataclass an object of its fields, bytes a str (UTF-8, with ``\xff`` for what is none), a float that is
no number a str ("nan", "inf"), a mapping whose keys are not all str a list of [key, value] lists, an
opaque field "<opaque N bytes>", and anything else what ``str`` makes of it.
"""

from __future__ import annotations

import dataclasses
import json
import math
import numbers
import sys
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

from jobs.errors import JobsError
from jobs.terminal.notation import opaque_size
from tuplespace.values import Opaque, brief

#: Python shows no longer int in decimal.
_DECIMAL_BITS: Final = 10_000


def print_json(value: Any) -> None:
    """Print any value as a JSON document on stdout, in a line, at once.

    Raises:
        JobsError: It is nested too deeply, or contains itself.
        BrokenPipeError: Nobody reads it any more.
    """
    try:
        text = json.dumps(as_json(value), allow_nan=False)
    except RecursionError:
        raise JobsError("the result is nested too deeply for JSON, or contains itself") from None
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def as_json(value: Any) -> Any:
    """Return a value as dicts with str keys, lists, str, numbers, bools and None."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, (numbers.Integral, float)):
        return _number(value)
    if isinstance(value, (bytes, bytearray)):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, Opaque):
        return opaque_size(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: as_json(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value):
            return {str(key): as_json(each) for key, each in value.items()}
        return [[as_json(key), as_json(each)] for key, each in value.items()]
    if isinstance(value, (Sequence, AbstractSet)):
        return [as_json(each) for each in value]
    return _text(value)


def _number(value: Any) -> int | float | str:
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else repr(float(value))
    number = int(value)
    return number if number.bit_length() <= _DECIMAL_BITS else hex(number)


def _text(value: Any) -> str:
    try:
        return str(value)
    except RecursionError:
        raise
    except Exception:  # noqa: BLE001  # anybody may write a __str__
        return brief(value)
