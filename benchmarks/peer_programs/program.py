"""What every program does alike: read its order, time its work, say a digest of its answer.

::

    python -m benchmarks.peer_programs.plain '{"job": "words", "paths": [...], ...}'
    {"seconds": 5.7, "start_seconds": 0.0, "digest": "2273281 1f0c..."}      the last line it prints
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32


class Order(NamedTuple):
    """What a program is to do.

    Attributes:
        job: Which of its jobs. paths: The input. folder: An empty one of its own, for its output.
        workers: How many processes. memory: Bytes that each of these may fill; 0: as it likes.
        splits, pairs: Of the jobs that make their own input: how many splits, of how many pairs.
        more: What only some programs take.
    """

    job: str
    paths: list[str]
    folder: str
    workers: int = 2
    memory: int = 0
    splits: int = 0
    pairs: int = 0
    more: Mapping[str, str] = {}

    def to_json(self) -> str:
        """Return it as one argument of a command line."""
        return json.dumps(self._asdict())


Answer = Any  # (key, value) pairs, or a dict of them; or a Path: a file, or a folder of files
Job = Callable[[Any, Order], Answer]


def serve(
    jobs: Mapping[str, Job],
    start: Callable[[Order], Any] = lambda order: None,
    stop: Callable[[Any], object] = lambda engine: None,
) -> None:
    """Do the job in the command line: start the engine, time the job, print, stop the engine."""
    order = Order(**json.loads(sys.argv[1]))
    begun = time.perf_counter()
    engine = start(order)
    started = time.perf_counter()
    try:
        answer = jobs[order.job](engine, order)
        done = time.perf_counter()
        if isinstance(answer, list) and answer and isinstance(answer[0], float):
            found: dict[str, Any] = {"each": answer}  # it has timed many small jobs itself
        else:
            found = {"digest": digest(answer)}
        report(done - started, started - begun, **found)
    finally:
        stop(engine)


def report(seconds: float, start_seconds: float, **more: Any) -> None:
    """Print the line that says how it went."""
    line = json.dumps({"seconds": seconds, "start_seconds": start_seconds, **more})
    print(f"\n{line}", flush=True)


def digest(answer: Answer) -> str:
    """Return what tells one answer from another: of pairs in any order, or of files in theirs."""
    if isinstance(answer, Path):
        files = sorted(answer.rglob("*part-*")) if answer.is_dir() else [answer]
        whole = hashlib.blake2b(digest_size=16)
        for file in files:
            if not file.name.startswith("."):
                with file.open("rb") as opened:
                    while block := opened.read(1 << 20):
                        whole.update(block)
        return whole.hexdigest()
    return digest_of_pairs(answer.items() if isinstance(answer, dict) else answer)


def digest_of_pairs(pairs: Iterable[tuple[Any, Any]]) -> str:
    """Return a digest of pairs, in whatever order they come."""
    total = count = 0
    for key, value in pairs:
        total += crc32(f"{key}\t{value}".encode())
        count += 1
    return f"{count} {total:x}"
