"""Running a space server as a process of its own."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from tuplespace.discovery import DEFAULT_NAME, RING_PORT, check_name
from tuplespace.errors import InvalidArgumentError, TupleSpaceError
from tuplespace.frames import DEFAULT_PORT, OBJECT_NAME
from tuplespace.networks import address_for_others, is_loopback
from tuplespace.resources import server_limits
from tuplespace.security import data_folder, load_key, make_key
from tuplespace.server import SpaceDaemon
from tuplespace.store.interface import Store

MEMORY: Final = "memory"
_NEVER: Final = 1 << 30
#: Seconds after which one thread lets another run: the loop must not keep its store waiting.
_SWITCH_SECONDS: Final = 0.0005


class AddressInUseError(TupleSpaceError):
    """Another program, perhaps another space, listens on the port."""


def serve(
    host: str = "127.0.0.1", port: int = DEFAULT_PORT, *, store: str = MEMORY,
    key_file: str | None = None, announce: Callable[[str], None] = print,
    ready: Callable[[str], None] = lambda uri: None, own_key: bool = True,
    name: str | None = None, ring_port: int = RING_PORT, limits: Iterable[str] = (),
) -> None:  # fmt: skip
    """Serve a tuple space in the main thread until SIGTERM or SIGINT.

    Args:
        host: Address to bind. port: 0 lets the system choose. store: "memory", or the file that
            keeps the space.
        key_file: See `security.key_path`. announce: Told, line by line, what a person must know.
        ready: Told the URI once clients can connect. own_key: Make the key if there is none.
        name: What `discovery.find` finds it by; None: it is not to be found. ring_port: For that.
        limits: Changes of `resources.server_limits`, see `limits.Limits.changed`.

    Raises:
        AddressInUseError: The port is taken. AuthenticationError: No usable key.
        StoreError: The file cannot be used, or not any more: it is as it was when that was found.
        InvalidArgumentError: The address, the name or a limit is none.
    """
    if name is not None:
        check_name(name)
    allowed = server_limits().changed(limits)
    key = make_key(key_file) if own_key else load_key(key_file)
    # Entries make no cycles. A full collection would walk a million of them again and again.
    gc.set_threshold(10_000, _NEVER, _NEVER)
    try:
        daemon = SpaceDaemon(key, host, port, allowed, _opener(store))
    except (OSError, OverflowError) as error:
        raise _bind_error(host, port, error) from None
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: daemon.stop())
    called = f" {name!r}" if name not in (None, DEFAULT_NAME) else ""
    kept = "in memory" if daemon.store is None else f"in {daemon.store.name}"
    announce(f"tuple space{called} {daemon.uri}, {kept}, cluster key {key.path}")
    found = _answer_ring(daemon, name, ring_port, announce)
    if not is_loopback(host):
        by_ring = (
            f"invoke worker{'' if name == DEFAULT_NAME else f' --name {name}'}; in other networks: "
        )
        elsewhere = (
            f"invoke worker --space PYRO:{OBJECT_NAME}@{_name_for_others(host)}:{daemon.port}"
        )
        announce(
            "traffic is authenticated by the key, not encrypted; on other machines, with a copy "
            f"of the key file: {by_ring if found else ''}{elsewhere}"
        )
    ready(daemon.uri)
    with contextlib.nullcontext() if daemon.store is None else _short_turns():
        daemon.serve()
    if daemon.store is not None and daemon.store.failure is not None:
        raise daemon.store.failure
    announce("tuple space stopped")


def default_store(port: int) -> str:
    """Return where a space on this port is kept if nobody says where.

    A port that the system chooses is another one each time: nobody would find such a space again, and
    it stays in memory.
    """
    return str(data_folder() / f"tuplespace-{port}.sqlite") if port else MEMORY


def _opener(store: str) -> Callable[[], Store] | None:
    if store == MEMORY:
        return None
    from tuplespace.store.sqlite import SqliteStore  # sqlite3 is slow to import

    return lambda: SqliteStore(store)


@contextlib.contextmanager
def _short_turns() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _name_for_others(host: str) -> str:
    if host in ("0.0.0.0", "::", ""):  # noqa: S104
        host = address_for_others()
        if not host or "%" in host:  # it means nothing elsewhere
            return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def _answer_ring(
    daemon: SpaceDaemon, name: str | None, ring_port: int, announce: Callable[[str], None]
) -> bool:
    """Let others find the space by its name; say so and return False where that cannot be."""
    if name is None:
        return False
    try:
        daemon.answer_ring(name, ring_port)
    except OSError as error:
        announce(
            f"nobody will find this space by itself, since UDP port {ring_port} cannot be used: "
            f"{error}; others need --space"
        )
        return False
    return True


def _bind_error(host: str, port: int, error: Exception) -> TupleSpaceError:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return AddressInUseError(
            f"port {port} on {host} is taken, perhaps by a tuple space that runs already "
            "(`invoke status` tells); choose another with --port"
        )
    return InvalidArgumentError(f"cannot listen on {host}:{port}: {error}; see --host and --port")


def say(line: str) -> None:
    """Print a line at once. If nobody reads our output any more, go on without it."""
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except OSError:
        mute()


def mute() -> None:
    """Send the rest of our output nowhere, so that Python does not fail over it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def stop_with_parent() -> None:
    """Send ourselves SIGTERM when standard input ends: whoever started us has gone."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
