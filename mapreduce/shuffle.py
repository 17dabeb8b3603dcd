"""The shuffle: one block file for each map task, with R parts that reduce tasks pull.

A part is frames of at most about FRAME_BYTES, each the bytes of a slice of the partition's
columns, so that neither side holds more than a few frames beyond what it must. The frames of a
part lie where they were written: a map with many pairs writes all parts more than once. What is
small needs no file, it travels with the outcome.
"""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import accumulate
from operator import lt, sub
from typing import Any, Final, NamedTuple

from mapreduce.columns import Columns, Dealt, decode, encode
from mapreduce.weights import size_of
from tuplespace.pickles import load
from workers.blocks import FRAME_BYTES, BlockWriter, Frame, Location
from workers.errors import BlockLostError
from workers.pulling import pull
from workers.workplace import Workplace

#: A map's output of up to so many bytes travels with its outcome.
INLINE_OUTPUT_BYTES: Final = 4 << 10
_FIRST_FRAME_PAIRS: Final = 10_000
# In memory, pairs take several times their bytes in a frame, unless they are large.
_FRAME_MEMORY: Final = 4 * FRAME_BYTES
_SAMPLE: Final = 8
_FRAME: Final = struct.Struct("<QQ16s")
#: The kinds of array that whole numbers may be in, by how many bytes one takes.
_COUNTS: Final = "BHIQ"


