"""Native log: read the shared log that the preload library left, whole or cut off.

A header, two tables that are the library's own, and records of 8-byte aligned length, little
endian. A writer reserves its place, stores the length, the contents, and last the magic: what a
killed process leaves is a hole.
"""

from __future__ import annotations

import gc
import os
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mlrepro import paths
from mlrepro.capture.records import Record
from mlrepro.probe import native

_RECORD = struct.Struct("<IIQIBBH5q")
_MARK = 0x31524C4D  # "MLR1"
_RELATIVE, _STREAM = 1, 2
_PLAUSIBLE = 2**20
"""No record is longer: its longest part is the arguments of a program, which the writer cuts."""

_COMPILED = re.compile(r"^(.*/)__pycache__/([^/]+)\.cpython-3[^/]*\.pyc$", re.DOTALL)
_Raw = tuple[int, int, str, int, tuple[int, ...], list[str]]


@dataclass(frozen=True)
class NativeLog:
    """All records of the native observer in the order of their times.

    Attributes
    ----------
    records : tuple of Record
        With absolute paths.
    lost : int
        How many events did not fit into the file.
    damaged : int
        How many records were begun and not finished, or make no sense.
    clock : (int, int) or None
        Wall clock and monotonic clock at the same moment, in ns; None where there is no log.
    """

    records: tuple[Record, ...] = ()
    lost: int = 0
    damaged: int = 0
    clock: tuple[int, int] | None = None


def read(folder: Path) -> NativeLog:
    """Read the log in a folder, whole or cut off; an empty one where there is none.

    It was writable to every process of the run, so nothing in it is taken on trust.
    """
    try:
        with paths.open_regular(folder / native.NAME) as file:
            head = file.read(native.HEADER_SIZE)
            shape = _shape(head)
            if shape is None:
                return NativeLog(damaged=1)
            first, tail, lost, clock = shape
            file.seek(first)
            data = file.read(max(0, min(tail, os.fstat(file.fileno()).st_size) - first))
    except FileNotFoundError:
        return NativeLog()
    except (OSError, OverflowError):
        return NativeLog(damaged=1)
    with _uncollected():
        return _told(data, lost, clock)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the collector away: among so many new objects it takes a third of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _shape(head: bytes) -> tuple[int, int, int, tuple[int, int]] | None:
    """Return where the records begin and end, how many were lost, and the clocks."""
    if len(head) < native.HEADER_SIZE:
        return None
    magic, version, own, size, small, large, first, tail, lost, *clock = native.HEADER.unpack_from(
        head
    )
    if (magic, version, own) != (native.MAGIC, native.VERSION, native.HEADER_SIZE):
        return None
    if first != native.HEADER_SIZE + 8 * (small + large) or not first <= size <= native.LARGEST:
        return None
    return first, min(tail, size), lost, (clock[0], clock[1])


def _told(data: bytes, lost: int, clock: tuple[int, int]) -> NativeLog:
    holes: list[int] = []
    raw = sorted(_raw(data, holes), key=lambda one: one[0])
    teller = _Teller(raw)
    records = tuple(filter(None, map(teller.tell, raw)))
    return NativeLog(records, lost, len(holes) + teller.damaged, clock)


def _raw(data: bytes, holes: list[int]) -> Iterator[_Raw]:
    """Yield time, pid, kind, flags, numbers, strings of each record; note the places of holes."""
    unpack, at, end = _RECORD.unpack_from, 0, len(data) - _RECORD.size
    while at <= end:
        head = unpack(data, at)
        mark, length, time, pid, kind, flags, count = head[:7]
        if length < _RECORD.size or length % 8 or length > _PLAUSIBLE or at + length > len(data):
            holes.append(at)
            at = _next(data, at + 8)
            continue
        strings = os.fsdecode(data[at + _RECORD.size : at + length]).split("\0")
        if mark != _MARK or count >= len(strings):
            holes.append(at)
        else:
            yield time, pid, chr(kind), flags, head[7:], strings[:count]
        at += length
    if at < len(data):
        holes.append(at)


def _next(data: bytes, at: int) -> int:
    """Return the place of the next record that looks like one, or the end."""
    mark = struct.pack("<I", _MARK)
    while (at := data.find(mark, at)) >= 0:
        if at % 8 == 0:
            return at
        at += 1
    return len(data)


