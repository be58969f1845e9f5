"""DVC's lock: the one that `dvc` itself takes, so that neither writes while the other does."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlrepro.errors import LockTimeoutError
from mlrepro.stores import dvcconfig

PATIENCE = 300.0
"""Seconds; DVC itself gives up after 3, and a `dvc pull` may hold its lock for minutes."""

_PAUSE = 0.05
_LIFETIME = 3600.0
# A hard-link lock is valid until its own mtime; flufl.lock breaks one that is past it.


@contextmanager
def locked(
    root: Path, *, notify: Callable[[str], None], patience: float = PATIENCE
) -> Iterator[None]:
    """Hold DVC's repository lock, ``.dvc/tmp/lock``.

    It is a `flock` on that file; with ``core.hardlink_lock`` it is the existence of that file,
    made by a hard link (NFS without `flock`).

    Raises
    ------
    LockTimeoutError
        If another process held it all the time.
    """
    folder = root / ".dvc" / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    if dvcconfig.is_true(dvcconfig.setting(root, "core.hardlink_lock")):
        with _linked(folder, notify, patience):
            yield
        return
    with _flocked(folder / "lock", notify, patience):
        yield


@contextmanager
def _flocked(path: Path, notify: Callable[[str], None], patience: float) -> Iterator[None]:
    def take() -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        _wait(take, notify, patience)
        os.pwrite(descriptor, b" %d\n" % os.getpid(), 0)  # zc.lockfile writes it, for people
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _linked(folder: Path, notify: Callable[[str], None], patience: float) -> Iterator[None]:
    lock, claim = folder / "lock", folder / f"mlrepro-{os.getpid()}-{os.urandom(4).hex()}.lock"

    def take() -> bool:
        try:
            os.link(claim, lock)
        except FileExistsError:
            return False
        return True

    claim.write_text(str(claim), encoding="utf-8")
    try:
        os.utime(claim, (until := time.time() + _LIFETIME, until))
        _wait(take, notify, patience)
        try:
            yield
        finally:
            lock.unlink()
    finally:
        with suppress(FileNotFoundError):
            claim.unlink()


def _wait(take: Callable[[], bool], notify: Callable[[str], None], patience: float) -> None:
    if take():
        return
    notify("waiting for another `dvc` or `mlrepro` process to let go of DVC's lock")
    end = time.monotonic() + patience
    while not take():
        if time.monotonic() > end:
            raise LockTimeoutError(f"DVC's lock was held by another process for {patience:g} s")
        time.sleep(_PAUSE)
