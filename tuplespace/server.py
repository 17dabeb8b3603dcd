"""SpaceDaemon: a `Pyro5.api.Daemon` that serves one `SpaceCore`.

Two ways in. Our client's calls are Pyro messages too, to the method ``call`` with one argument,
bytes of `wire`; they are recognized by their first bytes and go to the core without Pyro's
dispatch. A stock proxy's calls go through Pyro to the exposed methods of `stock.StockSpace`. A call the
core parks is answered when the core says so; meanwhile it is an object in the core, not a thread.

With a store, what a turn of the loop decided is appended at its end, in one piece for all clients
that were heard in it, and `gate` lets their answers out when that is durable.
"""

from __future__ import annotations

import functools
import logging
import math
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from Pyro5 import protocol, serializers
from Pyro5.callcontext import current_context

from tuplespace import errors
from tuplespace.connection import Connection
from tuplespace.core import SpaceCore
from tuplespace.daemon import GuardedDaemon
from tuplespace.discovery import RING_PORT, Responder
from tuplespace.frames import DEFAULT_PORT, OBJECT_NAME, request_in, result_message
from tuplespace.gate import Gate
from tuplespace.limits import TEMPLATE_BYTES, Limits
from tuplespace.networks import host_of, is_loopback
from tuplespace.resources import default_limits
from tuplespace.security import Key
from tuplespace.sessions import Lane
from tuplespace.stock import StockSpace, builtin_error, for_stock
from tuplespace.store.interface import Store
from tuplespace.template import Template
from tuplespace.verbs import TEMPLATE_FIRST
from tuplespace.wire import check_sizes, pack_reply, pack_template, unpack, unpack_template

logger = logging.getLogger(__name__)

#: Templates up to this size are compiled once.
_CACHED_BYTES: Final = 1024


class _Parked(BaseException):
    """Leaves Pyro's dispatch without a reply: the core will give one."""


class _Guest:
    """A connection's place in the core."""

    __slots__ = ("is_stock", "lane", "sequence", "serializer_id")

    def __init__(self, lane: Lane, is_stock: bool) -> None:
        self.lane, self.is_stock = lane, is_stock
        self.sequence = self.serializer_id = 0


