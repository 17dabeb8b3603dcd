"""Sample input: the same each time, for every job, and in a folder that has nothing else."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable
from glob import glob
from itertools import islice
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from jobs.catalogue import CATALOGUE, build, find, options_of, title_of
from jobs.cli import program
from jobs.samples.logs import write_logs
from jobs.samples.texts import spelt, word, write_texts
from jobs.steps import run_steps
from mapreduce import MapReduceJob

#: What jobs need besides paths.
OPTIONS: dict[str, dict[str, Any]] = {"grep": {"pattern": "page1"}}
NAMES = sorted(CATALOGUE)
#: One job for each kind of sample.
KINDS = sorted({CATALOGUE[name].sample: name for name in reversed(NAMES)}.values())

Made = Callable[[str], Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return the folder of a job's sample, which is made once for all jobs that have the same."""
    folders: dict[Any, Path] = {}

    def folder(name: str) -> Path:
        write = find(name).sample
        if write not in folders:
            folders[write] = tmp_path_factory.mktemp(name)
            write(folders[write], 1)
        return folders[write]

    return folder


def few_lines(sample: Path, folder: Path) -> str:
    """Copy the beginning of each file of a sample; return a glob for them."""
    for path in sample.iterdir():
        with path.open("rb") as file:
            (folder / path.name).write_bytes(b"".join(islice(file, 60)))
    return f"{folder}/*"


def work(name: str, paths: str) -> Any:
    return build(name, paths, **OPTIONS.get(name, {}))


# --- every job -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_a_sample_is_the_same_each_time(name: str, made: Made, tmp_path: Path) -> None:
    find(name).sample(tmp_path, 1)

    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert files == {path.name: path.read_bytes() for path in made(name).iterdir()}
    assert files
    assert all(files.values())
    assert sum(map(len, files.values())) < 1.2e6


@pytest.mark.parametrize("name", NAMES)
def test_every_job_runs_on_its_sample(name: str, made: Made) -> None:
    module = find(name)

    results = run_steps(work(name, f"{made(name)}/*"), MapReduceJob.run_sequential)

    rows = module.table(results)
    assert rows
    assert {len(row) for row in rows} == {len(module.COLUMNS)}
    assert module.TITLE
    assert title_of(name)


@pytest.mark.parametrize("name", NAMES)
def test_every_job_gives_the_same_table_however_it_is_cut(
    name: str, made: Made, tmp_path: Path
) -> None:
    paths, tables = few_lines(made(name), tmp_path), []

    for maps, reduces in ((1, 1), (5, 1), (2, 7)):

        def run(step: MapReduceJob, maps: int = maps, reduces: int = reduces) -> list[Any]:
            if not isinstance(step.data, list):  # what a step has kept is split already
                step.map_tasks = maps
            step.reduce_tasks = reduces
            return step.run_sequential()

        tables.append(find(name).table(run_steps(work(name, paths), run)))

    assert tables[0]
    assert tables == [tables[0]] * 3


@pytest.mark.parametrize("name", NAMES)
def test_the_functions_of_every_job_travel(name: str, made: Made, tmp_path: Path) -> None:
    paths, travelled = few_lines(made(name), tmp_path), []

    def run(step: MapReduceJob) -> list[Any]:
        travelled.append(cloudpickle.loads(cloudpickle.dumps((step.map, step.reduce))))
        return step.run_sequential()

    run_steps(work(name, paths), run)

    assert travelled
    assert all(callable(function) for functions in travelled for function in functions)


def test_the_page_of_the_catalogue_has_every_job_and_its_options() -> None:
    page = (Path(__file__).parents[2] / "docs" / "jobs.md").read_text()
    _, *sections = re.split(r"^### ", page, flags=re.MULTILINE)
    about = {name: text for name, _, text in (each.partition("\n") for each in sections)}

    assert set(NAMES) <= set(about)
    for name in NAMES:
        options = [option for option in options_of(name).split(", ") if "=" in option]
        assert [option for option in options if option.split("=")[0] not in about[name]] == []


# --- what the samples look like ------------------------------------------------------------------


def test_no_two_ranks_have_the_same_word_and_each_has_one() -> None:
    words = [spelt(rank) for rank in range(1, 5000)]

    assert len(set(words)) == len(words)
    assert all(len(each) >= 2 for each in words)


def test_some_words_are_common_and_most_are_rare(tmp_path: Path) -> None:
    write_texts(tmp_path, 1)
    counts = Counter(
        each for path in tmp_path.iterdir() for each in path.read_text().split()
    ).most_common()

    assert counts[0][0] == word(0.0) == spelt(1)
    assert counts[0][1] / counts[9][1] == pytest.approx(10, rel=0.15)
    assert sum(count == 1 for _, count in counts) > 5000


