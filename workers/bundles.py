"""Bundles: the user's own modules on their way, and in the worker that imports them.

::

    driver   workers.modules.collect_modules(pickled) -> Bundle -> bytes
    host     bytes -> Bundle -> unpack_bundle() -> ROOT/<digest>/helper.py
    worker   ImportedBundles.activate(digest, folder), then unpickle and run
"""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import msgpack

from workers.errors import InvalidBundleError
from workers.folders import use


@dataclass(frozen=True)
class Bundle:
    """The source of some modules, and the hash of its content.

    Attributes:
        files: Relative posix paths and sources, sorted by path.
        digest: 32 hex characters that name this content; empty for an empty bundle.

    Raises:
        InvalidBundleError: A path is not that of an importable module, or stands there twice.

    Examples:
        >>> Bundle((("helper.py", b"x = 1"),)) == Bundle((("helper.py", b"x = 1"),))
        True
        >>> Bundle().digest
        ''
    """

    files: tuple[tuple[str, bytes], ...] = ()
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        if odd := [path for path, _ in self.files if not _is_module_path(path)]:
            msg = f"not the path of a module: {odd[0]!r}"
            raise InvalidBundleError(msg)
        if len(dict(self.files)) < len(self.files):
            raise InvalidBundleError("a path stands in the bundle twice")
        object.__setattr__(self, "files", tuple(sorted(self.files)))
        content = hashlib.sha256(self.to_bytes()).hexdigest()[:32]
        object.__setattr__(self, "digest", content if self.files else "")

    def to_bytes(self) -> bytes:
        """Return the bundle as bytes; equal bundles give equal bytes."""
        return bytes(msgpack.packb(self.files))

    @classmethod
    def from_bytes(cls, packed: bytes) -> Bundle:
        """Return the bundle that `to_bytes` packed.

        Raises:
            InvalidBundleError: It did not pack this, or a path in it leads out of its folder.
        """
        try:
            files = tuple((path, source) for path, source in msgpack.unpackb(packed))
        except (ValueError, TypeError) as error:
            raise InvalidBundleError("not the bytes of a bundle") from error
        if not all(isinstance(path, str) and isinstance(source, bytes) for path, source in files):
            raise InvalidBundleError("a bundle holds pairs of path and source only")
        return cls(files)


def _is_module_path(path: str) -> bool:
    # Identifiers leave no room for '..', for roots and drives, nor for what a shell would expand.
    stem, dot_py = path[:-3], path[-3:]
    return dot_py == ".py" and all(part.isidentifier() for part in stem.split("/"))


def unpack_bundle(bundle: Bundle, root: Path) -> Path:
    """Write a bundle's files to ``root/<digest>`` and return that folder.

    Appears whole or not at all; of several processes that unpack the same bundle, one wins and
    all return the same folder. A folder that is there already is left alone, but for its time of
    change: it says when somebody has used it last.
    """
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = root / bundle.digest
    if (mark := use(folder)) is not None:
        os.close(mark)
        return folder
    staging = Path(tempfile.mkdtemp(prefix=f".{bundle.digest}-", dir=root))
    try:
        for path, source in bundle.files:
            target = staging / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source)
        staging.rename(folder)
    except OSError:
        if not folder.is_dir():  # else another process was first
            raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder


@dataclass
class _Loaded:
    """One bundle as this process knows it: where it is, what it defines, what was imported.

    Attributes:
        mark: Keeps the folder from being deleted while it is open, for more may be imported.
    """

    folder: str
    names: frozenset[str]
    mark: int | None = None
    modules: dict[str, ModuleType] = field(default_factory=dict)


