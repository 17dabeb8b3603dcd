"""One map task's output: written, found again, and missed, with real files and block servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mapreduce.shuffle import MapOutput, read_partition, sources_of, write_output
from tuplespace.security import Key, load_key, make_key
from workers.blocks import BlockServer
from workers.errors import BlockLostError
from workers.workplace import Workplace


@pytest.fixture
def key(tmp_path: Path) -> Key:
    make_key(str(tmp_path / "key"))
    return load_key(str(tmp_path / "key"))


@pytest.fixture
def server(tmp_path: Path, key: Key) -> Iterator[BlockServer]:
    (tmp_path / "east").mkdir()
    one = BlockServer(tmp_path / "east", key)
    yield one
    one.stop()


@pytest.fixture
def east(tmp_path: Path, key: Key, server: BlockServer) -> Workplace:
    return Workplace("east/1", "east", tmp_path / "east", server.uri, key)


@pytest.fixture
def here(tmp_path: Path, key: Key) -> Iterator[Workplace]:
    one = Workplace("here/1", "here", tmp_path / "here", "", key)
    yield one
    one.reader.close()


def output(workplace: Workplace, number: int, batches: list[Any]) -> MapOutput:
    dealt = [{at: each for at, each in enumerate(columns) if each[0]} for columns in batches]
    return write_output(dealt, 2, workplace, "job", f"map-{number}")


def large(number: int) -> list[Any]:
    return [[([number], ["x" * 10_000]), ([number], ["y" * 10_000])]]


def pairs_of(columns: Iterator[Any]) -> list[Any]:
    return [pair for keys, values in columns for pair in zip(keys, values, strict=True)]


def test_a_small_output_travels_without_a_file(
    east: Workplace, here: Workplace, tmp_path: Path
) -> None:
    made = output(east, 0, [[(["a"], [1]), ([], [])], [(["b"], [2]), (["c"], [3])]])

    assert made.location is None
    assert 0 < len(made.content) < 500
    assert not list(tmp_path.rglob("*.blocks"))
    assert pairs_of(read_partition(sources_of([0], [made])[0], here)) == [("a", 1), ("b", 2)]
    assert pairs_of(read_partition(sources_of([1], [made])[1], here)) == [("c", 3)]


def test_small_and_large_outputs_come_in_map_order(east: Workplace, here: Workplace) -> None:
    outputs = [
        output(east, 0, large(0)), output(east, 1, [[([1], [1]), ([], [])]]),
        output(here, 2, large(2)), output(east, 3, large(3)),
    ]  # fmt: skip
    assert [made.location is None for made in outputs] == [False, True, False, False]
    found = pairs_of(read_partition(sources_of([0], outputs)[0], here))
    assert [key for key, _ in found] == [0, 1, 2, 3]
    assert [source.map_number for source in sources_of([1], outputs)[1]] == [0, 2, 3]


def test_a_damaged_block_costs_its_own_map_only(east: Workplace, here: Workplace) -> None:
    outputs = [output(east, number, large(number)) for number in range(3)]
    assert outputs[1].location is not None
    Path(outputs[1].location.path).write_bytes(b"damaged")

    with pytest.raises(BlockLostError) as caught:
        list(read_partition(sources_of([0], outputs)[0], here))

    assert caught.value.outcome_details == {"maps": (1,)}


def test_a_host_that_does_not_answer_costs_all_of_its_maps(
    east: Workplace, here: Workplace, server: BlockServer
) -> None:
    outputs = [output(east, 0, large(0)), output(here, 1, large(1)), output(east, 2, large(2))]
    server.stop()

    with pytest.raises(BlockLostError) as caught:
        list(read_partition(sources_of([0], outputs)[0], here))

    assert caught.value.outcome_details == {"maps": (0, 2), "silent": server.uri}
