"""Readers that go on after what they cannot read, and say at which byte it is."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mapreduce import TextFiles, json_lines
from mapreduce.errors import InputError
from mapreduce.inputs.filesplit import FileSplit
from mapreduce.inputs.readers import Unreadable

_LINES = st.lists(
    st.sampled_from([b"", b"plain", "gr\u00fcn".encode(), b"\xff\xfe", b"a\xe9", b"x" * 40, b"\r", b"\xed\xb2\x80"]),
    max_size=30,
)  # fmt: skip


def splits_of(path: Path, parts: int, **options: Any) -> list[FileSplit]:
    return TextFiles(str(path), **options).plan(parts)


def decoded(line: bytes) -> Any:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(lines=_LINES, parts=st.integers(1, 5), packed=st.booleans())
def test_every_line_is_read_or_stands_for_itself_at_its_byte(
    tmp_path: Path, lines: list[bytes], parts: int, packed: bool
) -> None:
    content = b"\n".join(lines)
    path = tmp_path / ("x.txt.gz" if packed else "x.txt")
    path.write_bytes(gzip.compress(content) if packed else content)
    expected = content.split(b"\n")
    if not expected[-1]:
        expected.pop()
    starts = [sum(len(line) + 1 for line in expected[:at]) for at in range(len(expected))]

    read, places = [], []
    for split in splits_of(path, parts):
        records = list(split.records(lenient=True))
        read += [each.content if isinstance(each, Unreadable) else each for each in records]
        places += [split.locate(at, with_byte=True) for at in range(len(records))]

    unfinished = expected.pop() if expected and not content.endswith(b"\n") else None
    expected = [line.removesuffix(b"\r") for line in expected]
    if unfinished is not None:
        expected.append(unfinished)
    assert read == [decoded(line) for line in expected]
    assert places == [
        f"{path}, line {number}, byte {start}" for number, start in enumerate(starts, 1)
    ]


def test_without_bad_bytes_lenient_lines_are_the_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("a\n\nb\u20ac\nc", encoding="utf-8")
    [split] = splits_of(path, 1)

    assert list(split.records(lenient=True)) == list(split.records()) == ["a", "", "b\u20ac", "c"]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "shift_jis", "utf-8-sig"])
def test_other_encodings_are_read_leniently_too(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes("eins\nzwei\n".encode(encoding) + b"\x81\xff\ndrei\n")
    [split] = splits_of(path, 1, encoding=encoding)
    records = list(split.records(lenient=True))

    assert [each for each in records if isinstance(each, str)][:2] == ["eins", "zwei"]
    assert records[-1] == "drei"
    if encoding != "latin-1":
        assert isinstance(records[2], Unreadable)
        assert encoding in str(records[2].error)
        with pytest.raises(InputError):
            list(split.records())


def test_what_is_no_json_is_counted_among_the_records(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"a": 1}\n\n[oops\n"\xff"\n  \n2\n' + b"[" * 100_000)
    [split] = splits_of(path, 1, records=json_lines)
    records = list(split.records(lenient=True))

    assert [type(each) for each in records] == [dict, Unreadable, Unreadable, int, Unreadable]
    assert [split.locate(at, with_byte=True) for at in range(5)] == [
        f"{path}, line {line}, byte {byte}"
        for line, byte in ((1, 0), (3, 10), (4, 16), (6, 23), (7, 25))
    ]
    assert records[1].content == "[oops"
    assert "is no JSON" in str(records[1].error)
