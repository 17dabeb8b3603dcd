"""Records other than lines; the oracle is plain Python reading the same bytes."""

from __future__ import annotations

import builtins
import bz2
import csv
import gzip
import importlib
import io
import json
import lzma
import os
import pickle
import re
import struct
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import lz4.frame
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mapreduce import (
    InputError,
    InvalidJobError,
    MapReduceJob,
    Split,
    TextFiles,
    collect,
    each,
    fixed_length,
    json_lines,
    whole_file,
)
from mapreduce.inputs import readers, textlines
from mapreduce.inputs.filerange import FileRange, LocalFile
from workers.errors import BlockLostError

any_file = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
borders = st.lists(st.integers(0, 10**9), max_size=6)


def cut(path, reader, cuts):
    whole = FileRange.whole(LocalFile.named(str(path)), cuttable=reader.cuttable)
    size = whole.size
    ends = [0, *sorted(cut % (size + 1) for cut in cuts), size]
    return [FileRange(whole.file, a, b) for a, b in pairwise(ends)]


def records_of(parts, reader):
    return [record for part in parts for records in reader.batches(part) for record in records]


def read(files, map_tasks=None):
    return [record for split in files.plan(map_tasks) for record in split.records()]


# --- fixed length --------------------------------------------------------------------------------


@any_file
@given(st.binary(max_size=90), st.integers(1, 12), borders, st.integers(1, 30))
def test_fixed_records_are_the_same_however_the_file_is_cut(
    tmp_path, content, length, cuts, read_bytes
):
    content = content[: len(content) // length * length]
    path = tmp_path / "any.bin"
    path.write_bytes(content)
    reader = fixed_length(length)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "_READ_BYTES", read_bytes)
        found = records_of(cut(path, reader, cuts), reader)
    assert found == [content[at : at + length] for at in range(0, len(content), length)]


@pytest.mark.parametrize("map_tasks", [1, 3, 40])
def test_a_fixed_record_is_located_by_its_number_and_byte(tmp_path, map_tasks):
    path = tmp_path / "data.bin"
    path.write_bytes(os.urandom(10 * 100))
    places = [
        split.locate(position)
        for split in TextFiles(path, records=fixed_length(100)).plan(map_tasks)
        for position in range(len(list(split.records())))
    ]
    assert places == [f"{path}, record {n} (byte {n * 100})" for n in range(10)]


def test_a_size_that_is_no_multiple_of_the_length_is_refused_by_the_driver(tmp_path):
    (tmp_path / "odd.bin").write_bytes(b"x" * 250)
    with pytest.raises(InputError, match=r"odd\.bin: its 250 bytes are no multiple of 100"):
        TextFiles(tmp_path / "odd.bin", records=fixed_length(100)).plan()


def test_compressed_fixed_records_that_do_not_come_out_even_are_refused_when_it_shows(tmp_path):
    (tmp_path / "odd.gz").write_bytes(gzip.compress(b"x" * 250))
    (tmp_path / "even.gz").write_bytes(gzip.compress(b"x" * 300))
    assert read(TextFiles(tmp_path / "even.gz", records=fixed_length(100))) == [b"x" * 100] * 3
    with pytest.raises(InputError, match=r"odd\.gz: its 250 bytes are no multiple of 100"):
        read(TextFiles(tmp_path / "odd.gz", records=fixed_length(100)))


@pytest.mark.parametrize("length", [0, -1, 1.0, True, "7"])
def test_a_length_is_an_int_from_one_on(length):
    with pytest.raises(InvalidJobError, match="fixed_length"):
        fixed_length(length)


# --- JSON lines ----------------------------------------------------------------------------------

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
blanks = st.sampled_from([b"", b" ", b"\t", b"\r"])


@any_file
@given(st.data(), borders, st.integers(1, 20))
def test_json_lines_are_what_json_makes_of_each_line_however_the_file_is_cut(
    tmp_path, data, cuts, read_bytes
):
    line = st.one_of(
        blanks, values.map(lambda v: b" " + json.dumps(v, ensure_ascii=False).encode())
    )
    content = b"\n".join(data.draw(st.lists(line, max_size=8)))
    path = tmp_path / "any.jsonl"
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(textlines, "_READ_BYTES", read_bytes)
        found = records_of(cut(path, json_lines, cuts), json_lines)
    assert found == [json.loads(line) for line in content.split(b"\n") if line.strip()]


