"""What there is to do in a checkout: everything `tuplemill` does, and the developers' tasks."""

import os
import shutil
import sys
import webbrowser
from importlib.util import find_spec
from pathlib import Path

from invoke import Context, Exit, task

from jobs.starting import begun, quiet

quiet()
try:
    from jobs.cli import *  # noqa: F403  # every command is a task here
finally:
    begun()

ROOT = Path(__file__).parent
BENCHMARKS = (
    "space",
    "store",
    "durable",
    "dispatch",
    "word_count",
    "stragglers",
    "jobs",
    "mapreduce",
    "styles",
)
PYROS = ("5.15", "5.16", "5.17")
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")


@task(
    help={
        "faults": "the long fault and fuzz runs as well",
        "all-pythons": f"with each of Python {', '.join(PYTHONS)} that this machine has",
        "all-pyros": f"only the stock proxies' tests, with each of Pyro5 {', '.join(PYROS)}",
        "only": "what pytest -k takes",
    }
)
def test(
    c: Context, faults: bool = False, all_pythons: bool = False, all_pyros: bool = False,
    only: str = "",
) -> None:  # fmt: skip
    """Run the tests."""
    if all_pyros:
        _test_with_pyros(c)
        return
    words = ["-m", "pytest", "-q", "-n", "3", "--dist", "worksteal"]
    words += [] if faults else ["-m", "'not faults'"]
    words += ["-k", f"'{only}'"] if only else []
    pythons = _environments(c) if all_pythons else [sys.executable]
    with c.cd(str(ROOT)):
        for python in pythons:
            c.run(" ".join([python, *words]), pty=False)


def _test_with_pyros(c: Context) -> None:
    """Run the stock proxies' tests on each supported Pyro5: server and proxies are of that version."""
    for version in PYROS:
        folder = ROOT / ".venvs" / f"pyro-{version}"
        if not folder.exists():
            c.run(
                f"{sys.executable} -m pip install -q --no-deps --target {folder} 'Pyro5=={version}'"
            )
        where = {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
        check = f"import Pyro5; assert Pyro5.__version__ == '{version}', Pyro5.__version__"
        with c.cd(str(ROOT)):
            c.run(f'{sys.executable} -c "{check}"', env=where)
            print(f"Pyro5 {version}:")
            c.run(f"{sys.executable} -m pytest -q tests/tuplespace/test_stock_proxy.py", env=where)


@task
def lint(c: Context) -> None:
    """Check style, types, and that imports go down only."""
    with c.cd(str(ROOT)):
        for words in (
            "-m ruff check .",
            "-m ruff format --check .",
            "-m mypy",
            "-c 'from importlinter.cli import lint_imports_command as run; run()'",
        ):
            c.run(f"{sys.executable} {words}")


# Invoke knows no argument that is both positional and optional: it is one only when it is there.
@task(
    positional=["name"] if set(BENCHMARKS) & set(sys.argv) else [],
    help={"name": f"which: {', '.join(BENCHMARKS)}; default: all"},
)
def bench(c: Context, name: str | None = None) -> None:
    """Measure against peers in the same run, and print tables."""
    with c.cd(str(ROOT)):
        for each in [name] if name else BENCHMARKS:
            c.run(f"{sys.executable} -m benchmarks.{each}")


@task(help={"open": "show them in a browser"})
def docs(c: Context, open: bool = False) -> None:  # noqa: A002  # the option's name
    """Build the pages of docs/ as a web site, in docs/_build/html."""
    missing = [name for name in ("sphinx", "myst_parser", "furo") if not find_spec(name)]
    if missing:
        raise Exit(f"{' and '.join(missing)} missing: pip install '.[docs]'", code=1)
    with c.cd(str(ROOT)):
        c.run(f"{sys.executable} -m sphinx -q -W --keep-going docs docs/_build/html")
    page = ROOT / "docs" / "_build" / "html" / "index.html"
    print(f"built: {page.relative_to(ROOT)}")
    if open:
        webbrowser.open(page.as_uri())


def _environments(c: Context) -> list[str]:
    """Return a Python of each version there is, in an environment of its own with the tests' needs."""
    found = []
    for version in PYTHONS:
        python = _python(c, version)
        if python is None:
            print(f"no Python {version} here")
            continue
        folder = ROOT / ".venvs" / version
        if not (folder / "bin" / "python").exists():
            c.run(f"{python} -m venv {folder}")
        c.run(f"{folder}/bin/pip install -q -e '{ROOT}[test]'")
        found.append(f"{folder}/bin/python")
    if not found:
        raise Exit("none of these Pythons is here", code=1)
    return found


def _python(c: Context, version: str) -> str | None:
    """Return a Python of this version that starts: on the path, or among pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    candidates = [
        shutil.which(f"python{version}"),
        *sorted(map(str, pyenv.glob(f"versions/{version}.*/bin/python"))),
    ]
    for python in filter(None, candidates):
        if c.run(f"{python} -c pass", warn=True, hide=True).ok:  # a pyenv shim may not start
            return python
    return None
