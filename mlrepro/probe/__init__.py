"""Probe: what travels into the user's processes, and the places from which they load it.

The folder ``inject`` is put in front of ``PYTHONPATH``; its ``sitecustomize`` starts the probe in
every Python process of a run. Nothing there imports anything of mlrepro. The library that
``preload.c`` is built into is put in front of ``LD_PRELOAD``, and watches all programs.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

LOG = "MLREPRO_LOG"
"""Name of the variable that holds the folder in which each process writes its log."""

_UNSAFE = re.compile(r"[\s:;,]")
_UNLOADABLE = re.compile(r"[\s:;,$]")
"""The dynamic loader replaces ``$ORIGIN`` and others besides."""


_hidden: list[str] = []


def hide(places: Iterable[str]) -> None:
    """Say in which folders the processes to be watched see something else than this one does.

    Where mlrepro lies in one of them, `folder` and `library` are private copies elsewhere.
    """
    _hidden[:] = [os.path.realpath(place) + os.sep for place in places]


def _is_hidden(path: Path) -> bool:
    return str(path).startswith(tuple(_hidden))


def folder() -> Path:
    """Return the folder to put in front of ``PYTHONPATH``.

    ``PYTHONPATH`` splits at colons: where the installed path holds one, or white space that a
    script's own handling of the variable could split at, the folder is a private copy elsewhere.
    """
    installed = Path(__file__).resolve().parent / "inject"
    fit = not _UNSAFE.search(str(installed)) and not _is_hidden(installed)
    return installed if fit else _copied(installed)


def library() -> Path | None:
    """Return the path of the preload library, to be put in front of ``LD_PRELOAD``.

    It splits at spaces and colons, and a library must lie where the file system permits
    execution: where the installed path is unfit, the file is a private copy elsewhere.

    Returns
    -------
    Path or None
        None where there is none that this machine could load; `why_not` tells the cause.
    """
    built = _built()
    if built is None or not _is_of_this_machine(built):
        return None
    if not _UNLOADABLE.search(str(built)) and not _is_hidden(built) and _is_loadable(built):
        return built
    return next(_loadable_copies(built), None)


def why_not() -> str:
    """Return one sentence why there is no `library`; the empty string where there is one."""
    if library() is not None:
        return ""
    if not sys.platform.startswith("linux"):
        return "the preload library is for Linux alone"
    if not _is_glibc():
        return "the preload library needs the GNU C library, and this Python uses another one"
    built = _built()
    if built is None:
        return (
            "the preload library was not built, since there was no working C compiler "
            "when mlrepro was installed"
        )
    if not _is_of_this_machine(built):
        return "the preload library was built for another architecture"
    return "the preload library found no folder from which the system permits to load it"


def _is_glibc() -> bool:
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (ValueError, OSError):
        return False


def _built() -> Path | None:
    return next(iter(sorted(Path(__file__).resolve().parent.glob("_preload*.so"))), None)


def _is_of_this_machine(built: Path) -> bool:
    from mlrepro.probe import native  # few callers ask for the library

    found = native.machine(str(built))
    return _is_glibc() and found is not None and found == native.machine(sys.executable)


def _is_loadable(built: Path) -> bool:
    """Whether the file may be mapped as code; a file system with ``noexec`` forbids it."""
    try:
        with built.open("rb") as file:
            rights = mmap.PROT_READ | mmap.PROT_EXEC
            mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=rights).close()
    except (OSError, ValueError):
        return False
    return True


def _loadable_copies(built: Path) -> Iterator[Path]:
    data = built.read_bytes()
    name = f"preload-{hashlib.sha256(data).hexdigest()[:16]}.so"
    for home in _private_folders():
        with suppress(OSError):
            target = home / name
            if not target.is_file():
                descriptor, fresh = tempfile.mkstemp(dir=home)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                os.chmod(fresh, 0o500)
                os.rename(fresh, target)
            if _is_loadable(target):
                yield target


def _private_folders() -> Iterator[Path]:
    yield _private_folder()
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    for parent, name in (
        (_temporary(), f"mlrepro-{os.getuid()}"),
        ("/tmp", f"mlrepro-{os.getuid()}"),
        (cache, "mlrepro-preload"),
        ("/dev/shm", f"mlrepro-{os.getuid()}"),
    ):
        wanted = Path(parent, name)
        if not _UNLOADABLE.search(str(wanted)) and _is_private(wanted):
            yield wanted


def _copied(installed: Path) -> Path:
    home = _private_folder()
    target = home / f"probe-{_digest(installed)}"
    if target.is_dir():
        return target
    fresh = Path(tempfile.mkdtemp(dir=home))
    shutil.copytree(installed, fresh / "inject", ignore=shutil.ignore_patterns("__pycache__"))
    try:
        os.rename(fresh / "inject", target)
    except OSError:
        if not target.is_dir():  # otherwise another process was faster
            raise
    finally:
        shutil.rmtree(fresh)
    return target


def _private_folder() -> Path:
    """Return a folder that only this user can write; code is loaded from it."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    wanted = Path(runtime, "mlrepro") if runtime else Path(_temporary(), f"mlrepro-{os.getuid()}")
    if _UNSAFE.search(str(wanted)):
        wanted = Path("/tmp", f"mlrepro-{os.getuid()}")
    return wanted if _is_private(wanted) else Path(tempfile.mkdtemp(prefix="mlrepro-"))


def _is_private(wanted: Path) -> bool:
    """Make the folder if need be, and tell whether it is this user's and closed to others."""
    try:
        wanted.mkdir(mode=0o700, exist_ok=True)
        found = wanted.lstat()
    except OSError:
        return False
    own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    return own and not found.st_mode & 0o077


def _temporary() -> str:
    return tempfile.gettempdir()


def _digest(installed: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(installed.rglob("*.py")):
        digest.update(path.relative_to(installed).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
