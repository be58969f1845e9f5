"""Scan: find what changed in the project's folder since a moment, whoever changed it.

The moment is that of a marker file on the same file system, and what is compared is the time of
the last change of the inode, which no program can set back: copied and unpacked files keep an old
mtime. 20,000 files take about 80 ms.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MOST = 500_000
"""Files beyond this number are not looked at."""

_SKIPPED = frozenset(
    {".git", ".mlrepro", ".venv", "node_modules", "__pycache__", ".ipynb_checkpoints"}
    | {".mypy_cache", ".pytest_cache", ".ruff_cache", ".hg", ".svn", ".tox", ".nox", ".eggs"}
)
_SKIPPED_IN_DVC = frozenset(("cache", "tmp"))
_NOT_OURS = frozenset((".git", "pyvenv.cfg", "conda-meta"))
"""A folder that holds one of these is a nested repository or an environment."""


@dataclass(frozen=True)
class Marker:
    """A moment, in the time of the project's file system."""

    since: int
    device: int


@dataclass(frozen=True)
class Changes:
    """Files that were made or changed since the marker; whether all could be looked at."""

    paths: tuple[str, ...]
    complete: bool = True


def marker(root: Path, log: Path) -> Marker:
    """Return the present moment; what was changed before it is older by at least one tick.

    Raises
    ------
    OSError
        If no marker file can be written.
    """
    device = root.stat().st_dev
    home = (
        log
        if log.stat().st_dev == device or not (root / ".mlrepro").is_dir()
        else root / ".mlrepro"
    )
    path = home / f"marker-{os.getpid()}-{time.monotonic_ns()}"
    path.touch()
    try:
        return Marker(_next_tick(path), device)
    finally:
        path.unlink()


def _next_tick(path: Path) -> int:
    """Wait until the file system's clock has moved: 1 to 10 ms, the kernel's tick."""
    first = now = path.stat().st_ctime_ns
    for _ in range(40):  # a file system that counts in seconds is not waited for
        time.sleep(0.0005)
        os.utime(path)
        now = path.stat().st_ctime_ns
        if now != first:
            break
    return now


def changes(
    root: Path, since: int, *, until: int | None = None, skip: Path | None = None
) -> Changes:
    """Return the files below `root` that were made or changed since a moment.

    Parameters
    ----------
    root : Path
        The project's folder. Nested repositories, environments and caches in it are left out.
    since, until : int
        Times as `Marker.since`; `until` limits the search after an interrupted run.
    skip : Path, optional
        One more folder to be left out.
    """
    found: list[str] = []
    for count, (entry, status) in enumerate(_files(str(root), str(skip))):
        if count >= MOST:
            return Changes(tuple(sorted(found)), complete=False)
        recent = status.st_ctime_ns >= since and (until is None or status.st_ctime_ns <= until)
        if recent and _is_content(entry, status):
            found.append(entry.path)
    return Changes(tuple(sorted(found)))


def _files(root: str, skip: str) -> Iterator[tuple[os.DirEntry[str], os.stat_result]]:
    stack = [root]
    while stack:
        folder = stack.pop()
        try:
            with os.scandir(folder) as listing:
                entries = list(listing)
        except OSError:  # unreadable, or gone since it was listed
            continue
        if folder != root and any(entry.name in _NOT_OURS for entry in entries):
            continue
        skipped = _SKIPPED_IN_DVC if folder.endswith("/.dvc") else _SKIPPED
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in skipped and entry.path != skip:
                    stack.append(entry.path)
            else:
                status = _status(entry)
                if status is not None:
                    yield entry, status


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except OSError:
        return None


def _is_content(entry: os.DirEntry[str], status: os.stat_result) -> bool:
    if entry.name.endswith((".pyc", ".swp", "~")) or entry.name.startswith(
        (".nfs", ".#", ".mlrepro-")
    ):
        return False
    return stat.S_ISREG(status.st_mode) or (
        stat.S_ISLNK(status.st_mode) and Path(entry.path).is_file()
    )
