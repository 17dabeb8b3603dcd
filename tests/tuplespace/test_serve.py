"""``python -m tuplespace``: the space server as a process."""

from __future__ import annotations

import signal
import socket
import time

import pytest

from tuplespace import connect


def uri_of(process):
    line = process.stdout.readline()
    return next(word.rstrip(",") for word in line.split() if word.startswith("PYRO:"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_well(run_python, number, background, eventually):
    process = run_python("-m", "tuplespace", "--port", "0")
    with connect(uri_of(process), retry_for=0.2) as space:
        waiting = background(space.take, ("never",))
        eventually(lambda: space.status()["waiters"] == 1)
        started = time.monotonic()
        process.send_signal(number)
        assert process.wait(10) == 0
        assert time.monotonic() - started < 5
        with pytest.raises(ConnectionError):
            waiting.result()
    assert process.stderr.read() == ""


def test_a_port_that_is_taken_is_one_line_and_status_1(run_python):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = run_python("-m", "tuplespace", "--port", str(port))
        out, err = process.communicate(timeout=10)
    assert process.returncode == 1
    assert out == ""
    assert err.count("\n") == 1
    assert str(port) in err
    assert "--port" in err


@pytest.mark.parametrize(
    ("options", "word"),
    [(["--store", "/dev/null/space.db"], "/dev/null/space.db"), (["--host", "192.0.2.77"], "--host"),
     (["--key-file", "/dev/null/key"], "--key-file")],
)  # fmt: skip
def test_what_cannot_be_done_is_one_line_and_status_1(run_python, options, word):
    process = run_python("-m", "tuplespace", "--port", "0", *options)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err.count("\n")) == (1, "", 1)
    assert word in err


def test_an_embedded_server_prints_its_uri_and_ends_with_its_parent(run_python):
    process = run_python("-m", "tuplespace", "--port", "0", "--embedded")
    uri = process.stdout.readline().strip()
    assert uri.startswith("PYRO:tuplespace@127.0.0.1:")
    with connect(uri) as space:
        space.write(("a",))
    process.stdin.close()
    assert process.wait(10) == 0
    assert (process.stdout.read(), process.stderr.read()) == ("", "")
    process.stdin = None


def test_a_server_makes_the_key_and_an_embedded_one_does_not(run_python, tmp_path):
    path = tmp_path / "new" / "cluster.key"
    embedded = run_python("-m", "tuplespace", "--port", "0", "--embedded", "--key-file", str(path))
    assert embedded.wait(10) == 1
    assert str(path) in embedded.stderr.read()
    process = run_python("-m", "tuplespace", "--port", "0", "--key-file", str(path))
    with connect(uri_of(process), key_file=path) as space:
        assert space.status()["tuples"] == 0
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_server_for_others_says_that_traffic_is_not_encrypted(run_python):
    process = run_python("-m", "tuplespace", "--port", "0", "--host", "0.0.0.0")
    port = uri_of(process).rpartition(":")[2]
    line = process.stdout.readline()
    assert "not encrypted" in line
    assert f":{port}" in line


def test_a_space_server_in_the_same_port_twice_in_a_row_can_start(run_python):
    first = run_python("-m", "tuplespace", "--port", "0")
    uri = uri_of(first)
    with connect(uri) as space:
        space.write(("a",))
        first.terminate()
        assert first.wait(10) == 0
    second = run_python("-m", "tuplespace", "--port", uri.rpartition(":")[2])
    with connect(uri_of(second)) as space:
        assert space.count(("a",)) == 0


def test_a_space_in_a_file_goes_on_after_a_kill_and_after_a_signal(server_process):
    with connect(server_process.uri, retry_for=20) as space:
        space.write_many([("a", number) for number in range(100)])
        claim = space.claim(("a", None))
        server_process.kill()
        server_process.start()
        assert space.count(("a", None)) == 99
        claim.confirm([("b", 1)])
        assert server_process.stop() == 0
        server_process.start()
        assert space.count(("a", None)) == 99
        assert space.take(("b", None), timeout=0) == ("b", 1)
        assert space.status()["store"] == str(server_process.store)


def test_the_announcement_says_where_the_space_is_kept(run_python, tmp_path):
    file = tmp_path / "new" / "space.sqlite"
    process = run_python("-m", "tuplespace", "--port", "0", "--store", str(file))
    assert f", in {file}, " in process.stdout.readline()
    process.terminate()
    assert process.wait(10) == 0


def test_a_file_that_is_in_use_or_is_none_of_ours_is_one_line_and_left_as_it_is(
    run_python, server_process, tmp_path
):
    text = tmp_path / "letter.txt"
    text.write_text("Dear space,\n" * 2000)
    for file, word in ((server_process.store, "in use"), (text, "letter.txt")):
        before = file.read_bytes()
        process = run_python("-m", "tuplespace", "--port", "0", "--store", str(file))
        out, err = process.communicate(timeout=10)
        assert (process.returncode, out, err.count("\n")) == (1, "", 1)
        assert str(file) in err
        assert word in err
        assert file.read_bytes() == before
    with connect(server_process.uri) as space:
        space.write(("a",))
