import bz2
import gzip
import lzma
import os
import pickle
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mapreduce.errors import InputError, InvalidJobError
from mapreduce.inputs import textlines
from mapreduce.inputs.filerange import FileRange, LocalFile
from mapreduce.inputs.splits import Split, TextFiles, default_reduce_tasks, plan_splits
from mapreduce.inputs.textlines import Lines


def reference(content, encoding="utf-8", errors="strict"):
    """The lines of a file's bytes, the slow and plain way."""
    lines = content.decode(encoding, errors).split("\n")
    last = lines.pop()
    return [line.removesuffix("\r") for line in lines] + ([last] if last else [])


def lines_of(splits):
    return [line for split in splits for line in split.records()]


def cut_at(path, cuts, encoding="utf-8"):
    whole = FileRange.whole(LocalFile.named(str(path)), cuttable=Lines(encoding).cuttable)
    borders = [0, *sorted(cuts), whole.size]
    return [replace(whole, start=a, end=b) for a, b in pairwise(borders)]


def lines_in(part, encoding="utf-8", errors="strict"):
    return [line for lines in Lines(encoding, errors).lines(part) for line in lines]


# --- records -------------------------------------------------------------------------------------


@pytest.mark.parametrize("map_tasks", [None, 1, 2, 3, 7, 20, 50])
@pytest.mark.parametrize("count", [0, 1, 5, 20, 100])
def test_chunks_hold_all_records_in_order_and_differ_by_at_most_one(count, map_tasks):
    splits = plan_splits(list(range(count)), map_tasks)

    assert [record for split in splits for record in split.records()] == list(range(count))
    assert len(splits) == (min(count, 16) if map_tasks is None else map_tasks)
    sizes = {split.size for split in splits}
    assert not sizes or max(sizes) - min(sizes) <= 1


def test_a_list_stays_one_list():
    [split] = plan_splits([1, 2, 3], 1)
    assert split.records() is split.records()
    assert type(split.records()) is list


def test_a_huge_range_is_cut_without_being_made():
    assert len(pickle.dumps(plan_splits(range(10**12), 4))) < 1000


def test_mappings_give_their_items_and_iterables_are_used_up():
    assert plan_splits({"a": 1}, 1)[0].records() == [("a", 1)]
    assert plan_splits((n for n in range(3)), 1)[0].records() == [0, 1, 2]


def test_a_record_is_located_by_its_number_in_the_data():
    splits = plan_splits(list(range(20)), 3)
    assert splits[2].locate(4) == "record 17 of the data"
    assert splits[2].records()[4] == 17
    assert splits[0].describe() == "records 0-5 of the data"


def test_splits_made_by_the_user_are_used_as_they_are():
    records = [1, 2]
    splits = plan_splits([Split(records, affinity="host7"), Split("s3://bucket/x")])

    assert splits[0].records() is records
    assert [split.affinity for split in splits] == ["host7", None]
    assert [split.size for split in splits] == [2, 1]
    assert splits[1].records() == "s3://bucket/x"
    assert splits[0].locate(1) == "record 1 of split 0 of the data"


@pytest.mark.parametrize("map_tasks", [0, -1, 1.0, True, "4"])
def test_m_must_be_a_positive_int(map_tasks):
    with pytest.raises(InvalidJobError, match="map_tasks"):
        plan_splits([1], map_tasks)


@pytest.mark.parametrize("data", ["name.txt", b"bytes", 7, None, [Split([1]), 2]])
def test_data_that_cannot_be_split_is_refused(data):
    with pytest.raises(InvalidJobError):
        plan_splits(data)


def test_a_str_as_data_is_answered_with_what_was_meant():
    with pytest.raises(InvalidJobError, match=r"TextFiles\('name.txt'\)"):
        plan_splits("name.txt")


def test_m_cannot_contradict_the_users_own_splits():
    with pytest.raises(InvalidJobError, match="2 Split objects"):
        plan_splits([Split([1]), Split([2])], 3)


def test_r_follows_from_the_splits_and_is_at_least_one():
    assert [default_reduce_tasks(M) for M in (0, 1, 5, 16, 100, 9999)] == [1, 1, 5, 8, 25, 512]


# --- lines ---------------------------------------------------------------------------------------

pieces = st.sampled_from(
    [b"\n", b"\r\n", b"\r", b"a", b"bc", b" ", "ä€😀".encode(), "\u2028\x0b\x85".encode(), b"\n\n"]
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.lists(pieces, max_size=40).map(b"".join), st.integers(1, 9))
def test_the_ranges_of_any_cuts_have_the_lines_of_the_file(tmp_path, data, content, read_bytes):
    path = tmp_path / "any.txt"
    path.write_bytes(content)
    cuts = data.draw(st.lists(st.integers(0, len(content)), max_size=6))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(textlines, "_READ_BYTES", read_bytes)
        parts = [lines_in(part) for part in cut_at(path, cuts)]
    assert [line for part in parts for line in part] == reference(content)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(pieces, max_size=40).map(b"".join), st.integers(1, 9))
