"""What emitting functions share beside what they emit, and so only one process can give them.

A script of the course was written for one process: it may count records in a global variable, or look
at what has been emitted so far. On workers, each process would have a global and an argv of its
own, and the result would be wrong without a word. This is read off the functions' source; of functions that
have none, as those typed at ``python -``, nothing is known.
"""

from __future__ import annotations

import ast
import io
import sys
from collections import deque
from collections.abc import (
    Callable,
    Iterable,
    Iterator,
    MutableMapping,
    MutableSequence,
    MutableSet,
)
from types import FunctionType, MethodType, ModuleType
from typing import Any, Final, NamedTuple

from mapreduce.styles.sources import ABSENT, Scope, folder_of, names_within, source_of

_CONTAINERS: Final = (MutableMapping, MutableSequence, MutableSet, deque)
_CHANGES: Final = frozenset(
    {
        "add", "append", "appendleft", "clear", "difference_update", "discard", "extend",
        "extendleft", "insert", "intersection_update", "move_to_end", "pop", "popitem", "popleft",
        "remove", "reverse", "rotate", "setdefault", "sort", "subtract",
        "symmetric_difference_update", "update",
    }
)  # fmt: skip
#: Functions of the standard library that change their first argument.
_CHANGE_IT: Final = frozenset(
    {
        "heapify", "heappop", "heappush", "heappushpop", "heapreplace", "insort", "insort_left",
        "insort_right", "shuffle",
    }
)  # fmt: skip


class _Looked(NamedTuple):
    """A function to be looked at, and what its parameters are known to be."""

    function: Callable[..., Any]
    given: dict[str, Any]


def shared(
    functions: list[Callable[..., Any]], kind: type, names: frozenset[str], theirs: Iterable[Any] = ()
) -> str:  # fmt: skip
    """Return what is shared, as a clause; "" if nothing is.

    Args:
        functions: What to look at; functions beside them that they call are looked at too.
        kind: A class whose objects' attributes are shared. names: Those attributes.
        theirs: Objects that are shared, by whatever name they are called.
    """
    known_ids = {id(value) for value in theirs if value is not None}
    waiting, seen = [_Looked(function, {}) for function in functions], set()
    while waiting:
        function, given = waiting.pop(0)
        function, given = _plainly(function, given)
        plain = getattr(function, "__func__", function)
        if not isinstance(plain, FunctionType):
            continue
        known = (plain.__code__, *sorted((name, id(value)) for name, value in given.items()))
        if known in seen:
            continue
        seen.add(known)
        scope = Scope(function, plain, given)
        for tree in source_of(plain):
            nodes = list(names_within(tree))
            for name, value in _aliases(nodes, scope):
                scope.let(name, value)
            for clause in (*_uses(nodes, scope, kind, names, known_ids), *_changes(nodes, scope)):
                return f"{plain.__name__}() {clause}"
            waiting += _called(nodes, scope)
    return ""


