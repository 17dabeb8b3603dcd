"""The chained and iterative jobs, each against the plain algorithm, which shares no code with it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path
from random import Random
from typing import Any

import pytest

from jobs.catalogue import build, find
from jobs.cli import program
from jobs.errors import JobOptionsError
from jobs.steps import run_steps
from mapreduce import (
    Blocks,
    InputError,
    JobFailedError,
    MapReduceJob,
    RecordFailedError,
    each,
)
from tuplespace import connect


def cut_into(maps: int | None, reduces: int | None, ran: list[MapReduceJob] | None = None) -> Any:
    """Return what runs a step in this process, with this M, where its data is not split already."""

    def run(step: MapReduceJob) -> list[Any]:
        if not isinstance(step.data, list):
            step.map_tasks = maps
        step.reduce_tasks = reduces
        if ran is not None:
            ran.append(step)
        return step.run_sequential()

    return run


def results_of(name: str, path: Path, run: Any = None, **options: object) -> Any:
    return run_steps(build(name, str(path), **options), run or MapReduceJob.run_sequential)


# --- most used word ------------------------------------------------------------------------------


@pytest.fixture
def text(tmp_path: Path) -> Path:
    draw = Random(7).random
    words = [f"w{int(40 * draw() * draw())}" for _ in range(3000)]
    lines = [" ".join(words[at : at + 9]) for at in range(0, len(words), 9)]
    (tmp_path / "text.txt").write_text("\n".join(lines))
    return tmp_path / "text.txt"


@pytest.mark.parametrize("top", [1, 7, 1000])
def test_the_most_used_words_are_those_that_sort_and_uniq_say(text: Path, top: int) -> None:
    done = subprocess.run(
        ["sh", "-c", 'tr -s " \n" "\n\n" < "$1" | sort | uniq -c | sort -k1,1nr -k2 | head -n "$2"',
         "sh", str(text), str(top)],
        env={**os.environ, "LC_ALL": "C"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    expected = [tuple(line.split()) for line in done.stdout.splitlines()]

    for cut in ((None, None), (1, 1), (5, 3)):
        results = results_of("most_used_word", text, cut_into(*cut), top=top)
        rows = find("most_used_word").table(results)
        assert [(str(count), word) for word, count in rows] == expected


def test_no_words_have_no_most_used_one(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    assert find("most_used_word").table(results_of("most_used_word", tmp_path / "empty.txt")) == []


# --- page rank -----------------------------------------------------------------------------------

#: A cycle, a page linked to twice, a page that links to itself, one that leads nowhere, one that
#: has no line of its own, one with two lines, and one that nobody links to.
WEB = [
    {"url": "a", "links": ["b", "c", "b"]},
    {"url": "b", "links": ["c"]},
    {"url": "c", "links": ["a", "nowhere"]},
    {"url": "nowhere", "links": []},
    {"url": "self", "links": ["self", "ü"]},
    {"url": "twice", "links": ["a"]},
    {"url": "twice", "links": ["b", "a"]},
]


def write_web(path: Path, pages: Sequence[dict[str, Any]]) -> Path:
    path.write_text("\n\n".join(map(json.dumps, pages)) + "\n")
    return path


@pytest.fixture
def web(tmp_path: Path) -> Path:
    return write_web(tmp_path / "web.jsonl", WEB)


@pytest.fixture(scope="module")
def some_pages() -> list[dict[str, Any]]:
    draw = Random(8).random
    return [
        {"url": f"p{page}", "links": [f"p{int(130 * draw() ** 2)}" for _ in range(int(draw() * 6))]}
        for page in range(120)
    ]


def power_iteration(
    pages: Sequence[dict[str, Any]], rounds: int, damping: float
) -> dict[str, float]:
    """Rank pages by multiplying with the whole matrix, column by column."""
    links: dict[str, set[str]] = defaultdict(set)
    for page in pages:
        links[page["url"]].update(page["links"])
    for target in {target for targets in links.values() for target in targets}:
        links[target].update()
    urls = sorted(links)
    matrix = {
        source: {url: 1 / len(links[source]) for url in links[source]}
        if links[source] else dict.fromkeys(urls, 1 / len(urls))
        for source in urls
    }  # fmt: skip
    ranks = dict.fromkeys(urls, 1 / len(urls))
    for _ in range(rounds):
        after = dict.fromkeys(urls, (1 - damping) / len(urls))
        for source, column in matrix.items():
            for url, share in column.items():
                after[url] += damping * share * ranks[source]
        ranks = after
    return ranks


@pytest.mark.parametrize("damping", [0.0, 0.5, 0.85, 1.0])
@pytest.mark.parametrize("rounds", [1, 2, 20])
def test_page_rank_is_that_of_power_iteration(web: Path, rounds: int, damping: float) -> None:
    ranks = results_of("page_rank", web, rounds=rounds, damping=damping, tolerance=0.0)

    assert ranks == pytest.approx(power_iteration(WEB, rounds, damping), abs=1e-12)
    assert sum(ranks.values()) == pytest.approx(1, abs=1e-12)


def test_page_rank_of_a_larger_web_is_the_same_however_it_is_cut(
    some_pages: list[dict[str, Any]], tmp_path: Path
) -> None:
    path = write_web(tmp_path / "links.jsonl", some_pages)
    expected = power_iteration(some_pages, 12, 0.85)
    options: dict[str, Any] = {"rounds": 12, "tolerance": 0}

    found = [
        results_of("page_rank", path, cut_into(*cut), **options)
        for cut in ((None, None), (1, 1), (7, 3), (2, 9))
    ]

    assert found[0] == pytest.approx(expected, abs=1e-9)
    assert all(ranks == found[0] for ranks in found)  # to the last digit
    rows = find("page_rank").table(found[0])
    assert rows[0][0] == max(expected, key=lambda url: expected[url])
    assert [rank for _, rank in rows] == sorted((rank for _, rank in rows), reverse=True)


def test_page_rank_stops_when_the_ranks_hardly_change(web: Path) -> None:
    ran: list[MapReduceJob] = []
    ranks = results_of("page_rank", web, cut_into(None, None, ran), rounds=500, tolerance=1e-10)

    assert 20 < len(ran) < 200
    rounds = len(ran) - 1  # the first step makes the graph
    assert ranks == pytest.approx(power_iteration(WEB, rounds, 0.85), abs=1e-12)
    changes = [
        sum(abs(new - old) for new, old in zip(*(
            power_iteration(WEB, number, 0.85).values() for number in (last, last - 1)
        ), strict=True))
        for last in (rounds, rounds - 1)
    ]  # fmt: skip
    assert changes[0] <= 1e-10 < changes[1]


def test_a_web_without_pages_has_no_ranks(tmp_path: Path) -> None:
    assert results_of("page_rank", write_web(tmp_path / "none.jsonl", [])) == {}


def test_a_page_without_links_in_its_line_is_named(web: Path) -> None:
    web.write_text(web.read_text() + '{"url": "lost"}\n')
    with pytest.raises(RecordFailedError, match=r"'url': 'lost'.*web\.jsonl"):
        results_of("page_rank", web)


# --- k-means -------------------------------------------------------------------------------------


def clouds(number: int, seed: int, dimensions: int = 2) -> list[tuple[float, ...]]:
    draw = Random(seed).random
    middles = [[100 * draw() for _ in range(dimensions)] for _ in range(4)]
    return [
        tuple(round(middle + 40 * (draw() + draw() - 1), 2) for middle in middles[int(4 * draw())])
        for _ in range(number)
    ]


def square(one: Sequence[float], other: Sequence[float]) -> float:
    return sum((x - y) ** 2 for x, y in zip(one, other, strict=True))


def lloyd(points: list[tuple[float, ...]], clusters: int, rounds: int) -> list[Any]:
    """Lloyd's algorithm as it stands in the books, from points that are far from each other."""
    centres = [min(points)]
    while len(centres) < min(clusters, len(set(points))):
        centres.append(max(points, key=lambda p: (min(square(p, c) for c in centres), p)))
    members: dict[int, list[tuple[float, ...]]] = {}
    for _ in range(rounds):
        members = defaultdict(list)
        for point in points:
            members[min(range(len(centres)), key=lambda n: square(point, centres[n]))].append(point)
        after = [
            tuple(sum(column) / len(members[n]) for column in zip(*members[n], strict=True))
            if members[n] else centre
            for n, centre in enumerate(centres)
        ]  # fmt: skip
        if after == centres:
            break
        centres = after
    return [(centre, len(members[number])) for number, centre in enumerate(centres)]


