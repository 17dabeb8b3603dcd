"""How Sphinx builds these pages: `invoke docs`.

What would go stale if it were written by hand (the commands, the ready-made jobs, the styles) is made here,
from the code itself, and stands in the pages as a substitution: `{{ commands }}`.
"""

from __future__ import annotations

import inspect
import pkgutil
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import invoke  # noqa: E402

import tasks  # noqa: E402  # needs the path above
from jobs.catalogue import CATALOGUE, options_of  # noqa: E402
from jobs.cli import TASKS  # noqa: E402
from mapreduce import styles  # noqa: E402


def _commands(commands: Iterable[Any], program: str) -> str:
    return "\n\n".join(_command(each, program) for each in commands)


def _command(command: Any, program: str) -> str:
    """Return what `--help` says of a command, as Markdown."""
    words, rows = [program, command.name], []
    for option in command.get_arguments():
        if option.positional:
            words.append(option.name.upper())
        shown = option.name.upper() if option.positional else "--" + option.name.replace("_", "-")
        rows.append(f"| `{shown}` | {_cell(option.help or '')} |")
    text = [f"### {command.name}", inspect.getdoc(command), f"```text\n{' '.join(words)}\n```"]
    if rows:
        text.append("| option | |\n|---|---|\n" + "\n".join(rows))
    return "\n\n".join(filter(None, text))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def _jobs() -> str:
    return "\n\n".join(
        "\n\n".join([f"### {name}", f"Options: `{options_of(name) or 'none'}`.",
                     f"```{{eval-rst}}\n.. automodule:: jobs.{name}\n   :no-members:\n```"])
        for name in sorted(CATALOGUE)
    )  # fmt: skip


def _styles() -> str:
    found = (each.name for each in pkgutil.iter_modules(styles.__path__))
    return "\n\n".join(
        f"## {name}\n\n```{{eval-rst}}\n.. automodule:: mapreduce.styles.{name}\n   :members:\n```"
        for name in sorted(found)
        if (ROOT / "docs" / "styles" / f"{name}.md").exists()  # the others are what these share
    )


_shared = {each.name for each in TASKS}
_developers = [
    found for found in vars(tasks).values()
    if isinstance(found, invoke.Task) and found.name not in _shared
]  # fmt: skip

project = "tuplemill"
copyright = "the authors of tuplemill"
smartquotes = False  # they would make one dash of the two of an option
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "tuplemill"
html_show_sphinx = False

myst_enable_extensions = ["substitution", "tasklist"]
myst_heading_anchors = 3
myst_substitutions = {
    "commands": _commands(TASKS, "invoke"),
    "developers_commands": _commands(_developers, "invoke"),
    "jobs": _jobs(),
    "styles": _styles(),
}

default_role = "py:obj"  # what stands in backticks in a docstring is a link where it can be one
add_module_names = False
python_use_unqualified_type_names = True
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_rtype = False  # a sentence with a colon is no type
napoleon_use_ivar = True  # what the class says of an attribute is all there is to say

#: What users are given and never make: how it is made is nothing to them.
_GIVEN = {
    "mapreduce.JobRun", "mapreduce.Progress", "mapreduce.Report", "mapreduce.SkippedRecord",
    "mapreduce.SkippedTask", "tuplespace.Claim", "tuplespace.Event", "tuplespace.Handle",
    "tuplespace.Kept", "tuplespace.Space", "tuplespace.Subscription",
}  # fmt: skip
_SECTION = re.compile(r"(Args|Attributes|Raises):$")
_NAME = r"(?!None)[a-zA-Z_]\w*"
_FIELD = re.compile(rf"(?:^ +|(?<=[.?)] ))((?:{_NAME}, )*{_NAME}): ")


def setup(app: Any) -> None:
    """Have docstrings and signatures read as they are meant."""
    app.connect("autodoc-process-docstring", _one_field_a_line, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", _no_signature)


def _one_field_a_line(
    app: Any, what: str, name: str, found: object, options: Any, lines: list[str]
) -> None:
    """Part fields that share a line, or a text, as "id: The job's. label: ..." and "map, reduce: ..."."""
    if what in ("attribute", "data", "property") and lines:
        lines[0] = lines[0].replace(": ", "; ")  # else napoleon takes what is before it for a type
    read, lines[:] = list(lines), []
    indent = None
    for line in read:
        depth = len(line) - len(line.lstrip())
        if _SECTION.match(line.strip()):
            indent = depth + 4
        elif indent is not None and line and depth < indent:
            indent = None
        elif indent is not None and depth > indent:
            lines[-1] += " " + line.strip()
            continue
        lines.append(line)
    read, lines[:] = list(lines), []
    for line in read:
        parts = _FIELD.split(line) if line.startswith("    ") else [line]
        lines += parts[:1] if parts[0] or not line else []
        for names, text in zip(parts[1::2], parts[2::2], strict=True):
            lines += [f"    {each}: {text}" for each in names.split(", ")]


def _no_signature(
    app: Any, what: str, name: str, found: object, options: Any, signature: str, returns: str
) -> tuple[str, str | None] | None:
    if signature and (what == "exception" or name in _GIVEN):
        return "", None
    return None
