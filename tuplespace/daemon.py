"""A Pyro5 daemon that lets in only who proves to have the cluster key.

::

    client                                         daemon
      | CONNECT {"client": nonce}                    |
      |--------------------------------------------->|
      |   {"server": nonce, "proof": of both nonces} |   the daemon has the key
      |<---------------------------------------------|
      | CONNECT {"proof": of both nonces, ...}       |   the client has the key
      |--------------------------------------------->|
      |                                  whatever `admit` returns

A stock ``Pyro5.api.Proxy`` can send one handshake only: the ticket of `tuplespace.handshake`.
Until one of the two has happened a connection reaches no object at all.
"""

from __future__ import annotations

import logging
import math
import socket
import threading
from typing import Any

import Pyro5.api
from Pyro5 import config

from tuplespace.connection import Connection
from tuplespace.errors import AuthenticationError
from tuplespace.limits import Limits
from tuplespace.networks import host_of
from tuplespace.security import Key, nonce, same
from tuplespace.transport import Transport

logger = logging.getLogger(__name__)


class GuardedDaemon(Pyro5.api.Daemon):  # type: ignore[misc]
    """A daemon on the non-blocking transport, behind the cluster key.

    Args:
        key: What clients must prove to have.
        host: Address to bind; loopback unless said otherwise. port: 0 lets the system choose.
            A link-local address of IPv6 has its scope, as in fe80::1%eth0.
        limits: How many connections.

    Raises:
        OSError: The address cannot be bound.
    """

    transportServer: Any  # noqa: N815  # Pyro's name

    def __init__(
        self, key: Key, host: str = "127.0.0.1", port: int = 0, limits: Limits = Limits()
    ) -> None:
        self.key = key
        self._stopping = threading.Event()
        # Stock clients get bytes as bytes from serpent; a stock daemon sends base64 in a dict.
        config.SERPENT_BYTES_REPR = True
        server_type, config.SERVERTYPE = config.SERVERTYPE, "multiplex"
        try:
            super().__init__(*(("127.0.0.1", 0) if "%" in host else (host, port)))
        finally:
            config.SERVERTYPE = server_type
        stock, sock = self.transportServer, self.transportServer.sock
        stock.selector.close()
        stock.sock = None
        if "%" in host:  # Pyro loses the scope
            sock.close()
            sock = _bind_scoped(host, port)
            self.locationStr = f"[{host_of(sock.getsockname())}]:{sock.getsockname()[1]}"
        self.transportServer = Transport(self, sock, self.locationStr, limits)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.sock.getsockname()[1])

    def serve(self) -> None:
        """Handle requests in this thread until `stop`, then close every connection."""
        try:
            self.requestLoop(lambda: not self._stopping.is_set())
        finally:
            self.close()

    def stop(self) -> None:
        """Make `serve` return soon; for any thread and for signal handlers."""
        self._stopping.set()
        transport = self.transportServer
        if transport is not None:  # as it is once `serve` has ended
            transport.wake()

    # What the transport asks for, besides Pyro's own names.

    def fast_path(self, connection: Connection, message: bytes) -> bool:
        """Handle a message without Pyro's dispatch, if it is one for that."""
        return False

    def next_deadline(self) -> float:
        """Return when `advance` is to be called at the latest, by time.monotonic()."""
        return math.inf

    def advance(self, now: float) -> None:
        """Do what is due by now."""

    def admit(self, connection: Connection, claims: dict[str, Any] | None) -> dict[str, Any]:
        """Note who has just proved the key; the answer reaches the client.

        Args:
            connection: Whose. claims: What our own client says of itself, None for a stock proxy.
        """
        return {}

    def validateHandshake(self, conn: Connection, data: Any) -> Any:  # noqa: N802
        """Pyro's hook: one step of the exchange drawn above."""
        if not isinstance(data, dict):
            data = {}
        if "ticket" in data:
            if not same(data["ticket"], self.key.ticket(str(data.get("nonce")))):
                raise AuthenticationError("the cluster key is not this daemon's")
            answer = self.admit(conn, None)
            conn.authenticated = True
            return answer
        if "client" in data:
            ours, theirs = nonce(), str(data["client"])
            conn.guest = (theirs, ours)
            return {"server": ours, "proof": self.key.proof("server", theirs, ours)}
        if "proof" in data and isinstance(conn.guest, tuple):
            if not same(data["proof"], self.key.proof("client", *conn.guest)):
                raise AuthenticationError("the cluster key is not this daemon's")
            conn.guest = None
            answer = self.admit(conn, data)
            conn.authenticated = True
            return answer
        logger.warning("refused %s: it showed no cluster key", conn.peer)
        raise AuthenticationError(
            "this daemon wants the cluster key: use tuplespace.connect(), or set "
            "proxy._pyroHandshake = tuplespace.handshake(key_file)"
        )


def _bind_scoped(host: str, port: int) -> socket.socket:
    numeric = socket.AI_NUMERICHOST
    found = socket.getaddrinfo(host, port, socket.AF_INET6, socket.SOCK_STREAM, flags=numeric)
    return socket.create_server(found[0][4], family=socket.AF_INET6)
