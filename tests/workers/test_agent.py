"""Agents as processes: what they run, what they survive, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from byhand import Job, begun, say_and_wait, wait_for_file
from tuplespace.pickles import dump, load
from tuplespace.security import make_key, throwaway_key
from workers.blocks import FRAME_BYTES
from workers.modules import collect_modules
from workers.task import (
    ANYWHERE,
    DIED,
    ERROR,
    OK,
    REFUSED,
    Outcome,
    Parcel,
    Task,
    this_runtime,
)

# Functions of this module travel by value, as those of a script do.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def job(standing_cluster: Any) -> Iterator[Job]:
    """A job on a cluster that nobody harms."""
    with standing_cluster.connect() as space:
        yield Job(space, standing_cluster.key)


@pytest.fixture
def new_job(cluster: Any) -> Callable[[], Job]:
    return lambda: Job(cluster.connect(), cluster.key)


# --- where and how a task runs --------------------------------------------------------------------


def test_a_lambda_runs_in_a_worker_process(job: Job, standing_cluster: Any) -> None:
    [agent] = standing_cluster.agents

    [(pid, parent, n)] = job.run(lambda n: (os.getpid(), os.getppid(), n + 1), 1)

    assert n == 2
    assert pid in agent.workers
    assert parent == agent.pid
    assert pid not in (os.getpid(), agent.pid)


def test_outcomes_tell_who_ran_the_task_and_how_long(job: Job, standing_cluster: Any) -> None:
    job.write(lambda _: time.sleep(0.05), 0)

    [outcome] = job.outcomes(1)

    assert outcome.pid in standing_cluster.agents[0].workers
    assert outcome.worker == f"{os.uname().nodename}/{outcome.pid}"
    assert 0.05 <= outcome.seconds < 5


def test_two_tasks_run_side_by_side(job: Job, tmp_path: Path) -> None:
    def meet(names: tuple[str, str]) -> int:
        mine, other = names
        (tmp_path / mine).touch()
        wait_for_file(tmp_path / other)
        return os.getpid()

    assert len(set(job.run(meet, ("a", "b"), ("b", "a")))) == 2


def test_many_short_tasks_all_run_once(job: Job) -> None:
    assert job.run(lambda n: n * n, *range(3000)) == [n * n for n in range(3000)]
    assert job.space.count(("task", job.id, *[None] * 5)) == 0
    assert job.space.count(("result", job.id, None, None, None)) == 0


def test_a_task_that_raises_is_an_outcome_and_its_worker_goes_on(
    job: Job, standing_cluster: Any
) -> None:
    before = set(standing_cluster.agents[0].workers)

    def fail(kind: str) -> None:
        if kind == "exit":
            sys.exit(3)
        if kind == "interrupt":
            raise KeyboardInterrupt
        raise ValueError("no such thing")

    job.write(fail, "value", "exit", "interrupt")
    outcomes = job.outcomes(3)

    assert [outcome.status for outcome in outcomes] == [ERROR] * 3
    assert outcomes[0].details["message"] == "ValueError: no such thing"
    assert "test_agent.py" in outcomes[0].details["traceback"]
    assert 'raise ValueError("no such thing")' in outcomes[0].details["traceback"]
    assert set(standing_cluster.agents[0].workers) == before


def test_exceptions_of_every_kind_can_be_told(job: Job, standing_cluster: Any) -> None:
    class Odd(Exception):  # noqa: N818
        def __init__(self, kind: str) -> None:
            self.kind = kind
            self.details = "no dict, as the details of other people's errors are"
            self.outcome_details = 3

        def __str__(self) -> str:
            if self.kind == "str":
                raise RuntimeError("even this")
            return {"long": "x" * 30_000_000, "surrogate": "\udc80"}.get(self.kind, "odd")

    class Unpicklable:
        def __reduce__(self) -> Any:
            raise Odd("result")

    def fail(kind: str) -> Any:
        if kind == "result":
            return Unpicklable()
        if kind == "deep":
            return fail(kind)
        raise Odd(kind)

    kinds = ("str", "long", "surrogate", "details", "result", "deep")
    before = set(standing_cluster.agents[0].workers)
    job.write(fail, *kinds)
    outcomes = job.outcomes(len(kinds))

    assert [outcome.status for outcome in outcomes] == [ERROR] * len(kinds)
    assert all(isinstance(outcome.details["message"], str) for outcome in outcomes)
    assert len(outcomes[1].details["message"]) < 100_000
    assert set(standing_cluster.agents[0].workers) == before


def test_a_result_bigger_than_a_tuple_travels_as_a_block(job: Job, standing_cluster: Any) -> None:
    job.write(lambda n: b"big" * n, 10 << 20)
    [outcome] = job.outcomes(1)

    assert outcome.status == OK
    assert outcome.value is not None
    assert outcome.value.content is None
    location, frames = outcome.value.location, outcome.value.frames
    assert location is not None
    assert [frame.length for frame in frames[:-1]] == [FRAME_BYTES] * 7
    assert len(load(Path(location.path).read_bytes())) == 30 << 20


# --- modules --------------------------------------------------------------------------------------


def test_a_module_by_reference_runs_in_an_agent_that_stands_elsewhere(
    cluster: Any, new_job: Callable[[], Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "their_helper.py").write_text("ANSWER = 'wrong'")
    cluster.start_agent(processes=1, cwd=elsewhere)
    job = new_job()
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.syspath_prepend(project)

    answers = []
    for version in ("first", "second"):
        (project / "their_helper.py").write_text(f"ANSWER = {version!r}")

        def answer(_: Any) -> Any:
            import their_helper

            return their_helper.ANSWER

        bundle = collect_modules(dump(answer))
        answers += job.run(answer, 0, bundle=bundle.to_bytes())

    assert answers == ["first", "second"]


# --- deaths of workers ----------------------------------------------------------------------------


def die_by_exit(_: Any) -> None:
    os._exit(7)


def die_by_segfault(_: Any) -> None:
    import ctypes

    ctypes.string_at(0)


def die_by_kill(_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_with_a_family(_: Any) -> None:
    if os.fork() == 0:  # holds the worker's pipe open
        time.sleep(600)
    os._exit(8)


@pytest.mark.faults
@pytest.mark.parametrize(
    "die, how",
    [
        (die_by_exit, "status 7"),
        (die_by_segfault, "SIGSEGV"),
        (die_by_kill, "SIGKILL"),
        (die_with_a_family, "status 8"),
    ],
)
def test_the_death_of_a_worker_costs_its_own_task_only(
    die: Callable[[Any], None], how: str, job: Job, standing_cluster: Any,
    eventually: Callable[..., Any],
) -> None:  # fmt: skip
    [agent] = standing_cluster.agents

    job.run(lambda n: n, *range(50))  # the agent has learned that these are short
    job.write(lambda n: n if n != 20 else die(n), *range(40))
    outcomes = job.outcomes(40)

    assert [outcome.number for outcome in outcomes if outcome.status != OK] == [70]
    assert outcomes[20].status == DIED
    assert how in outcomes[20].details["message"]
    assert f"worker process {outcomes[20].pid} " in agent.wait_for(f"{outcomes[20].pid} of")
    eventually(lambda: len(agent.workers) == 2)


def test_the_death_of_an_idle_worker_costs_nothing(
    job: Job, standing_cluster: Any, eventually: Callable[..., Any]
) -> None:
    [agent] = standing_cluster.agents
    before = eventually(lambda: len(agent.workers) == 2 and agent.workers)

    for pid in before:
        os.kill(pid, signal.SIGKILL)

    outcomes = []
    job.write(lambda n: os.getpid(), *range(10))
    outcomes = job.outcomes(10)
    # One that had not yet been missed may have been given a task.
    assert all(outcome.status in (OK, DIED) for outcome in outcomes)
    assert not {outcome.pid for outcome in outcomes if outcome.status == OK} & set(before)


# --- deaths of agents -----------------------------------------------------------------------------


@pytest.mark.faults
def test_when_an_agent_is_killed_its_workers_end_and_another_runs_its_tasks(
    cluster: Any, new_job: Callable[[], Job], tmp_path: Path, eventually: Callable[..., Any],
    alive: Callable[[int], bool],
) -> None:  # fmt: skip
    first = cluster.start_agent()
    job = new_job()
    job.write(say_and_wait(tmp_path), 1, 2)
    pids = eventually(begun(tmp_path, 2))

    first.process.kill()
    second = cluster.start_agent()
    eventually(lambda: len(begun(tmp_path)()) == 4)
    (tmp_path / "go").touch()

    outcomes = job.outcomes(2)
    assert {outcome.status for outcome in outcomes} == {OK}
    assert {outcome.pid for outcome in outcomes} <= set(second.workers)
    eventually(lambda: not any(map(alive, pids)))


@pytest.mark.faults
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a worker must let go of the GIL")
def test_workers_whose_code_holds_the_gil_end_with_their_agent_too(
    cluster: Any, new_job: Callable[[], Job], tmp_path: Path, eventually: Callable[..., Any],
    alive: Callable[[int], bool],
) -> None:  # fmt: skip
    agent = cluster.start_agent(processes=1)

    def hold_the_gil(_: Any) -> None:
        import re

        (tmp_path / f"begun-1-{os.getpid()}").touch()
        re.match("(a+)+$", "a" * 60 + "b")

    new_job().write(hold_the_gil, 0)
    [pid] = eventually(begun(tmp_path))

    agent.process.kill()

    eventually(lambda: not alive(pid))


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_agent_ends_at_once(
    number: int, cluster: Any, alive: Callable[[int], bool]
) -> None:
    agent = cluster.start_agent()
    workers = agent.workers
    space = cluster.connect()
    assert space.count(("worker", *[None] * 4)) == 1

    started = time.monotonic()
    assert agent.stop(number) == 0

    assert time.monotonic() - started < 5
    assert not any(map(alive, workers))
    agent.wait_for("stopped")


@pytest.mark.faults
def test_an_agent_that_ends_gives_back_what_does_not_end_in_time(
    cluster: Any, new_job: Callable[[], Job], tmp_path: Path, eventually: Callable[..., Any],
    alive: Callable[[int], bool],
) -> None:  # fmt: skip
    agent = cluster.start_agent()
    job = new_job()
    job.write(say_and_wait(tmp_path), 1, 2)
    pids = eventually(begun(tmp_path, 2))

    assert agent.stop(signal.SIGTERM, within=10.0) == 0

    assert not any(map(alive, pids))
    eventually(lambda: job.space.count(("task", job.id, *[None] * 5)) == 2)


def test_an_agent_that_ends_finishes_what_ends_in_time(
    cluster: Any, new_job: Callable[[], Job], tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    agent = cluster.start_agent()
    job = new_job()
    job.write(say_and_wait(tmp_path), 1, 2)
    eventually(begun(tmp_path, 2))

    agent.process.send_signal(signal.SIGTERM)
    (tmp_path / "go").touch()

    assert [outcome.status for outcome in job.outcomes(2)] == [OK, OK]
    assert agent.end() == 0


@pytest.mark.faults
def test_the_last_agent_of_a_space_leaves_no_folder_behind(cluster: Any) -> None:
    first, last = cluster.start_agent(processes=1), cluster.start_agent(processes=1)
    (root,) = cluster.temporary.glob("tuplemill-*")

    assert first.stop() == 0
    assert list(root.iterdir())
    assert last.stop() == 0
    assert not list(root.iterdir())


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.faults)]
)
def test_an_agent_ends_in_time_when_its_space_is_away(
    number: int, cluster: Any, new_job: Callable[[], Job], tmp_path: Path,
    eventually: Callable[..., Any], below: Callable[[int], dict[int, str]],
) -> None:  # fmt: skip
    agent = cluster.start_agent()
    new_job().write(say_and_wait(tmp_path), 1, 2)
    workers = eventually(begun(tmp_path, 2))
    cluster.kill_server()
    (tmp_path / "go").touch()

    assert agent.stop(number, within=10.0) == 0
    assert not set(workers) & set(below(1))


# --- spaces that are not there --------------------------------------------------------------------


@pytest.mark.faults
def test_an_agent_started_before_its_space_waits_for_it_and_says_so(
    cluster: Any, new_job: Callable[[], Job]
) -> None:
    cluster.kill_server()
    agent = cluster.start_agent(ready=False)
    assert "no tuple space" in agent.wait_for("still trying")

    cluster.start_server()

    agent.wait_for(" processes, ")
    assert new_job().run(lambda n: n, 1) == [1]


def test_an_agent_started_before_the_key_was_made_waits_for_it_and_says_so(
    cluster: Any, new_job: Callable[[], Job], tmp_path: Path
) -> None:
    hidden = cluster.key_file.rename(tmp_path / "hidden")
    agent = cluster.start_agent(ready=False)
    assert str(cluster.key_file) in agent.wait_for("still trying")

    hidden.rename(cluster.key_file)

    agent.wait_for(" processes, ")
    assert new_job().run(lambda n: n, 1) == [1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_agent_that_waits_for_its_space_ends_at_once(number: int, cluster: Any) -> None:
    cluster.kill_server()
    agent = cluster.start_agent(ready=False)
    agent.wait_for("still trying")

    assert agent.stop(number) == 0


def test_with_a_wrong_key_an_agent_ends_with_one_line(cluster: Any, tmp_path: Path) -> None:
    make_key(tmp_path / "other.key")

    agent = cluster.start_agent("--key-file", str(tmp_path / "other.key"), ready=False)

    assert agent.end() == 1
    assert len(agent.lines) == 1
    assert "key" in agent.lines[0]
    assert "Traceback" not in agent.lines[0]


@pytest.mark.parametrize(
    "options", [("--space", "127.0.0.1:none"), ("--processes", "-1"), ("--work-dir", "/proc/none")]
)
def test_with_a_senseless_option_an_agent_ends_with_one_line(
    options: tuple[str, str], cluster: Any
) -> None:
    agent = cluster.start_agent(*options, ready=False)

    assert agent.end() in (1, 2)
    assert "Traceback" not in "\n".join(agent.lines)
    assert len(agent.lines) <= 4


@pytest.mark.faults
def test_an_agent_whose_space_came_back_empty_serves_the_new_one(
    cluster: Any, new_job: Callable[[], Job], tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    agent = cluster.start_agent()
    old = new_job()
    old.write(say_and_wait(tmp_path), 1, 2)
    eventually(begun(tmp_path, 2))

    cluster.kill_server()
    cluster.start_server()
    agent.wait_for("starting over")
    new = new_job()
    new.write(lambda n: n * 2, *range(50))
    (tmp_path / "go").touch()

    # What the old space's tasks return is nothing to the new one, and its claims are not theirs.
    assert [load(outcome.value.content) for outcome in new.outcomes(50) if outcome.value] == [
        n * 2 for n in range(50)
    ]
    assert new.space.count(("result", *[None] * 4)) == 0
    eventually(lambda: new.space.count(("worker", *[None] * 4)) >= 1)


@pytest.mark.faults
def test_a_claim_is_renewed_for_as_long_as_its_task_runs_even_with_the_gil_held(
    cluster: Any, new_job: Callable[[], Job], tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    impatient = (
        "import workers.agent as agent, workers.claims, workers.serve; "
        "workers.claims.CLAIM_LEASE = 1.0; "
        "agent._RENEW_SECONDS = 0.2; "
        f"workers.serve.serve({cluster.uri!r}, 1, announce=lambda line: print(line, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", impatient], env=cluster.environment) as agent:
        job = new_job()

        def hold_the_gil(_: Any) -> int:
            import ctypes

            (tmp_path / f"begun-{time.monotonic_ns()}").touch()
            ctypes.PyDLL(None).usleep(2_500_000)
            return os.getpid()

        job.write(hold_the_gil, 0)
        # Somebody who would take the task as soon as its claim has ended.
        cluster.start_agent(processes=1, ready=False)
        (outcome,) = job.outcomes(1)

        assert outcome.status == OK
        assert outcome.seconds >= 2.5
        assert len(list(tmp_path.glob("begun-*"))) == 1
        agent.terminate()


# --- what people see ------------------------------------------------------------------------------


def test_what_user_code_prints_shows_with_the_workers_name(job: Job, standing_cluster: Any) -> None:
    def talk(text: str) -> int:
        print(text)
        print("and an error", text, file=sys.stderr)
        os.system("echo a child says " + text)
        return os.getpid()

    [pid] = job.run(talk, "hello-äöü")

    name = f"[{os.uname().nodename}/{pid}] "
    agent = standing_cluster.agents[0]
    assert agent.wait_for(f"{name}hello-äöü")
    assert agent.wait_for(f"{name}and an error hello-äöü")
    assert agent.wait_for(f"{name}a child says hello-äöü")


def test_a_flood_of_output_stops_nothing(job: Job, standing_cluster: Any) -> None:
    def flood(_: Any) -> None:
        for number in range(20_000):
            print(number, "x" * 50)
        print("y" * 3_000_000)
        sys.stdout.buffer.write(b"\xff\0\xfe" * 1000 + b"\n")
        print("\udc80 end of the flood")

    job.run(flood, 0)

    assert job.run(lambda n: n, 5) == [5]
    assert standing_cluster.agents[0].wait_for("\\udc80 end of the flood")


def test_an_agent_whose_output_is_gone_works_on(cluster: Any, new_job: Callable[[], Job]) -> None:
    reader, writer = os.pipe()
    command = [sys.executable, "-m", "workers", "--space", cluster.uri, "--processes", "2"]
    with subprocess.Popen(command, stdout=writer, stderr=writer, env=cluster.environment) as agent:
        os.close(writer)
        os.read(reader, 1)
        os.close(reader)
        job = new_job()

        assert job.run(lambda n: print("x" * 100_000) or n, *range(9)) == list(range(9))

        agent.terminate()
        assert agent.wait(10) == 0


# --- who runs what --------------------------------------------------------------------------------


def test_a_task_with_an_affinity_runs_there_and_nowhere_else(
    cluster: Any, new_job: Callable[[], Job]
) -> None:
    here = cluster.start_agent("--host", "here", processes=1)
    there = cluster.start_agent("--host", "there", processes=1)
    job = new_job()

    assert set(job.run(lambda _: os.getppid(), *range(20), affinity="here")) == {here.pid}
    assert set(job.run(lambda _: os.getppid(), *range(20), affinity="there")) == {there.pid}
    name = f"there/{there.pid}"
    assert set(job.run(lambda _: os.getppid(), *range(20), affinity=name)) == {there.pid}
    job.write(lambda _: None, 0, affinity="nowhere")
    job.run(lambda n: n, *range(20))
    assert job.space.count(("task", job.id, *[None] * 5)) == 1


def test_a_task_of_another_runtime_is_left_alone(job: Job) -> None:
    task = Task(job.id, "work", 0, "cpython-2.7", ANYWHERE, 0, Parcel(b""), Parcel(b""))
    job.space.write(task.to_tuple(job.key))

    assert job.run(lambda n: n, *range(20)) == list(range(20))
    assert job.space.take(("task", job.id, *[None] * 5), timeout=0)[4] == "cpython-2.7"


def test_agents_tell_the_space_who_they_are(cluster: Any) -> None:
    agent = cluster.start_agent("--host", "here", processes=1)
    space = cluster.connect()

    [value] = space.read_all(("worker", *[None] * 4))

    assert value == ("worker", f"here/{agent.pid}", "here", this_runtime(), 1)


def test_tasks_of_a_job_whose_driver_is_gone_are_cleared_away(
    job: Job, eventually: Callable[..., Any], tmp_path: Path
) -> None:
    job.space.take(("job", job.id, None), timeout=5)

    job.write(lambda _: (tmp_path / "ran").touch(), *range(5))

    eventually(lambda: job.space.count((None, job.id, *[None] * 5)) == 0)
    assert not (tmp_path / "ran").exists()


def test_blocks_of_a_job_that_has_ended_are_swept(job: Job, eventually: Callable[..., Any]) -> None:
    job.write(lambda n: os.urandom(n), 1_000_000)
    [outcome] = job.outcomes(1)
    assert outcome.value is not None
    assert outcome.value.location is not None
    block = Path(outcome.value.location.path)
    assert block.exists()

    job.space.take(("job", job.id, None), timeout=5)

    eventually(lambda: not block.parent.exists())


# --- safety ---------------------------------------------------------------------------------------


class Bomb:
    """Leaves a trace when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_forged_task_is_refused_before_anything_is_unpickled(job: Job, tmp_path: Path) -> None:
    bomb = Parcel(dump(Bomb(tmp_path / "exploded")))
    task = Task(job.id, "work", 0, this_runtime(), ANYWHERE, 0, bomb, bomb, bomb)
    job.space.write(task.to_tuple(throwaway_key()))
    sealed = task.to_tuple(job.key)
    job.space.write((*sealed[:3], 1, *sealed[4:]))  # a good task under another number
    job.space.write((*sealed[:3], 2, *sealed[4:6], b"garbage"))

    outcomes = job.outcomes(3)

    assert [outcome.status for outcome in outcomes] == [REFUSED] * 3
    assert "signature" in outcomes[0].details["message"]
    assert not (tmp_path / "exploded").exists()
    assert job.run(lambda n: n, 5) == [5]


