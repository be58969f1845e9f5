"""Zipped: zip and tar archives compared member by member, each by the comparator of its name.

No content, and so metadata: the times, owners, permissions, order, comments, compression and format
version that the headers hold. Members are unpacked one pair at a time, under names of our own; how
long each is, all together and beside what is free on the disk, is bounded before anything is read.
"""

from __future__ import annotations

import functools
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from mlrepro.comparators import directory, nested
from mlrepro.comparators.base import Comparator
from mlrepro.comparators.damage import translated
from mlrepro.comparators.pairing import pair
from mlrepro.drift import Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError

_ZIP = (b"PK\3\4", b"PK\5\6", b"PK\7\b")
_MOST_MEMBERS = 100_000
_BLOCK = 1 << 20


def comparator(compare: Callable[..., Difference]) -> Comparator:
    """Return the row of archives; `compare` is what measures two of their members."""

    def members(recorded: Path, rebuilt: Path, tolerance: Tolerance) -> Difference:
        measure = functools.partial(compare, tolerance=tolerance)
        with _opened(recorded) as a, _opened(rebuilt) as b, nested.folder(recorded.name) as folder:
            pairs = pair(sorted(a.members), sorted(b.members))
            children = tuple(_member((a, x), (b, y), folder, measure) for x, y in pairs)
        renamed = tuple(f"{x} → {y} (paired)" for x, y in pairs if x and y and x != y)
        return _as_archive(directory.whole(recorded.name, children, renamed))

    return Comparator("archive", _recognises, members)


def _recognises(path: Path, head: bytes) -> bool:
    if head.startswith(_ZIP) or head[257:262] == b"ustar":
        return True
    return bool(head) and path.suffix.lower() in (".zip", ".tar")


@dataclass(frozen=True)
class _Archive:
    """An archive whose list of members has been read.

    Attributes
    ----------
    members : dict of str to _Entry
        By their names; one of a folder ends in a slash.
    read : callable
        Returns the bytes of a member as a file.
    """

    name: str
    members: Mapping[str, _Entry]
    read: Callable[[str], IO[bytes]]


@dataclass(frozen=True)
class _Entry:
    """What the archive's headers say of a member: its size, or what it is if it is no file."""

    size: int
    other: str = ""


@contextmanager
def _opened(path: Path) -> Iterator[_Archive]:
    with _damage(path.name):
        with path.open("rb") as file:
            zipped = file.read(4) in _ZIP
        opened = zipfile.ZipFile(path) if zipped else tarfile.open(path, "r:")  # noqa: SIM115  below
    with opened:
        with _damage(path.name):
            found = (
                _zip(path, opened) if isinstance(opened, zipfile.ZipFile) else _tar(path, opened)
            )
            _check(found)
        yield found


@contextmanager
def _damage(name: str) -> Iterator[None]:
    try:
        with translated(name):
            yield
    except (tarfile.TarError, lzma.LZMAError) as error:
        raise ComparisonError(f"`{name}` is damaged: {error}") from error


def _zip(path: Path, opened: zipfile.ZipFile) -> _Archive:
    infos = opened.infolist()
    names = [info.filename for info in infos]
    members = {info.filename: _Entry(info.file_size, _zip_other(info)) for info in infos}
    if len(members) != len(names):
        raise ValueError("two members have one name")
    return _Archive(path.name, members, opened.open)


def _zip_other(info: zipfile.ZipInfo) -> str:
    return "a folder" if info.is_dir() else ""  # a link holds its target, which is compared


def _tar(path: Path, opened: tarfile.TarFile) -> _Archive:
    members: dict[str, _Entry] = {}
    for info in opened:
        name = f"{info.name}/" if info.isdir() else info.name
        if name in members or len(members) > _MOST_MEMBERS:
            raise ValueError("it holds too many members, or two of one name")
        members[name] = _Entry(info.size if info.isfile() else 0, _tar_other(info))

    def read(name: str) -> IO[bytes]:
        file = opened.extractfile(name)
        if file is None:
            raise ValueError(f"`{name:.80}` is no file")
        return file

    return _Archive(path.name, members, read)


def _tar_other(info: tarfile.TarInfo) -> str:
    if info.isdir():
        return "a folder"
    if info.islnk() or info.issym():
        return f"a link to {info.linkname}"
    return "" if info.isfile() else f"of type {info.type!r}"


def _check(found: _Archive) -> None:
    """Hold what the headers state against what is bearable, before anything is unpacked."""
    size = sum(entry.size for entry in found.members.values())
    if len(found.members) > _MOST_MEMBERS or size > nested.LARGEST:
        raise ComparisonError(
            f"`{found.name}` states {len(found.members):,} members of {size >> 20:,} MiB, too much"
        )


_Place = tuple[_Archive, str | None]


def _member(a: _Place, b: _Place, folder: Path, compare: Callable[..., Difference]) -> Difference:
    x, y = a[1], b[1]
    if x is None or y is None:
        side = "rebuilt" if x is None else "recorded"
        return Difference(x or y or "", Verdict.MISSING, summary=f"only {side}", compared=1)
    others = a[0].members[x].other, b[0].members[y].other
    if any(others):
        change = "" if others[0] == others[1] else " → ".join(o or "a file" for o in others)
        verdict = Verdict.DRIFTED if change else Verdict.IDENTICAL
        return Difference(x, verdict, first=change, compared=1)
    sides = folder / "recorded", folder / "rebuilt"
    _unpack(a[0], x, sides[0])
    _unpack(b[0], y, sides[1])
    return compare(*sides, name=x)


def _unpack(archive: _Archive, name: str, side: Path) -> None:
    whole = f"{archive.name}: {name}"
    with _damage(whole), archive.read(name) as file:
        nested.write(iter(functools.partial(file.read, _BLOCK), b""), side, whole)
    if side.stat().st_size != archive.members[name].size:
        raise ComparisonError(f"`{whole}` has another length than it states")


def _as_archive(found: Difference) -> Difference:
    """Return the finding as that of archives, whose own bytes differ."""
    if found.verdict > Verdict.EQUIVALENT:
        return found
    note = "archive: its times, order or compression differ, not the content"
    # Two archives without a member hold the same: nothing.
    metadata, compared = (*found.metadata, note), max(found.compared, 1)
    return replace(found, verdict=Verdict.EQUIVALENT, metadata=metadata, compared=compared)
