"""Probe: what travels into the user's Python processes, and the folder from which they load it.

The folder ``inject`` is put in front of ``PYTHONPATH``; its ``sitecustomize`` starts the probe in
every Python process of a run. Nothing there imports anything of mlrepro.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tempfile
from pathlib import Path

LOG = "MLREPRO_LOG"
"""Name of the variable that holds the folder in which each process writes its log."""

_UNSAFE = re.compile(r"[\s:;,]")


def folder() -> Path:
    """Return the folder to put in front of ``PYTHONPATH``.

    ``PYTHONPATH`` splits at colons: where the installed path holds one, or white space that a
    script's own handling of the variable could split at, the folder is a private copy elsewhere.
    """
    installed = Path(__file__).resolve().parent / "inject"
    return installed if not _UNSAFE.search(str(installed)) else _copied(installed)


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
    try:
        wanted.mkdir(mode=0o700, exist_ok=True)
        found = wanted.lstat()
    except OSError:
        return Path(tempfile.mkdtemp(prefix="mlrepro-"))
    private = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    if private and not found.st_mode & 0o077:
        return wanted
    return Path(tempfile.mkdtemp(prefix="mlrepro-"))


def _temporary() -> str:
    return tempfile.gettempdir()


def _digest(installed: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(installed.rglob("*.py")):
        digest.update(path.relative_to(installed).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
