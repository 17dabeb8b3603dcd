"""The commands that make a cluster: ``tuplespace`` on one machine, ``worker`` on each."""

from __future__ import annotations

from invoke import Context

from jobs.commands.command import KEY_FILE, NAME, SPACE, command
from jobs.errors import JobsError
from tuplespace.discovery import DEFAULT_NAME
from tuplespace.frames import DEFAULT_PORT
from tuplespace.serve import default_store, say
from tuplespace.serve import serve as serve_space
from workers.agent import DRAIN_SECONDS
from workers.serve import serve as serve_worker


@command(
    iterable=["limit"],
    help={
        "host": "address to listen on (default: 127.0.0.1); 0.0.0.0, or :: for IPv6 too: other machines "
        "can reach it",
        "port": f"port to listen on (default: {DEFAULT_PORT}); 0: the system chooses",
        "store": "the file that keeps the space, made if it is not there (default: one for each port, "
        "in your data folder), or 'memory'",
        "name": f"what others on the local network find it by (default: {DEFAULT_NAME})",
        "limit": "as in bytes=4G, tuples=1000000 or waiters=none; also tuple_bytes, connections, "
        "unauthenticated; repeatable",
        **KEY_FILE,
    },
)
def tuplespace(
    _: Context, host: str = "127.0.0.1", port: int = DEFAULT_PORT, store: str = "",
    key_file: str = "", name: str = DEFAULT_NAME, limit: list[str] | None = None,
) -> None:  # fmt: skip
    """Serve a tuple space until Ctrl-C."""
    serve_space(
        host, port, store=store or default_store(port), key_file=key_file or None, announce=say, name=name,
        limits=limit or (),
    )  # fmt: skip


@command(
    help={
        **SPACE,
        **NAME,
        "processes": "worker processes (default: one a core)",
        "memory": "what each process may use, as in 4GB or 512MiB; a task that goes beyond is ended "
        "(default: a fair share of 80% of this machine's)",
        "drain": "seconds that running tasks may take to end after the first Ctrl-C or SIGTERM (default: "
        "5); another ends it at once",
        "work-dir": "folder for blocks and code (default: one of yours in the temporary folder)",
        "host": "this host's name; give containers that share a name but no files names of their own",
        **KEY_FILE,
    }
)
def worker(
    _: Context, space: str = "", processes: int = 0, key_file: str = "", work_dir: str = "",
    host: str = "", name: str = "", memory: str = "", drain: float = DRAIN_SECONDS,
) -> None:  # fmt: skip
    """Run tasks of a space on this machine until Ctrl-C."""
    if processes < 0:
        raise JobsError(f"--processes is a whole number from 1, not {processes}")
    if not drain >= 0:
        raise JobsError(f"--drain is a number of seconds from 0, not {drain}")
    serve_worker(
        space or None, processes or None, key_file=key_file or None, work_dir=work_dir or None,
        host=host or None, announce=say, name=name or None, memory=memory or None,
        drain=drain,
    )  # fmt: skip
