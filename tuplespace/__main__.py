"""``python -m tuplespace``: a space server, for those who start it from a program."""

from __future__ import annotations

import argparse
import logging
import sys

from tuplespace.discovery import DEFAULT_NAME
from tuplespace.errors import TupleSpaceError
from tuplespace.frames import DEFAULT_PORT
from tuplespace.serve import MEMORY, say, serve, stop_with_parent


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tuplespace", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0: the system chooses")
    parser.add_argument(
        "--store", default=MEMORY, metavar="FILE", help="keeps the space; default: memory"
    )
    parser.add_argument("--key-file")
    parser.add_argument(
        "--name",
        help="found by this on the local network; default: tuplespace; embedded: not found",
    )
    parser.add_argument(
        "--limit", action="append", default=[], metavar="NAME=NUMBER", help="as in bytes=4G"
    )
    parser.add_argument(
        "--embedded", action="store_true",
        help="print the URI alone, and end when standard input does",
    )  # fmt: skip
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    quiet = options.embedded
    if quiet:
        stop_with_parent()
    try:
        serve(
            options.host, options.port, store=options.store, key_file=options.key_file,
            announce=(lambda line: None) if quiet else say,
            ready=say if quiet else lambda uri: None, own_key=not quiet,
            limits=options.limit, name=options.name or (None if quiet else DEFAULT_NAME),
        )  # fmt: skip
    except TupleSpaceError as error:
        sys.stderr.write(f"tuplespace: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