def test_a_larger_sample_begins_as_a_smaller_one_and_its_time_goes_on(tmp_path: Path) -> None:
    for size in (1, 18):
        (tmp_path / str(size)).mkdir()
        write_logs(tmp_path / str(size), size)

    lines = (tmp_path / "18" / "access0.log").read_text().splitlines()
    times = [line[line.index("[") : line.index("]")] for line in lines]
    assert len(lines) == 90_000  # seconds, and a day has 86,400
    assert times == sorted(times)
    assert len(set(times)) == len(times)
    assert lines[:5000] == (tmp_path / "1" / "access0.log").read_text().splitlines()


# --- invoke sample -------------------------------------------------------------------------------


@pytest.fixture
def sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[str, str]]:
    """Run `invoke sample` with some words, in an empty folder; return its stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[str, str]:
        capsys.readouterr()
        program.run(["tuplemill", "sample", *words], exit=False)
        output = capsys.readouterr()
        return output.out, output.err

    return run


@pytest.mark.parametrize("name", ["grep", "most_used_word", "k_means"])
def test_the_sample_command_says_what_to_type_next(
    name: str, sample: Any, tmp_path: Path, made: Made
) -> None:
    said, _ = sample(name)

    found = re.fullmatch(r"(\d) files?, 0\.\d MB; now: invoke job (.*)\n", said)
    assert found
    ran, option, pattern, *rest = shlex.split(found[2])
    assert (ran, option) == (name, "--input")
    assert rest == (["--option", "pattern=..."] if name == "grep" else [])
    files = [Path(path) for path in glob(pattern)]
    assert len(files) == int(found[1])
    assert {path.name: path.read_bytes() for path in files} == {
        path.name: path.read_bytes() for path in made(name).iterdir()
    }
    assert {path.parent for path in files} == {Path("samples") / name}


def test_a_folder_may_have_any_name(sample: Any) -> None:
    folder = "my [first] 'sample' *"
    said, _ = sample("k_means", "--folder", folder)

    assert said.startswith("1 file, ")
    pattern = shlex.split(said.partition("now: ")[2])[4]
    assert glob(pattern) == [f"{folder}/points.csv"]


def test_a_sample_replaces_the_one_before_it(sample: Any, tmp_path: Path) -> None:
    sample("k_means", "--folder", "some")
    once = (tmp_path / "some" / "points.csv").stat().st_size
    sample("k_means", "--folder", "some", "--size", "3")
    assert (tmp_path / "some" / "points.csv").stat().st_size == pytest.approx(3 * once, rel=0.01)

    _, errors = sample("page_rank", "--folder", "some")
    assert errors == ""
    assert sorted(glob("some/*")) == ["some/links0.jsonl", "some/links1.jsonl"]


def test_no_other_file_is_overwritten_or_taken_for_input(sample: Any, tmp_path: Path) -> None:
    mine = tmp_path / "books"
    mine.mkdir()
    (mine / "text0.txt").write_text("mine")

    assert sample("word_count", "--folder", "books") == (
        "", "error: books holds what is no sample of ours (text0.txt, for one), which the job "
        "would take for input: give a new folder, as in --folder samples/new\n",
    )  # fmt: skip
    assert [path.name for path in mine.iterdir()] == ["text0.txt"]
    assert (mine / "text0.txt").read_text() == "mine"

    sample("k_means", "--folder", "points")
    before = (tmp_path / "points" / "points.csv").read_bytes()
    (tmp_path / "points" / "notes.txt").write_text("mine")
    assert "no sample of ours (notes.txt, for one)" in sample("k_means", "--folder", "points")[1]
    assert (tmp_path / "points" / "points.csv").read_bytes() == before
    assert (tmp_path / "points" / "notes.txt").read_text() == "mine"

    sample("page_rank", "--folder", "points/pages")
    sample("k_means", "--folder", "points/pages")
    (tmp_path / "points" / "pages" / "links0.jsonl").write_text("mine")  # no longer ours
    assert "(links0.jsonl, for one)" in sample("k_means", "--folder", "points/pages")[1]


def test_hidden_files_are_no_reason_to_refuse_and_stay(sample: Any, tmp_path: Path) -> None:
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / ".gitignore").write_text("*\n")

    assert sample("k_means", "--folder", "some")[1] == ""
    assert glob("some/*") == ["some/points.csv"]
    assert (tmp_path / "some" / ".gitignore").read_text() == "*\n"
    assert len(list((tmp_path / "some").iterdir())) == 3


@pytest.mark.parametrize(
    "words, wrong",
    [
        (["k_means", "--size", "0"], "error: --size is a whole number from 1, not 0"),
        (["k_means", "--size=-5"], "error: --size is a whole number from 1, not -5"),
        (["k_means", "--size", "big"], "error: --size wants a whole number, not 'big'"),
        (["k_mean"], "error: there is no job 'k_mean'; the jobs are "),
        (["k_means", "--folder", "file"], "error: cannot write the sample to file: File exists"),
        (["k_means", "--folder", "file/below"],
         "error: cannot write the sample to file/below: Not a directory"),
    ],
)  # fmt: skip
def test_what_cannot_be_made_is_one_line(
    words: list[str], wrong: str, sample: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")

    said, errors = sample(*words)

    assert said == ""
    assert errors.startswith(wrong)
    assert errors.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "mine"
