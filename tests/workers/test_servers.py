"""Block servers in the space: blocks whose server is silent are found with another one of the host."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tuplespace import RemoteSpace, TupleSpace
from tuplespace.networks import address_for_others
from tuplespace.security import Key, throwaway_key
from workers.blocks import FRAME_BYTES, BlockServer, BlockWriter, Frame, Location
from workers.errors import BlockLostError
from workers.servers import Listing, SearchingReader, Serving

NOBODY = "PYRO:blocks@127.0.0.1:9"


@pytest.fixture
def key() -> Key:
    return throwaway_key()


@pytest.fixture
def space() -> Iterator[TupleSpace]:
    with TupleSpace() as space:
        yield space


@pytest.fixture
def serve(key: Key, space: TupleSpace) -> Iterator[Callable[..., BlockServer]]:
    """Start the block server of a folder and list it as a host's."""
    servers = []

    def start(root: Path, host: str = "home") -> BlockServer:
        servers.append(BlockServer(root, key))
        Listing(space, host, servers[-1]).renew()
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def reader(space: TupleSpace, key: Key) -> Iterator[SearchingReader]:
    reader = SearchingReader(space, "away", key)
    yield reader
    reader.close()


class Network:
    """What `Serving` asks of a space: where others reach this machine, and whether to look again."""

    admissions, local_address = 1, "127.0.0.1"


def write_block(folder: Path, content: bytes = b"block") -> tuple[Path, list[Frame]]:
    with BlockWriter(folder, "map-1") as file:
        frame = file.write(content)
    return file.path, [frame]


def test_another_server_of_the_host_is_asked_when_one_is_silent(
    serve: Callable[..., BlockServer], reader: SearchingReader, tmp_path: Path
) -> None:
    content = os.urandom(FRAME_BYTES + 7)
    path, frames = write_block(tmp_path / "home", content)
    serve(tmp_path / "elsewhere")  # of the same host, with a folder of its own
    other = serve(tmp_path / "home")
    gone = Location("home", str(path), NOBODY)

    assert reader.read(gone, frames) == [content]
    assert reader.elsewhere([gone]) == {gone: gone._replace(uri=other.uri)}
    assert reader.read(gone, frames) == [content]


def test_servers_of_other_hosts_are_not_asked(
    serve: Callable[..., BlockServer], reader: SearchingReader, tmp_path: Path
) -> None:
    path, frames = write_block(tmp_path)
    serve(tmp_path, host="other")

    with pytest.raises(BlockLostError, match="home"):
        reader.read(Location("home", str(path), NOBODY), frames)


def test_a_file_that_nobody_has_is_lost(
    serve: Callable[..., BlockServer], reader: SearchingReader, tmp_path: Path
) -> None:
    path, frames = write_block(tmp_path)
    path.unlink()
    serve(tmp_path)
    gone = Location("home", str(path), NOBODY)

    assert reader.elsewhere([gone]) == {}
    with pytest.raises(BlockLostError):
        reader.read(gone, frames)


def test_a_damaged_file_is_not_looked_for(
    serve: Callable[..., BlockServer], reader: SearchingReader, tmp_path: Path
) -> None:
    path, frames = write_block(tmp_path)
    path.write_bytes(b"other")
    first = serve(tmp_path)
    serve(tmp_path)

    with pytest.raises(BlockLostError, match="damaged"):
        reader.read(Location("home", str(path), first.uri), frames)


def test_a_server_that_was_silent_is_not_believed_again(
    serve: Callable[..., BlockServer], reader: SearchingReader, tmp_path: Path
) -> None:
    # Else a file could go to and fro between two servers that only the driver reaches.
    path, _ = write_block(tmp_path)
    first, second = serve(tmp_path), serve(tmp_path)
    one = Location("home", str(path), first.uri)
    two = one._replace(uri=second.uri)

    assert reader.elsewhere([one]) == {one: two}
    assert reader.elsewhere([two]) == {}


def test_an_agent_lists_its_block_server_until_it_ends(
    cluster: Any, eventually: Callable[..., Any]
) -> None:
    space: RemoteSpace = cluster.connect()
    agent = cluster.start_agent("--host", "home", processes=1)
    eventually(lambda: space.count(("blocks", "home", str)) == 1)

    agent.stop()

    assert space.count(("blocks", None, None)) == 0


@pytest.mark.faults
def test_the_block_server_of_an_agent_that_was_killed_is_listed_no_more(
    cluster: Any, eventually: Callable[..., Any]
) -> None:
    space: RemoteSpace = cluster.connect()
    agent = cluster.start_agent("--host", "home", processes=1)
    eventually(lambda: space.count(("blocks", "home", str)) == 1)

    agent.process.kill()

    eventually(lambda: space.count(("blocks", None, None)) == 0, 15)


def test_a_machine_that_others_reach_elsewhere_serves_there_too(
    key: Key, space: TupleSpace, reader: SearchingReader, tmp_path: Path
) -> None:
    network = Network()
    path, frames = write_block(tmp_path)
    serving = Serving(tmp_path, key, network)  # type: ignore[arg-type]
    given = tmp_path / "input.txt"
    given.write_bytes(b"a line")
    serving.share([str(given)])
    listing = Listing(space, "home", serving)
    listing.renew()
    before = serving.uri

    network.local_address = "127.0.0.2"
    assert not serving.follow()  # nobody has connected anew
    network.admissions += 1
    assert serving.follow()
    assert not serving.follow()
    listing.renew()

    assert "@127.0.0.2:" in serving.uri
    assert space.read_all(("blocks", "home", str)) == [("blocks", "home", serving.uri)]
    for uri in (before, serving.uri):
        assert list(reader.read(Location("home", str(path), uri), frames)) == [b"block"]
        about = given.stat()
        with reader.open_at(uri, str(given), about.st_size, about.st_mtime_ns) as opened:
            assert opened.read() == b"a line"
    network.admissions, network.local_address = 3, "127.0.0.1"
    assert serving.follow()
    assert serving.uri == before
    serving.stop()


def test_an_address_that_cannot_be_had_yet_is_tried_again(key: Key, tmp_path: Path) -> None:
    network = Network()
    serving = Serving(tmp_path, key, network)  # type: ignore[arg-type]
    before = serving.uri

    network.admissions, network.local_address = 2, "192.0.2.1"  # nobody's
    assert not serving.follow()
    assert serving.uri == before
    network.local_address = "127.0.0.2"
    assert serving.follow()
    serving.stop()


@pytest.mark.skipif(not address_for_others(), reason="this machine has no other address")
def test_an_agent_whose_space_opens_to_others_lists_a_server_that_they_reach(
    cluster: Any,
) -> None:
    cluster.start_agent("--host", "home", processes=1)
    (_, _, near) = cluster.connect().read(("blocks", "home", str), timeout=10)
    cluster.kill_server()
    cluster.start_server("--host", "0.0.0.0")

    far = re.compile(re.escape(f"@{address_for_others()}:"))
    assert "@127.0.0.1:" in near
    assert cluster.connect().read(("blocks", "home", far), timeout=15)
