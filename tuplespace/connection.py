"""A client's connection: Pyro reads whole messages from it and writes replies to it; neither blocks."""

from __future__ import annotations

import math
import selectors
import socket
import time
from collections import deque
from typing import Any, Final, Protocol

from Pyro5 import socketutil

#: Seconds a stranger has to show the cluster key.
HANDSHAKE_SECONDS: Final = 5.0
#: Seconds a reply may stand in the queue of a client that reads nothing.
SEND_SECONDS: Final = 30.0


class Loop(Protocol):
    """What a connection asks of the transport that owns it."""

    def watch(self, connection: Connection, event: int) -> None:
        """Wait for it to send bytes or to take them, one of the two."""

    def resume(self, connection: Connection) -> None:
        """Go on with it: it has read all its replies."""

    def doom(self, connection: Connection) -> None:
        """Close it as soon as what is being handled is done."""


def tune(sock: socket.socket) -> None:
    """Send small messages at once, and notice within half a minute a peer that has vanished."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", 10), ("TCP_KEEPALIVE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", 25_000),
    ):  # fmt: skip
        option = getattr(socket, name, None)  # each system has its own
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


class Connection(socketutil.SocketConnection):  # type: ignore[misc]
    """A client. Pyro reads its messages from here and writes replies here; neither blocks.

    Attributes:
        authenticated: Whether it has proved the key. peer: Its address, for logs.
        guest: What the daemon knows of it; None at first. outbox: What it has not read yet;
            until it has, nothing more is read from it. diverted: While it is a list, this gets what
            is sent.
    """

    def __init__(self, sock: socket.socket, transport: Loop) -> None:
        super().__init__(sock)
        self.authenticated = False
        self.guest: Any = None
        self.peer = str(sock.getpeername())
        self.closed = False
        self.muted = False
        self.diverted: list[bytes] | None = None
        self.received = bytearray()
        self.outbox: deque[memoryview] = deque()
        self.deadline = time.monotonic() + HANDSHAKE_SECONDS
        self._transport = transport
        self._message = b""
        self._read = 0

    def load(self, message: bytes) -> None:
        """Make this whole message the next that `recv` reads from."""
        self._message, self._read = message, 0

    @property
    def message_size(self) -> int:
        """Of the loaded message, in bytes."""
        return len(self._message)

    def recv(self, size: int) -> bytes:
        """Return the next bytes of the loaded message."""
        start = self._read
        self._read = start + size
        return self._message[start : self._read]

    def send(self, data: bytes) -> None:
        """Send what the socket takes now and queue the rest."""
        if self.muted or self.closed:
            return
        if self.diverted is not None:
            self.diverted.append(data)
            return
        if not self.outbox:
            try:
                sent = self.sock.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                self._transport.doom(self)
                return
            if sent == len(data):
                return
            data = memoryview(data)[sent:]  # type: ignore[assignment]
            self.deadline = time.monotonic() + SEND_SECONDS
            self._transport.watch(self, selectors.EVENT_WRITE)
        self.outbox.append(memoryview(data))

    def is_alive(self) -> bool:
        """Say whether the client is there: its end may have come and wait to be read."""
        try:
            return not self.closed and self.sock.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def flush(self) -> None:
        """Send more of the queue; called when the socket takes more."""
        outbox = self.outbox
        try:
            while outbox:
                sent = self.sock.send(outbox[0])
                self.deadline = time.monotonic() + SEND_SECONDS
                if sent < len(outbox[0]):
                    outbox[0] = outbox[0][sent:]
                    return
                outbox.popleft()
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._transport.doom(self)
            return
        self._transport.resume(self)

    @property
    def overdue(self) -> float:
        """When it must have shown the key, read on or sent on; infinity if nothing is asked of it."""
        asked = self.outbox or self.received or not self.authenticated
        return self.deadline if asked else math.inf
