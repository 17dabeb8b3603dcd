"""``python -m workers``: an agent, for those who start it from a program."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from tuplespace.errors import TupleSpaceError
from tuplespace.serve import say, stop_with_parent
from workers.agent import DRAIN_SECONDS
from workers.claims import CLAIM_LEASE
from workers.errors import WorkerError
from workers.folders import remove
from workers.serve import serve


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m workers", description=__doc__)
    parser.add_argument(
        "--space",
        help="the space's URI; -: it comes on standard input; default: as tuplespace.connect finds it",
    )
    parser.add_argument("--name", help="the space's name on the local network, instead of its URI")
    parser.add_argument("--processes", type=int, help="default: one a core")
    parser.add_argument(
        "--memory",
        help="what each process may use, as in 4GB or 512MiB; default: a fair share of 80%% of this "
        "host's",
    )
    parser.add_argument("--key-file")
    parser.add_argument("--work-dir", help="folder for blocks and code")
    parser.add_argument("--host", help="this host's name; agents that share it share files")
    parser.add_argument(
        "--drain", type=float, metavar="SECONDS",
        help="what running tasks may take to end when it is told to stop (default: 5)",
    )  # fmt: skip
    parser.add_argument(
        "--claim-lease", type=float, default=CLAIM_LEASE, metavar="SECONDS",
        help="when others get its tasks if it is stopped or cut off (default: 30)",
    )  # fmt: skip
    parser.add_argument("--remove", metavar="DIR", help="delete this folder at the end")
    parser.add_argument(
        "--embedded", action="store_true",
        help="print only what user code prints, and end when standard input does",
    )  # fmt: skip
    options = parser.parse_args()
    # Until the agent handles it: leave by the way that removes the folder.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
    drain = options.drain
    if drain is None:
        drain = 0.0 if options.embedded else DRAIN_SECONDS
    try:
        uri = options.space
        if uri == "-":
            uri = sys.stdin.readline().strip()
            if not uri:  # whoever started us has gone
                return 0
        if options.embedded:
            stop_with_parent()
        serve(
            uri, options.processes, key_file=options.key_file,
            work_dir=options.work_dir, host=options.host, name=options.name, memory=options.memory,
            announce=_say_user_code if options.embedded else say,
            drain=drain, claim_lease=options.claim_lease,
        )  # fmt: skip
    except (TupleSpaceError, WorkerError) as error:
        sys.stderr.write(f"worker: {error}\n")
        return 1
    finally:
        if options.remove:
            remove(Path(options.remove))
    return 0


def _say_user_code(line: str) -> None:
    if line.startswith("["):
        say(line)


if __name__ == "__main__":
    sys.exit(main())
