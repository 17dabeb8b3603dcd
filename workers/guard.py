"""The guard: it ends an agent's workers, and all that their tasks have started, when the agent is killed.

::

    agent ----pids of its workers, at each birth and death----> guard
      '-------worker ... whatever tasks have started              |
                 ^--------ended when the agent's pipe ends--------'

An agent that is killed with -9 can do nothing any more, and its workers cannot be left to do it: one
that holds the GIL notices nothing, and one that the kernel ends with its agent leaves the programs
it has started to nobody. So a worker asks the kernel for no signal at its agent's death, but lives on
until the guard has stopped it, so that it starts nothing more, and has ended all below it: the
worker is what they are found by, see `offspring`. Without /proc only its process group is ended.

It is a shell that reads a pipe: under 2 MB, and no time but when a worker starts or ends. It has a
session of its own, because Ctrl-C is the agent's to handle; it holds nothing open but that pipe, and
ends when the agent does, however it does.

What if ... right here? The guard is killed: another is started with the next birth or death of a
worker. The agent is killed too before that, or before it has told of a worker: the worker ends by
itself when it notices, see `worker._orphaned`. A worker is killed together with the agent: its
group is ended, and what has left that is not found. The guard is killed at its work: a worker
may stay stopped.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection
from contextlib import suppress
from typing import Final

#: What `ps` shows of it. Neither this nor the script names tuplemill or its workers: a `pkill -f` of those
#: would end it too, and what tasks have started would stay.
NAME: Final = "agent-guard"

# Only what is built into every shell. A line is all workers there are: a half one, from an agent
# that died writing it, is not believed. What was killed stays to be seen, as a zombie, while its
# parent is stopped: two looks that find the same have found all.
_SCRIPT: Final = r"""
trap '' HUP INT TERM
leaders=
while read -r line; do leaders=$line; done
[ -n "$leaders" ] || exit 0
below() {
    for file in "/proc/$1/task/"*/children; do
        children=
        read -r children < "$file"
        for child in $children; do
            found="$found $child"
            below "$child"
        done
    done
}
kill -s STOP $leaders
known= looks=0
while [ $looks -lt 100 ]; do
    found= looks=$((looks + 1))
    for leader in $leaders; do below "$leader"; done
    [ "$found" != "$known" ] || break
    known=$found
    kill -s KILL $found
done
for leader in $leaders; do kill -s KILL -- "-$leader" "$leader"; done
"""
_END_SECONDS: Final = 1.0


class Guard:
    """One agent's guard. There is a process as long as there are workers. For one thread at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process; None: there is none."""
        return self._process.pid if self._process else None

    def tell(self, workers: Collection[int]) -> None:
        """Tell it which workers there are, each the leader of a group; with none left, it ends."""
        if self._process and self._process.poll() is not None:
            self._end()
        if workers and not self._process:
            self._start()
        if self._process and self._process.stdin:
            with suppress(OSError):  # it was killed just now
                self._process.stdin.write((" ".join(map(str, workers)) + "\n").encode())
            if not workers:
                self._end()

    def _start(self) -> None:
        # Without a shell, or a process to be had for it, workers end by themselves if they can.
        with suppress(OSError):
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _SCRIPT, NAME],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=os.sep,  # no folder is kept from being unmounted
                env={},
                start_new_session=True,
            )

    def _end(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:  # somebody has stopped it
            self._process.kill()
            self._process.wait()
        self._process = None