@pytest.mark.parametrize("place, odd", [(6, None), (2, object()), (3, "one"), (1, 7)])
def test_what_only_looks_like_a_task_is_left_alone(job: Job, place: int, odd: Any) -> None:
    looks_like_one = ["task", job.id, "work", 0, this_runtime(), ANYWHERE, b"payload"]
    looks_like_one[place] = odd
    job.space.write(tuple(looks_like_one))

    assert job.run(lambda n: n, *range(20)) == [*range(20)]  # with every worker still there
    template = ["task", *[None] * 6]
    template[5] = ANYWHERE
    assert len(job.space.take_many(tuple(template), 10, timeout=0)) == 1


def test_a_forged_block_is_not_unpickled(job: Job, tmp_path: Path) -> None:
    from workers.blocks import Frame, Location, digest

    block = tmp_path / "f.blocks"
    block.write_bytes(dump(Bomb(tmp_path / "exploded")))
    size = block.stat().st_size
    location = Location(os.uname().nodename, str(block), "PYRO:blocks@127.0.0.1:9")
    parcel = Parcel(None, location, (Frame(0, size, digest(b"x" * size)),))
    task = Task(job.id, "work", 0, this_runtime(), ANYWHERE, 0, parcel, parcel)
    job.space.write(task.to_tuple(job.key))

    [outcome] = job.outcomes(1)

    assert outcome.status == "lost"
    assert not (tmp_path / "exploded").exists()


