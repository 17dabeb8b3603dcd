"""Programs as map, combine and reduce: real ones, held against what a shell makes of the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain, count
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from mapreduce import (
    InvalidJobError,
    InvalidPairsError,
    JobFailedError,
    MapReduceError,
    MapReduceJob,
    ProgramFailedError,
    RecordFailedError,
    Split,
    TextFiles,
    run_program,
    sum_values,
)
from mapreduce.spilling.allowance import Allowance, allowed
from tuplespace import RemoteSpace, connect

TEXT = b"to be or not to be\nthat is  the question\n\nna\xc3\xafve caf\xe9 \xe6\x97\xa5\xe6\x9c\xac\r\nto sleep\n"
WORDS = ["awk", "{ for (i = 1; i <= NF; i++) print $i }"]
ONES = ["awk", '{ for (i = 1; i <= NF; i++) print $i "\\t" 1 }']
ADD_UP = ["awk", "-F\t", """
    $1 != last { if (NR > 1) print last "\t" sum; last = $1; sum = 0 }
    { sum += $2 }
    END { if (NR) print last "\t" sum }
"""]  # fmt: skip

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere they are not found")


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT * 50)
    return path


@pytest.fixture
def space(standing_cluster: Any) -> Iterator[RemoteSpace]:
    with connect(standing_cluster.uri) as space:
        yield space


def shell(script: str, *arguments: object) -> bytes:
    return subprocess.run(
        ["sh", "-c", script, "sh", *map(str, arguments)],
        env={**os.environ, "LC_ALL": "C"}, capture_output=True, check=True,
    ).stdout  # fmt: skip


def job_on(data: Any, **options: Any) -> MapReduceJob:
    defaults = {"map": run_program(ONES, value=int), "reduce": sum_values,
                "map_tasks": 3, "reduce_tasks": 2}  # fmt: skip
    return MapReduceJob(data=data, **{**defaults, **options})


def script(body: str, **options: Any) -> run_program:
    return run_program([sys.executable, "-S", "-c", body], **options)


# --- what it reads and what it prints --------------------------------------------------------------


def test_map_and_reduce_are_the_two_ends_of_a_shell_pipeline(text: Path) -> None:
    expected = shell(f"awk '{WORDS[1]}' \"$1\" | sort | uniq -c", text)
    lines = TextFiles(text, errors="surrogateescape")

    [result] = job_on(
        lines, map=run_program(WORDS), reduce=run_program(["uniq", "-c"]), reduce_tasks=1
    ).run_sequential()

    # Python reads \r\n as a line's end, which a shell does not.
    assert "\n".join([*result, ""]).encode("utf-8", "surrogateescape") == expected.replace(
        b"\r", b""
    )


@pytest.mark.parametrize("sort", [None, False])
def test_a_reduce_adds_up_what_a_map_has_printed(sort: bool | None, text: Path) -> None:
    counts = Counter(TEXT.decode(errors="surrogateescape").split() * 50)
    add_up = ["awk", "-F\t", '{ n[$1] += $2 } END { for (k in n) print k "\t" n[k] }']
    reduce = run_program(ADD_UP if sort is None else add_up, value=int, sort=sort)
    lines = TextFiles(text, errors="surrogateescape")

    plain = job_on(lines, reduce=reduce).run_sequential()
    combined = job_on(lines, reduce=reduce, combine=reduce).run_sequential()

    assert dict(chain.from_iterable(plain)) == counts
    assert [sorted(part) for part in combined] == [sorted(part) for part in plain]
    if sort is None:
        assert plain == [sorted(part) for part in plain]


def test_pairs_come_sorted_by_key_and_stable_whatever_memory_there_is(tmp_path: Path) -> None:
    pairs = [(f"k{n * 7919 % 613}", f"{n}") for n in range(5000)]
    (tmp_path / "pairs").write_text("".join(f"{key}\t{value}\n" for key, value in pairs))
    expected = shell("sort -s -t'\t' -k1,1 \"$1\"", tmp_path / "pairs").decode()
    (tmp_path / "scratch").mkdir()
    asked = []

    def scratch() -> Path:
        asked.append(tmp_path / "scratch")
        return asked[-1]

    with allowed(Allowance(100_000, scratch)):
        printed = list(run_program(["cat"], sort=True)(pairs))

    assert "".join(f"{key}\t{value}\n" for key, value in printed) == expected
    assert len(asked) > 1  # for the program's folder, and for what was spilled
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize(
    "record, line",
    [
        ("", ""),
        ("a b\r", "a b\r"),
        (b"caf\xe9", "caf\udce9"),
        (7, "7"),
        (True, "True"),
        (1.5, "1.5"),
        (("k", "v"), "k\tv"),
        (("k", 3), "k\t3"),
        (("k", None), "k"),
        (("k", "v\tw"), "k\tv\tw"),
        ((b"k", "v"), "k\tv"),
        (["a", 2, None, 0.5], "a\t2\t\t0.5"),
    ],
)
def test_a_record_is_a_line_alone_and_among_others(record: Any, line: str) -> None:
    key, tab, value = line.partition("\t")
    pair = (key, value if tab else None)
    cat = run_program(["cat"])

    assert list(cat([record])) == [pair]
    assert list(cat([record] * 3)) == [pair] * 3
    assert list(cat(["xy", record, ("x", 1), ("x", None), ("a", "b", "c"), record])) == [
        ("xy", None), pair, ("x", "1"), ("x", None), ("a", "b\tc"), pair,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "record, why",
    [
        ({"url": "x"}, "dict is no text: make one of it"),
        (("k", ["v"]), "list is no text"),
        ("two\nlines", "newline"),
        (("a\tb", 1), "tab"),
        (("a\tb", "c"), "tab"),
        (("a\tb", None), "tab"),
        (("k", "v\n"), "newline"),
        ("\ud800", "surrogates not allowed"),
    ],
)
def test_what_cannot_be_a_line_is_refused_and_found(record: Any, why: str) -> None:
    good = ("good", None if record[1] is None else "x") if type(record) is tuple else "good"
    job = job_on([good] * 400 + [record], map=run_program(["cat"]), map_tasks=1)

    with pytest.raises(RecordFailedError, match=r"record 400|number 400") as failure:
        job.run_sequential()

    assert why in str(failure.value.__cause__)


def test_what_it_prints_becomes_a_pair_a_line_with_the_types_wanted() -> None:
    printing = ["printf", r"1\t2\n\n3\n4\t5\t6"]
    assert list(run_program(printing)([])) == [("1", "2"), ("", None), ("3", None), ("4", "5\t6")]

    typed = run_program(["printf", r"1\t2\n3\n"], key=int, value=float)
    assert list(typed([])) == [(1, 2.0), (3, None)]
    assert list(typed.in_phase("reduce")([])) == [(1, 2.0), 3]

    odd = run_program(["printf", r"a\t1\nb\tx\n"], value=int)
    with pytest.raises(
        InvalidPairsError, match=r"printf .* printed 'b\\tx', whose value .*ValueError"
    ):
        list(odd([]))


def test_a_line_longer_than_any_pipe_comes_through_whole() -> None:
    long = "x" * 3_000_000

    assert list(run_program(["cat"])([long, "y", long])) == [
        (long, None),
        ("y", None),
        (long, None),
    ]


def test_a_split_that_is_a_path_is_a_line_to_read(text: Path) -> None:
    job = job_on([Split(str(text))], map=run_program(["xargs", "cksum"]), map_tasks=None)
    job.reduce, job.reduce_tasks = run_program(["cat"]), 1

    assert job.run_sequential() == [[shell('cksum "$1"', text).decode().rstrip()]]


def test_a_folder_of_output_holds_what_the_program_has_printed(text: Path, tmp_path: Path) -> None:
    text.write_text("to be or not to be\n")
    job = job_on(
        TextFiles(text), map=run_program(WORDS), reduce=run_program(["uniq", "-c"]),
        reduce_tasks=1, output=tmp_path / "out",
    )  # fmt: skip

    [path] = job.run_sequential()

    assert Path(path).read_bytes() == shell(f"awk '{WORDS[1]}' \"$1\" | sort | uniq -c", text)


# --- both ways at once ----------------------------------------------------------------------------


def test_it_may_print_much_before_it_reads_and_much_after() -> None:
    before_and_after = 'head -c 2500000 /dev/zero | tr "\\0" "\\n"; cat; echo end'
    lines = [f"{n:099}" for n in range(50_000)]

    printed = [key for key, _ in run_program(["sh", "-c", before_and_after])(lines)]

    assert Counter(printed[:2_500_000]) == {"": 2_500_000}
    assert printed[2_500_000:] == [*lines, "end"]


def test_it_may_stop_reading_and_records_are_read_only_as_it_takes_them() -> None:
    taken = count()
    endless = (f"{n} {next(taken) * 0}" for n in count())

    assert [key for key, _ in run_program(["head", "-n", "2"])(endless)] == ["0 0", "1 0"]

    assert next(taken) < 1_000_000


def test_an_error_of_the_records_is_not_taken_for_the_programs() -> None:
    def broken() -> Iterator[str]:
        yield "a"
        raise BrokenPipeError("of the reader")

    with pytest.raises(BrokenPipeError, match="of the reader"):
        list(run_program(["cat"])(broken()))


def test_what_is_not_gone_through_to_the_end_is_ended(
    tmp_path: Path, alive: Callable[[int], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    endless = run_program(["sh", "-c", "echo $$; exec sleep 1000"])(["x"] * 1000)
    pid = int(next(endless)[0])
    assert alive(pid)
    assert len(list(tmp_path.iterdir())) == 1

    del endless

    assert not alive(pid)
    assert list(tmp_path.iterdir()) == []


# --- failures -------------------------------------------------------------------------------------


def failure_of(program: run_program, records: Any = ("a",)) -> ProgramFailedError:
    with pytest.raises(ProgramFailedError) as failure:
        list(program(records))
    error = failure.value
    again = cloudpickle.loads(cloudpickle.dumps(error))
    assert isinstance(error, MapReduceError)
    assert str(again) == str(error)
    assert (again.command, again.host, again.status) == (error.command, error.host, error.status)
    return error


def test_a_status_fails_with_the_last_words(capfd: pytest.CaptureFixture[str]) -> None:
    error = failure_of(run_program(["sh", "-c", "seq 100 >&2; exit 3"]))

    assert error.status == 3
    assert error.stderr == "\n".join(map(str, range(81, 101)))
    assert "sh -c 'seq 100 >&2; exit 3' on " in str(error)
    assert "ended with status 3; it said:\n  81\n  82\n" in str(error)
    assert capfd.readouterr().err.split() == [str(n) for n in range(1, 101)]


def test_a_signal_is_named_and_a_silent_end_is_one_all_the_same() -> None:
    error = failure_of(run_program(["sh", "-c", "kill -SEGV $$"]))
    assert error.status == -11
    assert str(error).endswith("was killed by SIGSEGV, and said nothing")

    # Whatever it did not read, and whatever it printed before: the status decides.
    assert (
        failure_of(run_program(["sh", "-c", "echo fine; exit 1"]), ["x" * 99] * 99_999).status == 1
    )


def test_a_program_that_is_not_there_says_where_and_what_to_do(tmp_path: Path) -> None:
    missing = failure_of(run_program(["no-such-program"]))
    assert missing.status is None
    assert f"no-such-program on {missing.host}: there is no such program" in str(missing)
    assert "files=" in str(missing)

    (tmp_path / "plain").write_text("echo hi")
    plain = failure_of(run_program(["./plain"], files=[tmp_path / "plain"]))
    assert "cannot be run: PermissionError" in str(plain)


@pytest.mark.parametrize(
    "command, options, why",
    [
        ("awk '{ print }'", {}, r'\["sh", "-c", line\]'),
        ([], {}, "not \\[\\]"),
        ([""], {}, "not \\[''\\]"),
        ([1], {}, "list of str: .* not int"),
        (["a\0b"], {}, "null character"),
        (["cat"], {"value": "int"}, r"value=.* is a function, such as int, not 'int'"),
        (["cat"], {"files": "a.txt"}, r"write \['a.txt'\]"),
        (["cat"], {"files": ["no-such-file"]}, "no-such-file cannot be read"),
        (["cat"], {"env": {"A": 1}}, "mapping of str to str"),
    ],
)
def test_what_cannot_be_right_is_refused_at_once(command: Any, options: Any, why: str) -> None:
    with pytest.raises(InvalidJobError, match=why):
        run_program(command, **options)


def test_two_files_of_one_name_and_a_forgotten_call_are_refused(tmp_path: Path) -> None:
    twins = [tmp_path / "a" / "x", tmp_path / "b" / "x"]
    for path in twins:
        path.parent.mkdir()
        path.touch()
    with pytest.raises(InvalidJobError, match="same name"):
        run_program(["cat"], files=twins)

    job = job_on(["a"], map=run_program)
    with pytest.raises(InvalidJobError, match=r"write run_program\(\[\.\.\.\]\)"):
        job.run_sequential()


# --- its surroundings -----------------------------------------------------------------------------


def test_its_folder_holds_the_files_sent_and_goes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, empty = tmp_path / "sent", tmp_path / "empty"
    sent.mkdir()
    empty.mkdir()
    (sent / "hello").write_text(
        '#!/bin/sh\ncat list.txt; echo "$WORD"; ls -A; echo left > behind\n'
    )
    (sent / "hello").chmod(0o755)
    (sent / "list.txt").write_text("a\nb\n")
    monkeypatch.setattr("tempfile.tempdir", str(empty))
    files = [sent / "hello", str(sent / "list.txt")]

    program = run_program(["hello"], files=files, env={"WORD": "hey"})
    shutil.rmtree(sent)  # they have been read

    for same in (program, cloudpickle.loads(cloudpickle.dumps(program))):
        assert [key for key, _ in same([])] == ["a", "b", "hey", "hello", "list.txt"]
    assert list(empty.iterdir()) == []


@pytest.mark.skipif(not shutil.which("cc"), reason="takes a C compiler")
def test_a_program_in_c_is_compiled_once_and_runs_on_every_worker(
    space: RemoteSpace, tmp_path: Path, text: Path
) -> None:
    (tmp_path / "words.c").write_text("""
        #include <stdio.h>
        int main(void) {
            char word[100];
            while (scanf("%99s", word) == 1) printf("%s\\t1\\n", word);
            return 0;
        }
    """)
    subprocess.run(["cc", "-o", tmp_path / "words", tmp_path / "words.c"], check=True)
    (tmp_path / "words.c").unlink()
    count_words = run_program(["./words"], files=[tmp_path / "words"], value=int)
    job = job_on(TextFiles(text, errors="surrogateescape"), map=count_words)
    (tmp_path / "words").unlink()

    results = job.run(space)

    assert dict(chain.from_iterable(results)) == Counter(
        TEXT.decode(errors="surrogateescape").split() * 50
    )
    assert results == job.run_sequential()


# --- on workers -----------------------------------------------------------------------------------


def test_workers_count_show_what_it_says_and_give_what_one_process_gives(
    space: RemoteSpace, standing_cluster: Any, text: Path
) -> None:
    counting = script("""
