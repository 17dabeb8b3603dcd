"""Write and take round trips against a raw Pyro5 no-op: what a tuple space costs above Pyro."""

from __future__ import annotations

import subprocess
import sys

import Pyro5.api

from benchmarks.measure import ROUNDS, figure, rates, ratio, show, space_server

CALLS = 5_000
BATCH = 1_000
BATCHES = 100

# A stock daemon and a stock proxy, with the serializer and the socket option that favour them.
PEER = """
import Pyro5.api
Pyro5.api.config.SERVERTYPE = "multiplex"
Pyro5.api.config.SOCK_NODELAY = True
@Pyro5.api.expose
class Echo:
    def echo(self, value):
        return value
daemon = Pyro5.api.Daemon()
print(daemon.register(Echo(), "echo"), flush=True)
daemon.requestLoop()
"""


def main() -> None:
    """Print the table."""
    Pyro5.api.config.SERIALIZER = "msgpack"
    Pyro5.api.config.SOCK_NODELAY = True
    with (
        subprocess.Popen([sys.executable, "-c", PEER], stdout=subprocess.PIPE, text=True) as peer,
        space_server() as (space, _, _),
    ):
        assert peer.stdout is not None
        echo = Pyro5.api.Proxy(peer.stdout.readline().strip()).echo
        tuples = [("k", number, b"x" * 16) for number in range(BATCH)]

        def raw() -> None:
            for number in range(CALLS):
                echo(("k", number, b"x" * 16))

        def write() -> None:
            for number in range(CALLS):
                space.write(("k", number, b"x" * 16))

        def take() -> None:
            for number in range(CALLS):
                space.take(("k", number, None))

        def write_many() -> None:
            for _ in range(BATCHES):
                space.write_many(tuples)

        def take_many() -> None:
            left = BATCH * BATCHES
            while left:
                left -= len(space.take_many(("k", None, None), BATCH))

        raws, writes, takes = rates(ROUNDS, CALLS, raw, write, take)
        many_writes, many_takes = rates(ROUNDS, BATCH * BATCHES, write_many, take_many)
        peer.terminate()
    show(
        "Round trips, one client",
        "invoke bench round_trips",
        [
            ("raw Pyro5 echo of the same tuple (msgpack)", figure(raws, "calls/s"), "1"),
            ("write", figure(writes, "calls/s"), f"{ratio(writes, raws):.2f} x raw Pyro5"),
            ("take by key", figure(takes, "calls/s"), f"{ratio(takes, raws):.2f} x raw Pyro5"),
            (f"write_many, {BATCH:,} a call", figure(many_writes, "tuples/s"), ""),
            (f"take_many, {BATCH:,} a call", figure(many_takes, "tuples/s"), ""),
        ],
    )


if __name__ == "__main__":
    main()
