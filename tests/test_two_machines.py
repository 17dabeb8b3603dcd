"""Two machines: the README's five lines, in two network namespaces joined by a cable."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAB1, LAB2 = f"lab1-{os.getpid()}", f"lab2-{os.getpid()}"
SPACE = "PYRO:tuplespace@10.77.0.1:9217"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def cable() -> Iterator[None]:
    """Make two hosts with networks of their own, and a cable between them."""
    if (
        shutil.which("ip") is None
        or subprocess.run(["ip", "netns", "add", LAB1], check=False, capture_output=True).returncode
    ):
        pytest.skip("this machine lets us make no network namespaces")
    with ExitStack() as stack:
        stack.callback(ip, "netns", "del", LAB1)
        ip("netns", "add", LAB2)
        stack.callback(ip, "netns", "del", LAB2)
        ip(
            "-n",
            LAB1,
            "link",
            "add",
            "cable",
            "type",
            "veth",
            "peer",
            "name",
            "cable",
            "netns",
            LAB2,
        )
        for name, address in ((LAB1, "10.77.0.1/24"), (LAB2, "10.77.0.2/24")):
            ip("-n", name, "addr", "add", address, "dev", "cable")
            ip("-n", name, "link", "set", "cable", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield


@pytest.fixture
def on(cable: None, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
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


def test_two_machines_share_a_job_and_shuffle_between_their_disks(
    on: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    line_with(on(LAB1, "tuplespace", "--host", "0.0.0.0"), "not encrypted")
    key = tmp_path / LAB1 / ".local/share/tuplemill/cluster.key"
    copy = shutil.copy2(key, tmp_path / "cluster.key")  # as scp would
    for host in (LAB1, LAB2):
        worker = on(host, "worker", "--space", SPACE, "--key-file", copy, "--host", host,
                    "--processes", "1", "--work-dir", str(tmp_path / host / "work"))  # fmt: skip
        line_with(worker, "1 processes")
    text = " ".join(f"word{number % 1009}" for number in range(400_000)).replace("9 ", "9\n")
    (tmp_path / "text.txt").write_text(text)

    job = on(LAB2, "job", "word_count", "--input", str(tmp_path / "*.txt"), "--space", SPACE,
             "--key-file", copy, "--rows", "0")  # fmt: skip
    output, _ = job.communicate(timeout=40)

    assert job.returncode == 0, output
    counts = {word: int(count) for word, count in re.findall(r"^(word\d+) +(\d+)$", output, re.M)}
    assert counts == Counter(text.split())
    assert "on 2 workers, 0 failed attempts" in output


def test_without_the_key_the_other_machine_is_refused_in_one_line(
    on: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    line_with(on(LAB1, "tuplespace", "--host", "0.0.0.0"), "not encrypted")
    other = tmp_path / "other.key"
    other.write_text("cd" * 32)
    other.chmod(0o600)

    stranger = on(LAB2, "worker", "--space", SPACE, "--key-file", str(other))
    output, _ = stranger.communicate(timeout=10)

    assert stranger.returncode == 1
    assert len(output.strip().splitlines()) == 1
    assert str(other) in output
