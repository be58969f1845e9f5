"""Paths: files written beside and moved into place; recorded paths that stay in the room."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from mlrepro.errors import ManifestError


@contextmanager
def beside(target: Path, *, mode: int | None = None) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `target`, and move it into place when the block ends well.

    Parameters
    ----------
    target : Path
        The file to be written or replaced; its folder must exist.
    mode : int, optional
        Permission bits; those of a plain ``open`` otherwise.
    """
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".mlrepro-{os.getpid()}-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        os.chmod(name, (0o666 & ~_umask()) if mode is None else mode)
        os.replace(name, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise


def write_beside(target: Path, data: bytes | str, *, mode: int | None = None) -> None:
    """Write `target` whole or not at all."""
    with beside(target, mode=mode) as file:
        file.write(data.encode() if isinstance(data, str) else data)


def sweep(folders: Iterable[Path], *, since: float) -> None:
    """Remove the temporary files that killed processes of this machine left since a moment."""
    for folder in folders:
        for path in folder.glob(".mlrepro-*-*"):
            pid = path.name.split("-")[1]
            with suppress(OSError):
                if pid.isdecimal() and not _lives(int(pid)) and path.stat().st_mtime >= since:
                    path.unlink()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def inside(path: str, *, where: str = "path") -> str:
    """Return a recorded relative path, if it stays below the folder that it is relative to.

    Raises
    ------
    ManifestError
        If the path is absolute, climbs with ``..``, is empty, or holds a NUL.
    """
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or "\0" in path or path == ".":
        raise ManifestError(f"{where} leaves the project's folder: {path!r:.80}")
    if ".git" in (part.lower() for part in pure.parts):
        raise ManifestError(f"{where} points into git's own folder: {path!r:.80}")
    return path


def resolve_inside(root: Path, path: str) -> Path:
    """Return `root / path`, after following symlinks, only if it is still below `root`.

    Raises
    ------
    ManifestError
        If it is not.
    """
    target = root / inside(path)
    real = target.parent.resolve() / target.name
    if not real.is_relative_to(root.resolve()):
        raise ManifestError(f"{path!r:.80} leads out of the folder through a symlink")
    return target


def content(path: Path) -> bytes:
    """Return what a file holds that others could replace: a pipe in its place would never answer.

    Raises
    ------
    OSError
        If it cannot be read, or is no regular file.
    """
    with open_regular(path) as file:
        return file.read()


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading; raises `OSError` where it is none, and follows no link."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a regular file", str(path))


def can_be(path: str) -> bool:
    """Say whether the system would take a path, or a folder's and a relative one's together."""
    if len(path) <= 63:  # of four bytes each at most
        return True
    name = os.fsencode(path)
    return len(name) < 8192 and max(map(len, name.split(b"/"))) <= 255
