"""Fixtures for every test: a cluster key, a space server, a space near or far."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tuplespace import RemoteSpace, TupleSpace, connect
from tuplespace.security import make_key
from tuplespace.server import SpaceDaemon

ROOT = Path(__file__).resolve().parent.parent


def _eventually(condition: Callable[[], Any], within: float = 10.0) -> Any:
    deadline = time.monotonic() + within
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < deadline, f"not so within {within} s"
        threading.Event().wait(0.005)


@pytest.fixture(scope="session")
def eventually() -> Callable[..., Any]:
    """Wait, within bounds, until a condition holds; return what it gave."""
    return _eventually


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a fresh cluster key, which $TUPLESPACE_KEY_FILE names."""
    path = tmp_path / "cluster.key"
    make_key(path)
    monkeypatch.setenv("TUPLESPACE_KEY_FILE", str(path))
    return path


class Server:
    """A space server in a thread of this process."""

    def __init__(self, key_file: Path, port: int = 0) -> None:
        self.key_file = key_file
        self.daemon = SpaceDaemon(make_key(key_file), port=port)
        self.uri, self.port = self.daemon.uri, self.daemon.port
        self._thread = threading.Thread(target=self.daemon.serve, name="space-server", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.daemon.stop()
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture
def space_server(key_file: Path) -> Iterator[Server]:
    server = Server(key_file)
    yield server
    server.stop()


@pytest.fixture
def start_server(key_file: Path) -> Iterator[Callable[..., Server]]:
    """Start a server, on a given port if need be; all are stopped afterwards."""
    servers = []

    def start(port: int = 0) -> Server:
        servers.append(Server(key_file, port))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def remote(space_server: Server) -> Iterator[RemoteSpace]:
    with connect(space_server.uri, key_file=space_server.key_file, retry_for=5) as space:
        yield space


@pytest.fixture(params=["local", "remote"])
def space(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A space: every test of the contract runs on both kinds."""
    if request.param == "remote":
        yield request.getfixturevalue("remote")
        return
    with TupleSpace() as local:
        yield local


class Background:
    """A call in a thread of its own: its result or exception, once it has ended."""

    def __init__(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._call = lambda: call(*args, **kwargs)
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value = self._call()
        except BaseException as error:  # noqa: BLE001  # it is raised in `result`
            self._error = error

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def result(self, within: float = 10.0) -> Any:
        self._thread.join(within)
        assert not self._thread.is_alive(), f"still running after {within} s"
        if self._error is not None:
            raise self._error
        return self._value


@pytest.fixture(scope="session")
def background() -> type[Background]:
    return Background


@pytest.fixture
def parked(eventually: Callable[..., Any]) -> Callable[..., Background]:
    """Start a call in a thread and return once the space has parked it."""

    def park(space: Any, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Background:
        before = space.status()["waiters"]
        running = Background(call, *args, **kwargs)
        eventually(lambda: space.status()["waiters"] > before or not running.running)
        return running

    return park


@pytest.fixture
def run_python(key_file: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a Python process that can import this checkout; all are ended afterwards."""
    processes = []

    def run(*arguments: str, **options: Any) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            [sys.executable, *arguments], env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
        )  # fmt: skip
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()
