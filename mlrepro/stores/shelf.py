"""Shelf: one folder of objects in DVC's layout, and how an object gets its name there."""
# Strings, not Paths: for 20,000 small objects a Path each would cost as much as the copying.

from __future__ import annotations

import errno
import os
import stat as modes
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mlrepro.manifest import Digest
from mlrepro.stores import reflink

_MODE = 0o444
_GROUP_FOLDER = 0o2775
_NO_HARD_LINKS = (errno.EPERM, errno.EMLINK, errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS)


@dataclass(frozen=True)
class Store:
    """One folder ``…/files/md5`` of objects named ``ab/cdef…``, all of them 0444."""

    root: Path

    def path(self, digest: Digest) -> Path:
        """Return where the object lies, whether or not it is there."""
        return Path(self.name(digest.value))

    def name(self, value: str) -> str:
        """Return where the object of this md5 lies, as a string."""
        return f"{self.root}/{value[:2]}/{value[2:]}"


@dataclass(frozen=True)
class Shelves:
    """Two stores on one file system, between which objects are hard-linked.

    An object is written under a temporary name and gets its own when it is whole and 0444, so a
    full disk or a killed process leaves at most a file in `workshop`, never half an object.

    Attributes
    ----------
    own, dvc : Store
        The objects of all runs, and those of DVC.
    workshop : str
        Where objects are written before they have a name; see `sweep`.
    shared : bool
        Whether folders are made group-writable, as DVC's ``cache.shared = group`` asks.
    """

    own: Store
    dvc: Store
    workshop: str
    shared: bool = False

    def share(self, value: str, size: int, *, into_dvc: bool) -> bool:
        """Link an object that one store has into the other; False where neither can be trusted."""
        own, dvc = self.own.name(value), self.dvc.name(value)
        if _is_whole(own, size):
            if into_dvc and not _is_whole(dvc, size):
                self._link(own, dvc)
            return True
        if _is_whole(dvc, size):
            self._link(dvc, own)
            return True
        return False

    def write(self, value: str, data: bytes, *, into_dvc: bool) -> None:
        """Store bytes whose md5 (and suffix) is already known."""
        with self.temporary() as (descriptor, name):
            reflink.write(descriptor, data)
            self.settle(descriptor, name, value, into_dvc=into_dvc)

    def settle(self, descriptor: int, name: str, value: str, *, into_dvc: bool) -> None:
        """Turn a written temporary file into an object."""
        os.fchmod(descriptor, _MODE)
        own = self.own.name(value)
        # A link, since a rename over another process's equal object would take that one's file
        # away between its two names. DVC's name is linked to whichever came first.
        self._link(name, own)
        if into_dvc:
            self._link(own, self.dvc.name(value))

    @contextmanager
    def temporary(self) -> Iterator[tuple[int, str]]:
        """Open a new file in the workshop; it is gone at the end unless it was settled."""
        name = f"{self.workshop}/{os.urandom(12).hex()}"
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC
        try:
            descriptor = os.open(name, flags, 0o600)
        except FileNotFoundError:
            self._make_folder(self.workshop)
            descriptor = os.open(name, flags, 0o600)
        try:
            yield descriptor, name
        finally:
            os.close(descriptor)
            with suppress(FileNotFoundError):
                os.unlink(name)

    def sweep(self, *, before: float) -> int:
        """Remove what killed processes left in the workshop before that time; return the bytes."""
        freed = 0
        with suppress(FileNotFoundError), os.scandir(self.workshop) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if status.st_mtime < before:
                        os.unlink(entry.path)
                        freed += status.st_size
        return freed

    def _link(self, source: str, target: str) -> None:
        """Hard-link an object to its other name, over a damaged one too; copy where links fail."""
        try:
            self._named(lambda: os.link(source, target), target)
        except FileExistsError:
            if not _is_whole(target, os.stat(source).st_size):
                self._replace(source, target)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            self._copy(source, target)

    def _replace(self, source: str, target: str) -> None:
        name = f"{self.workshop}/{os.urandom(12).hex()}"
        self._named(lambda: os.link(source, name), name)
        os.rename(name, target)

    def _copy(self, source: str, target: str) -> None:
        with open(source, "rb", buffering=0) as file, self.temporary() as (descriptor, name):
            reflink.carry(file.fileno(), descriptor)
            os.fchmod(descriptor, _MODE)
            self._named(lambda: os.rename(name, target), target)

    def _named(self, give: Callable[[], None], target: str) -> None:
        """Give a name, making its folder only where that is found missing: once in 80 objects."""
        try:
            give()
        except FileNotFoundError:
            self._make_folder(os.path.dirname(target))
            give()

    def _make_folder(self, folder: str) -> None:
        if os.path.isdir(folder):
            return
        self._make_folder(os.path.dirname(folder))
        with suppress(FileExistsError):
            os.mkdir(folder)
            if self.shared:
                os.chmod(folder, _GROUP_FOLDER)


def _is_whole(path: str, size: int) -> bool:
    """Say whether an object is there, of the right size, and writable for nobody."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return status.st_size == size and modes.S_ISREG(status.st_mode) and not status.st_mode & 0o222
