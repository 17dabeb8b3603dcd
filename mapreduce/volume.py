"""Volume: how much the maps that are done have read, and have written for each reduce. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from operator import add, sub

from mapreduce.report import Partition
from mapreduce.shuffle import MapOutput


@dataclass
class Volume:
    """That of one job.

    Attributes:
        records, pairs, bytes, distant_bytes: Of the maps that are done, added up.
        sizes: Bytes for each reduce, and `counts`: pairs, once they have been divided. Of a map
            that does not say how many pairs it has for each, none are counted.
    """

    records: int = 0
    pairs: int = 0
    bytes: int = 0
    distant_bytes: int = 0
    sizes: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)

    def add(self, output: MapOutput) -> None:
        """Count the output of a map."""
        self.records += output.records
        self.pairs += output.pairs
        self.bytes += output.size
        self.distant_bytes += output.distant_bytes
        if self.sizes:
            self._count_parts(output, add)

    def remove(self, output: MapOutput) -> None:
        """Count it no more: it is gone."""
        self.records -= output.records
        self.pairs -= output.pairs
        self.bytes -= output.size
        self.distant_bytes -= output.distant_bytes
        if self.sizes:
            self._count_parts(output, sub)

    def divide(self, outputs: Iterable[MapOutput], reduce_tasks: int) -> None:
        """Add up what each reduce gets, if it is the first time; `outputs` are those there are.

        Not before all maps are done, and then map by map: M x R may be hundreds of millions.
        """
        if not self.sizes:
            self.sizes, self.counts = [0] * reduce_tasks, [0] * reduce_tasks
            for output in outputs:
                self._count_parts(output, add)

    def partitions(self) -> list[Partition]:
        """Return what each reduce gets; empty: that is not known yet."""
        return list(map(Partition, range(len(self.sizes)), self.counts, self.sizes))

    def _count_parts(self, output: MapOutput, count: Callable[[int, int], int]) -> None:
        self.sizes = _counted(self.sizes, output, output.listed_sizes(), count)
        if output.counts:
            self.counts = _counted(self.counts, output, output.counts, count)


def _counted(
    sums: list[int], output: MapOutput, numbers: Iterable[int], count: Callable[[int, int], int]
) -> list[int]:
    """Return the sums with a number of each partition that the output lists."""
    if output.partitions is None:
        return list(map(count, sums, numbers))
    for partition, number in zip(output.partitions, numbers, strict=True):
        sums[partition] = count(sums[partition], number)
    return sums