def test_an_agent_that_stops_is_no_longer_listed(cluster: Any) -> None:
    agent = cluster.start_agent()
    space = cluster.connect()
    assert space.count(("worker", *[None] * 4)) == 1
    agent.stop()
    assert space.count(("worker", *[None] * 4)) == 0


@pytest.mark.faults
def test_an_agent_is_listed_once_after_its_space_came_back_empty(
    cluster: Any, eventually: Callable[..., Any]
) -> None:
    agent = cluster.start_agent()
    cluster.kill_server()
    agent.wait_for("still trying")
    threading.Event().wait(1.0)  # then all of its threads ask again, and hear of it at once
    cluster.start_server()
    agent.wait_for("starting over")
    space = cluster.connect()
    listed = space.notify("write", ("worker", *[None] * 4))
    eventually(lambda: space.count(("worker", *[None] * 4)) >= 1)
    with pytest.raises(TimeoutError):
        listed.next(1.0)
        listed.next(1.0)
    assert space.count(("worker", *[None] * 4)) == 1


# --- what goes wrong in the product's own house ---------------------------------------------------


def test_a_process_that_a_task_forked_answers_nothing(job: Job, standing_cluster: Any) -> None:
    def fork(argument: int) -> int:
        os.fork()  # and so it returns twice
        return argument

    def fork_and_exit(argument: int) -> int:
        pid = os.fork()
        if not pid:
            sys.exit(argument)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    before = set(standing_cluster.agents[0].workers)

    assert job.run(fork, *range(10)) == [*range(10)]
    assert job.run(fork_and_exit, 0, 3) == [0, 3]
    assert job.run(lambda n: n, *range(100)) == [*range(100)]
    assert before <= set(standing_cluster.agents[0].workers)