class ImportedBundles:
    """The bundles of one worker process, of which at most one is active.

    Imports come from the active bundle first. Each bundle keeps the modules imported from it, so
    jobs with different versions of one module may alternate in one process and each finds its
    own, with its state. What a bundle shadows comes back when it leaves. Not thread-safe, as
    ``sys.modules`` is one for all threads: activate between two tasks, and for a whole task.
    """

    def __init__(self) -> None:
        self._bundles: dict[str, _Loaded] = {}
        self._shadowed: dict[str, ModuleType] = {}
        self._active = ""

    def activate(self, digest: str, folder: Path | None = None) -> None:
        """Let imports come from this bundle and from no other; free if it is active already.

        Args:
            digest: Which bundle; empty for none.
            folder: Where `unpack_bundle` put it; not needed again once it was activated here.

        Raises:
            FileNotFoundError: There is no bundle in this folder; nothing has changed.
        """
        if digest == self._active:
            return
        if digest and digest not in self._bundles:
            self._bundles[digest] = _look_into(folder)
        if self._active:
            self._leave(self._bundles[self._active])
        self._active = digest
        if digest:
            self._enter(self._bundles[digest])
        importlib.invalidate_caches()

    def forget(self, digest: str) -> None:
        """Free the modules of a bundle whose job is over; it may be activated anew."""
        if digest == self._active:
            self.activate("")
        bundle = self._bundles.pop(digest, None)
        if bundle is not None and bundle.mark is not None:
            os.close(bundle.mark)

    def _enter(self, bundle: _Loaded) -> None:
        self._shadowed = _withdraw(bundle)
        sys.path.insert(0, bundle.folder)
        _reinstate(bundle.modules)

    def _leave(self, bundle: _Loaded) -> None:
        bundle.modules = _withdraw(bundle)
        if bundle.folder in sys.path:  # user code may have been at it
            sys.path.remove(bundle.folder)
        _reinstate(self._shadowed)


def _look_into(folder: Path | None) -> _Loaded:
    files = list(folder.rglob("*.py")) if folder is not None else []
    if folder is None or not files:
        msg = f"no bundle of modules in {folder}"
        raise FileNotFoundError(msg)
    modules = (file.relative_to(folder).with_suffix("") for file in files)
    names = (path.parent if path.name == "__init__" else path for path in modules)
    # Absolute, for user code may change the working directory.
    return _Loaded(
        str(folder.absolute()), frozenset(".".join(name.parts) for name in names), use(folder)
    )


def _withdraw(bundle: _Loaded) -> dict[str, ModuleType]:
    """Take out of ``sys.modules`` all that stands under a bundle's names, and return it."""
    ours = {name: sys.modules[name] for name in list(sys.modules) if _belongs(name, bundle)}
    for name in ours:
        del sys.modules[name]
    for name, module in ours.items():
        # A namespace package that others share stays; "from package import name" looks at its
        # attributes first and would find the module there.
        parent, _, child = name.rpartition(".")
        if _attributes(parent).get(child) is module:
            delattr(sys.modules[parent], child)
    return ours


def _belongs(name: str, bundle: _Loaded) -> bool:
    parts = name.split(".")
    if any(".".join(parts[: end + 1]) in bundle.names for end in range(len(parts))):
        return True
    folders = _attributes(name).get("__path__", ())
    inside = bundle.folder + os.sep
    return bool(folders) and all(str(folder).startswith(inside) for folder in folders)


def _attributes(name: str) -> Mapping[str, Any]:
    # Not getattr: lazy modules import more when asked, and sys.modules may hold any object.
    return getattr(sys.modules.get(name), "__dict__", {})


def _reinstate(modules: dict[str, ModuleType]) -> None:
    sys.modules.update(modules)
    for name, module in modules.items():
        parent, _, child = name.rpartition(".")
        if parent in sys.modules and parent not in modules:
            setattr(sys.modules[parent], child, module)


def missing_package_error(exc: ModuleNotFoundError, host: str) -> str:
    """Say which package a host lacks, and what to do about it.

    Examples:
        >>> missing_package_error(ModuleNotFoundError(name="numpy.linalg"), "node7")
        "worker host 'node7' has no module 'numpy.linalg': install the package that provides \
'numpy' in the worker's Python there; if the module is your own, name it in the job: \
modules=['numpy']"
    """
    module = exc.name or str(exc)
    package = module.partition(".")[0]
    return (
        f"worker host {host!r} has no module {module!r}: install the package that provides "
        f"{package!r} in the worker's Python there; if the module is your own, name it in the "
        f"job: modules=[{package!r}]"
    )
