"""Every snippet of docs/ is executed, in the order of its page, by a reader who types it all."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from snippets.blocks import DOCS, ROOT, Block, as_pattern, blocks_of, pages

#: What makes an environment is typed elsewhere: `.ci/run` types the README's lines in a fresh clone.
_SET_UP = ("python3 -m venv", "mkdir -p ~/.local/share/tuplemill && scp")


def runnable(page: Path) -> list[Block]:
    return [
        block for block in blocks_of(page)
        if (block.language in ("python", "sh") or block.file_name)
        and not any(words in block.text for words in _SET_UP)
    ]  # fmt: skip


PAGES = [page for page in pages() if runnable(page)]


class Reader:
    """Types what stands in a page, in a folder of its own.

    Args:
        folder: Where; its home too. port: Where its space shall be, if it starts one.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        commands = folder / ".bin"
        commands.mkdir()
        program = f'exec {sys.executable} -c "from jobs.cli import program; program.run()" "$@"\n'
        for name in ("invoke", "tuplemill"):
            (commands / name).write_text(f"#!/bin/sh\n{program}")
        for name in ("python", "python3"):
            (commands / name).write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        for script in commands.iterdir():
            script.chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if "TUPLESPACE" not in name}
        self.environment = {
            **kept, "HOME": str(folder), "XDG_DATA_HOME": str(folder / ".data"), "TMPDIR": str(folder),
            "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore",
            "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
            "TUPLESPACE_URI": f"PYRO:tuplespace@localhost:{port}",
        }  # fmt: skip
        self.stack = ExitStack()

    def meets(self, block: Block) -> None:
        """Do what the block wants done; fail if it fails, or prints something else."""
        if block.file_name:
            path = self.folder / block.file_name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
            return
        if block.is_server:
            self._starts(block)
            return
        text = block.text.replace("9217", str(self.port))
        command = ["bash", "-euo", "pipefail", "-c", text]
        if block.language == "python":
            script = self.folder / f"line{block.line}.py"
            script.write_text(text, encoding="utf-8")
            command = [sys.executable, script.name]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True,
            timeout=50, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        where = f"line {block.line}: {done.stdout}{done.stderr}"
        if done.returncode:
            pytest.fail(f"status {done.returncode}, {where}", pytrace=False)
        if block.printed is not None and not as_pattern(block.printed).fullmatch(done.stdout):
            pytest.fail(f"not what the page says it prints, {where}", pytrace=False)

    def _starts(self, block: Block) -> None:
        words = block.text.split()
        is_space = words[1] == "tuplespace"
        if is_space:
            words += ["--port", str(self.port)]
        process = subprocess.Popen(
            words, cwd=self.folder, env=self.environment, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self.stack.callback(self._ends, process)
        said = []
        for line in process.stdout:
            said.append(line)
            if ("tuple space PYRO:" if is_space else " processes") in line:
                return
        pytest.fail(f"line {block.line}: it ended: {''.join(said)}")

    def _ends(self, process: subprocess.Popen[str]) -> None:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=12)
        finally:
            process.kill()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    reader = Reader(tmp_path, port)
    with reader.stack:
        yield reader


@pytest.mark.parametrize("page", [page.relative_to(DOCS).as_posix() for page in PAGES])
def test_all_that_a_page_shows_works(page: str, reader: Reader) -> None:
    for block in runnable(DOCS / page):
        reader.meets(block)


@pytest.mark.parametrize("page", [page.relative_to(DOCS).as_posix() for page in PAGES])
def test_what_a_page_saves_is_used_by_a_later_block(page: str) -> None:
    blocks = runnable(DOCS / page)
    for at, block in enumerate(blocks):
        if block.file_name:
            later = "".join(each.text for each in blocks[at + 1 :])
            module = Path(block.file_name).stem
            assert block.file_name in later or f"import {module}" in later, block.line
