"""docs/seeds.md: every box is ticked, and the tests that it names are there."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import NamedTuple

import pytest

from snippets.blocks import DOCS, ROOT

#: What has a checklist there, and how many boxes at least: none is dropped unseen.
CHECKLISTS = {
    "Kaylee": 9, "tinymr": 12, "PyMOTW": 5, "pymapr and the course": 13, "MapReduce on Rinda": 13,
    "The paper's examples": 6, "The paper, sections 3 and 4": 17,
}  # fmt: skip


class Box(NamedTuple):
    mark: str
    text: str
    tests: list[str]


def boxes_of(section: str) -> list[Box]:
    return [
        Box(mark, text.partition("\n")[0], re.findall(r"`(tests/[^`]+)`", text))
        for mark, text in re.findall(r"^- \[(.)\] (.*(?:\n  .*)*)$", section, re.MULTILINE)
    ]


PAGE = (DOCS / "seeds.md").read_text(encoding="utf-8")
SECTIONS = dict(part.split("\n", 1) for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:])
BOXES = [box for section in SECTIONS.values() for box in boxes_of(section)]


@cache
def functions_of(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def is_there(test: str) -> bool:
    path, _, name = test.partition("::")
    return (ROOT / path).is_file() and name in functions_of(path)


@pytest.mark.parametrize(("checklist", "boxes"), CHECKLISTS.items())
def test_every_checklist_is_there_with_all_its_boxes(checklist: str, boxes: int) -> None:
    section = SECTIONS[checklist]

    assert len(boxes_of(section)) >= boxes
    assert len(boxes_of(section)) == len(re.findall(r"^\s*[-*] ", section, re.MULTILINE))


def test_every_box_is_ticked() -> None:
    assert not [box.text for box in BOXES if box.mark != "x"]


def test_every_box_names_tests_and_they_are_there() -> None:
    assert not [box.text for box in BOXES if not box.tests]
    assert not [
        f"{box.text}: {test}"
        for box in BOXES for test in box.tests
        if not test.rpartition("::")[2].startswith("test_") or not is_there(test)
    ]  # fmt: skip
