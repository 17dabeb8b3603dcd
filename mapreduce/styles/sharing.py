"""What emitting functions share beside what they emit, and so only one process can give them.

A script of the course was written for one process: it may count records in a global variable, or look
at what has been emitted so far. On workers, each process would have a global and an argv of its
own, and the result would be wrong without a word. This is read off the functions' source; of functions that
have none, as those typed at ``python -``, nothing is known.
"""

from __future__ import annotations

import ast
import inspect
import io
import sys
import textwrap
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping, MutableSequence, MutableSet
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final

_CONTAINERS: Final = (MutableMapping, MutableSequence, MutableSet, deque)
_CHANGES: Final = frozenset(
    {
        "add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem",
        "popleft", "remove", "reverse", "setdefault", "sort", "subtract", "update",
    }
)  # fmt: skip
_ABSENT: Final = object()


def shared(functions: list[Callable[..., Any]], kind: type, names: frozenset[str]) -> str:
    """Return what is shared, as a clause; "" if nothing is.

    Args:
        functions: What to look at; functions beside them that they call are looked at too.
        kind: A class whose objects' attributes are shared. names: Those attributes.
    """
    waiting, seen = list(functions), set()
    while waiting:
        function = waiting.pop(0)
        plain = getattr(function, "__func__", function)
        if not isinstance(plain, FunctionType) or plain.__code__ in seen:
            continue
        seen.add(plain.__code__)
        tree = _tree(plain)
        scope = _Scope(function, plain)
        for clause in _clauses(tree, scope, kind, names):
            return f"{plain.__name__}() {clause}"
        waiting += _called(tree, scope, _folder(plain))
    return ""


class _Scope:
    """What the names mean in a function that are not its own."""

    def __init__(self, function: Callable[..., Any], plain: FunctionType) -> None:
        code = plain.__code__
        self._globals = plain.__globals__
        self._inner: dict[str, Any] = dict.fromkeys(code.co_varnames + code.co_cellvars, _ABSENT)
        if plain is not function:  # a method, whose object others have as well
            self._inner[code.co_varnames[0]] = function.__self__  # type: ignore[attr-defined]
        for name, cell in zip(code.co_freevars, plain.__closure__ or (), strict=False):
            try:
                self._inner[name] = cell.cell_contents
            except ValueError:  # not set yet
                self._inner[name] = _ABSENT

    def __getitem__(self, name: str) -> Any:
        return self._inner.get(name, self._globals.get(name, _ABSENT))


def _tree(function: FunctionType) -> ast.AST:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):  # no source, or a lambda in the midst of something
        return ast.Module([], [])


def _clauses(tree: ast.AST, scope: _Scope, kind: type, names: frozenset[str]) -> Iterator[str]:
    nodes = list(ast.walk(tree))
    stored = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    for node in nodes:
        if isinstance(node, (ast.Global, ast.Nonlocal)):
            yield from (f"sets {name}" for name in node.names if name in stored)
        elif isinstance(node, ast.Name) and isinstance(scope[node.id], io.IOBase):
            yield f"uses the open file {node.id}"
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            value = scope[node.value.id]
            if (node.attr in names and isinstance(value, kind)) or (
                node.attr == "argv" and value is sys
            ):
                yield f"uses {node.value.id}.{node.attr}"
        if isinstance(node, (ast.Subscript, ast.Attribute)) and not isinstance(node.ctx, ast.Load):
            root = _root(node)
            if scope[root] is not _ABSENT:
                yield f"changes {root}"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            root = _root(node.func)
            if node.func.attr in _CHANGES and isinstance(scope[root], _CONTAINERS):
                yield f"changes {root}"


def _root(node: ast.expr) -> str:
    """Return the name that an expression as ``name[1].part`` begins with, or ""."""
    while isinstance(node, (ast.Subscript, ast.Attribute)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _called(tree: ast.AST, scope: _Scope, folder: Path) -> Iterator[Callable[..., Any]]:
    """Yield the functions that are named, of the script and the modules beside it."""
    for node in ast.walk(tree):
        found: Any = None
        if isinstance(node, ast.Name):
            found = scope[node.id]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = scope[node.value.id]
            found = getattr(module, node.attr, None) if isinstance(module, ModuleType) else None
        if isinstance(found, FunctionType) and _folder(found) == folder:
            yield found


def _folder(function: FunctionType) -> Path:
    return Path(function.__code__.co_filename).parent
