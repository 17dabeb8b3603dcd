"""Which of the user's own modules a job needs.

A pickled function names its modules and brings none of them. What is installed is on the
workers too; the rest travels as source, as one `Bundle` (see `workers.bundles`), which a worker
imports from. Finding a module never imports it: the driver's process is the user's.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import io
import pickletools
import pkgutil
import site
import sys
import sysconfig
import threading
import warnings
from collections.abc import Iterable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from workers.bundles import Bundle, ImportedBundles, missing_package_error, unpack_bundle
from workers.errors import ModuleNotShippableError

# The whole way of a module in one import: its two ends share no code but Bundle.
__all__ = [
    "Bundle",
    "ImportedBundles",
    "collect_modules",
    "is_installed",
    "missing_package_error",
    "unpack_bundle",
]

_OURS = frozenset({"tuplespace", "workers", "mapreduce", "jobs"})
_OUR_FOLDER = Path(__file__).resolve().parents[1]

# cloudpickle sends what a script defines by value; as a module it would run the script again.
_MAIN = frozenset({"__main__", "__mp_main__"})

_PARSE_TRIES = 5
_parsing = threading.Lock()


# --- what is local -------------------------------------------------------------------------------


def is_installed(module: ModuleType | str) -> bool:
    """Tell whether a worker has this module without our sending it.

    True for what is built in, for the standard library, for site-packages and for tuplemill's
    own packages; False for the user's own modules and for ``__main__``.

    Args:
        module: A module, or its name; it need not have been imported.
    """
    name = module if isinstance(module, str) else module.__name__
    spec = _find(name) if isinstance(module, str) else module.__spec__
    return name not in _MAIN and spec is not None and _is_installed(spec)


def _is_installed(spec: ModuleSpec) -> bool:
    if spec.origin in ("built-in", "frozen"):
        return True
    if spec.origin is not None:
        places = [Path(spec.origin)]
        if spec.submodule_search_locations is not None:
            places = [places[0].parent]
    else:
        places = [Path(folder) for folder in spec.submodule_search_locations or ()]
    if not places:  # made at run time, as six.moves is: at home where its parent is
        parent = spec.name.rpartition(".")[0]
        return bool(parent) and is_installed(parent)
    return all(_is_library_module(spec.name, place) for place in places)


def _is_library_module(name: str, place: Path) -> bool:
    """Tell whether the module or package folder at `place` comes from a library folder.

    What counts is the folder that the import began in: a project may well lie beneath a folder
    of the standard library, or a library (a venv) beneath the folder of a project.
    """
    above = place.parents
    root = above[min(name.count("."), len(above) - 1)]
    is_ours = name.partition(".")[0] in _OURS and root.resolve() == _OUR_FOLDER
    return is_ours or _is_library_folder(root)


def _is_library_folder(folder: Path) -> bool:
    installed = _site_folders(tuple(map(str, sys.path)))
    return any(
        path in _stdlib_folders() or not installed.isdisjoint((path, *path.parents))
        for path in (folder, folder.resolve())
    )


@functools.cache
def _stdlib_folders() -> frozenset[Path]:
    folders = [Path(sysconfig.get_path(scheme)) for scheme in ("stdlib", "platstdlib")]
    folders += [folder / "lib-dynload" for folder in folders]
    return frozenset(folders) | {folder.resolve() for folder in folders}


@functools.lru_cache(maxsize=1)
def _site_folders(search_path: tuple[str, ...]) -> frozenset[Path]:
    folders = [Path(sysconfig.get_path(scheme)) for scheme in ("purelib", "platlib")]
    folders += [Path(folder) for folder in (*site.getsitepackages(), site.getusersitepackages())]
    # Also those of another venv that PYTHONPATH names; the name alone would not do, for the
    # project itself may lie beneath a folder that is called so.
    named = (Path(entry) for entry in search_path)
    folders += [folder for folder in named if folder.name in ("site-packages", "dist-packages")]
    return frozenset(folders) | {folder.resolve() for folder in folders}


def _find(name: str) -> ModuleSpec | None:
    """Return where a module comes from, without importing it or its parents."""
    if name in _MAIN or not all(part.isidentifier() for part in name.split(".")):
        return None
    module = sys.modules.get(name)
    if isinstance(module, ModuleType) and module.__spec__ is not None:
        return module.__spec__
    parent, _, _ = name.rpartition(".")
    if not parent:
        try:
            return importlib.util.find_spec(name)
        except (ImportError, ValueError):  # ValueError: in sys.modules, made by hand
            return None
    package = _find(parent)
    folders = package.submodule_search_locations if package else None
    return _find_inside(name, folders) if folders else None


def _find_inside(name: str, folders: Iterable[str]) -> ModuleSpec | None:
    # As PathFinder does, which for a namespace package needs the parents imported.
    portions: list[str] = []
    for folder in folders:
        finder = pkgutil.get_importer(folder)
        spec = finder.find_spec(name) if finder else None
        if spec is not None and spec.loader is not None:
            return spec
        if spec is not None:
            portions += spec.submodule_search_locations or ()
    if not portions:
        return None
    namespace = ModuleSpec(name, None, is_package=True)
    namespace.submodule_search_locations = portions
    return namespace


# --- what a job needs ----------------------------------------------------------------------------


def collect_modules(pickled: bytes, extra: Iterable[str | ModuleType] = ()) -> Bundle:
    """Read the source of the local modules that pickled functions need.

    These are the modules that the pickle names, the modules that their source imports anywhere,
    and the packages around them. What is installed stays at home (see `is_installed`). Source
    comes from the disk as it is now, whatever was imported from it before.

    Args:
        pickled: What cloudpickle made of the functions, one pickle after the other; it is read,
            never loaded.
        extra: Local modules that no import statement names; packages with all they contain.

    Raises:
        ModuleNotShippableError: A module that is needed has no Python source, such as a local
            extension or one in a zip file, or one of `extra` does not exist.
    """
    importlib.invalidate_caches()  # a module may be younger than the last look into its folder
    collection = _Collection()
    for name in _mentioned_modules(_strings(pickled)):
        collection.add(name, needed_by="the job's functions")
    for module in extra:
        top = module if isinstance(module, str) else module.__name__
        if _find(top) is None:
            raise ModuleNotShippableError(top, "it is not found here")
        for name in _with_submodules(top):
            collection.add(name, needed_by="the job's list of modules")
    return Bundle(tuple(collection.files.items()))


class _Collection:
    """Local modules and, once each, all they import."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self._seen: set[str] = set()

    def add(self, name: str, needed_by: str) -> None:
        pending = [(name, needed_by)]
        while pending:
            name, needed_by = pending.pop()
            if name in self._seen:
                continue
            self._seen.add(name)
            if parent := name.rpartition(".")[0]:
                pending.append((parent, name))
            spec = _find(name)
            if spec is None or _is_installed(spec) or _is_namespace(spec):
                continue
            source = _read_source(name, spec, needed_by)
            is_package = spec.submodule_search_locations is not None
            suffix = "/__init__.py" if is_package else ".py"
            self.files[name.replace(".", "/") + suffix] = source
            package = name if is_package else parent
            pending += ((imported, name) for imported in _imports(source, package))