@pytest.mark.parametrize("map_tasks", [1, 3, 20])
def test_a_json_record_is_located_in_its_line_blank_ones_counted(tmp_path, map_tasks):
    path = tmp_path / "books.jsonl"
    path.write_text("1\n\n2\n \n\n3\n4")
    places = {
        record: split.locate(position)
        for split in TextFiles(path, records=json_lines).plan(map_tasks)
        for position, record in enumerate(split.records())
    }
    assert places == {n: f"{path}, line {line}" for n, line in enumerate((1, 3, 6, 7), 1)}


@pytest.mark.parametrize("map_tasks", [1, 5])
@pytest.mark.parametrize(
    "bad", ["{'a': 1}", "1 2", "[1", "\ufeff1", pytest.param("[" * 100_000, id="deep")]
)
def test_a_line_that_is_no_json_is_named(tmp_path, bad, map_tasks):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"a": 1}\n' * 30 + bad + "\n" + '{"a": 1}\n' * 30)
    with pytest.raises(InputError, match=r"bad\.jsonl, line 31: is no JSON: "):
        read(TextFiles(path, records=json_lines), map_tasks)


def test_json_lines_are_read_in_the_encoding_that_is_given(tmp_path):
    (tmp_path / "x.jsonl").write_bytes('"ä"\n'.encode("latin-1"))
    assert read(TextFiles(tmp_path / "x.jsonl", "latin-1", records=json_lines)) == ["ä"]
    with pytest.raises(InputError, match="line 1: byte 1"):
        read(TextFiles(tmp_path / "x.jsonl", records=json_lines))


# --- whole files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("map_tasks", [None, 1, 2, 9])
def test_a_whole_file_is_its_name_and_content_even_an_empty_one(tmp_path, map_tasks):
    contents = {"a.bin": os.urandom(1000), "b.gz": b"plain", "c.bin": b""}
    for name, content in contents.items():
        packed = gzip.compress(content) if name.endswith("gz") else content
        (tmp_path / name).write_bytes(packed)
    files = TextFiles(tmp_path / "*", records=whole_file)
    assert read(files, map_tasks) == [(f"{tmp_path}/{name}", c) for name, c in contents.items()]
    [place] = [s.locate(0) for s in files.plan(9) for name, _ in s.records() if name[-1] == "z"]
    assert place == f"{tmp_path}/b.gz"


def test_nothing_but_empty_files_are_records_too(tmp_path):
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    assert len(read(TextFiles(tmp_path / "*", records=whole_file))) == 2


# --- functions -----------------------------------------------------------------------------------


def rows(file):
    return csv.DictReader(io.TextIOWrapper(file, "utf-8", newline=""))


def test_a_function_reads_a_file_as_a_whole_and_decompressed(tmp_path):
    text = 'name,text\r\nx,"two\nlines"\r\ny,z\r\n' * 50
    (tmp_path / "a.csv").write_text(text, newline="")
    (tmp_path / "b.csv.xz").write_bytes(lzma.compress(text.encode()))
    files = TextFiles([tmp_path / "a.csv", tmp_path / "b.csv.xz"], records=rows)
    assert read(files, 7) == 2 * list(csv.DictReader(io.StringIO(text, newline="")))
    [first, *_] = [split for split in files.plan(7) if split.ranges]
    assert first.locate(7) == f"{tmp_path}/a.csv, record 7"


def test_a_function_that_is_cut_off_from_its_file_has_not_failed(tmp_path):
    (tmp_path / "a").touch()

    def read_on(file):
        raise BlockLostError("nobody answers", answered=False)

    with pytest.raises(BlockLostError):
        read(TextFiles(tmp_path / "a", records=read_on))


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress),
     (".zst", zstandard.compress)],
)  # fmt: skip
def test_a_file_that_a_function_reads_has_the_name_it_was_given_by(
    tmp_path, monkeypatch, suffix, pack
):
    monkeypatch.chdir(tmp_path)
    Path(f"a.csv{suffix}").write_bytes(pack(b"text"))
    named = TextFiles(f"a.csv{suffix}", records=lambda file: [(file.name, file.read())])
    assert read(named) == [(f"a.csv{suffix}", b"text")]


