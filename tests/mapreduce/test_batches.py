"""Batches: whatever the items' size, few bytes of them are held while they are written."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from mapreduce import (
    BytesOutput,
    JsonLinesOutput,
    KeepBlocks,
    MapReduceJob,
    ParquetOutput,
    PickleOutput,
    TextOutput,
    each,
)
from mapreduce.outputs.batches import Batches

cloudpickle.register_pickle_by_value(sys.modules[__name__])


def lengths(sizes: list[int]) -> list[int]:
    """Return how many items of these sizes come in each batch."""
    batches, found = Batches((bytes(size) for size in sizes), 1000, 1_000_000), []
    for batch in batches:
        found.append(len(batch))
        batches.came_to(sum(map(len, batch)))
    return found


def test_batches_have_many_small_items_or_few_large_ones() -> None:
    assert lengths([1] * 3000) == [8, 32, 128, 512, 1000, 1000, 320]
    assert lengths([500_000] * 12) == [8, 2, 2]
    assert lengths([10_000_000] * 10) == [8, 1, 1]
    assert lengths([]) == []


def test_small_items_do_not_make_a_batch_of_the_large_ones_after_them() -> None:
    found = lengths([1] * 2000 + [500_000] * 500)
    assert sum(found) == 2500
    assert max(found[-10:]) == 2
    assert max(found[7:]) <= 320 + 128  # 320 small ones were left


@pytest.mark.faults
@pytest.mark.parametrize(
    "make", [PickleOutput, BytesOutput, TextOutput, JsonLinesOutput, ParquetOutput, None]
)
def test_a_worker_of_200_mb_writes_600_mb_of_large_items(
    cluster: Any, tmp_path: Path, make: Any
) -> None:
    cluster.start_agent("--memory", "200MB", processes=1)
    one: Any = b"x" if make in {PickleOutput, BytesOutput, None} else "x"

    def many(pairs: Any) -> Any:
        for _ in range(1200):
            item = one * 500_000
            yield (one, item) if make is ParquetOutput else item

    job = MapReduceJob([1], each(lambda n: [(0, n)]), many, reduce_tasks=1)
    job.output = KeepBlocks() if make is None else make(tmp_path / "out")
    [result] = job.run(cluster.connect())
    if make not in {None, ParquetOutput}:
        assert Path(result).stat().st_size >= 600_000_000
