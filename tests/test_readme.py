"""README.md promises: its set-up lines, its commands and its snippets are what a newcomer types."""

import ast
import importlib.util
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from invoke import Collection, ParseError
from invoke.parser import Parser

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
OWN_JOB = ROOT / "examples" / "own_job.py"

# What a bare machine with Python and ssh has, and what the set-up lines put beside it.
COMMANDS = {"python3", "pip", "mkdir", "scp", "invoke"}


class Block(NamedTuple):
    """A fenced block: its language and its text without the fences."""

    language: str
    text: str


BLOCKS = [
    Block(*found)
    for found in re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
]
SHELL_LINES = [
    line for block in BLOCKS if block.language == "sh" for line in block.text.splitlines()
]
SNIPPETS = [block.text for block in BLOCKS if block.language == "python"]


def commands(line: str) -> list[list[str]]:
    """Return the words of each command of a shell line joined by &&."""
    words = [[]]
    for word in shlex.split(line):
        if word == "&&":
            words.append([])
        else:
            words[-1].append(word)
    return words


INVOKE_COMMANDS = sorted(
    {
        shlex.join(words[1:])
        for line in SHELL_LINES
        for words in commands(line)
        if Path(words[0]).name == "invoke"
    }
    | {
        words
        for page in (README, CONTRIBUTING)
        for words in re.findall(r"`(?:invoke|tuplemill) ([a-z][^`]*)`", page)
    }
)


def test_readme_has_one_line_that_ends_in_the_demo_and_one_that_ends_in_the_tests() -> None:
    set_up = [block.text for block in BLOCKS if "venv" in block.text]

    assert [text.count("\n") for text in set_up] == [1, 1]
    assert [text.split()[-1] for text in set_up] == ["demo", "test"]


def test_no_fenced_line_before_them_mentions_demo_or_test() -> None:
    mentions = [
        block.text for block in BLOCKS if re.search("demo|test", block.text, flags=re.IGNORECASE)
    ]

    assert mentions[0].endswith("invoke demo\n")
    assert mentions[1].endswith("invoke test\n")


@pytest.mark.parametrize("line", SHELL_LINES)
def test_every_shell_line_uses_only_commands_that_exist(line: str) -> None:
    names = {Path(words[0]).name for words in commands(line)}

    assert names <= COMMANDS


@pytest.mark.parametrize("words", INVOKE_COMMANDS)
def test_every_invoke_command_is_a_task_with_these_options(words: str) -> None:
    spec = importlib.util.spec_from_file_location("tasks", ROOT / "tasks.py")
    tasks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tasks)
    parser = Parser(Collection.from_module(tasks).to_contexts())

    words = re.sub(r"^(emit \S+) \S+", r"\1", words)  # its data is positional only if it is there
    try:
        parsed = parser.parse_argv(shlex.split(words))
    except ParseError as error:
        pytest.fail(f"`invoke {words}`: {error}")

    assert not parsed.unparsed


def test_readme_shows_the_own_job_example_as_it_is() -> None:
    example = OWN_JOB.read_text(encoding="utf-8")

    assert example in SNIPPETS
    assert len(example.splitlines()) == 20


def test_the_own_job_example_counts_imports_as_a_plain_loop_does(tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    for path in Path(sysconfig.get_path("stdlib")).glob("*.py"):
        for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
            counts.update(re.findall(r"^\s*(?:import|from) (\w+)", line))
    top = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:10]

    assert run(OWN_JOB, cwd=tmp_path) == [f"{count:5} {name}" for name, count in top]


@pytest.fixture
def space_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A space behind a daemon of its own, with a key of its own, that snippets find by default."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    uri = f"PYRO:tuplespace@localhost:{port}"
    monkeypatch.setenv("TUPLESPACE_KEY_FILE", str(tmp_path / "cluster.key"))
    monkeypatch.setenv("TUPLESPACE_URI", uri)
    command = [sys.executable, "-m", "tuplespace", "--port", str(port)]
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        try:
            for line in server.stdout:
                if "PYRO:" in line:
                    break
            else:
                pytest.fail("the space ended before it said where it is")
            yield uri
        finally:
            server.terminate()


@pytest.mark.parametrize(
    ("opening", "printed"),
    [
        ("from tuplespace import ANY, connect\n", "('greeting', 1, 'hello')"),
        ("import Pyro5.api\n", "('greeting', 2, 'hello from a stock proxy')"),
    ],
)
def test_the_tuple_space_snippets_take_what_they_wrote(
    opening: str, printed: str, space_uri: str, tmp_path: Path
) -> None:
    (snippet,) = (text for text in SNIPPETS if text.startswith(opening))
    script = tmp_path / "snippet.py"
    script.write_text(snippet.replace("PYRO:tuplespace@localhost:9217", space_uri))

    (line,) = run(script, cwd=tmp_path)

    assert line == printed


def test_the_output_snippet_sorts_what_it_counted(tmp_path: Path) -> None:
    (snippet,) = (text for text in SNIPPETS if "PickleOutput" in text)
    (tmp_path / "snippet.py").write_text(snippet)

    run(tmp_path / "snippet.py", cwd=tmp_path)

    parts = sorted((tmp_path / "sorted").glob("part-*.txt"))
    assert len(parts) == 2
    assert "".join(map(Path.read_text, parts)) == "be\t2\nnot\t1\nor\t1\nto\t2\n"


@pytest.mark.skipif(not shutil.which("awk"), reason="there is no awk")
def test_the_snippet_of_a_program_counts_words_as_the_shell_does(tmp_path: Path) -> None:
    (snippet,) = (text for text in SNIPPETS if "run_program" in text)
    (tmp_path / "snippet.py").write_text(snippet)
    shell = "printf 'to be or\nnot to be\n' | tr ' ' '\n' | LC_ALL=C sort | uniq -c"
    counts = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True)

    (line,) = run(tmp_path / "snippet.py", cwd=tmp_path)

    assert ast.literal_eval(line) == [counts.stdout.splitlines()]


def run(script: Path, cwd: Path) -> list[str]:
    """Return the lines that a script prints when run elsewhere, with this checkout's packages."""
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def environment() -> dict[str, str]:
    """Return our environment with this checkout first among the packages and no buffered lines."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
