"""The user's modules: which travel, and what a worker in another place makes of them."""

from __future__ import annotations

import importlib
import json
import os
import pickle
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import msgpack
import pytest

from workers import modules
from workers.bundles import Bundle, ImportedBundles, missing_package_error, unpack_bundle
from workers.errors import InvalidBundleError, ModuleNotShippableError
from workers.modules import collect_modules, is_installed

CHECKOUT = Path(modules.__file__).parents[1]

# Stands in its working directory as "python -m" does; knows tuplemill and nothing of the driver.
WORKER = """
import json, pickle, sys
from pathlib import Path
from workers.modules import Bundle, ImportedBundles, unpack_bundle

imported, answers = ImportedBundles(), []
for packed, pickled in pickle.loads(sys.stdin.buffer.read()):
    bundle = Bundle.from_bytes(packed)
    imported.activate(bundle.digest, unpack_bundle(bundle, Path(sys.argv[1])))
    try:
        answers.append(pickle.loads(pickled)())
    except ModuleNotFoundError as error:
        answers.append(f"no module {error.name}")
print(json.dumps(answers))
"""

Write = Callable[[dict[str, str]], None]
RunOnWorker = Callable[..., list[Any]]


def write_files(folder: Path, files: dict[str, str]) -> None:
    for path, source in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(source)


@pytest.fixture
def put_on_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    before = set(sys.modules)
    yield monkeypatch.syspath_prepend
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def project(tmp_path: Path, put_on_path: Callable[[Path], None]) -> Write:
    """Return what writes modules into a project from which the driver imports."""
    folder = tmp_path / "project"
    folder.mkdir()
    put_on_path(folder)
    return lambda files: write_files(folder, files)