def _plainly(
    function: Callable[..., Any], given: dict[str, Any]
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return the function that runs, and what is known of its parameters."""
    arguments = getattr(function, "args", None), getattr(function, "keywords", None)
    inner = getattr(function, "func", None)
    if callable(inner) and type(arguments[0]) is tuple:  # a functools.partial
        return inner, _bound(inner, list(arguments[0])) | (arguments[1] or {})
    if not isinstance(function, (FunctionType, MethodType, type)):
        call = getattr(type(function), "__call__", None)  # noqa: B004  # an object that is called
        if isinstance(call, FunctionType):
            return MethodType(call, function), given
    return function, given


def _bound(function: Any, values: list[Any]) -> dict[str, Any]:
    """Return what the parameters are of a function that is called with these, if they are shared."""
    plain = getattr(function, "__func__", function)
    code = getattr(plain, "__code__", None)
    names = code.co_varnames[plain is not function : code.co_argcount] if code else ()
    pairs = zip(names, values, strict=False)
    return {name: value for name, value in pairs if isinstance(value, _CONTAINERS)}


_Nodes = list[tuple[ast.AST, frozenset[str]]]


def _aliases(nodes: _Nodes, scope: Scope) -> Iterator[tuple[str, Any]]:
    """Yield local names that are set once, to a container which is not theirs alone."""
    stored = [n.id for n, _ in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    for node, hidden in nodes:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
            if isinstance(target, ast.Name) and stored.count(target.id) == 1:
                value = _value(node.value, scope, hidden)
                if scope[target.id] is ABSENT and isinstance(value, _CONTAINERS):
                    yield target.id, value


def _uses(
    nodes: _Nodes, scope: Scope, kind: type, names: frozenset[str], theirs: set[int]
) -> Iterator[str]:  # fmt: skip
    for node, hidden in nodes:
        if isinstance(node, ast.Name):
            value = _value(node, scope, hidden)
            if id(value) in theirs:
                yield f"uses {node.id}"
            elif isinstance(value, io.IOBase):
                if value not in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
                    yield f"uses the open file {node.id}"
            elif isinstance(value, Iterator):
                yield f"uses up {node.id}"
        elif isinstance(node, ast.Attribute):
            value = _value(node.value, scope, hidden)
            whose = ast.unparse(node.value)
            imported = whose == "sys" and value is ABSENT  # in the function itself
            if (node.attr in names and isinstance(value, kind)) or (
                node.attr == "argv" and (value is sys or imported)
            ):
                yield f"uses {whose}.{node.attr}"


def _changes(nodes: _Nodes, scope: Scope) -> Iterator[str]:
    stored = {n.id for n, _ in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    for node, hidden in nodes:
        if isinstance(node, ast.Global):
            yield from (f"sets {name}" for name in node.names if name in stored)
        elif isinstance(node, ast.Nonlocal):  # of a function around all of it
            yield from (f"sets {name}" for name in node.names if name in stored & scope.outer)
        elif isinstance(node, ast.Call):
            changed: ast.expr | None = None
            if isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGES:
                changed = node.func.value
            elif _last(node.func) in _CHANGE_IT and node.args:
                changed = node.args[0]
            if changed is not None and _is_shared(changed, scope, hidden):
                yield f"changes {_root(changed)}"
        elif isinstance(node, (ast.Subscript, ast.Attribute)) and type(node.ctx) is not ast.Load:
            root = _root(node)
            if root not in hidden and not _own(scope[root], scope):
                yield f"changes {root}"


def _own(value: Any, scope: Scope) -> bool:
    """Whether what is changed in it matters to its process only, as in a library's settings."""
    return value is ABSENT or (
        isinstance(value, ModuleType) and folder_of(value) != scope.folder
    )  # fmt: skip


def _is_shared(node: ast.expr, scope: Scope, hidden: frozenset[str]) -> bool:
    """Whether an expression is a container which others see, or a part of one."""
    if _root(node) in hidden or (_root(node) and _own(scope[_root(node)], scope)):
        return False
    while True:
        if isinstance(_value(node, scope, hidden), _CONTAINERS):
            return True
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
            return False  # a copy
        if not isinstance(node, (ast.Subscript, ast.Attribute)):
            return False
        node = node.value


def _value(node: ast.expr, scope: Scope, hidden: frozenset[str]) -> Any:
    """Return what ``name.part["key"]`` is, as far as that can be had without running anything."""
    if isinstance(node, ast.Name):
        return ABSENT if node.id in hidden else scope[node.id]
    if isinstance(node, ast.Attribute):
        whose = _value(node.value, scope, hidden)
        for owner in (whose, *getattr(type(whose), "__mro__", ()), *getattr(whose, "__mro__", ())):
            if node.attr in getattr(owner, "__dict__", {}):
                return vars(owner)[node.attr]
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        whose = _value(node.value, scope, hidden)
        try:
            return whose[node.slice.value] if type(whose) in (dict, list, tuple) else ABSENT
        except (LookupError, TypeError):
            return ABSENT
    return ABSENT


def _root(node: ast.expr) -> str:
    """Return the name that an expression as ``name[1].part`` begins with, or ""."""
    while isinstance(node, (ast.Subscript, ast.Attribute)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else _root(node)


def _called(nodes: _Nodes, scope: Scope) -> Iterator[_Looked]:
    """Yield the functions that are named, of the script and the modules beside it."""
    arguments = {
        id(node.func): [_value(value, scope, hidden) for value in node.args]
        for node, hidden in nodes if isinstance(node, ast.Call)
    }  # fmt: skip
    for node, hidden in nodes:
        found: Any = ABSENT
        if isinstance(node, (ast.Name, ast.Attribute)):
            found = _value(node, scope, hidden)
        if isinstance(node, ast.Attribute) and isinstance(found, (FunctionType, classmethod)):
            whose = _value(node.value, scope, hidden)
            if isinstance(found, classmethod):
                found = MethodType(found.__func__, whose)
            elif not isinstance(whose, (ModuleType, type)) and node.attr not in getattr(
                whose, "__dict__", ()
            ):
                found = MethodType(found, whose)
        found = getattr(found, "__func__", found) if isinstance(found, staticmethod) else found
        plain = getattr(found, "__func__", found)
        if isinstance(plain, FunctionType) and folder_of(plain) == scope.folder:
            yield _Looked(found, _bound(found, arguments.get(id(node), [])))
