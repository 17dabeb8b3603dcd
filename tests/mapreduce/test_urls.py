"""Input from URLs: a real web server with and without ranges, and fsspec's own file systems."""

from __future__ import annotations

import gzip
import http.server
import os
import pickle
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from mapreduce import (
    InputError,
    MapReduceJob,
    TextFiles,
    collect,
    fixed_length,
    json_lines,
    whole_file,
)
from mapreduce.inputs import urls

LINES = [f"line {number} of the file" for number in range(5000)]
CONTENT = "".join(f"{line}\n" for line in LINES).encode()


class Web:
    """A web server over a dict of files.

    Attributes:
        files: The content of each path. ranges: Whether it sends parts. sizes: Whether it tells
            how long a file is. breaks_off: Whether it sends half of what it promised.
        requests: (method, path, Range header or None) of each request.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.ranges = self.sizes = True
        self.breaks_off = False
        self.requests: list[tuple[str, str, str | None]] = []
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.requests.append((self.command, self.path, self.headers["Range"]))
                content = web.files.get(self.path.partition("?")[0])
                if content is None:
                    self.send_error(404)
                    return
                etag = f'"{hash(content):x}"'
                wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"] or "")
                if wanted and web.ranges:
                    first, last = map(int, wanted.groups())
                    self.send_response(206)
                    self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
                    content = content[first : last + 1]
                else:
                    self.send_response(200)
                if web.sizes:
                    self.send_header("Content-Length", str(len(content)))
                self.send_header("ETag", etag)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(content[: len(content) // 2] if web.breaks_off else content)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.01])
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def web() -> Iterator[Web]:
    web = Web()
    web.files["/a.txt"] = CONTENT
    yield web
    web.stop()


def read(files: TextFiles, map_tasks: int | None = None) -> list[Any]:
    return [record for split in files.plan(map_tasks) for record in split.records()]


def test_a_file_of_a_web_server_is_cut_and_read_in_parts(web: Web) -> None:
    splits = TextFiles(f"{web.url}/a.txt").plan(4)
    assert [len(split.ranges) for split in splits] == [1, 1, 1, 1]
    web.requests.clear()

    assert [line for split in splits for line in split.records()] == LINES
    ranges = [wanted for method, _, wanted in web.requests if method == "GET"]
    assert len(ranges) >= 4
    assert all(ranges)
    last = len(LINES) - len(list(splits[3].records())) + 1
    assert splits[3].locate(0) == f"{web.url}/a.txt, line {last}"


@pytest.mark.parametrize("sizes", [True, False])
def test_a_web_server_that_sends_no_parts_is_read_as_a_whole(web: Web, sizes: bool) -> None:
    web.ranges, web.sizes = False, sizes
    web.files["/a.txt"] = CONTENT * 100  # more than fsspec reads ahead
    splits = TextFiles(f"{web.url}/a.txt").plan(4)
    assert sum(len(split.ranges) for split in splits) == 1
    assert [line for split in splits for line in split.records()] == LINES * 100


@pytest.mark.parametrize("ranges", [True, False])
def test_compressed_files_and_other_records_come_from_a_web_server(web: Web, ranges: bool) -> None:
    web.ranges = ranges
    web.files["/a.gz"] = gzip.compress(CONTENT)
    named = TextFiles(f"{web.url}/a.gz", records=lambda file: [file.name])
    assert list(named) == [f"{web.url}/a.gz"]
    web.files["/b.bin"] = bytes(range(200)) * 1000
    web.files["/c.jsonl"] = b"[1]\n\n[2]\n"
    assert read(TextFiles(f"{web.url}/a.gz?token=a.b"), 3) == LINES
    halves = [bytes(range(100)), bytes(range(100, 200))]
    assert read(TextFiles(f"{web.url}/b.bin", records=fixed_length(100)), 3) == halves * 1000
    assert read(TextFiles(f"{web.url}/c.jsonl", records=json_lines)) == [[1], [2]]
    url = f"{web.url}/a.txt"
    assert read(TextFiles(url, records=whole_file)) == [(url, CONTENT)]


def test_little_more_than_the_range_is_fetched(web: Web) -> None:
    web.files["/big.txt"] = b"x" * 99 + b"\n"
    web.files["/big.txt"] *= 40_000
    split = TextFiles(f"{web.url}/big.txt").plan(4)[1]
    web.requests.clear()
    assert sum(1 for _ in split.records()) == 10_000
    bounds = [wanted[6:].split("-") for _, _, wanted in web.requests if wanted]
    fetched = sum(int(last) - int(first) + 1 for first, last in bounds)
    assert 1_000_000 <= fetched < 1_100_000


@pytest.mark.parametrize("content", [CONTENT + b"more\n", CONTENT[::-1]])
def test_an_object_that_has_changed_is_an_error(web: Web, content: bytes) -> None:
    splits = TextFiles(f"{web.url}/a.txt").plan()
    web.files["/a.txt"] = content
    with pytest.raises(InputError, match=r"a\.txt: has changed since the job was planned"):
        list(splits[0].records())


def test_a_pattern_finds_the_links_of_a_web_page(web: Web) -> None:
    web.files["/logs/"] = b'<a href="a.txt">a</a> <a href="b.txt">b</a> <a href="c.gz">c</a>'
    web.files["/logs/a.txt"], web.files["/logs/b.txt"] = b"one\n", b"two\n"
    assert list(TextFiles(f"{web.url}/logs/*.txt")) == ["one", "two"]


def test_a_url_where_nothing_is_or_nobody_answers_is_an_error_that_names_it(web: Web) -> None:
    splits = TextFiles(f"{web.url}/a.txt").plan()
    with pytest.raises(InputError, match=r"/no\.txt: there is no such file"):
        TextFiles(f"{web.url}/no.txt").plan()
    del web.files["/a.txt"]
    with pytest.raises(InputError, match=r"a\.txt: has vanished"):
        list(splits[0].records())
    with pytest.raises(InputError, match=r"nobody\.txt: "):
        TextFiles("http://127.0.0.1:1/nobody.txt").plan()


@pytest.mark.parametrize("ranges", [True, False])
def test_a_connection_that_breaks_off_is_an_error_and_no_end_of_the_file(
    web: Web, ranges: bool
) -> None:
    web.ranges = ranges
    [split] = TextFiles(f"{web.url}/a.txt").plan(1)
    web.breaks_off = True
    with pytest.raises(InputError, match=r"a\.txt: cannot be read: "):
        list(split.records())


def test_the_workers_open_a_url_themselves(web: Web) -> None:
    job = MapReduceJob(TextFiles(f"{web.url}/a.txt"), map_tasks=4, reduce_tasks=1, reduce=collect)
    job.map = lambda lines: [(os.getpid(), sum(1 for _ in lines))]
    run = job.submit()
    [pairs] = run.result(40)
    assert sum(count for _, counts in pairs for count in counts) == len(LINES)
    assert os.getpid() not in dict(pairs)
    assert run.report.distant_bytes == 0


# --- file systems --------------------------------------------------------------------------------


@pytest.fixture
def memory() -> Iterator[Callable[[str, bytes], None]]:
    fs = fsspec.filesystem("memory")
    yield lambda path, content: fs.pipe(path, content)
    fs.rm("/", recursive=True)


def test_patterns_of_urls_find_objects_sorted_and_each_once(memory: Any) -> None:
    for name in ("b", "a", "deep/c"):
        memory(f"/logs/{name}.txt", f"{name}\n".encode())
    files = TextFiles(["memory://logs/b.txt", "memory://logs/**/*.txt", "memory://logs/?.txt"])
    assert list(files) == ["b", "a", "deep/c"]
    named = TextFiles("memory://logs/?.txt", records=lambda file: [file.name])
    assert list(named) == ["memory://logs/a.txt", "memory://logs/b.txt"]
    with pytest.raises(InputError, match=r"memory://logs/\*\.gz: no file matches"):
        list(TextFiles("memory://logs/*.gz"))
    memory("/logs/[b].txt", b"bracketed\n")
    assert list(TextFiles("memory://logs/[b].txt")) == ["bracketed"]
    with pytest.raises(InputError, match="is a directory"):
        list(TextFiles("memory://logs"))


@pytest.mark.parametrize("map_tasks", [1, 2, 7, 50])
def test_objects_are_cut_as_files_are(memory: Any, map_tasks: int) -> None:
    memory("/a.txt", CONTENT)
    splits = pickle.loads(pickle.dumps(TextFiles("memory://a.txt").plan(map_tasks)))
    assert len(splits) == map_tasks
    assert [line for split in splits for line in split.records()] == LINES


def test_links_of_urls_are_followed(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("a.txt", "a\n")
        archive.writestr("b.txt.gz", gzip.compress(b"b\n"))
        archive.writestr("c.log", "c\n")
    assert list(TextFiles(f"zip://*.txt*::{tmp_path}/all.zip")) == ["a", "b"]
    (tmp_path / "x.txt").write_text("x\n")
    assert list(TextFiles(f"simplecache::local://{tmp_path}/*.txt")) == ["x"]


@pytest.mark.parametrize(
    ("pattern", "path", "found", "url"),
    [
        ("s3://bucket/*.gz", "bucket/*.gz", "bucket/a.gz", "s3://bucket/a.gz"),
        ("sftp://me@host/x/*", "/x/*", "/x/a", "sftp://me@host/x/a"),
        ("local://x/*", "/home/me/x/*", "/home/me/x/a", "local:///home/me/x/a"),
        ("zip://*.txt::s3://b/all.zip", "*.txt", "a.txt", "zip://a.txt::s3://b/all.zip"),
        ("simplecache::s3://b/*", "b/*", "b/a", "simplecache::s3://b/a"),
    ],
)
def test_what_a_pattern_found_keeps_the_host_and_the_other_links(
    pattern: str, path: str, found: str, url: str
) -> None:
    assert urls._url_of(found, path, pattern) == url


def test_a_file_url_is_the_path_it_names(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    files = TextFiles([f"file://{tmp_path}/*.txt", tmp_path / "a.txt"])
    [split] = files.plan()
    assert split.files == (str(tmp_path / "a.txt"),)
    assert list(split.records()) == ["one"]


def test_a_local_name_with_colons_is_no_url(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "perl::module.txt").write_text("one\n")
    assert list(TextFiles("perl::module.txt")) == ["one"]


# --- what is not installed -----------------------------------------------------------------------


def test_without_fsspec_a_url_is_answered_with_the_extra_that_brings_it() -> None:
    code = (
        "import sys; sys.modules['fsspec'] = None; sys.modules['fsspec.core'] = None\n"
        "from mapreduce import TextFiles\n"
        "list(TextFiles('s3://bucket/x'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "InputError: s3://bucket/x: " in done.stderr
    assert "pip install 'tuplemill[remote]'" in done.stderr


def test_a_missing_file_system_is_named_as_fsspec_names_it() -> None:
    fsspec.register_implementation(
        "far", "no_such_package.FarFileSystem", errtxt="Install farfs to read far://"
    )
    with pytest.raises(InputError, match="Install farfs"):
        list(TextFiles("far://bucket/x"))
    with pytest.raises(InputError, match=r"nonsense://x: .*[Pp]rotocol"):
        list(TextFiles("nonsense://x"))