import sys
for line in sys.stdin:
    sys.stderr.write("reporter:counter:words,seen,%d\\n" % len(line.split()))
    sys.stderr.write("reporter:counter:no number,x,y\\n" if "sleep" in line else "")
    for word in line.split():
        print(word)
sys.stderr.write("almost done")
""", env={"PYTHONIOENCODING": "utf-8:surrogateescape"})  # fmt: skip
    job = job_on(TextFiles(text, errors="surrogateescape"), map=counting,
                 reduce=run_program(["uniq", "-c"], env={"LC_ALL": "C"}))  # fmt: skip

    run = job.submit(space)

    assert run.result() == job.run_sequential()
    assert run.counters["words.seen"] == len(TEXT.split()) * 50
    [agent] = standing_cluster.agents
    assert "] almost done" in agent.wait_for("almost done")
    assert "reporter:counter:no number,x,y" in agent.wait_for("no number")
    assert not any("words,seen" in line for line in agent.lines)


def test_a_failure_on_a_worker_names_command_status_and_last_words(space: RemoteSpace) -> None:
    job = job_on(["a"], map=run_program(["sh", "-c", "echo oh no >&2; exit 4"]), retries=0)

    with pytest.raises(JobFailedError, match="ProgramFailedError: sh -c") as failure:
        job.run(space)

    assert "ended with status 4; it said:\n  oh no" in failure.value.message


BAD = """
import sys
for line in sys.stdin:
    if "bad" in line:
        sys.exit("cannot take " + line)
    print(line.strip(), 1, sep="\\t")
