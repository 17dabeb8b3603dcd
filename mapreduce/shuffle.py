"""The shuffle: one block file for each map task, with R parts that reduce tasks pull.

A part is frames of at most about FRAME_BYTES, each the pickle of a slice of the partition's
columns, so that neither side holds more than a frame beyond what it must.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from mapreduce.phases import Columns
from tuplespace.pickles import dump_data, load
from workers.blocks import FRAME_BYTES, BlockWriter, Frame, Location
from workers.errors import BlockLostError
from workers.workplace import Workplace

_FIRST_FRAME_PAIRS: Final = 10_000


class MapOutput(NamedTuple):
    """Where a map task's output is.

    Attributes:
        location: The block file. parts: For each partition its frames. pairs: How many in all.
        distant_bytes: Input read from the driver's host, because this one has no such files.
    """

    location: Location
    parts: tuple[tuple[Frame, ...], ...]
    pairs: int
    distant_bytes: int = 0

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(frame.length for part in self.parts for frame in part)

    def digests(self, partition: int) -> tuple[bytes, ...]:
        """Return what tells one output of this partition from another."""
        return tuple(frame.digest for frame in self.parts[partition])


class Source(NamedTuple):
    """One map's part of one partition: what a reduce task pulls."""

    map_number: int
    location: Location
    frames: tuple[Frame, ...]


def write_partitions(
    file: BlockWriter, partitions: Sequence[Columns]
) -> Iterator[tuple[Frame, ...]]:
    """Append each partition's columns to the file; yield its frames."""
    pairs_a_frame = _FIRST_FRAME_PAIRS
    for keys, values in partitions:
        frames = []
        start = 0
        while start < len(keys):
            end = start + pairs_a_frame
            whole = start == 0 and end >= len(keys)
            data = dump_data((keys, values) if whole else (keys[start:end], values[start:end]))
            frames.append(file.write(data))
            taken = min(end, len(keys)) - start
            pairs_a_frame = max(1, min(FRAME_BYTES * taken // len(data), 4 * pairs_a_frame))
            start = end
        yield tuple(frames)


def read_partition(sources: Iterable[Source], workplace: Workplace) -> Iterator[Columns]:
    """Yield the columns of a partition, map by map, each frame checked before it is unpickled.

    Raises:
        BlockLostError: A part cannot be had; its `outcome_details` name the maps.
    """
    sources = list(sources)
    for source in sources:
        for frame in source.frames:
            try:
                data = workplace.read(source.location, [frame])[0]
            except BlockLostError as error:
                error.outcome_details = {"maps": _lost_with(source, sources, workplace)}
                raise
            columns: Columns = load(data)
            yield columns


def _lost_with(lost: Source, sources: Iterable[Source], workplace: Workplace) -> tuple[int, ...]:
    """Return the maps whose parts are gone if this one is: most likely its host is down."""
    return tuple(
        source.map_number
        for source in sources
        if source is lost
        or (source.location.uri == lost.location.uri and not workplace.is_here(source.location))
    )


def sources_of(partition: int, outputs: Sequence[MapOutput]) -> list[Any]:
    """Return what the reduce task of this partition pulls, in map order."""
    return [
        Source(number, output.location, output.parts[partition])
        for number, output in enumerate(outputs)
        if output.parts[partition]
    ]