def write_points(path: Path, points: list[tuple[float, ...]], separator: str = ",") -> Path:
    path.write_text("".join(separator.join(map(repr, point)) + "\n" for point in points))
    return path


def assert_same_clusters(found: list[Any], expected: list[Any]) -> None:
    assert [count for _, count in found] == [count for _, count in expected]
    for (centre, _), (wanted, _) in zip(found, expected, strict=True):
        assert centre == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize(
    "clusters, rounds, dimensions, separator",
    [(4, 20, 2, ","), (3, 1, 2, "; "), (5, 3, 3, " "), (1, 20, 1, "\t"), (6, 50, 2, " , ")],
)
def test_k_means_finds_the_centres_of_lloyds_algorithm(
    clusters: int, rounds: int, dimensions: int, separator: str, tmp_path: Path
) -> None:
    points = clouds(150, seed=clusters, dimensions=dimensions) if clusters > 1 else clouds(90, 1, 1)
    points += points[:40]  # equal points count as often as they are there
    path = write_points(tmp_path / "points.csv", points, separator)

    for cut in ((None, None), (1, 1), (6, 3)):
        found = results_of("k_means", path, cut_into(*cut), clusters=clusters, rounds=rounds)
        assert_same_clusters(found, lloyd(points, clusters, rounds))


