"""RemoteSpace: a Space over Pyro5 connections; reconnects, and repeats calls by operation id.

::

    lane      idle --call--> sent --reply--> idle
                              | connection breaks
                              v
                            lost --reconnected: the same number again--> sent
                              |  --the space came back empty--> SpaceLostError
                              '--retry_for is over--> SpaceUnreachableError(outcome_unknown)

A lane is a connection of its own, because a Pyro connection carries one call at a time; a thread
borrows one for each call.
"""

from __future__ import annotations

import math
import os
import socket
import threading
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from Pyro5 import core as pyro
from Pyro5.errors import PyroError

from tuplespace import errors
from tuplespace.frames import (
    HEADER_BYTES,
    call_message,
    message_size,
    reply_in,
)
from tuplespace.keeping import Keeper
from tuplespace.limits import Limits
from tuplespace.networks import address_for_others, host_of, is_loopback
from tuplespace.opaque import Opener
from tuplespace.proxy import GuardedProxy
from tuplespace.security import Key, load_key, nonce
from tuplespace.verbs import TEMPLATE_FIRST, SpaceVerbs
from tuplespace.wire import check_sizes, pack, pack_template, unpack

_RECEIVE: Final = 64 * 1024
_CONNECT_SECONDS: Final = 5.0
_GOODBYE_SECONDS: Final = 1.0
#: A connection that broke after this long was a good one: `retry_for` starts anew.
_STEADY_SECONDS: Final = 1.0
_FIRST_PAUSE: Final = 0.02


class _Lane:
    """One connection, one call at a time, numbered."""

    def __init__(self, id: int) -> None:
        self.id = id
        self.number = 0
        self.space_id: str | None = None
        self._proxy: GuardedProxy | None = None
        self._sock: socket.socket | None = None
        self._timeout = -1.0  # of the socket, which is slow to be told
        self.due = math.inf  # when the space has to have answered what it was asked

    @property
    def connected(self) -> bool:
        return self._sock is not None

    def connect(self, uri: str, key: Key, session: str, timeout: float) -> dict[str, Any]:
        """Connect and return what the space that is there says of itself."""
        proxy = GuardedProxy(uri, key, {"session": session, "lane": self.id})
        admission = proxy.connect(timeout)
        self._proxy, self._sock, self._timeout = proxy, proxy._pyroConnection.sock, -1.0
        return admission

    def exchange(self, request: bytes, timeout: float) -> memoryview:
        """Send one call and return the reply; OSError if the connection breaks meanwhile."""
        sock = self._sock
        assert sock is not None
        if timeout != self._timeout:
            sock.settimeout(None if timeout > threading.TIMEOUT_MAX else timeout)
            self._timeout = timeout
        sock.sendall(call_message(self.number & 0xFFFF, request))
        data = sock.recv(_RECEIVE)
        if len(data) < HEADER_BYTES or len(data) != message_size(data):
            data = self._rest(sock, bytearray(data))
        try:
            return reply_in(data)
        except ValueError as error:
            raise ConnectionResetError(str(error)) from None

    @staticmethod
    def _rest(sock: socket.socket, data: bytearray) -> bytes:
        wanted = HEADER_BYTES
        while data:
            if len(data) >= HEADER_BYTES:
                wanted = message_size(data)
                if len(data) == wanted:
                    return bytes(data)
                if len(data) > wanted:
                    raise ConnectionResetError("the space answered more than was asked")
            more = sock.recv(min(_RECEIVE, wanted - len(data)))
            if not more:
                break
            data += more
        raise ConnectionResetError("the space closed the connection")

    def interrupt(self) -> None:
        """Wake up whoever waits on this lane; for another thread."""
        sock = self._sock
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def disconnect(self) -> None:
        proxy, self._proxy, self._sock, self.due = self._proxy, None, None, math.inf
        if proxy is not None:
            proxy._pyroConnection.close()

    def forget(self) -> None:
        """Close our copy of a connection that is our parent's, without a word to the space."""
        if self._sock is not None:
            self._sock.close()