class MapOutput(NamedTuple):
    """Where a map task's output is. Compact: a driver holds M of them, with up to M x R parts.

    Attributes:
        location: The block file; None: `content` is what would be in it.
        ends: For each of `partitions`, where its frames end in `frames`. frames: Packed, all of them.
        pairs: How many in all.
        distant_bytes: Input read from the driver's host, because this one has no such files.
        counts: How many pairs each of `partitions` has; empty: nobody says.
        records: How many the map has read.
        partitions: Those that have any pairs, ascending; None: all R are listed, with pairs or without.
    """

    location: Location | None
    ends: array[int]
    frames: bytes
    pairs: int
    distant_bytes: int = 0
    content: bytes = b""
    counts: array[int] = array("B")
    records: int = 0
    partitions: array[int] | None = None

    def part(self, partition: int) -> list[Frame]:
        """Return the frames of a partition."""
        listed = self.partitions
        if listed is None:
            return self._part_at(partition)
        at = bisect_left(listed, partition)
        return self._part_at(at) if at < len(listed) and listed[at] == partition else []

    def parts(self, wanted: Collection[int]) -> Iterator[tuple[int, list[Frame]]]:
        """Yield those of these partitions that have any frames, with them."""
        if len(wanted) < len(self.ends):
            found = ((partition, self.part(partition)) for partition in wanted)
        else:
            found = (
                (partition, self._part_at(at))
                for at, partition in enumerate(self.listed())
                if partition in wanted
            )
        return (part for part in found if part[1])

    def listed(self) -> Sequence[int]:
        """Return the partitions that `ends` and `counts` are of."""
        return range(len(self.ends)) if self.partitions is None else self.partitions

    def listed_sizes(self) -> Iterator[int]:
        """Return how many bytes each of those has."""
        until = [0, *accumulate(self._lengths())]
        sums = [until[end // _FRAME.size] for end in self.ends]
        return map(sub, sums, [0, *sums])

    def _part_at(self, at: int) -> list[Frame]:
        start = self.ends[at - 1] if at else 0
        packed = memoryview(self.frames)[start : self.ends[at]]
        return [Frame(*frame) for frame in _FRAME.iter_unpack(packed)]

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(self._lengths())

    def _lengths(self) -> array[int]:
        """Return how many bytes each frame has: a driver asks of all parts, so this is no loop."""
        numbers = array("Q", self.frames)
        if sys.byteorder == "big":
            numbers.byteswap()
        return numbers[1 :: _FRAME.size // numbers.itemsize]

    def digests(self, partition: int) -> tuple[bytes, ...]:
        """Return what tells one output of this partition from another."""
        return tuple(frame.digest for frame in self.part(partition))


class Source(NamedTuple):
    """One map's part of one partition: what a reduce task pulls.

    Attributes:
        map_number: The map's. location: The block file. frames: Of the part, in order.
        content: The part itself, frame after frame, if there is no file.
    """

    map_number: int
    location: Location | None
    frames: list[Frame]
    content: bytes = b""


def output_of(
    parts: Sequence[Sequence[Frame]], pairs: int, location: Location | None, content: bytes = b"",
    counts: Sequence[int] = (), records: int = 0, partitions: Sequence[int] | None = None,
) -> MapOutput:  # fmt: skip
    """Return a map's output. Args: parts: The frames of each of `partitions`; else see `MapOutput`."""
    frames = b"".join(_FRAME.pack(*frame) for part in parts for frame in part)
    ends, end = array("Q"), 0
    for part in parts:
        end += len(part) * _FRAME.size
        ends.append(end)
    listed = None if partitions is None else _compact(partitions)
    return MapOutput(location, ends, frames, pairs, 0, content, _compact(counts), records, listed)


def write_output(
    batches: Iterable[Dealt], reduce_tasks: int, workplace: Workplace, job: str, name: str
) -> MapOutput:
    """Write what a map task makes, batch by batch; the blocks are whole when this returns."""
    parts: defaultdict[int, list[Frame]] = defaultdict(list)
    counts: defaultdict[int, int] = defaultdict(int)
    with workplace.block_file(job, name, INLINE_OUTPUT_BYTES) as file:
        encoder = _Encoder(file)
        for batch in batches:
            for number, (keys, values) in batch.items():
                counts[number] += len(keys)
                parts[number] += encoder.write(keys, values)
        content = file.content()
    location = workplace.location(file.path) if content is None else None
    listed = sorted(parts)
    return output_of(
        [parts[number] for number in listed], sum(counts.values()), location, content or b"",
        [counts[number] for number in listed],
        partitions=None if len(listed) == reduce_tasks else listed,
    )  # fmt: skip


def try_output(batches: Iterable[Dealt], reduce_tasks: int) -> MapOutput:
    """Do what `write_output` may fail at, and write nothing; return no map's output."""
    for batch in batches:
        for columns in batch.values():
            encode(columns)
    return empty_output(reduce_tasks)


def empty_output(reduce_tasks: int) -> MapOutput:
    """Return the output of a map that has made no pairs."""
    return output_of([()] * reduce_tasks, 0, None)


def output_in(data: bytes, reduce_tasks: int) -> MapOutput | None:
    """Return the output that a map has returned, from its pickle; None: that is no output."""
    try:
        output = load(data)
        return output if type(output) is MapOutput and _is_sound(output, reduce_tasks) else None
    except Exception:  # noqa: BLE001  # whatever is in there, no driver dies of it
        return None


def _is_sound(output: MapOutput, reduce_tasks: int) -> bool:
    """Say whether a driver can count with this: another release may have made it, or anybody."""
    _, ends, frames, pairs, distant_bytes, _, counts, records, listed = output
    return (
        type(pairs) is type(distant_bytes) is type(records) is int
        and min(pairs, distant_bytes, records) >= 0
        and type(counts) is type(ends) is array and counts.typecode in _COUNTS
        and len(counts) in (0, len(ends))
        and type(frames) is bytes and len(frames) % _FRAME.size == 0
        and ends.typecode == "Q" and max(ends, default=0) <= len(frames)
        and (len(ends) == reduce_tasks if listed is None else
             type(listed) is array and listed.typecode in _COUNTS and len(listed) == len(ends)
             and all(map(lt, listed, listed[1:])) and max(listed, default=0) < reduce_tasks)
    )  # fmt: skip


def _compact(numbers: Sequence[int]) -> array[int]:
    """Return these as an array of as few bytes each as will do."""
    most = max(numbers, default=0)
    kind = next(kind for kind in _COUNTS if most < 1 << 8 * array(kind).itemsize)
    return array(kind, numbers)


class _Encoder:
    """Writes columns as frames of about the right size."""

    def __init__(self, file: BlockWriter) -> None:
        self._file = file
        self._pairs = _FIRST_FRAME_PAIRS

    def write(self, keys: list[Any], values: list[Any]) -> Iterator[Frame]:
        start = 0
        while start < len(keys):
            end = start + min(self._pairs, _pairs_within(_FRAME_MEMORY, keys, values, start))
            whole = start == 0 and end >= len(keys)
            data = encode((keys, values) if whole else (keys[start:end], values[start:end]))
            yield self._file.write(data)
            taken = min(end, len(keys)) - start
            self._pairs = max(1, min(FRAME_BYTES * taken // len(data), 4 * self._pairs))
            start = end


def _pairs_within(memory: int, keys: list[Any], values: list[Any], start: int) -> int:
    """Return how many pairs from here on take so much memory, by some of them."""
    some = range(start, len(keys), (len(keys) - start) // _SAMPLE + 1)
    each = sum(size_of(keys[at]) + size_of(values[at]) for at in some) // len(some)
    return max(1, memory // (each + 1))


def read_partition(sources: Iterable[Source], workplace: Workplace) -> Iterator[Columns]:
    """Yield the columns of a partition, map by map, each frame checked before it is unpickled.

    Raises:
        BlockLostError: A part cannot be had; its `outcome_details` name the maps.
    """
    sources = list(sources)
    wanted = (
        (source.location, frame, source)
        for source in sources
        if source.location is not None
        for frame in source.frames
    )
    pulled = pull(((location, frame) for location, frame, _ in wanted), workplace.reader)
    for source in sources:
        if source.location is None:
            for start, frame in _starts(source.frames):
                yield decode(source.content[start : start + frame.length])
            continue
        for _ in source.frames:
            try:
                data = next(pulled)
            except BlockLostError as error:
                lost = _lost_with(source, sources, workplace, all_there=error.answered)
                error.outcome_details = {"maps": lost}
                if not error.answered:
                    error.outcome_details["silent"] = source.location.uri
                raise
            yield decode(data)


def _starts(frames: Iterable[Frame]) -> Iterator[tuple[int, Frame]]:
    start = 0
    for frame in frames:
        yield start, frame
        start += frame.length


def _lost_with(
    lost: Source, sources: Iterable[Source], workplace: Workplace, *, all_there: bool
) -> tuple[int, ...]:
    """Return the maps whose parts are gone if this one is: all of its host, if that is down."""
    if all_there:
        return (lost.map_number,)
    assert lost.location is not None
    return tuple(
        source.map_number
        for source in sources
        if source is lost
        or (
            source.location is not None
            and source.location.uri == lost.location.uri
            and not workplace.is_here(source.location)
        )
    )


def sources_of(
    partitions: Collection[int], outputs: Sequence[MapOutput]
) -> dict[int, list[Source]]:
    """Return what the reduce task of each of these partitions pulls, in map order.

    Of all at once: of M x R parts there may be only a few.
    """
    sources: dict[int, list[Source]] = {partition: [] for partition in partitions}
    for number, output in enumerate(outputs):
        for partition, frames in output.parts(sources):
            content = _content_of(output, frames)
            sources[partition].append(Source(number, output.location, frames, content))
    return sources


def _content_of(output: MapOutput, frames: Iterable[Frame]) -> bytes:
    if output.location is not None:
        return b""
    return b"".join(output.content[frame.offset : frame.offset + frame.length] for frame in frames)
