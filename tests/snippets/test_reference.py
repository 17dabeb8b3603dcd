"""The reference has every public name and every command, and what pages say of commands can be typed."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
import sys
from functools import cache
from types import ModuleType

import pytest
from invoke import Collection, ParseError
from invoke.parser import Parser

from snippets.blocks import DOCS, ROOT, blocks_of, pages

REFERENCE = "".join(page.read_text(encoding="utf-8") for page in (DOCS / "reference").glob("*.md"))
DIRECTIVES = re.findall(r"^\.\. auto(\w+):: ([\w.]+)$", REFERENCE, re.MULTILINE)
COMMANDS = sorted(
    {
        words
        for page in pages()
        for words in re.findall(r"`(?:invoke|tuplemill) ([a-z][^`\n]*)`", page.read_text("utf-8"))
    }
    | {
        found[1]
        for page in pages() for block in blocks_of(page) if block.language == "sh"
        for found in re.finditer(r"^(?:invoke|tuplemill) ([^\n|&<>]*?)(?= \d?[|&<>]|$)", block.text, re.MULTILINE)
    }
)  # fmt: skip


def load(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.replace("/", "_"), ROOT / f"{path}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def commands() -> Collection:
    return Collection.from_module(load("tasks"))


@pytest.mark.parametrize("package", ["tuplespace", "workers", "mapreduce"])
def test_every_public_name_is_in_the_reference_once(package: str) -> None:
    documented = [
        name for kind, name in DIRECTIVES
        if kind != "module" and re.fullmatch(rf"{package}\.\w+", name)
    ]  # fmt: skip

    public = importlib.import_module(package).__all__
    assert sorted(documented) == sorted(f"{package}.{name}" for name in public)


@pytest.mark.parametrize(("kind", "name"), DIRECTIVES)
def test_what_the_reference_names_is_there(kind: str, name: str) -> None:
    if kind == "module":
        assert importlib.import_module(name).__doc__
    else:
        module, _, attribute = name.rpartition(".")
        assert getattr(importlib.import_module(module), attribute).__doc__


def test_the_page_of_commands_tells_of_every_command_and_every_option(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])  # conf.py adds to it
    commands().to_contexts()  # has read all options already, as the command line does
    made = load("docs/conf").myst_substitutions
    text = made["commands"] + made["developers_commands"]

    for name in commands().task_names:
        assert text.count(f"### {name}\n\n") == 1
    assert "{{ commands }}" in REFERENCE
    assert "{{ developers_commands }}" in REFERENCE
    assert not re.findall(r"^\| `.*` \| *\|$", text, re.MULTILINE), "an option without a help"


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_in_a_page_can_be_typed(words: str) -> None:
    if " " not in words:  # it is talked of, as in "what `invoke job` shows"
        assert words in commands().task_names
        return
    # What is optional and positional is an argument only if it is there when the program starts.
    words = re.sub(r"^(emit \S+) \S+", r"\1", words)
    parser = Parser(commands().to_contexts())

    try:
        parsed = parser.parse_argv(shlex.split(words))
    except ParseError as error:
        pytest.fail(f"`invoke {words}`: {error}")

    assert not parsed.unparsed
