import os
import resource
import threading

import pytest

from tuplespace.security import load_key, make_key
from workers import compression
from workers.blocks import FRAME_BYTES, BlockReader, BlockServer, BlockWriter, Location
from workers.errors import BlockLostError
from workers.pulling import WINDOW_BYTES, pull


@pytest.fixture
def key(tmp_path):
    make_key(str(tmp_path / "key"))
    return load_key(str(tmp_path / "key"))


@pytest.fixture
def hosts(tmp_path, key):
    """Three hosts' folders and block servers."""
    servers = {}
    for host in ("east", "west", "here"):
        (tmp_path / host).mkdir()
        servers[host] = BlockServer(tmp_path / host, key)
    yield {host: (tmp_path / host, server.uri) for host, server in servers.items()}
    for server in servers.values():
        server.stop()


@pytest.fixture
def reader(key):
    one = BlockReader("here", key)
    yield one
    one.close()


def write(hosts, host, name, *contents):
    root, uri = hosts[host]
    with BlockWriter(root / "job", name) as file:
        frames = [file.write(content) for content in contents]
    return [(Location(host, str(file.path), uri), frame) for frame in frames]


def test_frames_of_many_hosts_come_in_the_order_wanted(hosts, reader):
    contents, wanted = [], []
    for number in range(60):
        some = [os.urandom(number % 7 * 1000) for _ in range(3)]
        contents += some
        wanted += write(hosts, ("east", "west", "here")[number % 3], f"map-{number}", *some)

    assert list(pull(wanted, reader)) == contents
    assert reader.fetched_bytes == sum(
        len(content) for content, (location, _) in zip(contents, wanted, strict=True)
        if location.host != "here"
    )  # fmt: skip


def test_small_frames_of_one_host_travel_together(hosts, reader, monkeypatch):
    asked = []
    ask = BlockReader._ask

    def noted(self, location, requests):
        asked.append(len(requests))
        return ask(self, location, requests)

    monkeypatch.setattr(BlockReader, "_ask", noted)
    wanted = [one for number in range(50) for one in write(hosts, "east", f"m{number}", b"x" * 99)]

    assert list(pull(wanted, reader)) == [b"x" * 99] * 50
    assert asked == [50]


def test_no_more_is_fetched_ahead_than_the_window_holds(hosts, reader, monkeypatch):
    begun = []
    fetch_later = BlockReader.fetch_later

    def noted(self, lot):
        begun.append(sum(frame.length for _, frame in lot))
        return fetch_later(self, lot)

    monkeypatch.setattr(BlockReader, "fetch_later", noted)
    lot = b"x" * (FRAME_BYTES // 2)
    wanted = write(hosts, "east", "map-0", *[lot] * 40)

    pulled = pull(wanted, reader)
    assert next(pulled) == lot

    assert WINDOW_BYTES - FRAME_BYTES < sum(begun) <= WINDOW_BYTES + FRAME_BYTES
    assert list(pulled) == [lot] * 39
    assert sum(begun) == 40 * len(lot)


def test_hosts_are_asked_at_the_same_time(hosts, reader, monkeypatch):
    both = threading.Barrier(2, timeout=20)
    ask = BlockReader._ask

    def meet(self, location, requests):
        both.wait()
        return ask(self, location, requests)

    monkeypatch.setattr(BlockReader, "_ask", meet)
    wanted = write(hosts, "east", "m", b"e") + write(hosts, "west", "m", b"w")

    assert list(pull(wanted, reader)) == [b"e", b"w"]


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_of_frames_that_travel_together_the_lost_one_is_named(hosts, reader, bad):
    wanted = [write(hosts, "east", f"map-{number}", b"content")[0] for number in range(3)]
    with open(wanted[bad][0].path, "wb") as file:
        file.write(b"CONTENT")

    pulled = pull(wanted, reader)
    assert [next(pulled) for _ in range(bad)] == [b"content"] * bad
    with pytest.raises(BlockLostError, match=f"map-{bad}") as caught:
        next(pulled)
    assert caught.value.answered


def test_a_host_that_does_not_answer_is_told_from_one_that_has_lost_a_block(hosts, reader, key):
    [(location, frame)] = write(hosts, "east", "map-0", b"content")
    gone = BlockServer(hosts["east"][0], key)
    gone.stop()

    with pytest.raises(BlockLostError) as caught:
        list(pull([(location._replace(uri=gone.uri), frame)], reader))
    assert not caught.value.answered


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_blocks_are_compressed_between_hosts_as_both_know(hosts, reader, monkeypatch, codec):
    monkeypatch.setattr(compression, "known", lambda: (codec,))
    travelled = []
    decompress = compression.decompress

    def noted(name, data, size):
        travelled.append((name, len(data)))
        return decompress(name, data, size)

    monkeypatch.setattr(compression, "decompress", noted)
    noise = os.urandom(5000)
    wanted = write(hosts, "east", "map-0", b"text " * 1000, noise, b"short")

    assert list(pull(wanted, reader)) == [b"text " * 1000, noise, b"short"]
    assert [name for name, _ in travelled] == [codec, "", ""]
    assert travelled[0][1] < 500


def test_who_knows_no_codec_gets_plain_bytes(hosts, reader, monkeypatch):
    assert compression.compress(b"x" * 9999, ()) == ("", b"x" * 9999)
    assert compression.compress(b"x" * 9999, ("snappy",)) == ("", b"x" * 9999)


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_a_bomb_is_refused_before_it_is_unpacked(codec):
    bomb = compression.compress(bytes(300_000_000), (codec,))[1]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="damaged"):
        compression.decompress(codec, bomb, 1000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 50_000


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_damaged_or_overlong_compressed_bytes_are_refused(codec):
    name, packed = compression.compress(b"x" * 100_000, (codec,))
    assert name == codec
    for data, size in ((packed[:-3], 100_000), (packed, 99_000), (b"\xff" * 50, 100_000)):
        with pytest.raises(ValueError, match="damaged"):
            compression.decompress(codec, data, size)
    with pytest.raises(ValueError, match="nobody asked"):
        compression.decompress("snappy", packed, 5)