def test_k_means_stops_when_no_centre_moves_and_each_is_the_mean_of_its_points(
    tmp_path: Path,
) -> None:
    points = clouds(2000, seed=5)  # more than the start is chosen from
    ran: list[MapReduceJob] = []

    found = results_of(
        "k_means", write_points(tmp_path / "points.csv", points), cut_into(5, 3, ran), rounds=500
    )

    assert 4 < len(ran) < 100
    members: Counter[int] = Counter()
    sums = [[0.0, 0.0] for _ in found]
    for x, y in points:
        nearest = min(range(4), key=lambda number: square((x, y), found[number][0]))
        members[nearest] += 1
        sums[nearest][0] += x
        sums[nearest][1] += y
    for number, (centre, count) in enumerate(found):
        assert count == members[number] > 0
        assert centre == pytest.approx([total / count for total in sums[number]], rel=1e-9)


def test_k_means_gives_the_same_bytes_for_the_same_m_and_r(tmp_path: Path) -> None:
    path = write_points(tmp_path / "points.csv", clouds(300, seed=6))
    first, second = (results_of("k_means", path, cut_into(4, 3)) for _ in range(2))
    assert repr(first) == repr(second)


def test_there_are_no_more_clusters_than_different_points(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text("1,1\n\n2,2\n1.0, 1.0\n")
    assert sorted(results_of("k_means", path)) == [((1.0, 1.0), 2), ((2.0, 2.0), 1)]
    path.write_text("\n")
    assert find("k_means").table(results_of("k_means", path)) == []


def test_a_centre_that_has_lost_its_points_stays_where_it_is(tmp_path: Path) -> None:
    path = write_points(tmp_path / "points.csv", [(0.0,), (1.0,), (50.0,), (99.0,), (100.0,)])
    ran: list[MapReduceJob] = []

    def losing(step: MapReduceJob) -> list[Any]:
        results = cut_into(1, 1, ran)(step)
        rounds = len(ran) > 2
        return [[pair for pair in part if pair[0] != 1] for part in results] if rounds else results

    found = results_of("k_means", path, losing, clusters=3)

    assert found == [((0.5,), 2), ((100.0,), 0), ((50.0,), 1)]


@pytest.mark.parametrize("line", ["1,two", "1,nan", "inf,2"])
def test_a_line_that_is_no_point_is_named(line: str, tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text(f"1,2\n{line}\n")
    with pytest.raises(RecordFailedError, match=rf"'{line}'.*points\.csv, line 2"):
        results_of("k_means", tmp_path / "points.csv")


def test_points_of_different_dimensions_are_refused(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("1,2\n1,2,3\n")
    with pytest.raises(InputError, match="points of 2 and of 3 coordinates"):
        results_of("k_means", tmp_path / "points.csv")


# --- all of them ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, options, wrong",
    [
        ("most_used_word", {"top": 0}, "top is a whole number from 1, not 0"),
        ("page_rank", {"rounds": 0}, "rounds is a whole number from 1"),
        ("page_rank", {"damping": 1.1}, "damping a number in 0..1"),
        ("page_rank", {"damping": float("nan")}, "damping a number in 0..1"),
        ("page_rank", {"tolerance": -inf}, "tolerance one from 0 on"),
        ("k_means", {"clusters": 0}, "not 0 and 20"),
        ("k_means", {"rounds": -1}, "not 4 and -1"),
    ],
)
def test_options_out_of_range_are_refused_before_anything_runs(
    name: str, options: dict[str, Any], wrong: str
) -> None:
    with pytest.raises(JobOptionsError, match=f"^{name}: .*{wrong}"):
        build(name, "nothing here", **options)


def test_all_steps_run_on_a_space_and_leave_nothing_there(
    standing_cluster: Any, eventually: Callable[..., Any], text: Path, web: Path, tmp_path: Path
) -> None:
    points = write_points(tmp_path / "points.csv", clouds(200, seed=9))
    inputs: list[Any] = [
        ("most_used_word", text, {"top": 3}),
        ("page_rank", web, {"rounds": 3}),
        ("k_means", points, {"rounds": 3}),
    ]
    with connect(standing_cluster.uri) as space:
        for name, path, options in inputs:
            expected = results_of(name, path, **options)
            assert results_of(name, path, lambda step: step.run(space), **options) == expected
        eventually(lambda: space.count(("job", None, None)) == 0)


def test_a_step_that_fails_leaves_no_blocks(standing_cluster: Any, web: Path) -> None:
    def failing(step: MapReduceJob) -> Any:
        if isinstance(step.data, Blocks):
            assert space.count(("job", step.data.job + "-kept", dict)) == 1
            step.map = each(lambda page: 1 / 0)
        return step.run(space)

    with connect(standing_cluster.uri) as space:
        with pytest.raises(JobFailedError, match="division by zero"):
            results_of("page_rank", web, failing)
        assert space.count(("job", None, None)) == 0


def test_the_command_line_runs_all_steps_whatever_m_and_r_are(
    standing_cluster: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("to be or not to be\nthat is to say\n" * 5)

    words = f"job most_used_word --input {tmp_path}/a.txt --option top=2"
    cut = f"--map-tasks 3 --reduce-tasks 2 --space {standing_cluster.uri}"
    program.run(f"tuplemill {words} {cut}", exit=False)

    output = capfd.readouterr()
    assert re.findall(r"^(\w+) +(\d+)$", output.out, re.M) == [("to", "15"), ("be", "10")], output


@pytest.mark.faults
def test_ctrl_c_in_the_midst_of_many_steps_leaves_neither_jobs_nor_blocks(
    standing_cluster: Any, eventually: Callable[..., Any], tmp_path: Path
) -> None:
    # Two pages that hand their ranks to and fro for ever.
    pages = [
        {"url": "a", "links": ["b"]},
        {"url": "b", "links": ["a"]},
        {"url": "c", "links": ["a"]},
    ]
    words = ["job", "page_rank", "--input", str(write_web(tmp_path / "web.jsonl", pages))]
    words += ["--space", standing_cluster.uri, "--option", "rounds=1000000"]
    command = [sys.executable, "-c", "from jobs.cli import program; program.run()", *words]
    shown = tmp_path / "shown"
    with shown.open("w") as output:
        process = subprocess.Popen(
            [*command, "--option", "tolerance=0", "--option", "damping=1"],
            env=standing_cluster.environment, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        eventually(lambda: shown.read_text().count("\njob ") > 20)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130, shown.read_text()
    finally:
        process.kill()
        process.wait()

    # Of a step, how it has ended; between two, that is all.
    assert re.search(r"(error: interrupted|reduces were done)\n$", shown.read_text())
    assert "Traceback" not in shown.read_text()
    with connect(standing_cluster.uri) as space:
        assert space.count(("job", None, None)) == 0
    eventually(
        lambda: (
            not any(
                folder.endswith("-kept") for folder, _, _ in os.walk(standing_cluster.temporary)
            )
        )
    )
