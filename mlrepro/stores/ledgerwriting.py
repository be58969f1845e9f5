"""Ledgerwriting: commits written by one `git fast-import`, by compare and swap of their refs."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable

from mlrepro.errors import GitError, LockTimeoutError
from mlrepro.stores import git

_PATIENCE = 30.0
"""Seconds after which a ref that others keep moving, or a stale lock, is given up."""


def patiently(attempt: Callable[[], bool]) -> None:
    """Try again until it is done.

    Raises
    ------
    LockTimeoutError
        If it still is not after 30 s.
    """
    end = time.monotonic() + _PATIENCE
    while not attempt():
        if time.monotonic() > end:
            raise LockTimeoutError("another process holds the ledger for too long")
        time.sleep(random.uniform(0.005, 0.05))  # noqa: S311  jitter, no secret


def commit(ref: str, old: str, author: str, message: str, merged: str = "") -> bytes:
    """Return the head of a commit, as `git fast-import` reads it; files may follow.

    Parameters
    ----------
    ref : str
        What it moves.
    old : str
        The commit before it; empty for the first.
    author : str
        ``Name <address>``.
    message : str
        Its message.
    merged : str
        A second parent.
    """
    person = re.sub(r"[<>\0\n]", "", author.partition("<")[0]).strip()
    address = re.sub(r"[<>\0\n]", "", author.partition("<")[2])
    who = f"{person} <{address}> {int(time.time())} +0000".strip()
    lines = [f"commit {ref}", f"author {who}", f"committer {who}"]
    text = ("\n".join(lines) + "\n").encode() + data(message.encode())
    text += f"from {old}\n".encode() if old else b""
    return text + (f"merge {merged}\n".encode() if merged else b"")


def file(path: str, content: bytes) -> bytes:
    """Return a file of the commit above it."""
    return f"M 100644 inline {path}\n".encode() + data(content)


def data(content: bytes) -> bytes:
    """Return bytes with their length before them."""
    return b"data %d\n%s\n" % (len(content), content)


def write(repo: git.Repository, stream: bytes) -> bool:
    """Write commits and move their refs; False where another process moved a ref meanwhile.

    Raises
    ------
    GitError
        If they cannot be written.
    """
    # Refs move only if they still are ancestors of what is written: compare and swap. Below the
    # limit the objects are written loose, so that a run does not leave a pack of its own.
    done = git.attempt(
        repo, "-c", "fastimport.unpackLimit=1000", "fast-import", "--quiet", "--date-format=raw",
        data=stream,
    )  # fmt: skip
    if done.returncode == 0:
        return True
    for report in repo.git_dir.glob("fast_import_crash_*"):
        report.unlink(missing_ok=True)
    if re.search(rb"new tip|cannot lock|but expected|File exists|already exists", done.stderr):
        return False
    raise GitError(f"the ledger could not be written: {git.sentence(done.stderr)}")
