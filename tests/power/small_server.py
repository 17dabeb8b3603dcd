"""A space server that is content with a small disk: ``python small_server.py KEY_FILE FILE``.

It prints its URI, and ends when its standard input does, as an embedded one.
"""

from __future__ import annotations

import signal
import sys

from power.full_disk import BALLAST, FREE
from tuplespace.security import load_key
from tuplespace.serve import stop_with_parent
from tuplespace.server import SpaceDaemon
from tuplespace.store.sqlite import SqliteStore


def main(key_file: str, file: str) -> int:
    def open_store() -> SqliteStore:
        return SqliteStore(file, free_bytes=FREE, ballast_bytes=BALLAST)

    daemon = SpaceDaemon(load_key(key_file), port=0, open_store=open_store)
    signal.signal(signal.SIGTERM, lambda *_: daemon.stop())
    stop_with_parent()
    print(daemon.uri, flush=True)
    daemon.serve()
    assert daemon.store is not None
    return 1 if daemon.store.failure else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
