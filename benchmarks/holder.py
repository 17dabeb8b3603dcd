"""A client process that holds thousands of connections, with a take parked on each.

A `RemoteSpace` would need a thread for each; this speaks the same protocol from one thread.
"""

from __future__ import annotations

import gc
import json
import socket
import sys
import time
from typing import Any

import Pyro5.api

from tuplespace.frames import HEADER_BYTES, call_message, message_size, reply_in
from tuplespace.proxy import GuardedProxy
from tuplespace.security import load_key, nonce
from tuplespace.wire import pack, pack_template, unpack

SECONDS = 60.0
PAYLOAD = b"x" * 16


class Line:
    """One connection to a space, its lane, and the number of its latest call."""

    def __init__(self, uri: str, key_file: str, session: str, lane: int) -> None:
        self._proxy = GuardedProxy(uri, load_key(key_file), {"session": session, "lane": lane})
        self._proxy.connect(SECONDS)
        self._sock: socket.socket = self._proxy._pyroConnection.sock
        self._sock.settimeout(SECONDS)
        self._number = 0

    def send(self, verb: str, *args: Any) -> None:
        """Send a call; `receive` returns its result."""
        self._number += 1
        self._sock.sendall(call_message(self._number & 0xFFFF, pack((self._number, verb, args))))

    def receive(self) -> Any:
        """Return the result of the call that was sent. Blocks."""
        data = self._sock.recv(65536)
        while len(data) < HEADER_BYTES or len(data) < message_size(data):
            more = self._sock.recv(65536)
            assert more, "the space has closed the connection"
            data += more
        number, ok, value = unpack(reply_in(data))
        assert ok, value
        assert number == self._number
        return value


class Holder:
    """What this process does when asked.

    Args:
        uri, key_file: The space's. name: Makes its tuples its own.
    """

    def __init__(self, uri: str, key_file: str, name: str) -> None:
        self._uri, self._key_file, self._name = uri, key_file, name
        self._lines: list[Line] = []
        self._stock: list[Pyro5.api.Proxy] = []
        self._turn = -1

    def connect(self, count: int) -> None:
        """Connect so many times to a space."""
        session = nonce()
        self._writer = Line(self._uri, self._key_file, session, 0)
        for lane in range(1, count):
            self._lines.append(Line(self._uri, self._key_file, session, lane))

    def connect_stock(self, count: int) -> None:
        """Connect so many times to a stock Pyro5 daemon."""
        for _ in range(count):
            proxy = Pyro5.api.Proxy(self._uri)
            proxy._pyroBind()
            self._stock.append(proxy)

    def park(self) -> int:
        """Park a take on each connection but the one that writes; return how many."""
        for number in range(len(self._lines)):
            self._park(number)
        return len(self._lines)

    def _park(self, number: int) -> None:
        template = pack_template((self._name, number, None))
        self._lines[number].send("take", template, None)

    def hand_off(self, count: int) -> list[float]:
        """Return the seconds from a write to the arrival of its tuple at who waited for it.

        Round and round, so that each taker has parked again long before its next turn.
        """
        gc.collect()
        gc.freeze()
        found = []
        for _ in range(count):
            self._turn = (self._turn + 1) % len(self._lines)
            taker, value = self._lines[self._turn], (self._name, self._turn, PAYLOAD)
            started = time.perf_counter()
            self._writer.send("write", (value,), None)
            taken = taker.receive()
            found.append(time.perf_counter() - started)
            assert taken == value
            self._writer.receive()
            self._park(self._turn)
        return found


def main() -> None:
    """Obey the commands on standard input until it ends."""
    holder = Holder(*sys.argv[1:])
    for line in sys.stdin:
        verb, *args = json.loads(line)["do"]
        print(json.dumps(getattr(holder, verb)(*args)), flush=True)


if __name__ == "__main__":
    try:
        main()
    except OSError as error:  # the space has gone, or whoever asked
        sys.exit(f"{sys.argv[-1]}: {error}")