def test_a_worker_that_answers_something_else_is_replaced(job: Job, standing_cluster: Any) -> None:
    def answer_another(number: int) -> None:
        from multiprocessing.connection import Connection

        from tuplespace.wire import pack

        for descriptor in range(3, 100):  # one of them leads to the agent
            try:
                kind = os.readlink(f"/dev/fd/{descriptor}")
            except OSError:
                continue
            if kind.startswith("socket:"):
                pipe = Connection(os.dup(descriptor))
                pipe.send_bytes(pack(((0.1,), (("result", "other", "work", number, b""),), 0)))
        time.sleep(60)  # until it is ended

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    job.write(answer_another, 7)

    [outcome] = job.outcomes(1)

    assert outcome.status == DIED
    assert "not asked for" in outcome.details["message"]
    assert job.run(lambda n: n, *range(20)) == [*range(20)]


class TooMuchToTellError(Exception):
    outcome_details = {  # noqa: RUF012
        "object": object(), "class": int, "nested": {"a": {}}, "message": 5, "record": "r" * 10**6,
        "maps": [1, 2], "mixed": [1, "x"], 7: "no name", "count": 3, "where": b"nowhere",
    }  # fmt: skip


class UntellableError(Exception):
    @property
    def outcome_details(self) -> Any:
        raise RuntimeError("no")