class SpaceDaemon(GuardedDaemon):
    """Serves one tuple space.

    Args:
        key: The cluster key.
        host: Address to bind. port: 0 lets the system choose.
        limits: What it takes before it refuses; None: see `resources.default_limits`.
        open_store: Opens what keeps the space; called once the address is ours. None: nothing does.

    Attributes:
        space_id: Changes whenever the space starts empty, so that clients notice.
        store: What keeps the space, if anything does. When it fails the daemon stops.

    Raises:
        OSError: The address cannot be bound. StoreError: The store cannot be used.
    """

    def __init__(
        self, key: Key, host: str = "127.0.0.1", port: int = DEFAULT_PORT,
        limits: Limits | None = None, open_store: Callable[[], Store] | None = None,
    ) -> None:  # fmt: skip
        limits = limits or default_limits()
        super().__init__(key, host, port, limits)
        self._limits = limits
        self._gate: Gate | None = None
        self._ahead = 0.0  # what the space's clock is ahead of ours
        try:
            self.store = None if open_store is None else open_store()
            if self.store is not None and self.store.keeps:
                gate = self._gate = Gate(self.store, limits)
                self.core, self.space_id, self._ahead = gate.core, gate.space_id, gate.ahead
                gate.start(self.transportServer.wake)
            else:
                self.store = None
                self.core = SpaceCore(Connection.is_alive, 1 + secrets.randbits(48), limits)
                self.space_id = secrets.token_hex(8)
        except BaseException:
            super().close()
            raise
        self.register(StockSpace(self.serve_stock), OBJECT_NAME)
        self._templates = functools.lru_cache(maxsize=4096)(unpack_template)
        self._responder: Responder | None = None
        self._is_open = not is_loopback(self.sock.getsockname()[0])

    def _time(self) -> float:
        """Return the time by the space's clock: with a store, it stands still while we are away."""
        return time.monotonic() + self._ahead

    @property
    def uri(self) -> str:
        """Where clients on this machine or, if it is bound to an address, others find it."""
        return f"PYRO:{OBJECT_NAME}@{self.locationStr}"

    def answer_ring(self, name: str, ring_port: int = RING_PORT) -> None:
        """Let `discovery.find` find this space by this name; call it before `serve`.

        Raises:
            OSError: Another program has the UDP port. InvalidArgumentError: The name is none.
        """
        host = host_of(self.sock.getsockname())
        responder = Responder(self.key, name, self.space_id, host, self.port, ring_port)
        for sock in responder.sockets:
            answer = functools.partial(responder.answer, sock)
            self.transportServer.listen_also(sock, answer)
        self._responder = responder

    def close(self) -> None:
        """Keep what was decided, answer what was asked, close every socket; `serve` does at its end."""
        gate, self._gate = self._gate, None
        if gate is not None:
            gate.close()
        super().close()
        if self._responder is not None:
            self._responder.close()

    def housekeeping(self) -> None:
        """Pyro's hook: some seconds have passed."""
        if self._responder is not None:
            self._responder.rescan()
        if self._gate is not None:
            self._gate.look()

    def next_deadline(self) -> float:
        """See `GuardedDaemon.next_deadline`."""
        if self.core.journal:
            return -math.inf  # clients went after the end of the last turn
        return self.core.next_deadline() - self._ahead

    def advance(self, now: float) -> None:
        """See `GuardedDaemon.advance`; the end of a turn."""
        try:
            self.core.advance(now + self._ahead)
            if self.core.effects:
                self._deliver()
        finally:
            if self._gate is not None:
                self._gate.append()
                self._gate.open()
                if self._gate.store.failure is not None:
                    self.stop()

    def admit(self, connection: Connection, claims: dict[str, Any] | None) -> dict[str, Any]:
        """Give the connection its session and lane; see `GuardedDaemon.admit`."""
        if claims is None:
            session, lane_id = f"stock-{secrets.token_hex(16)}", 0
        else:
            session, lane_id = str(claims["session"]), int(claims["lane"])
        lane = self.core.connect(session, self._time()).lane(lane_id)
        lane.session.returns = claims is not None
        lane.latest = connection
        if claims is None:
            lane.link = connection
        connection.guest = _Guest(lane, is_stock=claims is None)
        return {
            "space": self.space_id, "is_open": self._is_open,
            "tuple_bytes": self._limits.tuple_bytes,
        }  # fmt: skip

    def clientDisconnect(self, conn: Connection) -> None:  # noqa: N802
        """Pyro's hook: a connection has gone."""
        if isinstance(conn.guest, _Guest):
            lane, now = conn.guest.lane, self._time()
            self.core.detach(lane, conn)
            if lane.latest is conn:
                lane.latest = None
            if conn.guest.is_stock:
                self.core.goodbye(lane.session, now)
            else:
                self.core.disconnect(lane.session, now)
            self._deliver()

    def fast_path(self, connection: Connection, message: bytes) -> bool:
        """Handle a call of our own client."""
        call = request_in(message)
        if call is None:
            return False
        guest: _Guest = connection.guest
        lane = guest.lane
        if lane.link is not connection:
            if lane.latest is not connection:  # a late call of one whom its caller gave up
                self.transportServer.doom(connection)
                return True
            lane.link = connection
        guest.sequence, request = call
        self._apply(guest, request)
        self._deliver()
        return True

    def _apply(self, guest: _Guest, request: bytes | memoryview) -> None:
        """Apply one call: (number, verb, arguments); a template among them is packed."""
        lane = guest.lane
        try:
            number, verb, args = unpack(request)
        except (errors.TupleSpaceError, ValueError, TypeError) as error:
            problem = errors.InvalidArgumentError(f"not a call: {error}")
            self.core.effects.append((lane, lane.number, False, problem))
            return
        if verb == "goodbye":
            for other in lane.session.lanes.values():
                if other is not lane and other.link is not None:
                    self.transportServer.doom(other.link)
            self.core.effects.append((lane, number, True, None))
            self.core.goodbye(lane.session, self._time())
            return
        try:
            self._check_sizes(verb, args, len(request))
            if verb in TEMPLATE_FIRST:
                args = (self._template(args[0]), *args[1:])
        except errors.TupleSpaceError as error:
            self.core.effects.append((lane, number, False, error))
            return
        except (TypeError, IndexError, RecursionError) as error:
            problem = errors.InvalidArgumentError(f"{verb}: {error}")
            self.core.effects.append((lane, number, False, problem))
            return
        self.core.call(lane, number, verb, args, time.monotonic() + self._ahead)

    def _check_sizes(self, verb: str, args: Sequence[Any], size: int) -> None:
        if size > self._limits.tuple_bytes:
            check_sizes(verb, args, size, self._limits.tuple_bytes)

    def _template(self, packed: bytes) -> Template:
        size = len(packed)
        if size > TEMPLATE_BYTES:
            raise errors.InvalidTemplateError(
                f"a template of {size:,} bytes; {TEMPLATE_BYTES:,} are allowed"
            )
        return self._templates(packed) if size <= _CACHED_BYTES else unpack_template(packed)

    def _deliver(self) -> None:
        """Send what the core decided to whoever is still there."""
        effects = self.core.effects
        if not effects:
            return
        self.core.effects = []
        for lane, number, ok, value in effects:
            connection = lane.link
            if connection is None:
                continue  # the lane keeps the reply
            guest: _Guest = connection.guest
            if guest.is_stock:
                self._deliver_stock(connection, guest, bool(ok), value)
                continue
            reply = value if ok is None else pack_reply(number, ok, value)
            self._send(connection, result_message(guest.sequence, reply))

    def _send(self, connection: Connection, message: bytes) -> None:
        if self._gate is None:
            connection.send(message)
        else:
            self._gate.answer(connection, message)

    def handleRequest(self, conn: Connection) -> None:  # noqa: N802
        """Pyro's dispatch, for stock proxies; what it sends has to pass the gate, too."""
        answers: list[bytes] | None = None if self._gate is None else []
        conn.diverted = answers
        try:
            super().handleRequest(conn)
        except _Parked:
            pass
        finally:
            conn.diverted = None
        for answer in answers or ():
            self._send(conn, answer)
        self._deliver()

    def serve_stock(self, verb: str, args: Sequence[Any]) -> Any:
        """Apply a stock proxy's call and return its result, or park it.

        Raises:
            Exception: One that every Python has: Pyro's clients know no others.
        """
        connection: Connection = current_context.client
        guest: _Guest = connection.guest
        lane = guest.lane
        try:
            self._check_sizes(verb, args, connection.message_size)
            if verb in TEMPLATE_FIRST:
                args = (self._template(pack_template(args[0])), *args[1:])
        except errors.TupleSpaceError as error:
            raise builtin_error(error) from None
        self.core.call(lane, lane.number + 1, verb, args, self._time())
        mine = next((effect for effect in self.core.effects if effect[0] is lane), None)
        if mine is not None:
            self.core.effects.remove(mine)
            if mine[2]:
                return for_stock(mine[3])
            raise builtin_error(mine[3])
        if current_context.msg_flags & protocol.FLAGS_BATCH or connection.muted:
            self.core.abandon(lane, self._time())
            raise TimeoutError("no match now, and a batched or oneway call does not wait")
        guest.sequence, guest.serializer_id = current_context.seq, current_context.serializer_id
        raise _Parked

    def _deliver_stock(self, connection: Connection, guest: _Guest, ok: bool, value: Any) -> None:
        serializer = serializers.serializers_by_id[guest.serializer_id]
        flags = 0 if ok else protocol.FLAGS_EXCEPTION
        try:
            content = serializer.dumps(for_stock(value) if ok else builtin_error(value))
        except Exception as error:  # noqa: BLE001  # a serializer raises anything
            flags = protocol.FLAGS_EXCEPTION
            problem = errors.InvalidTupleError(f"the answer cannot be sent: {error}")
            content = serializer.dumps(builtin_error(problem))
        current_context.correlation_id = None  # it belongs to another's call
        self._send(
            connection,
            protocol.SendingMessage(
                protocol.MSG_RESULT, flags, guest.sequence, guest.serializer_id, content
            ).data,
        )
