"""Stat cache: remembers the md5 of unchanged files; disposable, never believed on a doubt."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

_RACY = 2_000_000_000
# A file changed within the last two seconds may change again without a new time stamp: FAT
# counts in steps of 2 s, kernels in ticks. Git calls such an entry racy.

_TABLE = (
    "CREATE TABLE IF NOT EXISTS md5 (device INTEGER, inode INTEGER, size INTEGER, mtime INTEGER,"
    " ctime INTEGER, md5 TEXT, PRIMARY KEY (device, inode)) WITHOUT ROWID"
)
_FIND = "SELECT md5 FROM md5 WHERE device=? AND inode=? AND size=? AND mtime=? AND ctime=?"
_KEEP = "INSERT OR REPLACE INTO md5 VALUES (?,?,?,?,?,?)"


class StatCache:
    """Digests by (device, inode), valid while size, mtime and ctime stay.

    Every process may use the same file at once. A damaged, locked or unwritable file is as good
    as an empty one: nothing here ever raises.

    Parameters
    ----------
    path : Path
        The file, for instance ``.mlrepro/stat.sqlite``; made when first needed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._broken = False
        self._pending: list[tuple[int, int, int, int, int, str]] = []

    def get(self, stat: os.stat_result) -> str | None:
        """Return the md5 of the file that has this stat, if it is known."""
        with self._working() as connection:
            if connection:
                row = connection.execute(_FIND, _key(stat)).fetchone()
                return str(row[0]) if row else None
        return None

    def put(self, stat: os.stat_result, md5: str) -> None:
        """Remember the md5 of the file that had this stat before *and* after it was read."""
        if max(stat.st_mtime_ns, stat.st_ctime_ns) <= time.time_ns() - _RACY:
            with self._lock:
                self._pending.append((*_key(stat), md5))

    def save(self) -> None:
        """Write what was put, in one transaction."""
        with self._working() as connection:
            if connection and self._pending:
                with connection:
                    connection.executemany(_KEEP, self._pending)
                self._pending.clear()

    def close(self) -> None:
        """Save, and let go of the file."""
        if self._pending:
            self.save()
        with self._lock:
            if self._connection:
                self._connection.close()
            self._connection = None

    def __enter__(self) -> StatCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _working(self) -> Iterator[sqlite3.Connection | None]:
        """Lend the connection; None, for the rest of this process, once anything went wrong."""
        with self._lock:
            connection = None if self._broken else self._opened()
            with self._distrusting():
                yield connection

    def _opened(self) -> sqlite3.Connection | None:
        if self._connection is None:
            with self._distrusting():
                self._open()
        return self._connection

    @contextmanager
    def _distrusting(self) -> Iterator[None]:
        import sqlite3  # noqa: PLC0415  3 ms, paid when a larger file is stored

        try:
            yield
        except sqlite3.OperationalError:  # locked, read-only, full disk: not now
            self._broken = True
        except sqlite3.DatabaseError:  # damaged: begin anew the next time
            self._broken = True
            with suppress(OSError):
                self._path.unlink()
        except OSError:
            self._broken = True

    def _open(self) -> None:
        import sqlite3  # noqa: PLC0415  see above

        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=2, check_same_thread=False)
        try:
            connection.execute("PRAGMA synchronous=OFF")  # disposable: no fsync for it
            connection.execute(_TABLE)
        except sqlite3.Error:
            connection.close()
            raise
        self._connection = connection


def _key(stat: os.stat_result) -> tuple[int, int, int, int, int]:
    return (
        _signed(stat.st_dev),
        _signed(stat.st_ino),
        stat.st_size,
        stat.st_mtime_ns,
        stat.st_ctime_ns,
    )


def _signed(number: int) -> int:
    """Fit an unsigned 64-bit inode into SQLite's signed integers."""
    return number - 2**64 if number >= 2**63 else number
