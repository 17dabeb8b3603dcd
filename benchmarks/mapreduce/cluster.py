"""A space with workers of our own: what our side of each row runs on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from benchmarks.mapreduce.programs import Program
from benchmarks.mapreduce.relay import Relay
from benchmarks.measure import process, space_process

OURS = "benchmarks.mapreduce.ours"


@dataclass
class Cluster:
    """A running one.

    Attributes:
        start_seconds: How long it took to start. driver, agents: Count what the driver and the
            agents exchange with the space. roots: Its processes, by id.
    """

    start_seconds: float
    driver: Relay
    agents: Relay
    roots: dict[int, str]
    more: dict[str, str]

    def program(self, name: str) -> Program:
        """Return our program, to run on it."""
        return Program(name, OURS, roots=self.roots, more=self.more)


@contextmanager
def cluster(workers: int) -> Iterator[Cluster]:
    """Start a space and an agent with so many workers."""
    started = time.perf_counter()
    with ExitStack() as stack:
        space, key_file, folder, pid = stack.enter_context(space_process())
        address = space.uri.rpartition("@")
        target = urlsplit(f"//{address[2]}")
        assert target.hostname is not None
        assert target.port is not None
        driver, agents = (
            stack.enter_context(Relay(target.hostname, target.port)) for _ in range(2)
        )
        work_dir = str(folder / "work")
        agent = stack.enter_context(
            process(
                "workers", "--space", f"{address[0]}@127.0.0.1:{agents.port}", "--key-file", key_file,
                "--processes", str(workers), "--work-dir", work_dir,
            )
        )  # fmt: skip
        space.read(("worker", *[None] * 4), timeout=60)
        took = time.perf_counter() - started
        roots = {pid: "space", agent.pid: "agent"}
        more = {"uri": f"{address[0]}@127.0.0.1:{driver.port}", "direct": space.uri,
                "key_file": key_file, "work_dir": work_dir}  # fmt: skip
        yield Cluster(took, driver, agents, roots, more)