def _is_namespace(spec: ModuleSpec) -> bool:
    return spec.origin is None and spec.submodule_search_locations is not None


def _read_source(name: str, spec: ModuleSpec, needed_by: str) -> bytes:
    origin = Path(spec.origin or "")
    if origin.suffix == ".py":
        try:
            return origin.read_bytes()
        except OSError as error:
            reason = f"its source {origin} cannot be read (needed by {needed_by})"
            raise ModuleNotShippableError(name, reason) from error
    reason = f"it comes from {spec.origin or spec.loader!r} (needed by {needed_by})"
    raise ModuleNotShippableError(name, reason)


def _parse(source: bytes) -> ast.Module:
    for _ in range(_PARSE_TRIES - 1):
        try:
            return _parse_once(source)
        except SystemError:  # Python 3.11 fails if another thread parses at the same time
            continue
    return _parse_once(source)


def _parse_once(source: bytes) -> ast.Module:
    with _parsing, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the user sees them where the module is imported
        return ast.parse(source)


@functools.lru_cache(maxsize=1024)  # a program submits many jobs
def _imports(source: bytes, package: str) -> tuple[str, ...]:
    """Return all that import statements name: modules, and names in them that may be modules."""
    return tuple(_imported(source, package))


def _imported(source: bytes, package: str) -> Iterator[str]:
    try:
        tree = _parse(source)
    except (SyntaxError, ValueError):
        return  # whoever imports it learns of it, in Python's words
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            try:
                base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            except ImportError:  # more dots than packages
                continue
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _strings(pickled: bytes) -> frozenset[str]:
    """Return every string in pickles, one after the other, that may name a module or a part of one.

    This takes in the modules of functions and classes by reference, the modules that a lambda's
    globals hold, and, in the ``co_names`` of its code, what it imports in its body.
    """
    words: set[str] = set()
    pickles = io.BytesIO(pickled)
    while pickles.tell() < len(pickled):
        for opcode, argument, _ in pickletools.genops(pickles):  # ends with its pickle
            if isinstance(argument, str):
                # "module name" of older protocols; the name does no harm
                old = opcode.name in ("GLOBAL", "INST")
                words.update(argument.split(" ") if old else [argument])
    return frozenset(words)


def _mentioned_modules(words: frozenset[str]) -> Iterator[str]:
    """Yield the local modules that words name, also in parts as ``from package import module``."""
    local_folders = [entry for entry in map(str, sys.path) if not _is_library_folder(Path(entry))]
    # Listing a few folders is cheaper than asking every finder about every word of a big closure.
    known = _stems(local_folders) | set(sys.modules)
    pending = [word for word in words if word.partition(".")[0] in known]
    while pending:
        name = pending.pop()
        spec = _find(name)
        if spec is None or _is_installed(spec):
            continue
        yield name
        inside = _stems(spec.submodule_search_locations or ())
        pending += (f"{name}.{word}" for word in words if word.partition(".")[0] in inside)


def _stems(folders: Iterable[str]) -> set[str]:
    names: set[str] = set()
    for folder in folders:
        try:
            names.update(path.name.partition(".")[0] for path in Path(folder).iterdir())
        except OSError:  # a zip file, or gone
            continue
    return names


def _with_submodules(name: str) -> Iterator[str]:
    yield name
    spec = _find(name)
    if spec is not None and not _is_installed(spec):
        for submodule in pkgutil.iter_modules(spec.submodule_search_locations or (), f"{name}."):
            yield from _with_submodules(submodule.name)
