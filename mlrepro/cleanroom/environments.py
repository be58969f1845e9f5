"""Environments: virtual environments made from locks, shared by rebuilds, kept in the user's cache.

::

    <user cache>/mlrepro/environments/
        <first 32 digits of the lock's digest>/            whole, and never changed again
            mlrepro.json                                   what it is; written before the move
        <the same>.building/                               left by a killed process: removed
        <the same>.lock                                    exclusive: being made; shared: in use
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mlrepro import paths
from mlrepro.cleanroom import borrowed, making, room
from mlrepro.cleanroom.making import CURRENT, why
from mlrepro.errors import MlreproError, RestoreError, StoreError
from mlrepro.locks import Lock
from mlrepro.stores import uv
from mlrepro.stores.place import Place

__all__ = ["CURRENT", "UNUSED", "Built", "Kept", "borrow", "home", "kept", "remove", "why"]

_MARK = "mlrepro.json"
_LOCK = ".lock"
_BUILDING = ".building"
_DIGITS = 32
_FORM = 1
UNUSED = 30 * 24 * 3600.0
"""Seconds after which an environment that no rebuild used may go."""


@dataclass(frozen=True)
class Built:
    """An environment to train in.

    Attributes
    ----------
    prefix : Path
        Its folder.
    python : Path
        Its interpreter.
    version : str
        The interpreter's version.
    source : str
        ``lock`` or ``current``.
    notes : tuple of str
        What is otherwise than recorded.
    """

    prefix: Path
    python: Path
    version: str
    source: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kept:
    """An environment in the user's cache.

    Attributes
    ----------
    folder : Path
        Where it lies.
    used : float
        When a rebuild last used it, in seconds since 1970; 0 where it was never whole.
    """

    folder: Path
    used: float


def home() -> Path:
    """Return the folder of all environments."""
    return room.cache_home() / "environments"


@contextlib.contextmanager
def borrow(
    lock: Lock, *, here: Place | None, notify: Callable[[str], None] = lambda _sentence: None
) -> Iterator[Built]:
    """Lend the environment of a lock: made once, whoever asks, and kept for the next rebuild.

    Parameters
    ----------
    lock : Lock
        What it is made from.
    here : Place or None
        The project: its settings name indexes, and wheels that no index has lie in its store.
    notify : callable
        Takes a sentence before something slow.

    Raises
    ------
    RestoreError
        If it cannot be made here; one sentence, which names the packages that are not to be had.
    UvMissingError
        If it has to be made, and there is no uv.
    """
    folder = home() / lock.digest.value[:_DIGITS]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RestoreError(f"no environment can be kept in the user's cache: {error}") from error
    with _shared(
        folder,
        lambda: _made(folder, lock, here, notify),
        lambda built: _is_better_here(built, lock),
        notify,
    ) as built:
        # The moment of the last use, for `gc`.
        with contextlib.suppress(OSError):
            os.utime(folder / _MARK)
        yield built


@contextlib.contextmanager
def _shared(
    folder: Path,
    make: Callable[[], None],
    outdated: Callable[[Built], bool],
    notify: Callable[[str], None],
) -> Iterator[Built]:
    """Keep an environment from being removed; make it where it is not there, one at a time."""
    while True:
        with _locked(folder, fcntl.LOCK_SH, notify):
            built = _whole(folder)
            if built and not outdated(built):
                yield built
                return
        with _locked(folder, fcntl.LOCK_EX, notify):
            built = _whole(folder)
            if built is None or outdated(built):
                make()


@contextlib.contextmanager
def _locked(
    folder: Path, how: int, notify: Callable[[str], None] = lambda _sentence: None
) -> Iterator[None]:
    """Hold the lock of an environment; `gc` may have removed the file that was just opened."""
    path = folder.with_name(folder.name + _LOCK)
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            except BlockingIOError:
                notify("waiting for another rebuild, which makes the same environment")
                fcntl.flock(descriptor, how)
            if _is_still(path, descriptor):
                yield
                return
        finally:
            os.close(descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _whole(folder: Path) -> Built | None:
    """Return an environment that is there and as it was made; None otherwise."""
    try:
        mark = json.loads((folder / _MARK).read_text(encoding="utf-8"))
        python = folder / "bin/python"
        sound = mark["form"] == _FORM and mark["census"] == _census(folder)
        if not sound or not os.access(python, os.X_OK):
            return None
        notes = tuple(map(str, mark["notes"]))
        return Built(folder, python, str(mark["python"]), "lock", notes)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _census(folder: Path) -> str:
    """Return a digest of the state of all files; what Python compiles is left out.

    8,000 files take 60 ms.
    """
    lines = sorted(_files(str(folder), ""))
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def _files(top: str, below: str) -> Iterator[str]:
    with os.scandir(f"{top}/{below}") as entries:
        for entry in entries:
            name = f"{below}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "__pycache__":
                    yield from _files(top, f"{name}/")
            elif entry.is_symlink():
                yield f"{name} -> {os.readlink(entry.path)}"
            elif name != _MARK:
                found = entry.stat(follow_symlinks=False)
                yield f"{name} {found.st_size} {found.st_mtime_ns}"


def _made(folder: Path, lock: Lock, here: Place | None, notify: Callable[[str], None]) -> None:
    """Make an environment beside its place and move it there, whole."""
    building = folder.with_name(folder.name + _BUILDING)
    borrowed.remove(building)
    borrowed.remove(folder)
    try:
        version, notes = making.make(building, lock, here=here, notify=notify)
        mark = {"form": _FORM, "lock": str(lock.digest), "python": version, "notes": notes,
                "census": _census(building)}  # fmt: skip
        paths.write_beside(building / _MARK, json.dumps(mark))
        os.replace(building, folder)
    except OSError as error:
        raise RestoreError(f"the recorded environment cannot be made: {error}") from error
    except StoreError as error:
        raise RestoreError(why(lock, error), hint=CURRENT) from error
    finally:
        borrowed.remove(building)


def _is_better_here(built: Built, lock: Lock) -> bool:
    """Say whether the recorded Python has come since an environment was made with another one."""
    if built.version == lock.python:
        return False
    try:
        return uv.python(uv.find(), lock.python, lock.implementation) is not None
    except MlreproError:
        return False


def kept() -> list[Kept]:
    """Return the environments of the user's cache, and what killed processes left there."""
    found = []
    with contextlib.suppress(OSError):
        for folder in sorted(home().iterdir()):
            if folder.is_dir():
                mark = folder / _MARK
                found.append(Kept(folder, mark.stat().st_mtime if mark.exists() else 0.0))
    return found


def remove(one: Kept) -> bool:
    """Remove an environment, unless a rebuild uses or makes it; say whether it is gone."""
    folder = one.folder.with_name(one.folder.name.partition(".")[0])
    path = folder.with_name(folder.name + _LOCK)
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        borrowed.remove(one.folder)
        path.unlink(missing_ok=True)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return not one.folder.exists()
