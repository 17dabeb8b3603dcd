"""A private cluster for one job: a space server on loopback and an agent, gone with the job.

Real processes, started by command, so that it works from scripts without a main guard, from
standard input and from notebooks. They hold the other end of a pipe of ours: however we end, they
do too, and the agent removes the folder. What if the agent is killed as well? The next such run of
this user on this host removes it, since nobody holds the lock on it any more.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final, NoReturn

from mapreduce.engine.space import SpaceEngine
from mapreduce.errors import InvalidJobError, NoWorkersError
from tuplespace.connect import connect
from tuplespace.resources import cores
from tuplespace.security import make_key
from workers.folders import occupy_new, remove, remove_deserted
from workers.memory import worker_limit

_PACKAGE_ROOT: Final = Path(__file__).resolve().parents[2]
# Neither the folder we run in nor the user's script is searched for these modules.
_BOOT: Final = (
    "import runpy, sys; sys.path[:] = [p for p in sys.path if p]; "
    "sys.path.insert(0, sys.argv.pop(1)); "
    "runpy.run_module({!r}, run_name='__main__', alter_sys=True)"
)
_END_SECONDS: Final = 10.0
#: With the host: several may share the folder, on a file system whose locks do not reach that far.
_PREFIX: Final = f"tuplemill-run-{socket.gethostname()}-"


class EmbeddedEngine(SpaceEngine):
    """Runs one job on processes of its own; and others, see `another`, until it is closed.

    Args:
        processes: How many workers an agent feeds; None: one a core. agents: How many agents.
        memory: What each worker process may use, see `workers.Agent`.

    Raises:
        NoWorkersError: The processes could not be started.
        InvalidArgumentError: `memory` is no size or too small.
    """

    def __init__(
        self, processes: int | None = None, agents: int = 1, memory: int | str | None = None
    ) -> None:
        limit = worker_limit(memory, agents * (processes or cores()))
        remove_deserted(Path(tempfile.gettempdir()), f"{_PREFIX}*")
        self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._processes: list[subprocess.Popen[str]] = []
        self._mark: IO[str] | None = None
        try:
            self._mark = occupy_new(self._folder)
            key_file = str(self._folder / "cluster.key")
            self.work_dir = self._folder / "work"
            work_dir = str(self.work_dir)
            options = ["--processes", str(processes)] if processes else []
            options += ["--memory", str(limit)]
            # Before there is a space, so that somebody removes the folder if we die right now.
            for _ in range(agents):
                self._spawn(
                    "workers", "--space", "-", "--key-file", key_file, "--work-dir", work_dir,
                    "--remove", str(self._folder), *options, output=None,
                )  # fmt: skip
            make_key(key_file)
            server = self._spawn("tuplespace", "--port", "0", "--key-file", key_file)
            assert server.stdout is not None
            uri = server.stdout.readline().strip()
            if not uri:
                raise NoWorkersError("the embedded space server did not start; see above")
            for agent in self._processes[:agents]:
                assert agent.stdin is not None
                agent.stdin.write(uri + "\n")
                agent.stdin.flush()
            space = connect(uri, key_file=key_file)
            super().__init__(space, owned=True, work_dir=work_dir, private=True)
        except BaseException:
            self._end_processes()
            raise

    def _spawn(
        self, module: str, *options: str, output: int | None = subprocess.PIPE
    ) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                _BOOT.format(module),
                str(_PACKAGE_ROOT),
                "--embedded",
                *options,
            ],
            stdin=subprocess.PIPE,
            stdout=output,
            text=True,
            start_new_session=True,  # Ctrl-C is ours to handle
        )
        self._processes.append(process)
        return process

    def another(self) -> SpaceEngine:
        """Return an engine for one more job on the same processes, which end when this one is closed."""
        return SpaceEngine(self.space, work_dir=str(self.work_dir), private=True)

    def share(self, paths: Collection[str]) -> str:
        """See `Engine.share`: its workers are on this host."""
        return ""

    def hold(
        self, job: str, description: dict[str, Any]
    ) -> tuple[Callable[[], None], Callable[[], set[str]]]:
        """See `Engine.hold`: nothing outlives it."""
        self.refuse_to_hold()

    @staticmethod
    def refuse_to_hold() -> NoReturn:
        """Say that nothing outlives the job.

        Raises:
            InvalidJobError: Always.
        """
        raise InvalidJobError(
            "KeepBlocks needs workers that outlive the job: run it on a space, or give it "
            "output=PickleOutput(directory), which the next job can read as well"
        )

    def close(self) -> None:
        """See `Engine.close`; returns when every process has ended."""
        super().close()
        self._end_processes()

    def _end_processes(self) -> None:
        for process in self._processes:  # the agents before their space
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_SECONDS)
            process.kill()
            process.wait()
        remove(self._folder)
        if self._mark is not None:
            self._mark.close()