def test_any_record_is_located_in_its_line(tmp_path, content, map_tasks):
    path = tmp_path / "any.txt"
    path.write_bytes(content)
    places = [
        split.locate(position)
        for split in plan_splits(TextFiles(path), map_tasks)
        for position in range(len(list(split.records())))
    ]
    assert places == [f"{path}, line {n + 1}" for n in range(len(reference(content)))]


@given(st.binary(max_size=60), st.sampled_from(["latin-1", "cp437", "utf-8", "shift_jis"]))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes_are_decoded_as_python_decodes_them(tmp_path, content, encoding):
    path = tmp_path / "any.txt"
    path.write_bytes(content)
    [split] = plan_splits(TextFiles(path, encoding, "replace"), 1)
    assert list(split.records()) == reference(content, encoding, "replace")


def test_a_line_belongs_to_the_range_it_starts_in(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_bytes(b"abc\ndef\ngh\n")
    assert [lines_in(part) for part in cut_at(path, [6])] == [["abc", "def"], ["gh"]]
    assert [lines_in(part) for part in cut_at(path, [4])] == [["abc"], ["def", "gh"]]
    assert [lines_in(part) for part in cut_at(path, [5, 6, 7])] == [["abc", "def"], [], [], ["gh"]]


def test_a_line_longer_than_many_blocks_and_ranges_is_read_once(tmp_path, monkeypatch):
    monkeypatch.setattr(textlines, "_READ_BYTES", 100)
    path = tmp_path / "long.txt"
    path.write_text("x" * 10_000 + "\nend")
    assert lines_of(plan_splits(TextFiles(path), 7)) == ["x" * 10_000, "end"]


@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "utf-7", "cp037"]
)
def test_encodings_are_read_right_however_the_file_is_cut(tmp_path, encoding, monkeypatch):
    monkeypatch.setattr(textlines, "_READ_BYTES", 7)
    text = "one ਊ\nਗ਼ two\r\n\nend" if encoding != "cp037" else "one\ntwo\r\n\nend"
    path = tmp_path / "encoded.txt"
    path.write_bytes(text.encode(encoding))
    lines = text.replace("\r\n", "\n").split("\n")
    assert lines_of(plan_splits(TextFiles(path, encoding), 3)) == lines


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)],
)
def test_compressed_files_are_one_range_each(tmp_path, suffix, compress):
    for number in range(3):
        text = "".join(f"{number} {line}\n" for line in range(100))
        (tmp_path / f"{number}.{suffix}").write_bytes(compress(text.encode()))

    splits = plan_splits(TextFiles(tmp_path / f"*.{suffix}"), 5)
    assert lines_of(splits) == [f"{number} {line}" for number in range(3) for line in range(100)]
    assert sum(len(split.ranges) for split in splits) == 3
    assert splits[0].locate(41) == f"{tmp_path}/0.{suffix}, line 42"


def test_a_broken_archive_is_an_error_that_names_it(tmp_path):
    (tmp_path / "x.gz").write_bytes(gzip.compress(os.urandom(5000))[:2000])
    with pytest.raises(InputError, match=r"x\.gz: cannot be read"):
        lines_of(plan_splits(TextFiles(tmp_path / "x.gz", errors="replace")))


@pytest.mark.parametrize("map_tasks", [1, 3, 8])
def test_bytes_that_are_not_in_the_encoding_are_named_to_the_byte(tmp_path, map_tasks):
    path = tmp_path / "bad.txt"
    path.write_bytes(b"good\n" * 100 + b"b\xffd\n" + b"good\n" * 100)
    with pytest.raises(InputError) as caught:
        lines_of(plan_splits(TextFiles(path), map_tasks))
    for part in ("bad.txt, line 101", "byte 501 ", "0xff", 'errors="replace"'):
        assert part in str(caught.value)


@pytest.mark.parametrize("read_bytes", [64, 1 << 18])
def test_bad_utf_16_is_named_to_the_byte_too(tmp_path, monkeypatch, read_bytes):
    monkeypatch.setattr(textlines, "_READ_BYTES", read_bytes)
    start = ("line\n" * 50).encode("utf-16-be")
    (tmp_path / "bad.txt").write_bytes(b"\xfe\xff" + start + b"\xdc\x00" + start)
    with pytest.raises(InputError, match=f"line 51: byte {len(start) + 2} "):
        lines_of(plan_splits(TextFiles(tmp_path / "bad.txt", "utf-16")))


def test_a_file_cut_off_inside_a_character_is_an_error(tmp_path):
    (tmp_path / "cut.txt").write_bytes("one\ntwo €".encode()[:-1])
    with pytest.raises(InputError, match=r"line 2: byte 8 .*unexpected end"):
        lines_of(plan_splits(TextFiles(tmp_path / "cut.txt")))


