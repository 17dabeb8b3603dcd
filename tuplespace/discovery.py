"""The ring: finding a space on the local network, with no address given.

::

    finder                                              every space in earshot
      | request: nonce, wanted name, padding              |   broadcast, multicast, loopback
      |-------------------------------------------------->|
      | answer: nonce, space id, name, address, signature |   no longer than the request
      |<--------------------------------------------------|

A request holds no secret and is not signed. An answer is signed with the cluster key over the
request's nonce, so a stranger can neither make one nor use an old one again; it says no more
than where to connect, and there both sides prove the key once more. Datagrams are fixed structs,
because whoever is on the network can send any bytes; what is not one of ours is dropped in silence.

Nothing here has a thread: the space's event loop drives the `Responder`.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import secrets
import selectors
import socket
import struct
import sys
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

from tuplespace.errors import InvalidArgumentError
from tuplespace.frames import OBJECT_NAME
from tuplespace.networks import Place, host_of, is_loopback, places, send_everywhere
from tuplespace.security import Key

#: UDP; the same number as the space's TCP port.
RING_PORT: Final = 9217
#: What a space is called if nobody says otherwise.
DEFAULT_NAME: Final = "tuplespace"
#: A name in UTF-8.
NAME_BYTES: Final = 64
#: A request, and the most an answer may be: nobody gains by sending requests in another's name.
DATAGRAM_BYTES: Final = 256

_MAGIC: Final = b"tplring"
_VERSION: Final = 1
_REQUEST: Final = struct.Struct(f"!7sBB16s{NAME_BYTES}p")
#: magic, version, kind, nonce, port, space id, name, host ("": where the answer comes from)
_ANSWER: Final = struct.Struct(f"!7sBB16sH17p{NAME_BYTES}p48p")
_ASK, _TELL = 1, 2
_SIGNATURE_BYTES: Final = 32
_SEND_AT: Final = (0.0, 0.1, 0.2, 0.3, 0.45, 0.6, 0.75)
#: Seconds to wait for more answers after the first.
_LINGER: Final = 0.2
_AT_ONCE: Final = 64
_WRONG_KEYS: Final = 3
_RESCAN_SECONDS: Final = 10.0


class Announcement(NamedTuple):
    """A space that answered."""

    uri: str
    name: str
    space_id: str


class Found(list[Announcement]):
    """The spaces that answered, each once.

    Attributes:
        strangers: Addresses that answered with another key's signature, a few at most.
    """

    def __init__(self) -> None:
        super().__init__()
        self.strangers: list[str] = []


def check_name(name: str) -> str:
    """Return the name of a space if it may be one.

    Raises:
        InvalidArgumentError: It is empty, too long or not printable.
    """
    if not name or not name.isprintable() or len(name.encode()) >= NAME_BYTES:
        raise InvalidArgumentError(
            f"{name!r} is no name for a space: 1 to {NAME_BYTES - 1} bytes of printable text"
        )
    return name


class Responder:
    """Answers requests for one space; blocks nowhere.

    Args:
        key: The cluster key. name: The space's. space_id: Its id.
        host: The address that the space is bound to. If it is loopback, only this machine's
            requests are answered. port: The space's TCP port. ring_port: UDP port to listen on.

    Attributes:
        sockets: To be watched; call `answer` when one can be read.

    Raises:
        OSError: The UDP port is another program's.
        InvalidArgumentError: The name is none.
    """

    def __init__(
        self, key: Key, name: str, space_id: str, host: str, port: int,
        ring_port: int = RING_PORT,
    ) -> None:  # fmt: skip
        self._key, self._name = key, check_name(name)
        bound = ipaddress.ip_address(host)
        # An address of the link's means nothing without a scope, and that is the finder's to add.
        told = "" if bound.is_unspecified or bound.is_link_local else host
        self._fields = (port, space_id.encode(), name.encode(), told.encode())
        self._loopback_only = bound.is_loopback
        self.sockets: list[socket.socket] = []
        self._joined: set[tuple[socket.socket, Place]] = set()
        for family in _families(bound):
            try:
                self._open(family, ring_port)
            except OSError as error:
                if family == socket.AF_INET or error.errno == errno.EADDRINUSE:
                    self.close()
                    raise
                # A machine without IPv6.
        self._rescan_at = 0.0
        self.rescan()

    def _open(self, family: int, port: int) -> None:
        sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sockets.append(sock)
        sock.setblocking(False)
        # Several spaces of one machine listen on the port.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if not sys.platform.startswith("linux"):  # where it would give each request to one only
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(("", port))

    def rescan(self) -> None:
        """Listen on interfaces that have appeared since; looks every 10 s at most."""
        now = time.monotonic()
        if now < self._rescan_at:
            return
        self._rescan_at = now + _RESCAN_SECONDS
        there = {
            (sock, place)
            for place in places(self._loopback_only)
            for sock in self.sockets
            if sock.family == place.family
        }
        for sock, place in there - self._joined:
            place.join(sock)
        self._joined = there

    def answer(self, sock: socket.socket) -> None:
        """Answer what has come, a bounded number of requests."""
        for _ in range(_AT_ONCE):
            try:
                data, address = sock.recvfrom(DATAGRAM_BYTES + 1)
            except OSError:  # nothing more; or an earlier answer that could not be delivered
                return
            nonce = self._asked(data)
            if nonce is None or (self._loopback_only and not is_loopback(address[0])):
                continue
            with contextlib.suppress(OSError):
                sock.sendto(self._told(nonce), address)

    def _asked(self, data: bytes) -> bytes | None:
        """Return the nonce of a request for this space; None if it is none."""
        if len(data) != DATAGRAM_BYTES:
            return None
        magic, version, kind, nonce, name = _REQUEST.unpack_from(data)
        if (magic, version, kind) != (_MAGIC, _VERSION, _ASK) or name not in (b"", self._fields[2]):
            return None
        return bytes(nonce)

    def _told(self, nonce: bytes) -> bytes:
        body = _ANSWER.pack(_MAGIC, _VERSION, _TELL, nonce, *self._fields)
        return body + self._key.sign_answer(body)

    def close(self) -> None:
        """Close its sockets."""
        for sock in self.sockets:
            sock.close()


def find(
    key: Key, name: str | None = None, timeout: float = 1.0, *, port: int = RING_PORT,
    loopback_only: bool = False,
) -> Found:  # fmt: skip
    """Ask the local network for spaces with this key. Blocks for `timeout` at most.

    Args:
        key: The cluster key; who has another is not believed. name: None: any space.
        timeout: Seconds; after the first answer 0.2 are left for others.
        port: The UDP port that spaces listen on. loopback_only: Ask nobody but this machine.

    Raises:
        InvalidArgumentError: The name cannot be a space's.
    """
    wanted = check_name(name) if name is not None else ""
    nonce = secrets.token_bytes(16)
    request = _REQUEST.pack(_MAGIC, _VERSION, _ASK, nonce, wanted.encode())
    request = request.ljust(DATAGRAM_BYTES, b"\0")
    hearing = _Hearing(key, nonce, wanted)
    started = time.monotonic()
    end, sends = started + timeout, [started + after for after in _SEND_AT]
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        socks = [stack.enter_context(sock) for sock in _finder_sockets()]
        for sock in socks:
            selector.register(sock, selectors.EVENT_READ, sock)
        while (now := time.monotonic()) < end:
            if sends and now >= sends[0]:
                sends.pop(0)
                send_everywhere(socks, request, port, loopback_only)
            for ready, _ in selector.select(max(0.0, min([end, *sends]) - time.monotonic())):
                hearing.listen(ready.data)
            if hearing.spaces:
                end = min(end, hearing.first_at + _LINGER)
    return hearing.found()


class _Hearing:
    """What a finder has heard."""

    def __init__(self, key: Key, nonce: bytes, wanted: str) -> None:
        self._key, self._nonce, self._wanted = key, nonce, wanted
        self.first_at = 0.0
        self.spaces: dict[str, tuple[int, Announcement]] = {}
        self._strangers: list[str] = []

    def listen(self, sock: socket.socket) -> None:
        """Take in what has come."""
        for _ in range(_AT_ONCE):
            try:
                data, address = sock.recvfrom(DATAGRAM_BYTES + 1)
            except OSError:
                return
            self._hear(data, address)

    def _hear(self, data: bytes, address: tuple[str, int]) -> None:
        if len(data) != _ANSWER.size + _SIGNATURE_BYTES:
            return
        body, signature = data[: _ANSWER.size], data[_ANSWER.size :]
        magic, version, kind, nonce, port, space_id, name, host = _ANSWER.unpack(body)
        if (magic, version, kind, nonce) != (_MAGIC, _VERSION, _TELL, self._nonce):
            return
        if not self._key.signed_answer(body, signature):
            if address[0] not in self._strangers and len(self._strangers) < _WRONG_KEYS:
                self._strangers.append(address[0])
            return
        named, id = name.decode(), space_id.decode()
        if self._wanted not in ("", named):
            return
        at = host.decode() or host_of(address)
        uri = f"PYRO:{OBJECT_NAME}@{f'[{at}]' if ':' in at else at}:{port}"
        rank = _rank(at)
        if not self.spaces:
            self.first_at = time.monotonic()
        if id not in self.spaces or rank < self.spaces[id][0]:
            self.spaces[id] = (rank, Announcement(uri, named, id))

    def found(self) -> Found:
        found = Found()
        found += sorted((space for _, space in self.spaces.values()), key=lambda s: (s.name, s.uri))
        found.strangers = self._strangers
        return found


def _rank(host: str) -> int:
    """Return how good an address is: one that others can use too, then ours, then the link's."""
    address = ipaddress.ip_address(host)
    return 2 if address.is_link_local and address.version == 6 else int(address.is_loopback)


def _families(bound: ipaddress.IPv4Address | ipaddress.IPv6Address) -> list[int]:
    """Return over which a space that is bound to this address is to be found."""
    if bound.version == 4 and bound.is_unspecified:
        return [socket.AF_INET]
    if bound.is_link_local:
        return [socket.AF_INET if bound.version == 4 else socket.AF_INET6]
    return [socket.AF_INET, socket.AF_INET6]


def _finder_sockets() -> Iterator[socket.socket]:
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            sock = socket.socket(family, socket.SOCK_DGRAM)
            sock.setblocking(False)
            if family == socket.AF_INET:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            yield sock
