"""Gc: removes what rebuilds left in the user's cache: unused environments, abandoned rooms."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlrepro.cleanroom import borrowed, environments
from mlrepro.cleanroom import room as rooms

_JUST_MADE = 60.0
"""Seconds in which a room may not be locked yet."""


@dataclass(frozen=True)
class Removed:
    """What was removed.

    Attributes
    ----------
    environments : tuple of str
        Folders of environments, which the next rebuild makes again.
    rooms : tuple of str
        Folders of clean rooms that killed processes, or `--keep-room`, had left.
    kept : int
        How many environments are left.
    busy : int
        How many of these a rebuild uses just now.
    freed : int
        Bytes that the disk has again; files that other places share are not counted.
    """

    environments: tuple[str, ...] = ()
    rooms: tuple[str, ...] = ()
    kept: int = 0
    busy: int = 0
    freed: int = 0


def gc(*, everything: bool = False) -> Removed:
    """Remove environments that no rebuild used for 30 days, and abandoned rooms.

    Parameters
    ----------
    everything : bool
        Every environment, and the rooms that `--keep-room` left, but what is in use just now.
    """
    now = time.time()
    found = environments.kept()
    gone, busy, freed = [], 0, 0
    for one in found:
        if everything or now - one.used > environments.UNUSED:
            size = sum(_sizes(one.folder))
            if environments.remove(one):
                gone.append(str(one.folder))
                freed += size
            else:
                busy += 1
    left = list(_rooms(now, everything=everything))
    for room in left:
        freed += sum(_sizes(room))
        borrowed.remove(room)
    return Removed(tuple(gone), tuple(map(str, left)), len(found) - len(gone), busy, freed)


def _rooms(now: float, *, everything: bool) -> Iterator[Path]:
    """Yield the rooms that nobody is in: left by killed processes, or kept and grown old."""
    home = rooms.cache_home() / "rooms"
    for room in sorted(home.iterdir()) if home.is_dir() else ():
        age = now - room.stat().st_mtime
        abandoned = borrowed.is_abandoned(room)
        kept_long = abandoned is None and (everything or age > environments.UNUSED)
        if age > _JUST_MADE and (abandoned or kept_long):
            yield room


def _sizes(folder: Path) -> Iterator[int]:
    for top, _names, files in os.walk(folder):
        for name in files:
            found = os.lstat(os.path.join(top, name))
            if found.st_nlink == 1:
                yield found.st_blocks * 512
