"""A disk that forgets: what may be left of a folder's files when the power goes at any moment.

What the model takes for granted, and what it does not:

- A sync that has returned 0 has brought to the disk what was written to that file before the sync began:
  its bytes and its size. A sync of the folder does so for names. Nothing else ever has to be there.
- Of what was not synced, each sector is on the disk as it was after any of the writes since, or as
  before them all: nothing, everything, any subset in any order, and writes torn between sectors.
  A sector is 512 bytes or a page of 4096, and it is never torn itself.
- A file's size is that after any of the calls since the last sync. Where a file has grown and its bytes
  have not arrived, there are zeros, or whatever lay there before.
- Each new name, renaming and unlinking since the folder's last sync has happened or not, whatever
  became of the others. Syncing a file does not bring its name to the disk.
- After a sync that failed, what it should have brought to the disk is never synced by another sync:
  the kernel may have forgotten that it was not written.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from power.calls import FOREIGN, Call

SECTOR = 512
PAGE = 4096


@dataclass(eq=False)
class _Write:
    """One call that changed a file: the sectors it touched as they were afterwards, and the size."""

    end: int | None
    sectors: dict[int, bytes]
    size: int
    lost: bool = False  # a sync of it has failed


@dataclass(eq=False)
class _File:
    cache: bytearray = field(default_factory=bytearray)
    safe: bytearray = field(default_factory=bytearray)
    unsafe: list[_Write] = field(default_factory=list)

    def write(self, call: Call, offset: int, data: bytes) -> None:
        if len(self.cache) < offset + len(data):
            self.cache.extend(bytes(offset + len(data) - len(self.cache)))
        self.cache[offset : offset + len(data)] = data
        touched = range(offset // SECTOR, (offset + len(data) - 1) // SECTOR + 1)
        self._add(call, touched)

    def resize(self, call: Call, size: int) -> None:
        was = len(self.cache)
        del self.cache[size:]
        self.cache.extend(bytes(size - len(self.cache)))
        # What is cut off comes back as zeros if the file grows again.
        self._add(call, range(size // SECTOR, (was + SECTOR - 1) // SECTOR))

    def _add(self, call: Call, touched: range) -> None:
        sectors = {
            number: bytes(self.cache[number * SECTOR : (number + 1) * SECTOR]).ljust(SECTOR, b"\0")
            for number in touched
        }
        self.unsafe.append(_Write(call.end, sectors, len(self.cache)))

    def sync(self, begin: int, failed: bool) -> None:
        covered = [
            write for write in self.unsafe
            if not write.lost and write.end is not None and write.end <= begin
        ]  # fmt: skip
        if failed:
            for write in covered:
                write.lost = True
            return
        if not covered:
            return
        for write in covered:
            _lay(self.safe, write.sectors)
            for other in self.unsafe:
                if other is write:
                    break
                for number in write.sectors:
                    other.sectors.pop(number, None)
        _size(self.safe, covered[-1].size)
        # One that died under way, or was lost, may yet be there or not; a later size stands.
        for write in self.unsafe[: self.unsafe.index(covered[-1])]:
            write.size = covered[-1].size
        self.unsafe = [write for write in self.unsafe if write not in covered]

    def remains(self, style: Style) -> bytes:
        """Return its bytes after a power loss."""
        if not self.unsafe:
            return bytes(self.safe)
        image = bytearray(self.safe)
        kept = style.kept(len(self.unsafe))
        largest = max(write.size for write in self.unsafe)
        rubbish = style.rubbish(max(largest - len(image), 0))
        image.extend(rubbish)
        versions: dict[int, list[tuple[int, bytes]]] = {}
        for index, write in enumerate(self.unsafe):
            for number, sector in write.sectors.items():
                versions.setdefault(number, []).append((index, sector))
        torn = style.torn(len(self.unsafe))
        for number, of_it in versions.items():
            for index, sector in of_it:
                if index in kept and not style.missing(index, number, torn):
                    _lay(image, {number: sector})
        sizes = [len(self.safe), *(self.unsafe[index].size for index in kept)]
        _size(image, style.size(sizes))
        return bytes(image)


def _lay(image: bytearray, sectors: dict[int, bytes]) -> None:
    for number, sector in sectors.items():
        offset = number * SECTOR
        if len(image) < offset + SECTOR:
            image.extend(bytes(offset + SECTOR - len(image)))
        image[offset : offset + SECTOR] = sector


def _size(image: bytearray, size: int) -> None:
    del image[size:]
    image.extend(bytes(size - len(image)))


class Style:
    """One way for a disk to lose what was not synced, by chance and from a seed."""

    WAYS = ("nothing", "everything", "first", "last", "all but one", "one", "some", "few", "most")

    def __init__(self, seed: str, way: str | None = None) -> None:
        self.seed = seed
        self._random = random.Random(seed)
        self.way = way or self._random.choice(self.WAYS)
        self._unit = self._random.choice([SECTOR, PAGE]) // SECTOR
        self._tears = self.way not in ("nothing", "everything") and self._random.random() < 0.5
        self._rubbish = self._random.random() < 0.5
        self._gone: dict[tuple[int, int], bool] = {}

    def __str__(self) -> str:
        return f"{self.way}, of seed {self.seed!r}"

    def kept(self, count: int) -> set[int]:
        """Return which of so many calls have reached the disk, at least in parts."""
        chance = self._random
        everything = set(range(count))
        if self.way == "everything":
            return everything
        if not count or self.way == "nothing":
            return set()
        if self.way == "first":
            return set(range(chance.randint(0, count)))
        if self.way == "last":
            return set(range(chance.randint(0, count), count))
        if self.way == "one":
            return {chance.randrange(count)}
        if self.way == "all but one":
            return everything - {chance.randrange(count)}
        share = {"some": 0.5, "few": 0.1, "most": 0.9}[self.way]
        return {index for index in everything if chance.random() < share}

    def torn(self, count: int) -> set[int]:
        """Return which of so many calls have lost some of their sectors."""
        if not self._tears:
            return set()
        if self._random.random() < 0.5:
            return {self._random.randrange(count)}
        return set(range(count))

    def missing(self, index: int, sector: int, torn: set[int]) -> bool:
        if index not in torn:
            return False
        unit = (index, sector // self._unit)
        if unit not in self._gone:
            self._gone[unit] = self._random.random() < 0.5
        return self._gone[unit]

    def rubbish(self, size: int) -> bytes:
        return self._random.randbytes(size) if self._rubbish else bytes(size)

    def size(self, sizes: list[int]) -> int:
        if self.way in ("nothing", "everything") or self._random.random() < 0.6:
            return sizes[-1]
        return self._random.choice(sizes)


class Disk:
    """A folder on a disk that forgets, and what is safely in it; calls are played on it in their order."""

    def __init__(self, folder: Path, contents: Mapping[str, bytes]) -> None:
        self._folder = str(folder.resolve())
        self._names: dict[str, _File] = {}
        self._safe_names: dict[str, _File] = {}
        self._unsafe_names: list[tuple[int | None, str, str, _File | None]] = []
        self._positions: dict[tuple[int, str], int] = {}
        self.syncs = 0
        for name, content in contents.items():
            file = _File(bytearray(content), bytearray(content))
            self._names[name] = self._safe_names[name] = file

    def play(self, call: Call) -> None:
        """Let a call happen; one that failed changes nothing, unless it was a sync."""
        if call.name in ("fsync", "fdatasync"):
            self._sync(call)
            return
        if call.result < 0 or call.path.endswith(" (deleted)"):
            return
        if call.path == self._folder:
            assert call.name in ("openat", "open", "lseek"), f"{call.name} of the folder"
            return
        assert call.name not in FOREIGN, f"the model of a disk does not know {call.name}"
        name = call.path.removeprefix(self._folder + "/")
        if call.name == "mmap":
            assert "MAP_SHARED" not in call.flags or "PROT_WRITE" not in call.flags, (
                "written through memory"
            )
        elif call.name in ("openat", "open", "creat"):
            self._open(call, name)
        elif call.name.startswith("rename"):
            self._rename(call, name)
        elif call.name.startswith("unlink"):
            self._unsafe_names.append((call.end, "unlink", name, self._names.pop(name)))
        else:
            self._change(call, name, self._names[name])

    def _open(self, call: Call, name: str) -> None:
        self._positions[call.descriptor, name] = 0
        if name not in self._names:
            assert "O_CREAT" in call.flags or "O_TMPFILE" in call.flags, f"{name} came from nowhere"
            self._names[name] = _File()
            self._unsafe_names.append((call.end, "create", name, self._names[name]))
        elif "O_TRUNC" in call.flags:
            self._names[name].resize(call, 0)

    def _rename(self, call: Call, name: str) -> None:
        target = call.target.removeprefix(self._folder + "/")
        file = self._names.pop(name)
        self._names[target] = file
        self._unsafe_names.append((call.end, "rename " + name, target, file))

    def _change(self, call: Call, name: str, file: _File) -> None:
        place = (call.descriptor, name)
        if call.name == "lseek":
            self._positions[place] = call.result
        elif call.name == "pwrite64":
            data = call.data[: call.result] if call.end is not None else call.data
            file.write(call, call.numbers[-1], data)
        elif call.name == "write":
            data = call.data[: call.result] if call.end is not None else call.data
            file.write(call, self._positions[place], data)
            self._positions[place] += len(data)
        elif call.name == "ftruncate":
            file.resize(call, call.numbers[-1])
        elif call.name == "fallocate":
            if "KEEP_SIZE" not in call.flags:
                offset, length = call.numbers[-2:]
                file.resize(call, max(len(file.cache), offset + length))
        else:
            raise AssertionError(f"the model of a disk does not know {call.name}")

    def _sync(self, call: Call) -> None:
        if call.end is None or call.path.endswith(" (deleted)"):
            return
        self.syncs += 1
        if call.path != self._folder:
            name = call.path.removeprefix(self._folder + "/")
            self._names[name].sync(call.begin, failed=call.result < 0)
        elif call.result == 0:
            still = []
            for change in self._unsafe_names:
                if change[0] is not None and change[0] <= call.begin:
                    _rename_in(self._safe_names, change)
                else:
                    still.append(change)
            self._unsafe_names = still

    def remains(self, style: Style) -> dict[str, bytes]:
        """Return what is there, by name, once the power is back."""
        names = dict(self._safe_names)
        kept = style.kept(len(self._unsafe_names))
        for index, change in enumerate(self._unsafe_names):
            if index in kept:
                _rename_in(names, change)
        return {name: file.remains(style) for name, file in names.items()}


def _rename_in(names: dict[str, _File], change: tuple[int | None, str, str, _File | None]) -> None:
    _, kind, name, file = change
    if kind == "unlink":
        if names.get(name) is file:
            del names[name]
        return
    if kind.startswith("rename "):
        names.pop(kind.removeprefix("rename "), None)
    assert file is not None
    names[name] = file
