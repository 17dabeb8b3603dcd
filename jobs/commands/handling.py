"""The commands that take tuples out of a space and write them into it, for shell scripts."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from typing import Final

from invoke import Context, Exit

from jobs.commands.command import KEY_FILE, NAME, SPACE, command, sigterm_interrupts
from jobs.commands.looking import JSON
from jobs.errors import JobsError, NotationError
from jobs.terminal.documents import print_json
from jobs.terminal.notation import parse_template, parse_tuple, show
from jobs.terminal.sealed import look_into
from jobs.terminal.tables import print_error, print_lines
from tuplespace import MatchTimeoutError, TupleSpaceError
from tuplespace.values import Tuple

#: How long a tuple that was taken is ours alone before it is printed.
_CLAIM_LEASE: Final = 30.0
_CHUNK_BYTES: Final = 1 << 20


@command(
    positional=["template"],
    help={
        "template": "as Python writes it, as in '(\"task\", int, ...)'; see `tuples`",
        "timeout": "seconds to wait for a tuple (default: for ever); 0: do not wait",
        "limit": "take up to so many, as soon as one is there (default: 1)",
        **JSON,
        **SPACE,
        **NAME,
        **KEY_FILE,
    },
)
def take(
    _: Context, template: str, space: str = "", key_file: str = "", name: str = "",
    timeout: float = math.inf, limit: int = 1, json: bool = False,
) -> None:  # fmt: skip
    """Take the oldest tuple that matches a template, and print it; status 1: none in time."""
    wanted = parse_template(template)
    if not timeout >= 0:
        raise JobsError(f"--timeout is a number of seconds from 0, not {timeout}")
    if limit < 1:
        raise JobsError(f"--limit is a whole number from 1, not {limit}")
    patience = None if timeout == math.inf else timeout
    with sigterm_interrupts(), look_into(space, name, key_file) as remote:
        try:
            claims = remote.claim_many(wanted, limit, _CLAIM_LEASE, patience)
        except MatchTimeoutError:
            print_error(
                f"no tuple matches {template}" + (f" within {timeout:g} s" if timeout else "")
            )
            raise Exit(code=1) from None
        # Gone only when it is printed: if nobody reads it, it goes back with our session.
        if json:
            for claim in claims:
                print_json(claim.tuple)
        else:
            print_lines(show(claim.tuple) for claim in claims)
        refused = [error for error in remote.confirm_many((each, ()) for each in claims) if error]
        if refused:
            raise refused[0]


@command(
    positional=["tuple"],
    help={
        "tuple": "as Python writes it, as in '(\"task\", 7)'; `-`: one a line on standard input",
        "lease": "seconds that it lives (default: for ever)",
        **SPACE,
        **NAME,
        **KEY_FILE,
    },
)
def write(
    _: Context, tuple: str, space: str = "", key_file: str = "", name: str = "",
    lease: float = math.inf,
) -> None:  # fmt: skip
    """Write a tuple, or one for each line of standard input."""
    if not lease >= 0:
        raise JobsError(f"--lease is a number of seconds from 0, not {lease}")
    lives = None if lease == math.inf else lease
    value = None if tuple == "-" else parse_tuple(tuple)
    with sigterm_interrupts(), look_into(space, name, key_file) as remote:
        if value is not None:
            remote.write(value, lives)
            return
        written = 0
        for number, lines in _arriving():
            try:
                values = [
                    _tuple_in(line, number + at) for at, line in enumerate(lines) if line.strip()
                ]
                remote.write_many(values, lives)
            except (NotationError, TupleSpaceError) as error:
                raise JobsError(f"{error}; written before that: {written:,}") from None
            written += len(values)


def _tuple_in(line: bytes, number: int) -> Tuple:
    try:
        return parse_tuple(line.decode())
    except (NotationError, UnicodeDecodeError) as error:
        raise NotationError(f"line {number}: {error}") from None


def _arriving() -> Iterator[tuple[int, list[bytes]]]:
    """Yield the lines of standard input as they arrive, and the number of the first, from 1."""
    number, rest = 1, b""
    while chunk := os.read(sys.stdin.fileno(), _CHUNK_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        if lines:
            yield number, lines
            number += len(lines)
    if rest:
        yield number, [rest]