class RemoteSpace(SpaceVerbs):
    """A tuple space on a server. See `interface.Space`; made by `connect`.

    Thread-safe. After a fork, or where it is unpickled, it makes connections and a session of
    its own. As a context manager it says goodbye at the end.

    Attributes:
        uri: The space's. name: Its name, if the ring found it; else "".
        away_until: Until when a call is repeated that found no space, by `time.monotonic`; None: the
            last connection that was wanted was made.
    """

    def __init__(self, uri: str, key: Key, retry_for: float = 60.0, name: str = "") -> None:
        self.uri, self.name = uri, name
        self._key = key
        self.retry_for = retry_for
        super().__init__(Opener(key))
        self._open = lambda value: value  # `unpack` has opened it
        self._begin()
        _spaces.add(self)

    def _begin(self) -> None:
        self._session = nonce()
        self._lock = threading.Lock()
        self._idle: list[_Lane] = []
        self._busy: set[_Lane] = set()
        self._lanes = 0
        self._space_id: str | None = None
        # What the space said of itself; it is asked with the first connection.
        self._tuple_bytes, self._is_open = Limits.tuple_bytes, False
        self.admissions = 0
        self.away_until: float | None = None
        self._closing = threading.Event()

    def _begin_after_fork(self) -> None:
        for lane in (*self._idle, *self._busy):
            lane.forget()
        self._keeper = Keeper()  # what our parent keeps is its own
        if not self._closing.is_set():
            self._begin()

    def __repr__(self) -> str:
        return f"<RemoteSpace {self.uri}>"

    def __enter__(self) -> RemoteSpace:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        return _reconnect, (self.uri, self._key.path, self.retry_for)

    def _call(self, verb: str, args: Sequence[Any], timeout: float = 0.0) -> Any:
        if verb in TEMPLATE_FIRST:
            args = (pack_template(args[0]), *args[1:])
        lane = self._borrow()
        try:
            lane.number += 1
            request = pack((lane.number, verb, tuple(args)))
            if len(request) > self._tuple_bytes:
                check_sizes(verb, args, len(request), self._tuple_bytes)
            try:
                reply = self._exchange(lane, request, timeout)
            except BaseException:
                # Whatever was under way, the next call on this lane starts on a clean connection.
                lane.disconnect()
                raise
        finally:
            self._give_back(lane)
        _, ok, value = unpack(reply, self._opener.restore)
        if ok:
            return value
        raise errors.from_wire(*value)

    def _exchange(self, lane: _Lane, request: bytes, timeout: float) -> memoryview:
        sent, give_up_at, pause = False, math.inf, _FIRST_PAUSE
        while True:
            up_since = math.inf
            try:
                if not lane.connected:
                    self._connect(lane)
                sent, up_since = True, time.monotonic()
                lane.due = up_since + timeout
                reply = lane.exchange(request, timeout + self.retry_for)
            except (OSError, PyroError) as error:
                # Our own patience has no errno; ETIMEDOUT is a connection that broke, as others do.
                if isinstance(error, TimeoutError) and error.errno is None:
                    raise self._unreachable(error, True) from None
                lane.disconnect()
                if isinstance(error, errors.AuthenticationError):
                    raise
                if self._closing.is_set():
                    raise errors.ClosedError("this client of the space was closed") from None
                now = time.monotonic()
                if now - up_since > _STEADY_SECONDS:
                    give_up_at, pause = math.inf, _FIRST_PAUSE
                give_up_at = min(give_up_at, now + self.retry_for)
                self.away_until = give_up_at
                if now >= give_up_at:
                    raise self._unreachable(error, sent) from None
                if self._closing.wait(min(pause, give_up_at - now)):
                    raise errors.ClosedError("this client of the space was closed") from None
                pause = min(2 * pause, 1.0)
            else:
                lane.due = math.inf
                return reply

    def _unreachable(self, error: BaseException, sent: bool) -> errors.SpaceUnreachableError:
        unknown = "; the last call may have been applied" if sent else ""
        return errors.SpaceUnreachableError(
            f"the tuple space {self.uri} did not answer for {self.retry_for:g} s: {error}{unknown}",
            sent,
        )

    def _connect(self, lane: _Lane, timeout: float = _CONNECT_SECONDS) -> None:
        admission = lane.connect(self.uri, self._key, self._session, timeout)
        space_id = str(admission["space"])
        self._tuple_bytes, self._is_open = admission["tuple_bytes"], admission["is_open"]
        self.admissions += 1
        self.away_until = None
        known, lane.space_id = lane.space_id or self._space_id, space_id
        with self._lock:
            if self._space_id != space_id:
                self._space_id = space_id
                for idle in self._idle:  # they would find out one by one
                    idle.disconnect()
                    idle.space_id = space_id
        if known is not None and known != space_id:
            raise errors.SpaceLostError(
                f"the tuple space {self.uri} was restarted without a store: what was in it is gone"
            )

    def _borrow(self) -> _Lane:
        with self._lock:
            if self._closing.is_set():
                raise errors.ClosedError("this client of the space was closed")
            if self._idle:
                lane = self._idle.pop()
            else:
                self._lanes += 1
                lane = _Lane(self._lanes)
            self._busy.add(lane)
            return lane

    def _give_back(self, lane: _Lane) -> None:
        with self._lock:
            self._busy.discard(lane)
            if self._closing.is_set():
                lane.disconnect()
            else:
                self._idle.append(lane)

    def ping(self, timeout: float) -> None:
        """Connect once, without retries.

        Raises:
            SpaceUnreachableError: No space there. AuthenticationError: Another key.
        """
        lane = self._borrow()
        try:
            if not lane.connected:
                self._connect(lane, timeout)
        finally:
            self._give_back(lane)

    @property
    def overdue(self) -> float:
        """For how many seconds the space, connected, has owed an answer; 0: it owes none. Never waits."""
        with self._lock:
            due = min((lane.due for lane in self._busy), default=math.inf)
        return max(0.0, time.monotonic() - due)

    @property
    def key(self) -> Key:
        """The cluster key."""
        return self._key

    @property
    def space_id(self) -> str:
        """What the space calls itself; another one when it came back empty."""
        if self._space_id is None:
            self.ping(_CONNECT_SECONDS)
        return str(self._space_id)

    @property
    def local_address(self) -> str:
        """The address of this machine at which others who use the space may reach it.

        It may be another one after each connection made; `admissions` counts those.
        """
        host, port = pyro.URI(self.uri).host, pyro.URI(self.uri).port
        family = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family[0], socket.SOCK_DGRAM) as sock:
            sock.connect(family[4])
            near = host_of(sock.getsockname())
        if is_loopback(near) and self.space_id and self._is_open:  # the space's own machine
            return address_for_others() or near
        return near

    def close(self) -> None:
        """See `interface.Space.close`. Blocks a second at most."""
        with self._lock:
            if self._closing.is_set():
                return
            self._closing.set()
            self._keeper.stop()
            idle, self._idle, busy = self._idle, [], list(self._busy)
        lane = next((lane for lane in idle if lane.connected), None)
        if lane is not None:
            with suppress(OSError, PyroError, errors.TupleSpaceError):
                lane.number += 1
                lane.exchange(pack((lane.number, "goodbye", ())), _GOODBYE_SECONDS)
        for each in idle:
            each.disconnect()
        for each in busy:
            each.interrupt()


#: Every client of this process; a fork leaves its child copies of their connections.
_spaces: weakref.WeakSet[RemoteSpace] = weakref.WeakSet()


def _after_fork() -> None:
    for space in list(_spaces):
        space._begin_after_fork()


os.register_at_fork(after_in_child=_after_fork)


def _reconnect(uri: str, key_file: Any, retry_for: float) -> RemoteSpace:
    return RemoteSpace(uri, load_key(key_file), retry_for)
