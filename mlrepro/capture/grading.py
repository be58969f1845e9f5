"""Grading: the digest of the bytes that were read, or none, and how far it can be trusted.

A file is taken to hold what was read where its state at the end is that of its opening. That
proves it only if every later change would have moved the time of its last change: so the file
must be older than its opening by more than a tick of the clock that the file system reads.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mlrepro.capture.observation import Read, Stat
from mlrepro.errors import StoreError
from mlrepro.manifest import Digest, Grade
from mlrepro.stores import objects
from mlrepro.stores.statcache import StatCache

DIGEST_LIMIT = 16 * 2**30
"""Beyond this many bytes an input gets no digest, only a stat fingerprint."""

TICK = 10_000_000
"""The longest tick of a kernel's clock, in ns; two changes within it can leave one time."""

COARSE_TICK = 2_000_000_000
"""That of a file system that counts in seconds, as FAT and old ext3 do."""

_CACHED_FROM = 64 * 1024
_SECOND = 1_000_000_000


@dataclass(frozen=True)
class Graded:
    """What can be said of the bytes that were read.

    Attributes
    ----------
    digest : Digest or None
        Of these bytes; None where that is not known.
    grade : Grade
        Why it is known, or why it is not.
    held : str
        Path of a file that holds these bytes now; empty where there is none.
    """

    digest: Digest | None
    grade: Grade
    held: str = ""


def grade(
    read: Read,
    *,
    opened: int = 0,
    vouched: Callable[[Digest], bool] = lambda _digest: False,
    cache: StatCache | None = None,
) -> Graded:
    """Hash what was read, if it is still what was read, or the copy kept before it was changed.

    Parameters
    ----------
    read : Read
        The opening.
    opened : int
        When it was, in ns since the epoch; 0 where that is not known.
    vouched : callable
        Says whether git or DVC name a digest as what the file held before the run: then a doubt
        about times does not count.
    cache : StatCache, optional
        Spares reading large files that were read before, and knows what some of them held.
    """
    if read.stat is None:
        there = os.path.lexists(read.path)
        return Graded(None, Grade.CHANGED if there else Grade.GONE)
    if read.stat.size > DIGEST_LIMIT:
        return Graded(None, Grade.TOO_LARGE)
    doubtful = is_racy(read.stat, opened)
    now = state(read.path)
    if now == read.stat:
        return _unless_doubtful(_verified(read, cache), doubtful, vouched)
    if read.copy:
        return _unless_doubtful(_copied(read), doubtful, vouched)
    known = cache.get(_as_status(read.stat)) if cache else None
    if known:
        return Graded(Digest("md5", known), Grade.BEFORE_WRITE)
    if now is None:
        return Graded(None, Grade.GONE)
    if replace(now, ctime_ns=read.stat.ctime_ns) == read.stat:  # linked, or its mtime put back
        return _unless_doubtful(_verified(replace(read, stat=now), cache), True, vouched)
    return Graded(None, Grade.CHANGED)


def is_racy(stat: Stat, opened: int) -> bool:
    """Say whether a file could change after its opening and still have the same times.

    Parameters
    ----------
    stat : Stat
        At the opening.
    opened : int
        When that was, in ns since the epoch; 0 where it is not known: then nothing is said.
    """
    if not opened:
        return False
    coarse = stat.ctime_ns % _SECOND == 0 and stat.mtime_ns % _SECOND == 0
    return stat.ctime_ns >= opened - (COARSE_TICK if coarse else TICK)


def state(path: str) -> Stat | None:
    """Return the state of a file now; None where there is none."""
    try:
        return _state(os.stat(path))
    except (OSError, ValueError):
        return None


def digest_of_file(path: Path, cache: StatCache | None) -> Digest:
    """Return a file's digest, from the stat cache where it knows the file as it is."""
    before = path.stat()
    if before.st_size < _CACHED_FROM:
        return objects.digest_file(path)
    value = cache.get(before) if cache else None
    if value:
        return Digest("md5", value)
    digest = objects.digest_file(path)
    if cache and _state(path.stat()) == _state(before):
        cache.put(before, digest.value)
    return digest


def _verified(read: Read, cache: StatCache | None) -> Graded:
    try:
        digest = digest_of_file(Path(read.path), cache)
    except (StoreError, OSError):  # gone, or not readable
        return Graded(None, Grade.UNVERIFIED)
    if state(read.path) != read.stat:
        return Graded(None, Grade.CHANGED)
    return Graded(digest, Grade.VERIFIED, read.path)


def _copied(read: Read) -> Graded:
    try:
        return Graded(objects.digest_file(Path(read.copy)), Grade.BEFORE_WRITE, read.copy)
    except StoreError:
        return Graded(None, Grade.CHANGED)


def _unless_doubtful(found: Graded, doubtful: bool, vouched: Callable[[Digest], bool]) -> Graded:
    if not doubtful or found.digest is None or vouched(found.digest):
        return found
    return Graded(None, Grade.RACY)


def _state(found: os.stat_result) -> Stat:
    return Stat(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _as_status(stat: Stat) -> os.stat_result:
    """Return the form in which the stat cache is asked."""
    whole = (0o100644, stat.ino, stat.dev, 1, 0, 0, stat.size, 0, 0, 0)
    times = {"st_mtime_ns": stat.mtime_ns, "st_ctime_ns": stat.ctime_ns}
    return os.stat_result(whole, times)
