"""``python -m benchmarks.mapreduce [--small] [ROW ...]``: jobs against their peers, as tables.

The peers run in the Python that the environment variable BENCH_PYTHON names, which has them
(``pip install 'dask[distributed,bag]' ray pyspark``); PySpark wants a Java, too. Without the
variable they run in this Python. What is not there has a row that says so.
"""

from __future__ import annotations

import argparse
import signal
import sys
import traceback

from benchmarks.mapreduce import group, no_op, sort, words
from benchmarks.mapreduce.scale import FULL, SMALL

ROWS = {"words": words.tables, "sort": sort.tables, "group": group.tables, "no_op": no_op.tables}


def main() -> int:
    """Print the tables; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mapreduce", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"default: {', '.join(ROWS)}")
    parser.add_argument("--small", action="store_true", help="small inputs, to try it out")
    options = parser.parse_args()
    if unknown := set(options.rows) - set(ROWS):
        parser.error(f"there is no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    failed = False
    for row in options.rows or ROWS:
        try:
            ROWS[row](SMALL if options.small else FULL)
        except Exception:  # noqa: BLE001  # the other rows are to be measured all the same
            traceback.print_exc()
            failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
