"""Several machines: the README's lines, in network namespaces joined by cables."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAB1, LAB2, LAB3 = (f"lab{number}-{os.getpid()}" for number in (1, 2, 3))
SPACE = "PYRO:tuplespace@10.77.0.1:9217"
KEY = ".local/share/tuplemill/cluster.key"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def lay_cable(one: str, its: str, other: str, others: str) -> None:
    """Join two hosts by a cable; the addresses are of its two ends."""
    name = f"to-{other.partition('-')[0]}"
    ip("-n", one, "link", "add", name, "type", "veth", "peer", "name", name, "netns", other)
    for host, address in ((one, its), (other, others)):
        options = ["nodad"] if ":" in address else []
        ip("-n", host, "link", "set", name, "addrgenmode", "none")
        ip("-n", host, "link", "set", name, "up")
        ip("-n", host, "addr", "add", address, "dev", name, *options)


@pytest.fixture
def hosts() -> Iterator[None]:
    """Make three hosts with networks of their own, and no cable yet."""
    if (
        shutil.which("ip") is None
        or subprocess.run(["ip", "netns", "add", LAB1], check=False, capture_output=True).returncode
    ):
        pytest.skip("this machine lets us make no network namespaces")
    with ExitStack() as stack:
        stack.callback(ip, "netns", "del", LAB1)
        for name in (LAB2, LAB3):
            ip("netns", "add", name)
            stack.callback(ip, "netns", "del", name)
        for name in (LAB1, LAB2, LAB3):
            ip("-n", name, "link", "set", "lo", "up")
        yield


@pytest.fixture
def cable(hosts: None) -> None:
    lay_cable(LAB1, "10.77.0.1/24", LAB2, "10.77.0.2/24")


@pytest.fixture
def cable_of_ipv6(hosts: None) -> None:
    """Lay a cable with nothing but link-local addresses on it; its number differs on both sides."""
    ip("-n", LAB2, "link", "add", "spare", "type", "veth", "peer", "name", "spare2")
    try:
        lay_cable(LAB1, "fe80::1/64", LAB2, "fe80::2/64")
    except subprocess.CalledProcessError:
        pytest.skip("this machine has no IPv6")


@pytest.fixture
def on(hosts: None, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start an invoke command on one of the hosts; all are ended afterwards, in time."""
    started: list[subprocess.Popen[str]] = []

    def start(host: str, *words: str) -> subprocess.Popen[str]:
        home = {"HOME": str(tmp_path / host), "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
        kept = {name: value for name, value in os.environ.items() if "TUPLESPACE" not in name}
        kept.pop("XDG_DATA_HOME", None)
        (tmp_path / host).mkdir(exist_ok=True)
        started.append(
            subprocess.Popen(
                ["ip", "netns", "exec", host, sys.executable, "-m", "invoke", *words],
                cwd=ROOT, env={**kept, **home}, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )
        )  # fmt: skip
        return started[-1]

    yield start
    for each in reversed(started):
        each.terminate()
        each.communicate(timeout=10)


def line_with(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout is not None
    return next(line for line in process.stdout if text in line)


def copy_key(home: Path, *hosts: str) -> None:
    """Copy the cluster key, as scp would, from the first host's default place to the others'."""
    for host in hosts:
        (home / host / KEY).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(home / LAB1 / KEY, home / host / KEY)


def one_line(process: subprocess.Popen[str], status: int = 1) -> str:
    """Return the line that a command has ended with, within the 5 s that connecting may take."""
    started = time.monotonic()
    output, _ = process.communicate(timeout=20)
    assert time.monotonic() - started < 7  # Python itself has to start, too
    assert process.returncode == status, output
    (line,) = output.strip().splitlines()
    return line


@pytest.mark.parametrize(
    ("cables", "host"),
    [
        ("cable", "0.0.0.0"),
        pytest.param("cable_of_ipv6", "::", marks=pytest.mark.faults),
    ],
)
def test_two_machines_find_each_other_share_a_job_and_shuffle_between_their_disks(
    request: pytest.FixtureRequest, on: Callable[..., subprocess.Popen[str]], tmp_path: Path,
    cables: str, host: str,
) -> None:  # fmt: skip
    request.getfixturevalue(cables)
    line_with(on(LAB1, "tuplespace", "--host", host), "not encrypted")
    copy_key(tmp_path, LAB2)
    for each in (LAB1, LAB2):
        worker = on(each, "worker", "--host", each, "--processes", "1",
                    "--work-dir", str(tmp_path / each / "work"))  # fmt: skip
        line = line_with(worker, "1 processes")
        assert ("found on the network as 'tuplespace'" in line) == (each == LAB2)
    text = " ".join(f"word{number % 1009}" for number in range(400_000)).replace("9 ", "9\n")
    (tmp_path / "text.txt").write_text(text)

    job = on(LAB2, "job", "word_count", "--input", str(tmp_path / "*.txt"), "--rows", "0")
    output, _ = job.communicate(timeout=40)

    assert job.returncode == 0, output
    counts = {word: int(count) for word, count in re.findall(r"^(word\d+) +(\d+)$", output, re.M)}
    assert counts == Counter(text.split())
    assert "on 2 workers, 0 failed attempts" in output


@pytest.mark.faults
def test_a_worker_that_was_there_while_its_space_was_alone_serves_its_blocks_to_others_later(
    on: Callable[..., subprocess.Popen[str]], cable: None, tmp_path: Path
) -> None:
    alone = on(LAB1, "tuplespace")
    line_with(alone, "tuple space")
    worker = on(
        LAB1, "worker", "--host", LAB1, "--processes", "1", "--work-dir", str(tmp_path / "w1")
    )
    line_with(worker, "1 processes")
    alone.send_signal(signal.SIGINT)
    alone.communicate(timeout=12)
    line_with(on(LAB1, "tuplespace", "--host", "0.0.0.0"), "not encrypted")
    copy_key(tmp_path, LAB2)
    other = on(
        LAB2, "worker", "--host", LAB2, "--processes", "1", "--work-dir", str(tmp_path / "w2")
    )
    line_with(other, "1 processes")
    text = " ".join(f"word{number % 1009}" for number in range(400_000)).replace("9 ", "9\n")
    (tmp_path / "text.txt").write_text(text)
    listed = f'("blocks", "{LAB1}", re("10.77.0.1:"))'
    for _ in range(30):
        if on(LAB2, "tuples", listed).communicate(timeout=20)[0].strip():
            break

    for _ in range(2):
        job = on(LAB2, "job", "word_count", "--input", str(tmp_path / "*.txt"), "--rows", "1")
        output, _ = job.communicate(timeout=40)

        assert job.returncode == 0, output
        assert "on 2 workers, 0 failed attempts" in output


@pytest.mark.faults
def test_a_machine_with_two_networks_is_found_on_both_and_finds_on_both(
    on: Callable[..., subprocess.Popen[str]], cable: None, tmp_path: Path
) -> None:
    lay_cable(LAB1, "10.78.0.1/24", LAB3, "10.78.0.3/24")
    middle = on(LAB1, "tuplespace", "--host", "0.0.0.0", "--name", "middle")
    line_with(middle, "not encrypted")
    copy_key(tmp_path, LAB2, LAB3)

    assert "Space PYRO:tuplespace@10.77.0.1:9217" in on(LAB2, "status").communicate(timeout=10)[0]
    assert "Space PYRO:tuplespace@10.78.0.1:9217" in on(LAB3, "status").communicate(timeout=10)[0]

    middle.terminate()
    middle.communicate(timeout=10)
    for host, name in ((LAB2, "left"), (LAB3, "right")):
        line_with(on(host, "tuplespace", "--host", "0.0.0.0", "--name", name), "not encrypted")
    line = one_line(on(LAB1, "status"))
    for part in ("left at PYRO:tuplespace@10.77.0.2:9217", "--name",
                 "right at PYRO:tuplespace@10.78.0.3:9217"):  # fmt: skip
        assert part in line
    named = on(LAB1, "status", "--name", "right").communicate(timeout=10)[0]
    assert "Space PYRO:tuplespace@10.78.0.3:9217" in named


@pytest.mark.faults
def test_what_is_found_nowhere_is_one_line_that_says_what_was_tried(
    on: Callable[..., subprocess.Popen[str]], cable: None, tmp_path: Path
) -> None:
    line_with(on(LAB1, "tuplespace"), "tuple space PYRO:")  # on loopback, for nobody else
    copy_key(tmp_path, LAB2)

    line = one_line(on(LAB2, "status"))
    for part in ("127.0.0.1:9217", "local network", "--space", "TUPLESPACE_URI", "loopback only"):
        assert part in line
    assert "'lab'" in one_line(on(LAB2, "status", "--name", "lab"))
    assert "Space PYRO" in on(LAB1, "status", "--name", "tuplespace").communicate(timeout=10)[0]


def test_a_space_with_another_key_is_named_and_not_believed_and_a_worker_goes_on_trying(
    on: Callable[..., subprocess.Popen[str]], cable: None, tmp_path: Path
) -> None:
    line_with(on(LAB1, "tuplespace", "--host", "0.0.0.0"), "not encrypted")
    other = tmp_path / LAB2 / KEY
    other.parent.mkdir(parents=True)
    other.write_text("cd" * 32)
    other.chmod(0o600)

    worker = on(LAB2, "worker", "--processes", "1")
    line = line_with(worker, "still trying")
    assert "10.77.0.1 answered, with another cluster key" in line
    assert "copy its key file" in line
    copy_key(tmp_path, LAB2)
    assert "found on the network" in line_with(worker, "1 processes")


def test_without_the_key_the_other_machine_is_refused_in_one_line(
    on: Callable[..., subprocess.Popen[str]], cable: None, tmp_path: Path
) -> None:
    line_with(on(LAB1, "tuplespace", "--host", "0.0.0.0"), "not encrypted")
    other = tmp_path / "other.key"
    other.write_text("cd" * 32)
    other.chmod(0o600)

    stranger = on(LAB2, "worker", "--space", SPACE, "--key-file", str(other))

    assert str(other) in one_line(stranger)


@pytest.mark.faults
def test_a_worker_whose_space_has_moved_finds_it_again_by_its_name(
    cable: None, on: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    space = on(LAB1, "tuplespace", "--host", "0.0.0.0", "--name", "lab")
    line_with(space, "not encrypted")
    copy_key(tmp_path, LAB2)
    worker = on(LAB2, "worker", "--processes", "1", "--host", LAB2)
    assert "found on the network as 'lab'" in line_with(worker, "1 processes")
    space.terminate()
    space.communicate(timeout=10)

    moved = on(LAB1, "tuplespace", "--host", "0.0.0.0", "--port", "9300", "--name", "lab")
    line_with(moved, "not encrypted")

    assert "PYRO:tuplespace@10.77.0.1:9300" in line_with(worker, "has moved to")
    line_with(worker, "starting over")
    status = on(LAB1, "status", "--space", "10.77.0.1:9300")
    assert LAB2 in status.communicate(timeout=20)[0]
