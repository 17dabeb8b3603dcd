"""Blocks: whole, checked, and for those who hold the key."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tuplespace.errors import AuthenticationError
from tuplespace.proxy import GuardedProxy
from tuplespace.security import Key, throwaway_key
from workers.blocks import (
    FRAME_BYTES,
    BlockReader,
    BlockServer,
    BlockWriter,
    Frame,
    Location,
    digest,
)
from workers.errors import BlockLostError, WorkFolderError
from workers.folders import occupy, remove_deserted, work_folder

NOBODY = "PYRO:blocks@127.0.0.1:9"


@pytest.fixture(scope="module")
def key() -> Key:
    return throwaway_key()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def server(root: Path, key: Key) -> Iterator[BlockServer]:
    server = BlockServer(root, key)
    yield server
    server.stop()


@pytest.fixture
def reader(key: Key) -> Iterator[Callable[[str], BlockReader]]:
    """Return what makes the reader of a host."""
    readers = []

    def make(host: str) -> BlockReader:
        readers.append(BlockReader(host, key))
        return readers[-1]

    yield make
    for each in readers:
        each.close()


def write_block(folder: Path, *contents: bytes) -> tuple[Path, list[Frame]]:
    with BlockWriter(folder, "map-1") as file:
        frames = [file.write(content) for content in contents]
    return file.path, frames


# --- writing --------------------------------------------------------------------------------------


def test_a_block_appears_when_it_is_whole(root: Path) -> None:
    with BlockWriter(root / "job", "map-1") as file:
        file.write(b"some")
        assert list(root.glob("job/*.blocks")) == []

    assert list((root / "job").iterdir()) == [file.path]
    assert file.path.read_bytes() == b"some"


def test_a_writer_that_raises_leaves_nothing(root: Path) -> None:
    with pytest.raises(KeyError), BlockWriter(root / "job", "map-1") as file:
        file.write(b"some")
        raise KeyError

    assert list((root / "job").iterdir()) == []


def test_two_attempts_of_one_task_do_not_meet(root: Path) -> None:
    assert write_block(root, b"a")[0] != write_block(root, b"b")[0]


# --- input files ----------------------------------------------------------------------------------


def test_a_silent_driver_is_another_thing_than_a_file_that_is_gone(
    root: Path, tmp_path: Path, server: BlockServer, reader: Callable[[str], BlockReader]
) -> None:
    path = tmp_path / "input"
    path.write_bytes(b"some")
    server.share([str(path)])
    facts = str(path), 4, path.stat().st_mtime_ns
    assert reader("away").open_at(server.uri, *facts).read() == b"some"

    path.unlink()
    with pytest.raises(FileNotFoundError):
        reader("away").open_at(server.uri, *facts).read()
    with pytest.raises(BlockLostError) as silent:
        reader("away").open_at(NOBODY, *facts).read()
    assert not silent.value.answered


# --- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["home", "away"])
def test_frames_come_back_in_the_order_they_are_asked_for(
    host: str, root: Path, server: BlockServer, reader: Callable[[str], BlockReader]
) -> None:
    path, (first, second, empty) = write_block(root / "job", b"one", b"three", b"")
    location = Location("home", str(path), server.uri)

    found = reader(host).read(location, [second, empty, first])

    assert found == [b"three", b"", b"one"]


def test_the_own_hosts_disk_needs_no_server(
    root: Path, reader: Callable[[str], BlockReader]
) -> None:
    path, frames = write_block(root, b"one")
    local = reader("home")

    assert local.read(Location("home", str(path), NOBODY), frames) == [b"one"]
    assert local.fetched_bytes == 0


def test_another_hosts_path_is_not_tried_here(
    root: Path, tmp_path: Path, server: BlockServer, reader: Callable[[str], BlockReader]
) -> None:
    path, frames = write_block(root, b"one")
    away = reader("away")

    assert away.read(Location("home", str(path), server.uri), frames) == [b"one"]
    assert away.fetched_bytes == 3
    with pytest.raises(BlockLostError):
        away.read(Location("home", str(path), NOBODY), frames)


def test_a_file_that_is_not_where_it_was_is_asked_of_the_server(
    root: Path, tmp_path: Path, key: Key, reader: Callable[[str], BlockReader]
) -> None:
    # The same host name, but not the same disk: two containers, say.
    path, frames = write_block(root, b"one")
    with_it = BlockServer(root, key)
    local = reader("home")

    assert local.read(Location("home", str(path), with_it.uri), frames) == [b"one"]
    path.unlink()
    with pytest.raises(BlockLostError, match=r"map-1.*home"):
        local.read(Location("home", str(path), with_it.uri), frames)
    with_it.stop()


@pytest.mark.parametrize("host", ["home", "away"])
def test_damage_of_any_kind_is_a_lost_block(
    host: str, root: Path, server: BlockServer, reader: Callable[[str], BlockReader]
) -> None:
    path, [frame] = write_block(root, b"content")
    location = Location("home", str(path), server.uri)

    for damaged in (b"Content", b"conten", b"", b"other things"):
        path.write_bytes(damaged)
        with pytest.raises(BlockLostError):
            reader(host).read(location, [frame])
    path.write_bytes(b"content and more")
    assert reader(host).read(location, [frame]) == [b"content"]


def test_a_frame_larger_than_one_message_comes_in_pieces(
    root: Path, server: BlockServer, reader: Callable[[str], BlockReader]
) -> None:
    content = os.urandom(FRAME_BYTES * 2 + 5)
    path, frames = write_block(root, b"x", content)

    found = reader("away").read(Location("home", str(path), server.uri), frames)

    assert found == [b"x", content]


def test_a_reader_finds_a_server_that_has_moved(
    root: Path, key: Key, reader: Callable[[str], BlockReader]
) -> None:
    path, frames = write_block(root, b"one")
    away = reader("away")
    first = BlockServer(root, key)
    assert away.read(Location("home", str(path), first.uri), frames) == [b"one"]
    first.stop()

    with pytest.raises(BlockLostError):
        away.read(Location("home", str(path), first.uri), frames)
    second = BlockServer(root, key)
    assert away.read(Location("home", str(path), second.uri), frames) == [b"one"]
    second.stop()


# --- the block server -----------------------------------------------------------------------------


def test_a_server_hands_out_nothing_outside_its_folder(
    root: Path, tmp_path: Path, server: BlockServer, reader: Callable[[str], BlockReader]
) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "root-of-another").mkdir()
    (tmp_path / "root-of-another" / "secret").write_bytes(b"secret")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "folder").symlink_to(tmp_path)
    frame = Frame(0, 6, digest(b"secret"))

    for path in (
        tmp_path / "secret", root / "../secret", root / "link", root / "folder/secret",
        tmp_path / "root-of-another/secret", Path("secret"), root / "\0",
    ):  # fmt: skip
        with pytest.raises(BlockLostError):
            reader("away").read(Location("home", str(path), server.uri), [frame])


@pytest.mark.parametrize("offset, length", [(0, -1), (-1, 3), (0, FRAME_BYTES + 1), (1 << 70, 1)])
def test_a_server_reads_no_nonsense(
    offset: int, length: int, root: Path, key: Key, server: BlockServer
) -> None:
    path, _ = write_block(root, b"content")
    with GuardedProxy(server.uri, key) as proxy:
        proxy.connect(5.0)
        with pytest.raises((ValueError, OverflowError, OSError, TypeError)):
            proxy.fetch([(str(path), offset, length)], ())
        half = (str(path), 0, FRAME_BYTES // 2 + 1)
        with pytest.raises(ValueError, match="no block"):
            proxy.fetch([half, half], ())
        assert proxy.fetch([(str(path), 0, 7)], ()) == [["", b"content"]]


def test_strangers_are_not_let_in(root: Path, server: BlockServer) -> None:
    with pytest.raises(AuthenticationError), GuardedProxy(server.uri, throwaway_key()) as proxy:
        proxy.connect(5.0)

    path, frames = write_block(root, b"one")
    stranger = BlockReader("away", throwaway_key())
    with pytest.raises(BlockLostError):
        stranger.read(Location("home", str(path), server.uri), frames)


def test_input_files_are_handed_out_only_when_shared_and_unchanged(
    tmp_path: Path, server: BlockServer, reader: Callable[[str], BlockReader]
) -> None:
    file = tmp_path / "input.txt"
    file.write_bytes(b"line\n" * 1000)
    status = file.stat()
    seen = (str(file), status.st_size, status.st_mtime_ns)
    away = reader("away")

    with pytest.raises(OSError, match="no input file"), away.open_at(server.uri, *seen) as opened:
        opened.read()
    server.share([str(file)])
    with away.open_at(server.uri, *seen) as opened:
        assert opened.read() == b"line\n" * 1000
        opened.seek(5)
        assert opened.read(5) == b"line\n"
    assert away.distant_bytes >= 5000
    file.write_bytes(b"other")
    with pytest.raises(OSError, match="changed"), away.open_at(server.uri, *seen) as opened:
        opened.read()


# --- folders --------------------------------------------------------------------------------------


def test_a_work_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    made = work_folder(tmp_path / "a" / "b")

    assert made == tmp_path / "a" / "b"
    assert made.stat().st_mode & 0o777 == 0o700
    assert work_folder(made) == made


def test_a_folder_that_others_can_write_is_refused(tmp_path: Path) -> None:
    for mode in (0o777, 0o770, 0o1777):
        tmp_path.chmod(mode)
        with pytest.raises(WorkFolderError, match="--work-dir"):
            work_folder(tmp_path)
    tmp_path.chmod(0o700)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_the_folder_of_another_user_is_refused() -> None:
    with pytest.raises(WorkFolderError, match="--work-dir"):
        work_folder("/")
    with pytest.raises(WorkFolderError, match="--work-dir"):
        work_folder("/tuplemill-work")


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(WorkFolderError, match="--work-dir"):
        work_folder(tmp_path / "file")


def test_the_usual_folder_is_not_what_somebody_has_linked_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs").mkdir(mode=0o700)
    (tmp_path / f"tuplemill-{os.getuid()}").symlink_to(tmp_path / "theirs")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    with pytest.raises(WorkFolderError):
        work_folder()


def test_a_space_folder_lives_as_long_as_anybody_occupies_it(root: Path) -> None:
    first, second = occupy(root / "s1"), occupy(root / "s1")
    write_block(root / "s1" / "job", b"one")
    (root / "code").mkdir()

    first.close()
    remove_deserted(root)
    assert (root / "s1" / "job").is_dir()
    second.close()
    remove_deserted(root)
    assert list(root.iterdir()) == [root / "code"]


def test_a_folder_occupied_while_it_is_being_removed_is_a_new_one(root: Path) -> None:
    stop = threading.Event()

    def keep_removing() -> None:
        while not stop.is_set():
            remove_deserted(root)

    remover = threading.Thread(target=keep_removing)
    remover.start()
    try:
        for _ in range(300):
            with occupy(root / "s1"):
                path, _ = write_block(root / "s1" / "job", b"one")
                assert path.read_bytes() == b"one"
                shutil.rmtree(root / "s1" / "job")
    finally:
        stop.set()
        remover.join()