# --- files ---------------------------------------------------------------------------------------


def test_a_file_that_changed_or_vanished_since_planning_is_an_error(tmp_path):
    path = tmp_path / "log.txt"
    path.write_text("one\n")
    splits = plan_splits(TextFiles(path))

    path.write_text("one\ntwo\n")
    with pytest.raises(InputError, match="has changed"):
        lines_of(splits)
    path.unlink()
    with pytest.raises(InputError, match="has vanished"):
        lines_of(splits)


def test_a_change_that_keeps_the_size_is_seen_by_its_time(tmp_path):
    path = tmp_path / "log.txt"
    path.write_text("one\n")
    splits = plan_splits(TextFiles(path))
    os.utime(path, ns=(0, 0))
    with pytest.raises(InputError, match="has changed"):
        lines_of(splits)


def make_tree(root, names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}\n")


def test_patterns_find_files_in_depth_sorted_and_each_once(tmp_path):
    make_tree(tmp_path, ["b.txt", "a.txt", "deep/er/c.txt", "deep/x.log"])
    files = TextFiles([tmp_path / "b.txt", str(tmp_path / "**/*.txt"), f"{tmp_path}/./a.txt"])
    assert lines_of(plan_splits(files, 2)) == ["b.txt", "a.txt", "deep/er/c.txt"]


def test_a_name_with_brackets_is_a_name_first(tmp_path):
    make_tree(tmp_path, ["data[1].txt", "data1.txt"])
    assert lines_of(plan_splits(TextFiles(tmp_path / "data[1].txt"))) == ["data[1].txt"]


def test_splits_can_be_read_from_another_directory(tmp_path, monkeypatch):
    make_tree(tmp_path, ["here.txt"])
    monkeypatch.chdir(tmp_path)
    splits = plan_splits(TextFiles("*.txt"))
    monkeypatch.chdir("/")
    assert lines_of(pickle.loads(pickle.dumps(splits))) == ["here.txt"]
    assert splits[0].locate(0) == "here.txt, line 1"


@pytest.mark.parametrize("missing", ["no.txt", "*.no"])
def test_what_matches_nothing_is_named(tmp_path, missing):
    make_tree(tmp_path, ["a.txt"])
    with pytest.raises(InputError) as caught:
        plan_splits(TextFiles([tmp_path / "a.txt", tmp_path / missing]))
    assert str(tmp_path / missing) in str(caught.value)


def test_a_directory_and_an_empty_list_of_paths_are_refused(tmp_path):
    with pytest.raises(InputError, match="is a directory"):
        plan_splits(TextFiles(tmp_path))
    with pytest.raises(InputError, match="no path"):
        plan_splits(TextFiles([]))


@pytest.mark.parametrize(
    "arguments", [("x", "no-such"), ("x", "base64"), ("x", "utf-8", "no"), (7,), ([b"x"],)]
)
def test_impossible_arguments_are_refused_at_once(arguments):
    with pytest.raises(InvalidJobError):
        TextFiles(*arguments)


def sparse(path, size):
    with Path(path).open("wb") as file:
        file.truncate(size)


@pytest.mark.parametrize(
    ("size", "splits"),
    [
        (0, 0),
        (100, 1),
        (600 << 10, 2),
        (10 << 20, 8),
        (80 << 20, 10),
        (801 << 20, 101),
        (20 << 30, 1000),
    ],
)
def test_the_default_m_follows_from_the_bytes(tmp_path, size, splits):
    sparse(tmp_path / "big", size)
    planned = plan_splits(TextFiles(tmp_path / "big"))
    assert len(planned) == max(splits, 1 if size else 0)
    assert sum(split.size for split in planned) == size


def test_many_small_files_share_a_split(tmp_path):
    make_tree(tmp_path, [f"{number:03}.txt" for number in range(500)])
    [split] = plan_splits(TextFiles(tmp_path / "*.txt"))
    assert split.size == 500 * 8
    assert split.describe() == f"lines of {tmp_path}/000.txt, bytes 0-8 (+499 files)"
    assert split.locate(123) == f"{tmp_path}/123.txt, line 1"


@pytest.mark.parametrize("map_tasks", [1, 2, 50])
def test_an_explicit_m_is_kept_even_if_splits_stay_empty(tmp_path, map_tasks):
    make_tree(tmp_path, ["a.txt", "b.txt"])
    (tmp_path / "empty.txt").touch()
    splits = plan_splits(TextFiles(tmp_path / "*.txt"), map_tasks)
    assert len(splits) == map_tasks
    assert lines_of(splits) == ["a.txt", "b.txt"]
    assert len(plan_splits(TextFiles(tmp_path / "empty.txt"), map_tasks)) == map_tasks