def test_only_plain_details_of_an_exception_travel(job: Job, standing_cluster: Any) -> None:
    def fail(error: type[Exception]) -> None:
        raise error("why")

    before = set(standing_cluster.agents[0].workers)
    job.write(fail, TooMuchToTellError, UntellableError)

    first, second = job.outcomes(2)

    assert [first.status, second.status] == [ERROR, ERROR]
    assert first.details.keys() == {"error", "message", "traceback", "record", "maps", "count"}
    assert "why" in first.details["message"]
    assert "why" in second.details["message"]
    assert len(first.details["record"]) < 20_000
    assert (first.details["maps"], first.details["count"]) == ([1, 2], 3)
    assert before <= set(standing_cluster.agents[0].workers)


def test_names_that_are_no_text_harm_nobody(job: Job, standing_cluster: Any) -> None:
    before = set(standing_cluster.agents[0].workers)
    for odd in ("\ud800", "a\0b", "../" * 100, "x" * 10_000):
        job.space.write(("job", odd, {}))
        job.space.write(("task", odd, "work", 0, this_runtime(), ANYWHERE, b""))
        job.space.write(("task", job.id, odd, 10**40, this_runtime(), ANYWHERE, b""))
        for name in (odd, job.id):
            value = job.space.take(("result", name, None, None, None), timeout=10)
            assert Outcome.from_tuple(value, job.key).status == REFUSED
        job.space.take(("job", odd, None), timeout=0)
    for value in ([job.id], {"j": 1}, object()):  # which no template of the agent's matches
        job.space.write(("job", value, {}), lease=5)
        job.space.write(("job", "x", value), lease=5)
        job.space.write(("task", value, "work", 0, this_runtime(), ANYWHERE, b""), lease=5)

    assert job.run(lambda n: n, *range(20)) == [*range(20)]
    assert before <= set(standing_cluster.agents[0].workers)


BREAKS = """
import sys
from workers.serve import serve

def announce(line):
    print(line, flush=True)
    if line.startswith("worker process"):  # one has died
        raise RuntimeError("nobody expects this")

serve(sys.argv[1], 2, announce=announce, drain=0.1)
"""


@pytest.mark.faults
def test_an_agent_of_which_a_thread_fails_ends_and_others_do_the_work(
    cluster: Any, new_job: Callable[[], Job], run_python: Callable[..., Any], tmp_path: Path,
    eventually: Callable[..., Any],
) -> None:  # fmt: skip
    agent = run_python("-c", BREAKS, cluster.uri)
    job = new_job()
    job.write(say_and_wait(tmp_path), "waits")
    eventually(begun(tmp_path))
    job.write(die_by_exit, 0)

    output, error = agent.communicate(timeout=15)

    assert agent.returncode == 1
    assert "Traceback" in output
    assert "WorkerError" in error
    assert "nobody expects this" in error
    cluster.start_agent()
    (tmp_path / "go").touch()
    assert [outcome.status for outcome in job.outcomes(2)] == [OK, DIED]