"""


def test_bad_records_of_a_program_are_found_and_skipped(space: RemoteSpace, tmp_path: Path) -> None:
    lines = [f"line {n}" for n in range(60)]
    lines[17], lines[44] = "a bad one", "another bad one"
    (tmp_path / "lines.txt").write_text("".join(line + "\n" for line in lines))
    good = sorted((line, 1) for line in lines if "bad" not in line)
    options = {"map": script(BAD, value=int), "map_tasks": 1, "skip_bad_records": 2}

    from_list = job_on(lines, **options).run_sequential()
    job = job_on(TextFiles(tmp_path / "lines.txt"), **options)
    run = job.submit(space)

    assert sorted(chain.from_iterable(from_list)) == good
    assert sorted(chain.from_iterable(run.result())) == good
    assert [record.record for record in run.report.skipped] == ["'a bad one'", "'another bad one'"]
    assert "line 18" in run.report.skipped[0].where
    assert "cannot take a bad one" in run.report.skipped[0].error


@on_linux
@pytest.mark.parametrize("end", [pytest.param("timeout", marks=pytest.mark.faults), "cancel"])
def test_a_program_ends_with_its_task_and_what_it_has_started_too(
    end: str, space: RemoteSpace, standing_cluster: Any, tmp_path: Path,
    alive: Callable[[int], bool], eventually: Callable[..., Any],
) -> None:  # fmt: skip
    pids = tmp_path / "pids"
    hangs = [
        "sh",
        "-c",
        f"setsid sleep 1000 & echo $! $$ > {pids}.new; mv {pids}.new {pids}; sleep 1001",
    ]
    job = job_on(["a"], map=run_program(hangs), retries=0)
    job.task_timeout = 0.5 if end == "timeout" else None
    run = job.submit(space)
    eventually(pids.exists)
    started = [int(pid) for pid in pids.read_text().split()]
    assert len(started) == 2

    if end == "cancel":
        assert all(map(alive, started))
        assert [*standing_cluster.temporary.rglob("program-*")]
        run.cancel()

    with pytest.raises(MapReduceError):
        run.result(20)
    eventually(lambda: not any(map(alive, started)))
    eventually(lambda: not [*standing_cluster.temporary.rglob("program-*")])
