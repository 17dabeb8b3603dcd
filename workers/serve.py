"""Running an agent as a process of its own."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

from workers.agent import DRAIN_SECONDS, Agent
from workers.claims import CLAIM_LEASE
from workers.offspring import adopt


def serve(
    uri: str | None = None, processes: int | None = None, *, key_file: str | None = None,
    work_dir: str | None = None, host: str | None = None,
    announce: Callable[[str], None] = print, drain: float = DRAIN_SECONDS,
    name: str | None = None, memory: int | str | None = None, claim_lease: float = CLAIM_LEASE,
) -> None:  # fmt: skip
    """Run an agent in the main thread until SIGTERM or SIGINT; see `Agent`.

    The first lets it drain, another ends it at once. It takes the process for its own: processes
    below it whose parents have gone are ended when a worker process dies.

    Raises:
        AuthenticationError: The key is not the space's. WorkFolderError: No folder for blocks.
        InvalidArgumentError: Several spaces answered on the local network, and it names them; or
            `memory` is no size or too small.
    """
    agent = Agent(
        uri, processes, key_file=key_file, work_dir=work_dir, host=host, announce=announce,
        drain=drain, name=name, memory=memory, claim_lease=claim_lease,
    )  # fmt: skip
    for number in (signal.SIGTERM, signal.SIGINT):
        # A thread, because a handler must not take locks that the main thread may hold.
        signal.signal(number, lambda *_: threading.Thread(target=agent.stop).start())
    adopt()
    agent.run()
