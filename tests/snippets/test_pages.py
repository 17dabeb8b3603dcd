"""Every snippet of docs/ is executed, in the order of its page, by a reader who types it all."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from snippets.blocks import DOCS, ROOT, Block, as_pattern, blocks_of, pages

#: What stands in a page: to be typed or run, to be saved, printed, or shown; or for Sphinx.
LANGUAGES = {"sh", "python", "text", "json", "c", "awk", "csv", "toml", "{toctree}", "{eval-rst}"}


def named(found: list[Path]) -> list[str]:
    return [page.relative_to(DOCS).as_posix() for page in found]


def to_do(page: Path) -> list[Block]:
    return [block for block in blocks_of(page) if block.is_done]


PAGES = named([page for page in pages() if to_do(page)])


class Reader:
    """Types what stands in a page, in a folder of its own.

    Args:
        page: Its name. folder: Where; its home too. port: Where its space shall be, if it starts one.
    """

    def __init__(self, page: str, folder: Path, port: int) -> None:
        self.page, self.folder, self.port = page, folder, port
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
            path.write_text(self._here(block.text), encoding="utf-8")
            return
        if block.is_server:
            self._starts(block)
            return
        text = self._here(block.text)
        command = ["bash", "-euo", "pipefail", "-c", text]
        if block.language == "python":
            script = self.folder / f"line{block.line}.py"
            script.write_text(text, encoding="utf-8")
            command = [sys.executable, script.name]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True,
            timeout=50, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if done.returncode:
            what = f"it ended with status {done.returncode}"
            self._fails(block, what, done.stdout, done.stderr)
        self._compares(block, done.stdout, done.stderr)

    def _here(self, text: str) -> str:
        return text.replace("9217", str(self.port))

    def _compares(self, block: Block, printed: str, errors: str = "") -> None:
        if block.printed is None:
            return
        expected = self._here(block.printed)
        ended = printed if printed.endswith("\n") or not printed else printed + "\n"
        if not as_pattern(expected).fullmatch(ended):
            self._fails(block, f"the page says that it prints\n{expected}", printed, errors)

    def _fails(self, block: Block, what: str, printed: str, errors: str) -> None:
        pytest.fail(
            f"docs/{self.page}, line {block.line}: {what}\n--- it printed\n{printed}"
            f"--- on stderr\n{errors}--- it was\n{block.text}", pytrace=False,
        )  # fmt: skip

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
        said = ""
        for line in process.stdout:
            said += line
            if ("tuple space PYRO:" if is_space else " processes") in line:
                self._compares(block, said)
                return
        self._fails(block, "it ended by itself", said, "")

    def _ends(self, process: subprocess.Popen[str]) -> None:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=12)
        finally:
            process.kill()


@pytest.fixture
def reader(page: str, tmp_path: Path) -> Iterator[Reader]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    reader = Reader(page, tmp_path, port)
    with reader.stack:
        yield reader


@pytest.mark.timeout(180)  # a page takes some seconds where nobody else needs the cores
@pytest.mark.parametrize("page", PAGES)
def test_all_that_a_page_shows_works(page: str, reader: Reader) -> None:
    for block in to_do(DOCS / page):
        reader.meets(block)


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_saves_is_used_by_a_later_block(page: str) -> None:
    blocks = to_do(DOCS / page)
    for at, block in enumerate(blocks):
        if block.file_name:
            later = "".join(each.text for each in blocks[at + 1 :])
            module = Path(block.file_name).stem
            assert re.search(rf"{re.escape(block.file_name)}|(import|from) {module}\b", later), (
                f"docs/{page}, line {block.line}"
            )


@pytest.mark.parametrize("page", named(pages()))
def test_no_block_of_a_page_is_left_out_silently(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = blocks_of(DOCS / page)

    fences = re.findall(r"^[ \t>]*(?:```|~~~)", text, re.MULTILINE)
    printed = sum(block.printed is not None for block in blocks)
    assert len(fences) == 2 * (len(blocks) + printed), "a fence that is indented or not closed"
    for block in blocks:
        assert block.language in LANGUAGES, f"docs/{page}, line {block.line}: its language"
        if not block.is_done and not block.is_elsewhere:
            commands = re.findall(r"^(?:\$|>>>) .*|^(?:invoke|tuplemill|python3?|pip) [\w.-]+$",
                                  block.text, re.MULTILINE)  # fmt: skip
            shown = "{" in block.language or page == "reference/commands.md"
            assert shown or not commands, f"docs/{page}, line {block.line}: nobody types {commands}"


@pytest.mark.parametrize("page", named(pages()))
def test_the_code_of_a_page_stands_in_fences_only(page: str) -> None:
    text = re.sub(r"^```.*?^```$", "", (DOCS / page).read_text(encoding="utf-8"),
                  flags=re.MULTILINE | re.DOTALL)  # fmt: skip

    code = r"^ {4}(?:(?:from|import|invoke|tuplemill|python3?) .*|\$ .*|>>> .*|\w+ = .*)$"
    assert not re.findall(code, text, re.MULTILINE), "nobody runs what is indented"
