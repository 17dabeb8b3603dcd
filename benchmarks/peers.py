"""What a tuple space is compared with: raw Pyro5, Ruby's Rinda, Redis; and why one is not there."""

from __future__ import annotations

import importlib
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import Pyro5.api

from benchmarks.children import Child

_RINDA = str(Path(__file__).with_name("rinda_peer.rb"))

# A stock daemon, with the socket option that favours it.
_RAW_PYRO5 = """
import os, sys, threading
import Pyro5.api
Pyro5.api.config.SERVERTYPE = "multiplex"
Pyro5.api.config.SOCK_NODELAY = True
@Pyro5.api.expose
class Echo:
    def echo(self, value):
        return value
daemon = Pyro5.api.Daemon()
print(daemon.register(Echo(), "echo"), flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
daemon.requestLoop()
"""

# redis-server does not end with whoever started it; this shell sees to that.
_REDIS = 'redis-server "$@" & pid=$!; echo $pid; read -r _; kill $pid; wait $pid'


@contextmanager
def raw_pyro5() -> Iterator[tuple[str, int]]:
    """Start a stock Pyro5 daemon with an echo; yield the echo's URI and the process id."""
    with Child(sys.executable, "-c", _RAW_PYRO5) as daemon:
        yield daemon.line().strip(), daemon.pid


@contextmanager
def echo(uri: str) -> Iterator[Callable[[Any], Any]]:
    """Yield the echo as a stock proxy calls it, with the options that favour it."""
    Pyro5.api.config.SERIALIZER = "msgpack"
    Pyro5.api.config.SOCK_NODELAY = True
    with Pyro5.api.Proxy(uri) as proxy:
        yield proxy.echo


@cache
def no_rinda() -> str:
    """Say why there is no Rinda here; nothing if there is."""
    if shutil.which("ruby") is None:
        return "not installed: apt install ruby"
    words = ["ruby", "-e", "require 'drb/drb'; require 'rinda/tuplespace'"]
    if subprocess.run(words, capture_output=True).returncode:
        return "this ruby has no rinda: gem install drb rinda"
    return ""


@cache
def no_redis() -> str:
    """Say why there is no Redis here; nothing if there is."""
    if shutil.which("redis-server") is None:
        return "not installed: apt install redis-server"
    try:
        importlib.import_module("redis")
    except ImportError:
        return "not installed: pip install redis"
    return ""


class Rinda:
    """Rinda's TupleSpace in a process and its client in another; see ``rinda_peer.rb``.

    Attributes:
        server, client: The processes.
    """

    def __init__(self, server: Child, client: Child) -> None:
        self.server, self._client = server, client

    def do(self, verb: str, *args: Any) -> Any:
        """Have the client do something and return its answer."""
        return self._client.ask(do=[verb, *args])


@contextmanager
def rinda() -> Iterator[Rinda | None]:
    """Start Rinda; yield None if it is not there."""
    if no_rinda():
        yield None
        return
    with ExitStack() as stack:
        server = stack.enter_context(Child("ruby", _RINDA, "serve"))
        client = stack.enter_context(Child("ruby", _RINDA, "call", server.hear()))
        client.hear()
        yield Rinda(server, client)


@contextmanager
def redis() -> Iterator[tuple[Any, int] | None]:
    """Start Redis without persistence; yield a client and its process id, None if not there."""
    if no_redis():
        yield None
        return
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        with Child(
            "sh", "-c", _REDIS, "redis", "--bind", "127.0.0.1", "--port", str(port),
            "--save", "", "--appendonly", "no", "--dir", folder,
        ) as server:  # fmt: skip
            pid = int(server.line())
            while "Ready to accept" not in server.line():
                pass
            client = importlib.import_module("redis").Redis(port=port)
            yield client, pid
            client.close()