def test_a_function_that_fails_is_named_with_the_file_and_how_far_it_came(tmp_path):
    def broken(file):
        yield file.read(1)
        raise KeyError("no such thing")

    (tmp_path / "x.bin").write_bytes(b"x")
    with pytest.raises(InputError, match=r"x\.bin: .*broken.* after 1 records: KeyError") as caught:
        read(TextFiles(tmp_path / "x.bin", records=broken))
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_function_that_returns_nothing_is_an_error(tmp_path):
    (tmp_path / "x.bin").write_bytes(b"x")
    with pytest.raises(InputError, match="returned None"):
        read(TextFiles(tmp_path / "x.bin", records=lambda file: None))


@pytest.mark.parametrize("records", [fixed_length, "json", 100])
def test_what_reads_no_records_is_refused_at_once(records):
    with pytest.raises(InvalidJobError, match=r"fixed_length\(100\)"):
        TextFiles("x", records=records)


# --- compressed files ----------------------------------------------------------------------------

COMPRESS = {
    "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstandard.compress,
    "lz4": lz4.frame.compress,
}  # fmt: skip


@pytest.mark.parametrize("suffix", COMPRESS)
def test_compressed_files_may_have_many_members(tmp_path, suffix):
    members = [os.urandom(300_000), b"", b"x" * 1_000_000, b"\n"]
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(b"".join(map(COMPRESS[suffix], members)))
    assert read(TextFiles(path, records=whole_file)) == [(str(path), b"".join(members))]


@pytest.mark.parametrize("suffix", ["zst", "lz4"])
def test_frames_to_skip_are_skipped(tmp_path, suffix):
    skip = struct.pack("<II", 0x184D2A50, 3) + b"abc"
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(skip + COMPRESS[suffix](b"one\n") + skip + COMPRESS[suffix](b"two\n") + skip)
    assert read(TextFiles(path)) == ["one", "two"]


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("keep", [-1, -30_000, 3])
def test_a_compressed_file_that_is_cut_off_is_an_error_that_names_it(tmp_path, suffix, keep):
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(COMPRESS[suffix](os.urandom(200_000))[:keep])
    with pytest.raises(InputError, match=rf"x\.{suffix}: cannot be read"):
        read(TextFiles(path, records=whole_file))


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_file_that_is_not_what_its_name_says_is_an_error_that_names_it(tmp_path, suffix):
    (tmp_path / f"x.{suffix}").write_text("no archive at all, plain text " * 10)
    with pytest.raises(InputError, match=rf"x\.{suffix}: cannot be read"):
        read(TextFiles(tmp_path / f"x.{suffix}"))