@dataclass
class _Teller:
    """Turn raw records into those that the trail follows, in the order of their times."""

    raw: Sequence[_Raw]
    damaged: int = 0
    cwds: dict[int, str] = field(default_factory=dict)
    normal: dict[str, str] = field(default_factory=dict)
    states: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # A child of vfork says whose it is only when it starts its program.
        self.parents = {pid: n[0] for _, pid, kind, _, n, _ in self.raw if kind in "sFx"}
        self.first = next((s[1] for _, _, kind, _, _, s in self.raw if kind == "s" and s[1:]), "")
        self.verbs: dict[str, Callable[[_Raw], tuple[str, ...] | None]] = {
            **dict.fromkeys("rwau", self._used),
            "m": self._moved,
            "k": self._kept,
            "d": self._listed,
            "c": self._changed,
            "F": self._forked,
            "s": self._started,
            "x": lambda raw: (raw[5][0], raw[5][1], raw[5][2], *raw[5][3:]),
            "e": lambda raw: (raw[5][0], "native"),
            "n": lambda raw: (raw[5][0], raw[5][1]),
            "l": lambda raw: (raw[5][0], str(raw[4][0]), str(raw[4][1])),
            "z": lambda _raw: (),
        }

    def tell(self, raw: _Raw) -> Record | None:
        """Return the record, or None where it is ours alone or makes no sense."""
        time, pid, kind, *_ = raw
        try:
            fields = self.verbs[kind](raw)
        except (LookupError, ValueError, OSError):
            self.damaged += 1
            return None
        return None if fields is None else Record(kind, time, pid, fields)

    def _used(self, raw: _Raw) -> tuple[str, ...]:
        _, pid, kind, flags, numbers, (folder, path) = raw
        path = self._absolute(pid, folder, path)
        seen = "stream" if flags & _STREAM else "native"
        if kind == "r" and seen == "native" and path.endswith((".py", ".pyc")):
            path, numbers, seen = self._source(path, numbers)
        return (seen, str(flags & _RELATIVE), *map(str, numbers), path)

    def _moved(self, raw: _Raw) -> tuple[str, ...]:
        _, pid, _, flags, _, (source_folder, source, target_folder, target) = raw
        source = self._absolute(pid, source_folder, source)
        return str(flags & _RELATIVE), source, self._absolute(pid, target_folder, target)

    def _kept(self, raw: _Raw) -> tuple[str, ...]:
        _, pid, _, _, numbers, (copy, folder, path) = raw
        if not copy or "/" in copy or copy in (".", ".."):
            raise ValueError(copy)
        return (*map(str, numbers), copy, self._absolute(pid, folder, path))

    def _listed(self, raw: _Raw) -> tuple[str, ...]:
        count, names, order = raw[4][:3]
        path = self._absolute(raw[1], "", raw[5][0])
        if count < 0:
            return path, "-1", "", ""
        return path, str(count), _hex(names), _hex(order)

    def _changed(self, raw: _Raw) -> None:
        self._settle(raw[1], raw[5][0])

    def _forked(self, raw: _Raw) -> None:
        if not raw[5][0].startswith("/"):
            self.cwds.pop(raw[1], None)  # of an earlier process with this number
        self._settle(raw[1], raw[5][0])

    def _started(self, raw: _Raw) -> tuple[str, ...]:
        executable, cwd, *arguments = raw[5]
        self._settle(raw[1], cwd)
        return (str(raw[4][0]), executable, *arguments)

    def _settle(self, pid: int, cwd: str) -> None:
        if cwd.startswith("/"):
            self.cwds[pid] = cwd

    def _absolute(self, pid: int, folder: str, path: str) -> str:
        if path[:1] != "/":
            folder = folder or self._cwd(pid)
            if folder[:1] != "/":
                raise ValueError(path)
            path = f"{folder}/{path}"
        if not paths.can_be(path):
            raise ValueError(path[:80])
        if "/." not in path and "//" not in path:
            return path
        if path not in self.normal:
            self.normal[path] = _normal(path)
        return self.normal[path]

    def _cwd(self, pid: int) -> str:
        for _ in range(8):
            known = self.cwds.get(pid)
            if known:
                return known
            pid = self.parents.get(pid, 0)
        return self.first

    def _source(self, path: str, numbers: tuple[int, ...]) -> tuple[str, tuple[int, ...], str]:
        """Return the source of a compiled module, its state, and the word for an import.

        Python took the state of the source without opening it. Its state now will do: had it
        changed since, the time of its last change would be after that of the opening.
        """
        if path.endswith(".py"):
            return path, numbers, "import"
        match = _COMPILED.match(path)
        if match is None:
            return path, numbers, "native"
        source = f"{match[1]}{match[2]}.py"
        if source not in self.states:
            self.states[source] = _state(source)
        return source, self.states[source], "import"


def _normal(path: str) -> str:
    if "/.." in path:  # only the file system knows what is above a symlink
        folder, _, name = path.rpartition("/")
        path = os.path.realpath(path) if name == ".." else f"{os.path.realpath(folder)}/{name}"
    path = os.path.normpath(path)
    return path[1:] if path.startswith("//") else path


def _state(path: str) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return (0, 0, 0, 0, 0)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _hex(number: int) -> str:
    return f"{number & 0xFFFFFFFFFFFFFFFF:016x}"
