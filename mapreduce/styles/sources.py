"""The source of functions, and what the names in it mean."""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Final

#: What a name is that only the call itself knows.
ABSENT: Final = object()

_INNER: Final = (
    ast.Lambda, ast.FunctionDef, ast.AsyncFunctionDef, ast.ListComp, ast.SetComp, ast.DictComp,
    ast.GeneratorExp,
)  # fmt: skip


class Scope:
    """What the names mean in a function that are not its own.

    Args:
        function: A function or method. plain: The same as a function. given: Parameters and what they
            are known to be.
    """

    def __init__(
        self, function: Callable[..., Any], plain: FunctionType, given: dict[str, Any]
    ) -> None:
        code = plain.__code__
        self.folder = folder_of(plain)
        #: The variables of functions around it.
        self.outer = frozenset(code.co_freevars)
        self._globals = plain.__globals__
        self._inner: dict[str, Any] = dict.fromkeys(code.co_varnames + code.co_cellvars, ABSENT)
        self._inner |= _defaults(plain) | given
        if plain is not function and code.co_varnames:  # a method, whose object others have as well
            self._inner[code.co_varnames[0]] = function.__self__  # type: ignore[attr-defined]
        for name, cell in zip(code.co_freevars, plain.__closure__ or (), strict=False):
            try:
                self._inner[name] = cell.cell_contents
            except ValueError:  # not set yet
                self._inner[name] = ABSENT

    def __getitem__(self, name: str) -> Any:
        return self._inner.get(name, self._globals.get(name, ABSENT))

    def let(self, name: str, value: Any) -> None:
        """Set what a local name is."""
        self._inner[name] = value


def _defaults(plain: FunctionType) -> dict[str, Any]:
    """Return the defaults of parameters: all calls share them, unless the parameter is set anew."""
    code = plain.__code__
    names = code.co_varnames[: code.co_argcount]
    found = dict(zip(reversed(names), reversed(plain.__defaults__ or ()), strict=False))
    found |= plain.__kwdefaults__ or {}
    for tree in source_of(plain):
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.pop(node.id, None)
    return found


def source_of(function: FunctionType) -> list[ast.AST]:
    """Return the function's tree; several if it is one of many lambdas of a line; [] if there is none."""
    return _trees(function.__code__)


@functools.lru_cache(64)
def _trees(code: CodeType) -> list[ast.AST]:
    try:
        tree = _parsed("".join(inspect.findsource(code)[0]))
    except (OSError, TypeError, SyntaxError, IndexError):
        return []
    names = code.co_varnames[: code.co_argcount]
    found: list[ast.AST] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Lambda) and code.co_name == "<lambda>":
            same = tuple(a.arg for a in (*node.args.posonlyargs, *node.args.args)) == names
            if same and node.lineno == code.co_firstlineno:
                found.append(node)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = min(part.lineno for part in (node, *node.decorator_list))
            if node.name == code.co_name and first == code.co_firstlineno:
                # What its defaults and decorators are is not looked up when it is called.
                found.append(ast.Module(node.body, []))
    return found


@functools.lru_cache(8)
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


def names_within(
    tree: ast.AST, hidden: frozenset[str] = frozenset()
) -> Iterator[tuple[ast.AST, frozenset[str]]]:
    """Yield all nodes, each with the names that functions and comprehensions inside have for their own."""
    yield tree, hidden
    for child in ast.iter_child_nodes(tree):
        own = _own_names(child) if isinstance(child, _INNER) else frozenset()
        yield from names_within(child, hidden | own)


def _own_names(inner: ast.AST) -> frozenset[str]:
    own: set[str] = set()
    others: set[str] = set()
    for node in ast.walk(inner):
        if isinstance(node, ast.arg):
            own.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.id)
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            others |= set(node.names)
    return frozenset(own - others)


def folder_of(thing: Any) -> Path | None:
    """Return the folder of the file that a function or module is in."""
    code = getattr(thing, "__code__", None)
    path = code.co_filename if code else getattr(thing, "__file__", None)
    return Path(path).parent if path else None
