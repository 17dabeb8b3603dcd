"""``python -m history.client WHAT URI NAME LOG ...``: a client that logs what it does, to be killed.

``park``: takes what nobody has written yet. ``hold LEASE``: claims a ("held", its name), for ever if the
lease is 0, and then a ("wanted", its name). ``mix SEED``: does a bit of everything until it is
killed or its standard input ends; ``work SEED``: more slowly, as a `hosts.Patient`. ``bulk SEED``: in
larger batches, logged at its end; it prints how many operations were answered, now and then.
"""

from __future__ import annotations

import pickle
import sys
import threading

from history.hosts import Patient
from history.kills import operations
from history.recorder import History, RecordedSpace
from history.workloads import Bulk, Mixed
from tuplespace import connect


def main(what, uri, name, log, *rest):
    with open(log, "wb", buffering=0 if what != "bulk" else -1) as file, connect(uri) as space:
        history = History(file if what != "bulk" else None)
        recorded = RecordedSpace(space, history, name)
        if what == "park":
            recorded.take(("wanted", None), None)
            return
        if what == "hold":
            lease = float(rest[0]) or None
            recorded.claim(("held", name), lease)
            recorded.claim(("wanted", name), lease)
            return
        ended, seen, answered = threading.Event(), 0, 0
        threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
        if what == "work":
            Patient(recorded, name, rest[0], ended, lease=3.0).run_until_ended()
            return
        mixed = (Bulk if what == "bulk" else Mixed)(recorded, name, rest[0])
        while not ended.is_set():
            mixed.run(10)
            if what == "bulk":
                seen, answered = len(history.ops), answered + operations(history.ops[seen:])
                print(answered, flush=True)
        if what == "bulk":
            for op in history.ops:
                pickle.dump(op, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
