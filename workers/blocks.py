"""Blocks: bulk bytes in local files, handed to other hosts by a block server.

A map task writes one file; the space and the driver carry only locators. A block never changes:
a locator holds the digest of its bytes, and what does not match it is not there. Files get their
name when they are whole, so a writer that dies leaves nothing that a reader could take for one.

Where they lie: see `folders`.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import secrets
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, NamedTuple

import Pyro5.api
import Pyro5.errors

from tuplespace.daemon import GuardedDaemon
from tuplespace.errors import SpaceUnreachableError, TupleSpaceError
from tuplespace.proxy import GuardedProxy
from tuplespace.security import Key
from workers import compression
from workers.errors import BlockLostError
from workers.files import open_distant

#: A frame is checked as a whole before it is unpickled, and moved as a whole.
FRAME_BYTES: Final = 4 << 20
_OBJECT_NAME: Final = "blocks"
_SCOPE: Final = re.compile(r"%\w+(?=])")
_CONNECT_SECONDS: Final = 5.0
_FETCH_SECONDS: Final = 60.0
_NO_ANSWER: Final = (
    ConnectionError, TimeoutError, SpaceUnreachableError, Pyro5.errors.CommunicationError,
)  # fmt: skip
#: So many block servers are asked at the same time.
_FETCHES: Final = 4


class Frame(NamedTuple):
    """Bytes of a block file. Plain data: it travels in tuples."""

    offset: int
    length: int
    digest: bytes


class Location(NamedTuple):
    """Where a block file is. Plain data.

    Attributes:
        host: The host whose disk it is on. path: Its path there. uri: A block server there.
    """

    host: str
    path: str
    uri: str


def digest(data: bytes) -> bytes:
    """Return what identifies these bytes."""
    return hashlib.blake2b(data, digest_size=16).digest()


class BlockWriter:
    """Writes one block file, frame by frame; a context manager that drops it on an exception.

    Args:
        folder: The job's. name: What the file is for, such as "map-12".
        inline_bytes: Up to so many bytes there is no file, see `content`; -1: there always is.
    """

    def __init__(self, folder: Path, name: str, inline_bytes: int = -1) -> None:
        self.path = folder / f"{name}-{secrets.token_hex(4)}.blocks"
        self._draft = self.path.with_suffix(".draft")
        self._inline_bytes = inline_bytes
        self._file: IO[bytes] = io.BytesIO()
        self._on_disk = False
        self._size = 0
        if inline_bytes < 0:
            self._to_disk()

    def _to_disk(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = open(self._draft, "wb")  # noqa: SIM115  # closed by __exit__
        if isinstance(self._file, io.BytesIO):
            file.write(self._file.getbuffer())
        self._file, self._on_disk = file, True

    def write(self, data: bytes) -> Frame:
        """Append one frame."""
        if not self._on_disk and self._size + len(data) > self._inline_bytes:
            self._to_disk()
        self._file.write(data)
        frame = Frame(self._size, len(data), digest(data))
        self._size += len(data)
        return frame

    def content(self) -> bytes | None:
        """Return all that was written, if there is no file; ask before the end of the block."""
        return self._file.getvalue() if isinstance(self._file, io.BytesIO) else None

    def __enter__(self) -> BlockWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._file.close()
        if not self._on_disk:
            return
        if kind is None:
            self._draft.rename(self.path)
        else:
            self._draft.unlink(missing_ok=True)


class BlockReader:
    """Reads frames: from this host's disk, else from the block server of the host that has them.

    Args:
        host: The host this runs on. key: To talk to block servers.
        near: The URI of this host's block server, or of the space.
    """

    def __init__(self, host: str, key: Key, near: str = "") -> None:
        self.host, self._key = host, key
        self._scope = "".join(_SCOPE.findall(near))
        self._connections = threading.local()  # a proxy is for one thread
        self._threads: ThreadPoolExecutor | None = None
        self.fetched_bytes = 0
        self.distant_bytes = 0

    def is_near(self, location: Location) -> bool:
        """Say whether this block file should be on this host's disk."""
        return location.host == self.host

    def read(self, location: Location, frames: Iterable[Frame]) -> list[bytes]:
        """Return the bytes of these frames, checked against their digests.

        Raises:
            BlockLostError: They are gone, damaged, or nobody who has them answers.
        """
        frames = list(frames)
        if location.host == self.host:
            with contextlib.suppress(OSError), open(location.path, "rb") as file:
                found = []
                for frame in frames:
                    file.seek(frame.offset)
                    found.append(file.read(frame.length))
                if all(
                    digest(data) == frame.digest for data, frame in zip(found, frames, strict=True)
                ):
                    return found
        return [self._fetch(location, frame) for frame in frames]

    def fetch_later(self, wanted: Sequence[tuple[Location, Frame]]) -> Future[list[bytes]]:
        """Begin to fetch frames, all from one block server; the bytes are checked as `read`'s."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_FETCHES, "fetch")
        return self._threads.submit(self._fetch_all, wanted)

    def _fetch_all(self, wanted: Sequence[tuple[Location, Frame]]) -> list[bytes]:
        if sum(frame.length for _, frame in wanted) > FRAME_BYTES:
            return [self._fetch(location, frame) for location, frame in wanted]
        requests = [(location.path, frame.offset, frame.length) for location, frame in wanted]
        answers = self._ask(wanted[0][0], requests)
        return [
            self._checked(location, frame, data)
            for (location, frame), data in zip(wanted, answers, strict=True)
        ]

    def _fetch(self, location: Location, frame: Frame) -> bytes:
        pieces = []
        for start in range(0, frame.length, FRAME_BYTES):
            size = min(FRAME_BYTES, frame.length - start)
            pieces += self._ask(location, [(location.path, frame.offset + start, size)])
        return self._checked(location, frame, b"".join(pieces))

    def _ask(self, location: Location, requests: list[tuple[str, int, int]]) -> list[bytes]:
        """Ask the block server for ranges of files, at most FRAME_BYTES in all."""
        accepted = () if location.host == self.host else compression.known()
        try:
            answers = self._proxy(location.uri).fetch(requests, accepted)
            return [
                compression.decompress(codec, data, size)
                for (codec, data), (_, _, size) in zip(answers, requests, strict=True)
            ]
        except (OSError, ValueError, TypeError, TupleSpaceError, Pyro5.errors.PyroError) as error:
            self._forget(location.uri)
            raise BlockLostError(
                f"the block {location.path} of host {location.host} cannot be had: {error}",
                answered=not isinstance(error, _NO_ANSWER),
            ) from None

    def _checked(self, location: Location, frame: Frame, data: bytes) -> bytes:
        if digest(data) != frame.digest:
            raise BlockLostError(f"the block {location.path} of host {location.host} is damaged")
        self.fetched_bytes += len(data)
        return data

    def open_at(self, uri: str, path: str, size: int, mtime_ns: int) -> IO[bytes]:
        """Open an input file of the driver's host, shared by its block server; see `files`.

        Raises:
            OSError: While it is read: it has vanished or changed. BlockLostError: Nobody answers.
        """

        def fetch(offset: int, length: int) -> bytes:
            length = min(length, FRAME_BYTES)
            try:
                data = self._proxy(uri).fetch_input(path, size, mtime_ns, offset, length)
            except _NO_ANSWER as error:
                self._forget(uri)
                raise BlockLostError(
                    f"{path} cannot be had from the driver's host: {error}", answered=False
                ) from None
            except (ValueError, TupleSpaceError, Pyro5.errors.PyroError) as error:
                self._forget(uri)
                raise OSError(f"{path} cannot be had from the driver's host: {error}") from None
            self.distant_bytes += len(data)
            return bytes(data)

        return open_distant(fetch, size)

    @property
    def _proxies(self) -> dict[str, GuardedProxy]:
        proxies: dict[str, GuardedProxy] = self._connections.__dict__.setdefault("proxies", {})
        return proxies

    def _proxy(self, uri: str) -> GuardedProxy:
        proxy = self._proxies.get(uri)
        if proxy is None:
            # The scope of a link-local address is the number of an interface of the host that
            # says it; the same link has another number here.
            proxy = GuardedProxy(_SCOPE.sub(self._scope, uri), self._key)
            proxy.connect(_CONNECT_SECONDS)
            proxy._pyroTimeout = _FETCH_SECONDS
            self._proxies[uri] = proxy
        return proxy

    def _forget(self, uri: str) -> None:
        proxy = self._proxies.pop(uri, None)
        if proxy is not None:
            proxy._pyroRelease()

    def close(self) -> None:
        """Close this thread's connections to block servers, and end the others'."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        for uri in list(self._proxies):
            self._forget(uri)


