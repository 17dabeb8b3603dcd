"""A Pyro5 proxy that proves the cluster key and makes the daemon prove it too."""

from __future__ import annotations

import socket
import time
from typing import Any, Final

import Pyro5.api
import Pyro5.errors
from Pyro5 import protocol, serializers, socketutil

from tuplespace.connection import tune
from tuplespace.errors import AuthenticationError, SpaceUnreachableError
from tuplespace.security import Key, nonce, same

_RECEIVE: Final = 64 * 1024
#: What a daemon may answer to a handshake; most of it is Pyro's list of methods.
_ANSWER_BYTES: Final = 64 * 1024
_SAFE: Final = {
    each.serializer_id: each
    for each in (serializers.serializers["serpent"], serializers.serializers["msgpack"])
}


class _Line:
    """What a handshake goes over: one deadline for all that is sent and received.

    Args:
        host: Whom to connect to, at this port. timeout: Seconds, for the handshake too.
    """

    def __init__(self, host: str, port: int, timeout: float) -> None:
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        seconds = max(timeout, 0.001)  # to Pyro 0 is for ever
        try:
            if "%" in host:
                self.sock = socket.create_connection((host, port), seconds)
            else:
                self.sock = socketutil.create_socket(connect=(host, port), timeout=seconds)
        except (OSError, ValueError, OverflowError) as error:
            raise Pyro5.errors.CommunicationError(str(error)) from error

    def _hurry(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"no whole answer within {self._timeout:g} s")
        self.sock.settimeout(left)

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self._hurry()
        self.sock.sendall(data)

    def recv(self, size: int) -> bytes:
        """Receive so many bytes."""
        if size > _ANSWER_BYTES:
            raise ConnectionResetError(f"an answer of {size:,} bytes to a handshake")
        data = bytearray()
        while len(data) < size:
            self._hurry()
            more = self.sock.recv(min(_RECEIVE, size - len(data)))
            if not more:
                raise ConnectionResetError("it closed the connection")
            data += more
        return bytes(data)


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
            SpaceUnreachableError: Nothing answers there in this protocol, or not all of it in
                `timeout` seconds, which are for all steps together.
            AuthenticationError: One of the two sides has another key.
        """
        self._pyroTimeout = timeout
        try:
            self._bind(timeout)
        except Pyro5.errors.CommunicationError as error:
            if "unknown object" in str(error):
                raise SpaceUnreachableError(
                    f"{self._pyroUri.location}: there is no object {self._pyroUri.object!r}"
                ) from None
            if "rejected: " in str(error):
                raise self._wrong_key(str(error).partition("rejected: ")[2]) from None
            reason = error.__cause__ or error
            raise SpaceUnreachableError(f"{self._pyroUri.location}: {reason}") from None
        return self.admission  # type: ignore[no-any-return]

    def _bind(self, timeout: float) -> None:
        """Do what `_pyroBind` does, all of it in time, and for a link-local address too.

        Pyro loses the scope of such an address; and its timeout is for each receive, so that
        somebody who sends a byte now and then would keep it for ever.
        """
        uri = self._pyroUri
        line = _Line(uri.host, uri.port, timeout)
        try:
            kind, answer = self._ask(line, self._pyroHandshake)
            if kind == protocol.MSG_CONNECTFAIL:
                raise Pyro5.errors.CommunicationError(f"rejected: {answer}")
            if not isinstance(answer, dict) or not {"handshake", "meta"} <= answer.keys():
                raise Pyro5.errors.CommunicationError("that is no space's answer")
            self._Proxy__processMetadata(answer["meta"])
            self._prove(answer["handshake"], line)
            line.sock.settimeout(timeout)
            self._pyroLocalSocket = line.sock.getsockname()
        except BaseException:
            line.sock.close()
            raise
        self._pyroConnection = socketutil.SocketConnection(line.sock, uri.object)

    def _ask(self, connection: Any, handshake: dict[str, Any]) -> tuple[int, Any]:
        """Send one step of the handshake; return the kind of the answer and the answer."""
        serializer = serializers.serializers["msgpack"]
        data = serializer.dumps({"handshake": handshake, "object": self._pyroUri.object})
        step = protocol.SendingMessage(
            protocol.MSG_CONNECT, 0, 0, serializer.serializer_id, data
        ).data
        kinds = [protocol.MSG_CONNECTOK, protocol.MSG_CONNECTFAIL]
        try:
            connection.send(step)
            answer = protocol.recv_stub(connection, kinds)
            # It has not proved the key yet, so what is dangerous to decode is not decoded.
            return answer.type, _SAFE[answer.serializer_id].loads(answer.data)
        except (OSError, ValueError, KeyError) as error:
            raise Pyro5.errors.CommunicationError(str(error)) from error

    def _pyroValidateHandshake(self, response: Any) -> None:  # noqa: N802
        """Pyro's hook: the daemon has answered our nonce; answer its own."""
        try:
            self._prove(response, self._pyroConnection)
        except BaseException:
            self._pyroRelease()
            raise

    def _prove(self, response: Any, connection: Any) -> None:
        ours = self._pyroHandshake["client"]
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
