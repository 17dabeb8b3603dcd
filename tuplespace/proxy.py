"""A Pyro5 proxy that proves the cluster key and makes the daemon prove it too."""

from __future__ import annotations

import socket
from typing import Any

import Pyro5.api
import Pyro5.errors
from Pyro5 import protocol, serializers, socketutil

from tuplespace.connection import tune
from tuplespace.errors import AuthenticationError, SpaceUnreachableError
from tuplespace.security import Key, nonce, same


class GuardedProxy(Pyro5.api.Proxy):  # type: ignore[misc]
    """A proxy for an object of a `daemon.GuardedDaemon`. Like every proxy, for one thread.

    Args:
        uri: The object's. key: The cluster key. claims: What to say of ourselves.
    """

    def __init__(self, uri: str, key: Key, claims: dict[str, Any] | None = None) -> None:
        super().__init__(uri)
        self._pyroSerializer = "msgpack"
        self._pyroHandshake = {"client": nonce()}
        # Proxy.__setattr__ would look these up at the daemon.
        object.__setattr__(self, "_key", key)
        object.__setattr__(self, "_claims", claims or {})
        object.__setattr__(self, "admission", {})

    def connect(self, timeout: float) -> dict[str, Any]:
        """Connect and authenticate; return what the daemon's `admit` said.

        Raises:
            SpaceUnreachableError: Nothing answers there, in time or in this protocol.
            AuthenticationError: One of the two sides has another key.
        """
        self._pyroTimeout = timeout
        try:
            if "%" in str(self._pyroUri.host):
                self._bind_scoped(timeout)
            else:
                self._pyroBind()
        except Pyro5.errors.CommunicationError as error:
            if "rejected: " in str(error):
                raise self._wrong_key(str(error).partition("rejected: ")[2]) from None
            reason = error.__cause__ or error
            raise SpaceUnreachableError(f"{self._pyroUri.location}: {reason}") from None
        return self.admission  # type: ignore[no-any-return]

    def _bind_scoped(self, timeout: float) -> None:
        """Do what `_pyroBind` does, for a link-local address, whose scope Pyro loses."""
        uri = self._pyroUri
        try:
            sock = socket.create_connection((uri.host, uri.port), timeout)
            connection = socketutil.SocketConnection(sock, uri.object)
            kind, answer = self._ask(connection, self._pyroHandshake)
        except OSError as error:
            raise Pyro5.errors.CommunicationError(str(error)) from None
        if kind == protocol.MSG_CONNECTFAIL:
            raise Pyro5.errors.CommunicationError(f"rejected: {answer}")
        self._Proxy__processMetadata(answer["meta"])
        self._pyroConnection = connection
        self._pyroLocalSocket = sock.getsockname()
        self._pyroValidateHandshake(answer["handshake"])

    def _ask(self, connection: Any, handshake: dict[str, Any]) -> tuple[int, Any]:
        """Send one step of the handshake; return the kind of the answer and the answer."""
        serializer = serializers.serializers["msgpack"]
        data = serializer.dumps({"handshake": handshake, "object": self._pyroUri.object})
        connection.send(
            protocol.SendingMessage(protocol.MSG_CONNECT, 0, 0, serializer.serializer_id, data).data
        )
        answer = protocol.recv_stub(connection, [protocol.MSG_CONNECTOK, protocol.MSG_CONNECTFAIL])
        return answer.type, serializers.serializers_by_id[answer.serializer_id].loads(answer.data)

    def _pyroValidateHandshake(self, response: Any) -> None:  # noqa: N802
        """Pyro's hook: the daemon has answered our nonce; answer its own."""
        try:
            self._prove(response)
        except BaseException:
            self._pyroRelease()
            raise

    def _prove(self, response: Any) -> None:
        connection, ours = self._pyroConnection, self._pyroHandshake["client"]
        tune(connection.sock)
        if not isinstance(response, dict) or not same(
            response.get("proof"), self._key.proof("server", ours, str(response.get("server")))
        ):
            raise self._wrong_key("the daemon could not prove to have it")
        proof = self._key.proof("client", ours, response["server"])
        kind, content = self._ask(connection, {"proof": proof, **self._claims})
        if kind == protocol.MSG_CONNECTFAIL:
            raise self._wrong_key(content)
        object.__setattr__(self, "admission", content["handshake"])

    def _wrong_key(self, reason: str) -> AuthenticationError:
        key = self._key.path or "made for this process"
        return AuthenticationError(
            f"the space at {self._pyroUri.location} has another cluster key than ours ({key}): "
            f"{reason}; copy its key file here, or name it with --key-file"
        )