class BlockServer:
    """Hands out the blocks beneath one folder, in a thread of its own.

    Args:
        root: Nothing outside it is ever read. key: The cluster key. address: To bind.
    """

    def __init__(self, root: Path, key: Key, address: str = "127.0.0.1") -> None:
        self._daemon = GuardedDaemon(key, address)
        self._blocks = _Blocks(root)
        self.uri = str(self._daemon.register(self._blocks, _OBJECT_NAME))
        self._thread = threading.Thread(target=self._daemon.serve, name="blocks", daemon=True)
        self._thread.start()

    def share(self, paths: Iterable[str]) -> None:
        """Hand out these input files too."""
        self._blocks.inputs.update(paths)

    def stop(self) -> None:
        """Close it and its connections."""
        self._daemon.stop()
        self._thread.join()


class _Blocks:
    """What a block server's clients see."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self.inputs: set[str] = set()

    @Pyro5.api.expose  # type: ignore[untyped-decorator]
    def fetch_input(self, path: str, size: int, mtime_ns: int, offset: int, length: int) -> Any:
        """Return bytes of a shared input file, if it still is what the driver saw.

        Raises:
            ValueError: The file is not shared. OSError: It has changed or cannot be read.
        """
        if path not in self.inputs or not 0 <= length <= FRAME_BYTES:
            raise ValueError(f"{path} is no input file of a job here")
        with open(path, "rb") as opened:
            status = os.fstat(opened.fileno())
            if (status.st_size, status.st_mtime_ns) != (size, mtime_ns):
                raise OSError(f"{path} has changed since the job was planned")
            opened.seek(offset)
            return opened.read(length)

    @Pyro5.api.expose  # type: ignore[untyped-decorator]
    def fetch(self, requests: Any, accepted: Any) -> Any:
        """Return ranges of block files, each as (codec, bytes).

        Args:
            requests: (path, offset, length) each, at most FRAME_BYTES in all.
            accepted: The codecs that the reader knows.

        Raises:
            ValueError: A path is not one of ours. OSError: A file cannot be read.
        """
        left = FRAME_BYTES
        answers = []
        for path, offset, length in requests:
            file = Path(path).resolve()
            left -= length
            if not file.is_relative_to(self._root) or length < 0 or left < 0:
                raise ValueError(f"{path} is no block of this server")
            with open(file, "rb") as opened:
                opened.seek(offset)
                answers.append(compression.compress(opened.read(length), accepted))
        return answers