@pytest.mark.parametrize("suffix", ["zst", "lz4"])
def test_a_missing_package_is_named_with_the_extra_that_brings_it(tmp_path, suffix, monkeypatch):
    (tmp_path / f"x.{suffix}").write_bytes(COMPRESS[suffix](b"line\n"))
    really_import = builtins.__import__

    def without(name, *arguments):
        if name.split(".")[0] in ("zstandard", "compression", "lz4"):
            raise ImportError(name)
        return really_import(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install 'tuplemill\[compress\]'"):
        read(TextFiles(tmp_path / f"x.{suffix}"))


# --- in jobs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("reader", [json_lines, fixed_length(10), whole_file])
def test_records_of_every_kind_reach_the_workers(tmp_path, standing_cluster, reader):
    (tmp_path / "a.jsonl").write_text("".join(f"[{n}]\n" for n in range(1_000_000, 1_001_000)))
    files = TextFiles(tmp_path / "a.jsonl", records=reader)
    job = MapReduceJob(files, each(lambda record: [(0, record)]), collect)
    job.map_tasks, job.reduce_tasks = 3, 1
    assert job.run(standing_cluster.uri) == [[(0, list(files))]]


def test_a_lambda_that_reads_records_travels_with_the_job(tmp_path, standing_cluster):
    (tmp_path / "x.bin").write_bytes(b"abcdef")
    step = 2
    files = TextFiles(tmp_path / "x.bin", records=lambda file: iter(lambda: file.read(step), b""))
    job = MapReduceJob(files, each(lambda record: [(record, 1)]), collect, reduce_tasks=1)
    assert job.run(standing_cluster.uri) == [[(b"ab", [1]), (b"cd", [1]), (b"ef", [1])]]


def test_the_module_of_a_reader_travels_with_the_job(tmp_path, standing_cluster, monkeypatch):
    (tmp_path / "ownformat.py").write_text(
        "def pieces(file):\n    return file.read().split(b';')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    pieces = importlib.import_module("ownformat").pieces
    (tmp_path / "x.bin").write_bytes(b"a;b")
    files = TextFiles(tmp_path / "x.bin", records=pieces)
    for data in (files, [Split(files)]):
        job = MapReduceJob(data, each(lambda piece: [(piece, 1)]), collect, reduce_tasks=1)
        assert job.run(standing_cluster.uri) == [[(b"a", [1]), (b"b", [1])]]


def test_a_function_that_cannot_travel_is_refused_before_the_job_starts(tmp_path):
    (tmp_path / "x.bin").write_bytes(b"x")
    lock = threading.Lock()
    files = TextFiles(tmp_path / "x.bin", records=lambda file: [file.read(), lock])
    with pytest.raises(InvalidJobError, match="records= cannot be sent to a worker"):
        MapReduceJob(files, each(lambda record: []), collect).submit("PYRO:none@127.0.0.1:1")


def test_a_map_function_opens_the_locators_that_it_is_given(tmp_path, standing_cluster):
    for number in range(3):
        (tmp_path / f"{number}.gz").write_bytes(gzip.compress(f"{number}\nend\n".encode()))
    paths = [str(tmp_path / f"{number}.gz") for number in range(3)]
    job = MapReduceJob(data=[Split(path) for path in paths], reduce=collect, reduce_tasks=1)
    job.map = lambda path: [(line, 1) for line in TextFiles(path)]
    expected = [[("0", [1]), ("end", [1, 1, 1]), ("1", [1]), ("2", [1])]]
    assert job.run(standing_cluster.uri) == expected

    job.data = [Split(TextFiles(path)) for path in paths]
    job.map = each(lambda line: [(line, 1)])
    assert job.run(standing_cluster.uri) == expected


def test_the_readme_reads_every_kind_of_file(tmp_path, monkeypatch):
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    [snippet] = re.findall(r"^```python\n(import csv\n.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    contents = {
        "logs/x/a.gz": gzip.compress(b"one\n"), "bucket/logs/b.zst": zstandard.compress(b"two\n"),
        "books.jsonl": b"[1]\n", "samples.bin": b"x" * 200, "images/a.png": b"png", "a.csv": b"1,2\n",
        "bucket/a.gz": gzip.compress(b"three\n"), "bucket/b.gz": gzip.compress(b"four\n"),
    }  # fmt: skip
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    names: dict[str, Any] = {}
    exec(snippet.replace("s3://bucket", f"local://{tmp_path}/bucket"), names)

    assert list(names["logs"]) == ["one", "two"]
    assert list(names["books"]) == [[1]]
    assert list(names["samples"]) == [b"x" * 100] * 2
    assert list(names["images"]) == [("images/a.png", b"png")]
    assert list(names["rows"]) == [["1", "2"]]
    names["job"].reduce = collect
    names["job"].reduce_tasks = 1
    assert names["job"].run_sequential() == [[(5, [1]), (4, [1])]]


def test_planned_splits_survive_pickling(tmp_path):
    (tmp_path / "x.bin").write_bytes(b"abcdef")
    for reader in (fixed_length(2), whole_file, json_lines):
        [split] = TextFiles(tmp_path / "x.bin", records=reader).plan(1)
        assert pickle.loads(pickle.dumps(split)).files == split.files
        assert repr(split.reader) in repr(TextFiles("x", records=reader))
