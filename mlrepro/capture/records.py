"""Records: read the log that the probe left, whole or cut off."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mlrepro import paths

_NAME = re.compile(r"^(\d+)-\d+(\.lost)?\.log$")
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_OF_FILES = frozenset((b"r", b"w", b"a", b"u", b"m", b"k", b"d"))
_MEANING = {b"n": b"\n", b"t": b"\t", b"\\": b"\\"}


@dataclass(frozen=True)
class Record:
    """One line of a log: its kind, when it was written (monotonic clock, ns), its fields."""

    kind: str
    time: int
    pid: int
    fields: tuple[str, ...]


@dataclass(frozen=True)
class Log:
    """All records of a run in the order of their times, and what is known to be lost."""

    records: tuple[Record, ...]
    damaged: int
    """How many records were cut off, or files marked as having lost some."""
    last: int
    """When the newest file was written (wall clock, ns); 0 where there is none."""


def read(folder: Path) -> Log:
    """Read the logs of all processes of a run."""
    records: list[Record] = []
    damaged = last = 0
    for path in _files(folder):
        match = _NAME.match(path.name)
        assert match is not None  # noqa: S101  `_files` chose them by it
        damaged += match[2] is not None
        try:
            last = max(last, path.lstat().st_mtime_ns)
            lines = paths.content(path).split(b"\n")
        except OSError:
            damaged += 1
            continue
        for line in lines:
            record = _record(line, int(match[1]))
            if record is not None:
                records.append(record)
            elif line:
                damaged += 1
    return Log(tuple(sorted(records, key=lambda record: record.time)), damaged, last)


def _files(folder: Path) -> Iterable[Path]:
    try:
        return sorted(path for path in folder.iterdir() if _NAME.match(path.name))
    except OSError:
        return ()


def _record(line: bytes, pid: int) -> Record | None:
    parts = line.split(b"\t")
    if len(parts) < 3 or parts[-1] != b"." or not parts[1].isdigit():
        return None
    fields = tuple(os.fsdecode(_plain(part)) for part in parts[2:-1])
    if parts[0] in _OF_FILES and not all(map(paths.can_be, fields)):
        return None  # forged: no system takes such a path
    return Record(parts[0].decode("ascii", "replace"), int(parts[1]), pid, fields)


def _plain(field: bytes) -> bytes:
    if b"\\" not in field:
        return field
    return _ESCAPE.sub(lambda match: _MEANING.get(match[1], match[0]), field)
