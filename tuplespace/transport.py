"""A non-blocking transport for a Pyro5 daemon: one thread, one event loop, all connections.

Pyro's own multiplex server reads with blocking calls, so that one silent or half-sending client
stops everybody, and it decodes whatever a stranger sends. Here a message is handled only when it
is whole, replies queue where a client reads slowly, a stranger may send nothing but a small
handshake, soon, and what is dangerous to decode is refused by its header:

- compressed messages (a few kilobytes can inflate to gigabytes), marshal and json;
- Pyro's ``KEEPSERIALIZED``, whose annotation is marshal whatever the serializer;
- ``ONEWAY`` is run in line instead of in a new thread, and its reply dropped.

Only Pyro5's wire format (502) and these of its names are relied on: ``Daemon.transportServer``,
``_handshake``, ``handleRequest``, ``_clientDisconnect``, ``_housekeeping``, ``SocketConnection``.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import struct
import time
from collections.abc import Callable
from typing import Any, Final

from Pyro5 import protocol, serializers
from Pyro5.errors import CommunicationError

from tuplespace.connection import HANDSHAKE_SECONDS, SEND_SECONDS, Connection, tune
from tuplespace.limits import CALL_BYTES, Limits

logger = logging.getLogger(__name__)

#: What strangers may send, in bytes.
HANDSHAKE_BYTES: Final = 4 * 1024

# Reads of 128 KiB and more cross malloc's mmap threshold and cost a multiple.
_RECEIVE: Final = 64 * 1024
_HEADER: Final = 40
_SIZES: Final = struct.Struct("!II")  # data and annotations, at byte 12
_HOUSEKEEPING_SECONDS: Final = 2.0
#: What strangers have to show the key while they keep others out.
_PRESSED_SECONDS: Final = 1.0
_SERIALIZERS: Final = frozenset(
    {serializers.SerpentSerializer.serializer_id, serializers.MsgpackSerializer.serializer_id}
)
_REFUSED_FLAGS: Final = protocol.FLAGS_COMPRESSED | protocol.FLAGS_KEEPSERIALIZED


class Transport:
    """Takes the place of a daemon's ``transportServer``.

    Args:
        daemon: Whose requests to handle; besides Pyro's names it has `fast_path`,
            `next_deadline`, `advance`.
        sock: Its listening socket, which this owns from now on. limits: How many connections.
    """

    def __init__(
        self, daemon: Any, sock: socket.socket, location: str, limits: Limits = Limits()
    ) -> None:
        self.daemon, self.sock, self.locationStr, self._limits = daemon, sock, location, limits
        sock.setblocking(False)
        sock.listen(4096)
        self.selector = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_writer.setblocking(False)
        self._waking = False
        self._wake_reader.setblocking(False)
        self.selector.register(sock, selectors.EVENT_READ, self._accept)
        self.selector.register(self._wake_reader, selectors.EVENT_READ, self._woken)
        # What a client with the key may send in one message.
        self._message_bytes = max(CALL_BYTES, limits.tuple_bytes) + (1 << 20)
        self._connections: set[Connection] = set()
        self._strangers, self._listening = 0, True
        self._doomed: list[Connection] = []

    def listen_also(self, sock: socket.socket, handler: Callable[[], None]) -> None:
        """Call the handler, which neither blocks nor raises, when this socket can be read."""
        self.selector.register(sock, selectors.EVENT_READ, handler)

    @property
    def sockets(self) -> list[Any]:
        """Every socket of this transport."""
        return [key.fileobj for key in self.selector.get_map().values()]

    def loop(self, loopCondition: Callable[[], bool] = lambda: True) -> None:  # noqa: N803
        """Serve until the condition fails; `wake` makes it look."""
        next_housekeeping = 0.0
        while loopCondition():
            deadline = min(self.daemon.next_deadline(), next_housekeeping)
            timeout = max(0.0, deadline - time.monotonic())
            for key, mask in self.selector.select(timeout):
                if not isinstance(key.data, Connection):
                    key.data()
                elif not key.data.closed:
                    if mask & selectors.EVENT_WRITE:
                        key.data.flush()
                    else:
                        self._receive(key.data)
                # Before the next message: it may be a tuple that the dead one waited for.
                self._bury()
            now = time.monotonic()
            _safely(self.daemon.advance, now)
            if now >= next_housekeeping:
                _safely(self.daemon._housekeeping)
                next_housekeeping = now + self._cut_overdue(now)
            self._bury()

    def _cut_overdue(self, now: float) -> float:
        """Cut who neither sent nor read in time; return the seconds until we look again."""
        self._listen(self._has_room)
        # While strangers keep others out, they have less time.
        pressed = self._strangers >= self._limits.unauthenticated
        early = HANDSHAKE_SECONDS - _PRESSED_SECONDS if pressed else 0.0
        for connection in list(self._connections):
            if connection.overdue - (0.0 if connection.authenticated else early) <= now:
                logger.info("cut %s: it neither sent nor read in time", connection.peer)
                self.doom(connection)
        return _PRESSED_SECONDS / 4 if pressed else _HOUSEKEEPING_SECONDS

    def wake(self) -> None:
        """Make the loop look at its condition; safe in any thread and signal handler."""
        if not self._waking:
            self._waking = True
            with contextlib.suppress(OSError):
                self._wake_writer.send(b"x")

    shutdown = wake  # Pyro's name for it

    def watch(self, connection: Connection, event: int) -> None:
        """Wait for this connection to send bytes or to take them, one of the two."""
        if not connection.closed:
            self.selector.modify(connection, event, connection)

    def resume(self, connection: Connection) -> None:
        """Go on with a connection that has read all its replies."""
        self.watch(connection, selectors.EVENT_READ)
        if connection.received:
            self._consume(connection, connection.received)

    def doom(self, connection: Connection) -> None:
        """Close a connection as soon as what is being handled is done."""
        if not connection.closed:
            connection.closed = True
            self._doomed.append(connection)

    def _bury(self) -> None:
        while self._doomed:
            self._close(self._doomed.pop())

    def close(self) -> None:
        """Close every socket."""
        for connection in list(self._connections):
            connection.closed = True
            self._close(connection)
        self.selector.close()
        for sock in (self.sock, self._wake_reader, self._wake_writer):
            sock.close()

    def _woken(self) -> None:
        with contextlib.suppress(OSError):
            self._wake_reader.recv(4096)
        self._waking = False  # after this: who still saw True did so before we look

    def _accept(self) -> None:
        for _ in range(64):
            if not self._has_room:
                self._listen(False)  # they wait in the backlog
                if len(self._connections) == self._limits.connections:
                    logger.warning(
                        "as many connections as are allowed: %d", self._limits.connections
                    )
                return
            try:
                sock, _ = self.sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                logger.warning("cannot accept a connection now: %s", error)
                self._listen(False)  # until the next housekeeping
                return
            try:
                sock.setblocking(False)
                tune(sock)
                connection = Connection(sock, self)
            except OSError:
                sock.close()  # it has gone already
                continue
            self._connections.add(connection)
            self._strangers += 1
            self.selector.register(connection, selectors.EVENT_READ, connection)

    def _listen(self, on: bool) -> None:
        if on and not self._listening:
            self.selector.register(self.sock, selectors.EVENT_READ, self._accept)
        elif self._listening and not on:
            self.selector.unregister(self.sock)
        self._listening = on

    @property
    def _has_room(self) -> bool:
        most = self._limits.connections
        return self._strangers < self._limits.unauthenticated and (
            most is None or len(self._connections) < most
        )

    def _one_stranger_less(self) -> None:
        self._strangers -= 1
        self._listen(self._has_room)

    def _receive(self, connection: Connection) -> None:
        try:
            data: bytes | bytearray = connection.sock.recv(_RECEIVE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.doom(connection)
            return
        if connection.received:
            connection.received += data
            data = connection.received
        self._consume(connection, data)

    def _consume(self, connection: Connection, data: bytes | bytearray) -> None:
        """Handle the whole messages in these bytes and keep the rest."""
        start, end = 0, len(data)
        while end - start >= _HEADER and not connection.outbox:
            size = self._size(connection, data, start)
            if size == 0:
                return
            if end - start < size:
                break
            whole = start == 0 and size == end and type(data) is bytes
            message = data if whole else bytes(data[start : start + size])
            start += size
            self._handle(connection, message)  # type: ignore[arg-type]
            if connection.closed:
                return
        if start < end:
            if connection.authenticated and not connection.outbox:
                connection.deadline = time.monotonic() + SEND_SECONDS
            if data is connection.received:
                del connection.received[:start]
            else:
                connection.received = bytearray(data[start:])
        elif connection.received:
            connection.received = bytearray()

    def _size(self, connection: Connection, data: bytes | bytearray, start: int) -> int:
        """Return the size of the message whose header is here; 0: refused."""
        content, annotations = _SIZES.unpack_from(data, start + 12)
        size: int = _HEADER + content + annotations
        limit = self._message_bytes if connection.authenticated else HANDSHAKE_BYTES
        flags = data[start + 9]
        if data[start : start + 6] != b"PYRO\x01\xf6" or data[start + 38 : start + 40] != b"M\xc5":
            problem = "not Pyro5's protocol"
        elif size > limit:
            problem = f"message of {size} bytes; {limit} are allowed"
        elif data[start + 7] not in _SERIALIZERS and data[start + 6] != protocol.MSG_PING:
            problem = "only the serializers serpent and msgpack are accepted"
        elif flags & _REFUSED_FLAGS:
            problem = "compressed and pre-serialized messages are not accepted"
        else:
            return size
        logger.warning("refused %s: %s", connection.peer, problem)
        self._refuse(connection, data[start + 6], problem)
        return 0

    def _refuse(self, connection: Connection, kind: int, problem: str) -> None:
        """Say why, where the client understands it, and close."""
        if kind == protocol.MSG_CONNECT:
            serializer = serializers.serializers["serpent"]
            connection.send(
                protocol.SendingMessage(
                    protocol.MSG_CONNECTFAIL, 0, 0, serializer.serializer_id,
                    serializer.dumps(problem),
                ).data
            )  # fmt: skip
        self.doom(connection)

    def _handle(self, connection: Connection, message: bytes) -> None:
        known = connection.authenticated
        try:
            if known:
                if self.daemon.fast_path(connection, message):
                    return
                if message[9] & protocol.FLAGS_ONEWAY:
                    message = _without_flag(message, protocol.FLAGS_ONEWAY)
                    connection.muted = True
                connection.load(message)
                self.daemon.handleRequest(connection)
                return
            connection.load(message)
            if not self.daemon._handshake(connection):
                self.doom(connection)
            elif connection.authenticated:
                self._one_stranger_less()
        except CommunicationError as error:
            logger.info("%s: %s", connection.peer, error)
            self.doom(connection)
        except Exception:
            # One client's message must never end the loop for all.
            logger.exception("cannot handle a message of %s", connection.peer)
            self.doom(connection)
        finally:
            connection.muted = False

    def _close(self, connection: Connection) -> None:
        self._connections.discard(connection)
        with contextlib.suppress(KeyError, ValueError):
            self.selector.unregister(connection)
        if not connection.authenticated:
            self._strangers -= 1
        self._listen(self._has_room)
        _safely(self.daemon._clientDisconnect, connection)
        connection.close()


def _safely(do: Callable[..., object], *args: object) -> None:
    """Do it; what one client provoked must not end the loop for all."""
    try:
        do(*args)
    except Exception:
        logger.exception("%s failed", getattr(do, "__name__", do))


def _without_flag(message: bytes, flag: int) -> bytes:
    changed = bytearray(message)
    changed[9] &= ~flag
    return bytes(changed)