@pytest.fixture
def run_on_worker(tmp_path: Path) -> RunOnWorker:
    """Return what runs (bundle, pickled function) pairs, in turn, in one process elsewhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def run(*tasks: tuple[Bundle, bytes], cwd: Path = elsewhere) -> list[Any]:
        done = subprocess.run(
            [sys.executable, "-c", WORKER, str(tmp_path / "bundles")],
            input=pickle.dumps([(bundle.to_bytes(), pickled) for bundle, pickled in tasks]),
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            cwd=cwd,
            capture_output=True,
            check=False,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr.decode()
        answers = json.loads(done.stdout)
        assert isinstance(answers, list)
        return answers

    return run


def pickled_in_main(source: str) -> bytes:
    """Pickle ``f`` of a script as cloudpickle does it: by value."""
    script: dict[str, Any] = {"__name__": "__main__"}
    exec(source, script)
    return bytes(cloudpickle.dumps(script["f"]))


def paths(bundle: Bundle) -> list[str]:
    return [path for path, _ in bundle.files]


def test_the_modules_of_all_functions_travel_not_those_of_the_first_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("ownmap", "ownreduce"):
        (tmp_path / f"{name}.py").write_text("def f(x): return x\n")
    pickled = [cloudpickle.dumps(importlib.import_module(n).f) for n in ("ownmap", "ownreduce")]

    assert paths(collect_modules(b"".join(pickled))) == ["ownmap.py", "ownreduce.py"]


# --- what travels, and runs elsewhere -------------------------------------------------------------


def test_a_function_of_a_module_runs_where_the_module_is_not(
    project: Write, run_on_worker: RunOnWorker
) -> None:
    project({"helper.py": "def f(): return 'from helper'"})
    pickled = pickled_in_main("from helper import f")

    bundle = collect_modules(pickled)

    assert paths(bundle) == ["helper.py"]
    assert run_on_worker((bundle, pickled)) == ["from helper"]


def test_without_its_bundle_the_same_function_fails_there(
    project: Write, run_on_worker: RunOnWorker
) -> None:
    project({"helper.py": "def f(): return 'from helper'"})
    pickled = pickled_in_main("from helper import f")

    assert run_on_worker((Bundle(), pickled)) == ["no module helper"]


@pytest.mark.parametrize(
    "script",
    [
        "import helper\nf = lambda: helper.answer()",
        "from helper import answer\nf = lambda: answer()",
        "import helper as short\nf = lambda: (lambda: short.answer())()",
        "def f():\n    import helper\n    return helper.answer()",
        "def f():\n    from helper import answer as a\n    return a()",
        "f = lambda: __import__('importlib').import_module('helper').answer()",
    ],
)
def test_a_lambda_of_the_script_finds_the_module_it_uses(
    script: str, project: Write, run_on_worker: RunOnWorker
) -> None:
    project({"helper.py": "def answer(): return 42"})
    pickled = pickled_in_main(script)

    assert run_on_worker((collect_modules(pickled), pickled)) == [42]


PACKAGE = {
    "pkg/__init__.py": "from .names import NAME",
    "pkg/names.py": "NAME = 'pkg'",
    "pkg/unused.py": "1 / 0",
    "pkg/deep/__init__.py": "",
    "pkg/deep/leaf.py": (
        "from . import twig\n"
        "from .. import NAME\n"
        "from ..names import NAME as again\n"
        "def f():\n"
        "    from .late import LATE\n"
        "    return [NAME, again, twig.TWIG, LATE]\n"
    ),
    "pkg/deep/twig.py": "TWIG = 'twig'",
    "pkg/deep/late.py": "LATE = 'late'",
}
PACKAGE_NEEDS = sorted(set(PACKAGE) - {"pkg/unused.py"})


@pytest.mark.parametrize(
    "script",
    [
        "from pkg.deep.leaf import f",
        "import pkg.deep.leaf\nf = lambda: pkg.deep.leaf.f()",
        "def f():\n    import pkg.deep.leaf\n    return pkg.deep.leaf.f()",
        "def f():\n    from pkg.deep import leaf\n    return leaf.f()",
        "__package__ = 'pkg'\ndef f():\n    from .deep import leaf\n    return leaf.f()",
    ],
)
def test_a_package_travels_with_what_it_needs_and_no_more(
    script: str, project: Write, run_on_worker: RunOnWorker
) -> None:
    project(PACKAGE)
    pickled = pickled_in_main(script)

    bundle = collect_modules(pickled)

    assert paths(bundle) == PACKAGE_NEEDS
    assert run_on_worker((bundle, pickled)) == [["pkg", "pkg", "twig", "late"]]


def test_imports_are_followed_through_modules_that_import_each_other(
    project: Write, run_on_worker: RunOnWorker
) -> None:
    project(
        {
            "first.py": "import second\ndef f(): return second.g()",
            "second.py": "def g():\n    from third import h\n    return h()",
            "third.py": "import first\nimport os.path, json\ndef h(): return first.__name__",
        }
    )
    pickled = pickled_in_main("from first import f")

    bundle = collect_modules(pickled)

    assert paths(bundle) == ["first.py", "second.py", "third.py"]
    assert run_on_worker((bundle, pickled)) == ["first"]


@pytest.mark.parametrize(
    "script",
    [
        "from space.inner.leaf import f",
        "def f():\n    from space.inner import leaf\n    return leaf.f()",
    ],
)
def test_a_namespace_package_needs_no_init_file(
    script: str, project: Write, run_on_worker: RunOnWorker
) -> None:
    project(
        {
            "space/inner/leaf.py": "from space.other.twig import TWIG\ndef f(): return TWIG",
            "space/other/twig.py": "TWIG = 'twig'",
        }
    )
    pickled = pickled_in_main(script)

    bundle = collect_modules(pickled)

    assert paths(bundle) == ["space/inner/leaf.py", "space/other/twig.py"]
    assert run_on_worker((bundle, pickled)) == ["twig"]


def test_collecting_imports_nothing(project: Write) -> None:
    project({"pkg/__init__.py": "1 / 0", "pkg/sub.py": "import lone", "lone.py": "1 / 0"})
    pickled = pickled_in_main("def f():\n    import pkg.sub")
    before = set(sys.modules)

    bundle = collect_modules(pickled)

    assert paths(bundle) == ["lone.py", "pkg/__init__.py", "pkg/sub.py"]
    assert set(sys.modules) == before


def test_modules_that_nothing_names_can_be_added(project: Write) -> None:
    project({**PACKAGE, "plugin.py": "import base", "base.py": ""})
    pickled = pickled_in_main("f = lambda: 1")

    assert paths(collect_modules(pickled)) == []
    assert paths(collect_modules(pickled, ["plugin"])) == ["base.py", "plugin.py"]
    assert paths(collect_modules(pickled, ["pkg"])) == sorted(PACKAGE)
    assert paths(collect_modules(pickled, ["pkg.deep.twig"])) == [
        "pkg/__init__.py",
        "pkg/deep/__init__.py",
        "pkg/deep/twig.py",
        "pkg/names.py",
    ]
    with pytest.raises(ModuleNotShippableError, match=r"'nowhere'.*not found"):
        collect_modules(pickled, ["nowhere"])


def test_a_module_object_can_be_added(project: Write) -> None:
    project({"plugin.py": ""})
    plugin = __import__("plugin")

    assert paths(collect_modules(b"N.", [plugin, json])) == ["plugin.py"]


def test_source_that_does_not_parse_travels_as_it_is(project: Write) -> None:
    project({"broken.py": "def f(:", "odd.py": "'\\d'\nimport broken"})

    assert paths(collect_modules(b"N.", ["odd"])) == ["broken.py", "odd.py"]


# --- what stays -----------------------------------------------------------------------------------


def test_the_standard_library_and_site_packages_stay_at_home() -> None:
    script = (
        "import os.path, json, zlib, xml.etree.ElementTree as tree, msgpack, workers.modules\n"
        "from _pytest.pathlib import bestrelpath\n"
        "def f():\n"
        "    import concurrent.futures.thread, unittest.mock, pytest\n"
        "    return [os, json, zlib, tree, msgpack, workers, bestrelpath]\n"
    )

    assert collect_modules(pickled_in_main(script)) == Bundle()
    assert Bundle().digest == ""


STANDARD = "sys os os.path zlib json.decoder encodings unittest.mock collections.abc sqlite3"
PACKAGES = "pytest _pytest.pathlib msgpack Pyro5.api"
OUR_OWN = "workers workers.modules tuplespace mapreduce jobs"


@pytest.mark.parametrize("name", f"{STANDARD} {PACKAGES} {OUR_OWN}".split())
def test_a_module_that_every_worker_has_is_installed(name: str) -> None:
    assert is_installed(name)


def test_every_module_of_a_fresh_interpreter_is_installed() -> None:
    script = (
        "import sys, sysconfig, asyncio, decimal, sqlite3, multiprocessing.pool, cloudpickle\n"
        "import workers.modules as m\n"
        "known = {n for n, m in list(sys.modules.items()) if getattr(m, '__spec__', None)}\n"
        "print([n for n in known - {'__main__'} if not m.is_installed(n)])"
    )
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT)}

    said = subprocess.check_output([sys.executable, "-c", script], env=env, timeout=30)

    assert said == b"[]\n"


def test_main_and_what_does_not_exist_are_not_installed(project: Write) -> None:
    project({"helper.py": ""})

    assert not is_installed("__main__")
    assert not is_installed(sys.modules["__main__"])
    assert not is_installed("helper")
    assert not is_installed(__import__("helper"))
    assert not is_installed(ModuleType("made_by_hand"))
    assert not is_installed("there is no such module")
    assert not is_installed("")


@pytest.mark.parametrize("folder", ["site-packages-like", "site-packages", "jobs", "workers"])
def test_a_project_is_local_wherever_it_lies(
    folder: str, tmp_path: Path, put_on_path: Callable[[Path], None]
) -> None:
    write_files(tmp_path / folder / "project", {"helper.py": "def f(): pass"})
    put_on_path(tmp_path / folder / "project")

    assert paths(collect_modules(pickled_in_main("from helper import f"))) == ["helper.py"]


def test_a_project_beside_or_beneath_the_standard_library_is_local(
    tmp_path: Path, put_on_path: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "lib"
    monkeypatch.setattr(modules, "_stdlib_folders", lambda: frozenset({library}))
    write_files(library, {"wave.py": ""})
    write_files(tmp_path / "lib-of-mine", {"beside.py": ""})
    write_files(library / "project", {"beneath.py": ""})
    for folder in (library, tmp_path / "lib-of-mine", library / "project"):
        put_on_path(folder)

    assert not is_installed("beside")
    assert not is_installed("beneath")
    assert is_installed("wave")


@pytest.mark.parametrize("through_a_link", [False, True])
def test_a_venv_inside_the_project_is_installed(
    through_a_link: bool, tmp_path: Path, put_on_path: Callable[[Path], None]
) -> None:
    libraries = tmp_path / "project/.venv/lib/python3/site-packages"
    write_files(libraries, {"installed_there/__init__.py": "", "installed_there/part.py": ""})
    write_files(tmp_path / "project", {"helper.py": "import installed_there.part"})
    put_on_path(libraries)
    put_on_path(tmp_path / "project")
    if through_a_link:
        (tmp_path / "link").symlink_to(libraries)
        put_on_path(tmp_path / "link")

    assert is_installed("installed_there.part")
    assert paths(collect_modules(b"N.", ["helper", "installed_there"])) == ["helper.py"]


def test_a_module_without_python_source_is_named_with_who_needs_it(
    project: Write, tmp_path: Path, put_on_path: Callable[[Path], None]
) -> None:
    project({"fast" + EXTENSION_SUFFIXES[0]: "", "helper.py": "import fast\nimport zipped"})
    with pytest.raises(ModuleNotShippableError, match=r"'fast'.*\.so.*functions") as caught:
        collect_modules(pickled_in_main("def f():\n    import fast"))
    assert caught.value.name == "fast"

    project({"helper.py": "import zipped"})
    with zipfile.ZipFile(tmp_path / "local.zip", "w") as archive:
        archive.writestr("zipped.py", "")
    put_on_path(tmp_path / "local.zip")
    with pytest.raises(ModuleNotShippableError, match=r"'zipped'.*local\.zip.*helper"):
        collect_modules(pickled_in_main("def f():\n    import helper"))


def test_errors_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(ModuleNotShippableError("fast", "it is compiled")))

    assert (error.name, error.reason) == ("fast", "it is compiled")
    assert "'fast' cannot travel to the workers: it is compiled" in str(error)
    assert str(pickle.loads(pickle.dumps(InvalidBundleError("odd")))) == "odd"


# --- bundles --------------------------------------------------------------------------------------


def test_a_bundle_is_named_by_its_content() -> None:
    a, b = ("a.py", b"1"), ("b.py", b"2")

    assert Bundle((a, b)) == Bundle((b, a)) == Bundle.from_bytes(Bundle((b, a)).to_bytes())
    assert len(Bundle((a, b)).digest) == 32
    assert len({Bundle((a,)).digest, Bundle((b,)).digest, Bundle((a, b)).digest}) == 3
    assert Bundle.from_bytes(Bundle().to_bytes()) == Bundle()


@pytest.mark.parametrize(
    "files",
    [
        [["/etc/evil.py", b""]],
        [["../evil.py", b""]],
        [["pkg/../../evil.py", b""]],
        [["pkg/./evil.py", b""]],
        [["pkg//evil.py", b""]],
        [["pkg\\evil.py", b""]],
        [["C:/evil.py", b""]],
        [["~/evil.py", b""]],
        [["evil.py\0.txt", b""]],
        [["evil.so", b""]],
        [["evil.pth", b""]],
        [[".py", b""]],
        [["", b""]],
        [["twice.py", b"1"], ["twice.py", b"2"]],
        [["text.py", "text"]],
        [[b"bytes.py", b""]],
        [["alone.py"]],
        [[["list.py"], b""]],
        ["ab"],
        {"ab": b""},
        7,
        None,
    ],
)
def test_hostile_content_is_refused(files: object) -> None:
    with pytest.raises(InvalidBundleError):
        Bundle.from_bytes(msgpack.packb(files))


@pytest.mark.parametrize(
    "packed", [b"", b"\xc1", b"\x91", b"\x90\x90", b"\xdd\xff\xff\xff\xff", b"\x91" * 5000]
)
def test_bytes_that_are_no_bundle_are_refused(packed: bytes) -> None:
    with pytest.raises(InvalidBundleError):
        Bundle.from_bytes(packed)


def test_many_may_unpack_one_bundle_at_once(tmp_path: Path) -> None:
    bundle = Bundle(tuple((f"pkg/part{n}.py", b"x" * n) for n in range(50)))
    start = threading.Barrier(8)

    def unpack(_: int) -> Path:
        start.wait(10)
        return unpack_bundle(bundle, tmp_path / "root")

    with ThreadPoolExecutor(8) as pool:
        folders = set(pool.map(unpack, range(8)))

    assert folders == {tmp_path / "root" / bundle.digest}
    assert list((tmp_path / "root").iterdir()) == list(folders)
    unpacked = {f.name: f.read_bytes() for f in (folders.pop() / "pkg").iterdir()}
    assert unpacked == {path.removeprefix("pkg/"): source for path, source in bundle.files}


def test_a_bundle_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    bundle = Bundle((("a.py", b""), ("n" * 300 + ".py", b"")))

    with pytest.raises(OSError, match="too long"):
        unpack_bundle(bundle, tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_an_unpacked_bundle_is_left_alone(tmp_path: Path) -> None:
    bundle = Bundle((("helper.py", b""),))
    inode = unpack_bundle(bundle, tmp_path).stat().st_ino

    assert unpack_bundle(bundle, tmp_path).stat().st_ino == inode


# --- the worker's imports -------------------------------------------------------------------------


def test_an_edit_between_two_jobs_reaches_the_second_and_both_may_alternate(
    project: Write, run_on_worker: RunOnWorker
) -> None:
    helper = "from part import PART\ncalls = []\ndef f():\n    calls.append(0)\n"
    project({"helper.py": helper + "    return ['old', PART, len(calls)]", "part.py": "PART = 1"})
    pickled = pickled_in_main("from helper import f")
    old = collect_modules(pickled)

    project({"helper.py": helper + "    return ['new', PART, len(calls)]", "part.py": "PART = 2"})
    new = collect_modules(pickled)

    assert old.digest != new.digest
    assert run_on_worker(
        *[(old, pickled), (new, pickled), (new, pickled), (old, pickled)],
        *[(Bundle(), pickled), (new, pickled), (old, pickled)],
    ) == [
        *[["old", 1, 1], ["new", 2, 1], ["new", 2, 2], ["old", 1, 2]],
        *["no module helper", ["new", 2, 3], ["old", 1, 3]],
    ]


@pytest.mark.parametrize(
    "script",
    ["def f():\n    import helper\n    return helper.A", "import helper\nf = lambda: helper.A"],
)
def test_imports_at_run_time_find_the_version_of_their_job(
    script: str, project: Write, run_on_worker: RunOnWorker
) -> None:
    project({"helper.py": "A = 'old'"})
    pickled = pickled_in_main(script)
    old = collect_modules(pickled)
    project({"helper.py": "A = 'new'"})
    new = collect_modules(pickled)

    tasks = [(old, pickled), (new, pickled), (old, pickled), (new, pickled)]
    assert run_on_worker(*tasks) == ["old", "new", "old", "new"]


def test_a_module_of_the_workers_own_folder_does_not_win(
    project: Write, run_on_worker: RunOnWorker, tmp_path: Path
) -> None:
    project({"helper.py": "A = 'mine'", "space/leaf.py": "A = 'mine'"})
    write_files(
        tmp_path / "cwd",
        {"helper.py": "A = 'other'", "space/leaf.py": "A = 'other'", "space/own.py": "A = 'own'"},
    )
    script = "def f():\n    import helper\n    from space import leaf, own\n"
    pickled = pickled_in_main(script + "    return [helper.A, leaf.A, own.A]")
    mine = collect_modules(pickled)

    # Also not when the worker imported it before, for a job that brought no modules.
    tasks = [(Bundle(), pickled), (mine, pickled), (Bundle(), pickled), (mine, pickled)]
    assert (
        run_on_worker(*tasks, cwd=tmp_path / "cwd")
        == [
            ["other", "other", "own"],
            ["mine", "mine", "own"],
        ]
        * 2
    )


def test_two_bundles_may_share_a_namespace_package(
    project: Write, run_on_worker: RunOnWorker
) -> None:
    pickled = pickled_in_main("def f():\n    from space.inner import leaf\n    return leaf.A")
    bundles = []
    for version in ("old", "new"):
        project({"space/inner/leaf.py": f"A = {version!r}"})
        bundles.append((collect_modules(pickled), pickled))

    assert run_on_worker(*bundles, *bundles) == ["old", "new", "old", "new"]


def test_leaving_a_bundle_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    folder = unpack_bundle(Bundle((("left_behind.py", b""),)), tmp_path)
    imported = ImportedBundles()
    path, known = list(sys.path), dict(sys.modules)

    imported.activate("d1", folder)
    module = __import__("left_behind")
    assert sys.path[0] == str(folder)
    imported.activate("")
    assert (sys.path, sys.modules) == (path, known)

    imported.activate("d1")
    assert __import__("left_behind") is module
    imported.forget("d1")
    assert (sys.path, sys.modules) == (path, known)


def test_activating_a_bundle_that_is_gone_changes_nothing(tmp_path: Path) -> None:
    path = list(sys.path)

    with pytest.raises(FileNotFoundError, match="gone"):
        ImportedBundles().activate("d1", tmp_path / "gone")

    assert sys.path == path


def test_a_missing_package_is_named_with_its_host_and_a_remedy() -> None:
    with pytest.raises(ModuleNotFoundError) as caught:
        __import__("not_here.at_all")

    text = missing_package_error(caught.value, "node7")

    assert "'not_here'" in text
    assert "'node7'" in text
    assert "install" in text
    assert "modules=['not_here']" in text
