"""The options of a command, where invoke's own would end in a traceback or in a flag named ``--``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from invoke import Argument, ParseError, Task


class Command(Task):  # type: ignore[type-arg]
    """An invoke task that says in a line that an option wants a number."""

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """Return the options of the command, as invoke wants them."""
        kept = dict(self.help)  # invoke takes out what it has read, and may be asked again
        found = super().get_arguments(ignore_unknown_help)
        self.help = kept
        return [
            _Option(
                # Once all other letters of a name are taken, invoke abbreviates it to its dash.
                names=[name for name in each.names if name != "-"],
                **{name: getattr(each, name) for name in _KEPT},
            )
            for each in found
        ]


_HELP = ("--help", "-h")
_KEPT = ("kind", "default", "help", "positional", "optional", "incrementable", "attr_name")


class _Option(Argument):
    """An option whose value is checked."""

    def __repr__(self) -> str:  # as invoke names one that lacks its value
        return f"--{str(self.name).replace('_', '-')}"

    def set_value(self, value: Any, cast: bool = True) -> None:
        try:
            super().set_value(value, cast)
        except ValueError:
            whole = "whole " if self.kind is int else ""
            raise ParseError(f"error: {self!r} wants a {whole}number, not {value!r}") from None


def positional_in(
    words: Sequence[str], command: str, names: Sequence[str], needed: int, flags: Collection[str] = ()
) -> list[str]:  # fmt: skip
    """Return which arguments of a command are positional on this command line.

    Invoke knows no argument that is both positional and optional: one is only when it is there.

    Args:
        words: The command line. command, names: What the command and these arguments are called.
        needed: So many of them are always positional. flags: Its options without a value.
    """
    at = words.index(command) if command in words else 0
    if not at or set(_HELP) & set(words[:at]):
        return list(names[: max(1, needed)])
    rest, plain = iter(words[at + 1 :]), 0
    for word in rest:
        if not word.startswith("-") or word == "-":
            plain += 1
        elif word not in flags and "=" not in word and (word.startswith("--") or len(word) == 2):
            next(rest, None)  # its value
    return list(names[: max(plain, needed)])
