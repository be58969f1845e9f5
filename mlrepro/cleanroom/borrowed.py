"""Borrowed: a folder for the length of a block, and what killed processes left of theirs."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import stat
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

_LOCK = "lock"
_STALE = 24 * 3600.0
"""Seconds after which a folder that nobody locks was left by a killed process."""
_ATTEMPTS = 3


@contextlib.contextmanager
def folder(parent: Path, *, keep: bool = False) -> Iterator[Path]:
    """Make a folder of a new name, and remove it in the end, also on SIGTERM and SIGHUP.

    Parameters
    ----------
    parent : Path
        Made if need be. What killed processes left in it more than a day ago is removed.
    keep : bool
        Leave the folder behind; the others that are kept so are never removed.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    parent.mkdir(parents=True, exist_ok=True)
    sweep(parent)
    # Short: sockets, which multiprocessing makes below TMPDIR, have at most 107 characters.
    made = parent / uuid.uuid4().hex[:8]
    with _polite():
        made.mkdir(mode=0o700)
        lock = os.open(made / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield made
        finally:
            if keep:
                (made / _LOCK).unlink(missing_ok=True)
            else:
                remove(made)
            os.close(lock)


def sweep(parent: Path, *, older: float = _STALE) -> int:
    """Remove the folders that killed processes left; return how many."""
    removed = 0
    for lock in parent.glob(f"*/{_LOCK}"):
        with contextlib.suppress(OSError):
            if time.time() - lock.stat().st_mtime > older and _is_free(lock):
                remove(lock.parent)
                removed += 1
    return removed


def is_abandoned(made: Path) -> bool | None:
    """Say whether its process was killed; None for a folder that was kept on purpose."""
    try:
        return _is_free(made / _LOCK)
    except OSError:
        return None


def remove(made: Path) -> None:
    """Remove a folder, its read-only folders included, and while a daemon still writes there."""
    for _ in range(_ATTEMPTS):
        if not made.exists():
            return
        for top, names, _files in os.walk(made):
            for name in names:
                path = Path(top, name)
                with contextlib.suppress(OSError):
                    if not path.is_symlink() and not os.access(path, os.R_OK | os.W_OK | os.X_OK):
                        path.chmod(stat.S_IRWXU)
        shutil.rmtree(made, ignore_errors=True)


def _is_free(lock: Path) -> bool:
    descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


@contextlib.contextmanager
def _polite() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the block as Ctrl-C does, and not the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    default = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) == signal.SIG_DFL]
    for number in default:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in default:
            signal.signal(number, signal.SIG_DFL)
