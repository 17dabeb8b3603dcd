"""The cluster key: who may read it, and what it proves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from tuplespace import AuthenticationError, handshake
from tuplespace.opaque import Opener
from tuplespace.security import key_path, load_key, make_key, throwaway_key
from tuplespace.wire import pack, unpack

ROOT = Path(__file__).resolve().parents[2]


def test_a_key_file_is_for_its_owner_only(tmp_path):
    path = tmp_path / "deep" / "er" / "cluster.key"
    make_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["cluster.key"]


def test_processes_that_race_to_make_the_key_all_read_the_same(tmp_path):
    path = tmp_path / "folder" / "cluster.key"
    script = (
        "import sys; from tuplespace.security import make_key; sys.stdin.read(); "
        "print(make_key(sys.argv[1]).ticket('x'))"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(path)], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for _ in range(8)
    ]  # fmt: skip
    for racer in racers:
        racer.stdin.close()
        racer.stdin = None
    tickets = {racer.communicate()[0] for racer in racers}
    assert [racer.returncode for racer in racers] == [0] * 8
    assert tickets == {load_key(path).ticket("x") + "\n"}
    assert [each.name for each in path.parent.iterdir()] == ["cluster.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_others_may_read_is_refused(tmp_path, mode):
    path = tmp_path / "cluster.key"
    make_key(path)
    path.chmod(mode)
    with pytest.raises(AuthenticationError, match=f"chmod 600 {path}"):
        load_key(path)


@pytest.mark.parametrize("content", [b"", b"abc", b"z" * 64, b"\xff\xfe", b"ab" * 31, b"ab" * 33])
def test_what_is_no_key_is_refused_and_named(tmp_path, content):
    path = tmp_path / "cluster.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(AuthenticationError, match=str(path)):
        load_key(path)


def test_a_missing_key_is_named_and_the_option_too(tmp_path):
    for call in (load_key, handshake):
        with pytest.raises(AuthenticationError) as caught:
            call(tmp_path / "none")
        assert str(tmp_path / "none") in str(caught.value)
        assert "--key-file" in str(caught.value)


def test_a_key_that_cannot_be_made_is_an_authentication_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AuthenticationError):
        make_key(tmp_path / "file" / "cluster.key")


def test_the_key_is_looked_for_where_one_says(tmp_path, monkeypatch):
    monkeypatch.delenv("TUPLESPACE_KEY_FILE", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert key_path() == tmp_path / "tuplemill" / "cluster.key"
    monkeypatch.setenv("TUPLESPACE_KEY_FILE", str(tmp_path / "other"))
    assert key_path() == tmp_path / "other"
    assert key_path(tmp_path / "third") == tmp_path / "third"


@pytest.mark.parametrize(
    "size", [0, 1, 100, 1 << 12, (1 << 12) + 1, (1 << 16) - 1, 1 << 16, 1 << 20]
)
def test_what_is_sealed_is_unsealed(size):
    key, body = throwaway_key(), bytes(size)
    assert bytes(key.unseal("context", key.seal("context", body))) == body


def test_a_seal_holds_for_its_context_and_its_key_only():
    key, body = throwaway_key(), b"body"
    sealed = key.seal("field", body)
    for other, context in (
        (key, "task"),
        (key, "fiel"),
        (key, "field\0"),
        (key, ""),
        (throwaway_key(), "field"),
    ):
        with pytest.raises(AuthenticationError):
            other.unseal(context, sealed)


@pytest.mark.parametrize("body", [b"thirteen bytes", bytes(5000)])
def test_every_changed_bit_and_every_cut_breaks_the_seal(body):
    key = throwaway_key()
    sealed = key.seal("field", body)
    for bit in range(8 * 80 if len(body) > 80 else 8 * len(sealed)):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(AuthenticationError):
            key.unseal("field", bytes(changed))
    for length in (*range(min(80, len(sealed))), len(sealed) - 1):
        with pytest.raises(AuthenticationError):
            key.unseal("field", sealed[:length])
    with pytest.raises(AuthenticationError):
        key.unseal("field", sealed + b"\0")


@pytest.mark.parametrize("size", [100, 5000])
def test_a_signature_passes_for_no_other_kind_and_no_other_size(size):
    key = throwaway_key()
    sealed = key.seal("field", bytes(size))
    for kind in range(256):
        if kind != sealed[0]:
            with pytest.raises(AuthenticationError):
                key.unseal("field", bytes([kind]) + sealed[1:])
    with pytest.raises(AuthenticationError):  # the shorter and the longer kind of body
        key.unseal("field", sealed[:33] + bytes(5100 - size))


class Booby:
    """Notes that it was unpickled."""

    opened: ClassVar[list[int]] = []

    def __init__(self) -> None:
        self.armed = True

    def __setstate__(self, state):
        self.opened.append(1)


def test_nothing_is_unpickled_whose_signature_is_wrong():
    ours, theirs = Opener(throwaway_key()), Opener(throwaway_key())
    closed = theirs.close_up(("x", Booby()))
    for open_up in (ours.open_up, lambda value: unpack(pack(value), ours.restore)):
        with pytest.raises(AuthenticationError):
            open_up(closed)
    assert not Booby.opened
    assert type(theirs.open_up(closed)[1]) is Booby
    assert Booby.opened
